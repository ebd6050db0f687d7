// SPDX-License-Identifier: GPL-2.0

//! The work of the child programs of tests.

use std::{
    io::{
        self,
        Write, //
    },
    os::fd::{
        AsFd,
        AsRawFd, //
    },
    process, //
};

use rustix::thread::{
    UnshareFlags,
    unshare_unsafe, //
};

use crate::{
    device::{
        Device,
        Errno,
        position, //
    },
    rng::Rng,
    target::Target,
    uapi::{
        self,
        Engine,
        slablab_alloc,
        slablab_inject, //
    },
};

use super::{
    child::{
        Child,
        ChildRole,
        SIZE,
        numbers, //
    },
    fixture::{
        filled,
        intact,
        pattern,
        shared, //
    },
    memory::submit,
    verdict::{
        ErrorContext,
        TestResult,
        check_eq, //
    },
};

/// Does the work of a child program.
pub(crate) fn play(role: ChildRole, engine: Engine) -> TestResult {
    match role {
        ChildRole::Stress => stress(engine),
        ChildRole::Neighbour => neighbour(engine),
        ChildRole::Heir => heir(),
        ChildRole::Lender => lender(engine),
        ChildRole::Host => host(engine),
        ChildRole::Guest => guest(),
        ChildRole::Bench => bench(),
        ChildRole::Vandal => super::misuse::vandal(engine),
        ChildRole::Glutton => glutton(engine),
    }
}

/// Prints a line of numbers.
fn say(numbers: impl IntoIterator<Item = u32>) -> TestResult {
    let words: Vec<_> = numbers
        .into_iter()
        .map(|number| number.to_string())
        .collect();
    println!("{}", words.join(" "));
    Ok(io::stdout().flush()?)
}

/// Waits until this program is killed.
fn stay() -> TestResult {
    loop {
        std::thread::park();
    }
}

fn stress(engine: Engine) -> TestResult {
    let device = shared(engine)?;
    let mut random = Rng::new(u64::from(process::id()));
    let mut handles = Vec::new();
    let ones = vec![0xff; 1 << 16];
    say([])?;
    loop {
        let size = random.doubling(1, 1 << 16);
        match random.below(8) {
            0..4 => {
                let Ok(block) = device.alloc(size, 1) else {
                    continue;
                };
                device.write(block.handle, 0, &ones[..size as usize])?;
                handles.push(block.handle);
            }
            4 if !handles.is_empty() => {
                // A refused REALLOC leaves the block unchanged, so its error is ignored.
                let _ = device.realloc(handles[random.index(handles.len())], size);
            }
            _ if !handles.is_empty() => {
                device.free(handles.swap_remove(random.index(handles.len())))?;
            }
            _ => {}
        }
    }
}

fn neighbour(engine: Engine) -> TestResult {
    let device = shared(engine)?;
    let seed = u64::from(process::id()) << 20;
    let mut mine = Vec::new();
    for n in 0..200 {
        mine.push((filled(&device, SIZE, seed + n)?, seed + n));
    }
    say(mine.iter().map(|(handle, _)| *handle))?;
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    let theirs = numbers(&line);
    check_eq("handles of the other child", theirs.len(), 200)?;

    let mut random = Rng::new(seed);
    let guesses: Vec<_> = (0..2_000).map(|_| random.next() as u32 >> 1).collect();
    let near = theirs
        .iter()
        .flat_map(|handle| [*handle, handle + 1, handle ^ (1 << 20)]);
    for number in near.chain(guesses.iter().copied()) {
        let mut bytes = vec![0; SIZE as usize];
        match mine.iter().find(|(handle, _)| *handle == number) {
            Some((handle, seed)) => intact(&device, *handle, SIZE, *seed)?,
            None => {
                let nothing = device.read(number, 0, &mut bytes).is_err()
                    && device.write(number, 0, &[0; 64]).is_err()
                    && device.realloc(number, 1).is_err()
                    && device.free(number).is_err();
                check_eq("the handle is refused", nothing, true).about(number)?;
            }
        }
    }
    // The other program does the same: the blocks of both must be intact.
    say([])?;
    io::stdin().read_line(&mut line)?;
    for (handle, seed) in mine {
        intact(&device, handle, SIZE, seed)?;
    }
    Ok(())
}

fn heir() -> TestResult {
    let session = io::stdin();
    let mut handles = Vec::new();
    for n in 0..10 {
        let mut alloc = slablab_alloc {
            size: SIZE,
            align: 8,
            ..Default::default()
        };
        submit(&session, uapi::SLABLAB_NR_ALLOC, &mut alloc)?;
        let bytes = pattern(n, SIZE as usize);
        let written = rustix::io::pwrite(&session, &bytes, position(alloc.handle, 0))?;
        check_eq("written", written, bytes.len())?;
        handles.push(alloc.handle);
    }
    say(handles)?;
    stay()
}

fn host(engine: Engine) -> TestResult {
    // SAFETY: `unshare_unsafe` is unsafe because `FILES` would separate the file descriptors of threads. This
    // call passes `NEWPID` only, which affects only later children.
    match unsafe { unshare_unsafe(UnshareFlags::NEWPID) } {
        // The kernel has no pid namespaces.
        Err(Errno::INVAL) => return say([]),
        result => result?,
    }
    let session = io::stdin().as_fd().try_clone_to_owned()?;
    let mut guest = Child::start_on(ChildRole::Guest, engine, session.into())?;
    let own = guest.heard()?;
    say(own.into_iter().chain([guest.id()]))?;
    guest.succeeds()
}

fn guest() -> TestResult {
    let session = io::stdin();
    let mut alloc = slablab_alloc {
        size: SIZE,
        align: 8,
        ..Default::default()
    };
    submit(&session, uapi::SLABLAB_NR_ALLOC, &mut alloc)?;
    let mut inject = slablab_inject {
        misuse: uapi::SLABLAB_MISUSE_SLAB_LINEAR_OVERFLOW,
        size: 100,
        ..Default::default()
    };
    submit(&session, uapi::SLABLAB_NR_INJECT, &mut inject)?;
    say([process::id()])
}

fn lender(engine: Engine) -> TestResult {
    let device = shared(engine)?;
    let handle = filled(&device, SIZE, 1)?;
    say([device.as_fd().as_raw_fd() as u32, handle])?;
    stay()
}

fn bench() -> TestResult {
    let device = Device::open()?;
    say([])?;
    device.bench(&super::bench::endless())?;
    Ok(())
}

fn glutton(engine: Engine) -> TestResult {
    let mut sessions = Vec::new();
    let errno = loop {
        match Device::open() {
            Ok(device) => sessions.push(device),
            Err(errno) => break errno,
        }
    };
    check_eq("errno of the last open", errno, Errno::NFILE)?;
    for (n, device) in sessions.iter().enumerate() {
        // Each session binds to a private pool while the budget suffices, and to the shared pool of `engine`
        // otherwise.
        let private = device.bind(Engine::Hybrid.raw(), uapi::SLABLAB_BIND_PRIVATE, 1 << 20);
        if n % 2 == 0 || private.is_err() {
            // This fails for a session that is bound to a private pool already.
            let _ = device.bind(engine.raw(), 0, 0);
        }
        for size in [1 << 20, 1 << 16, 4096, 64] {
            while device.alloc(size, 1).is_ok() {}
        }
    }
    say([sessions.len() as u32])?;
    stay()
}
