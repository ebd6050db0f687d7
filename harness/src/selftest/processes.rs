// SPDX-License-Identifier: GPL-2.0

//! More than one program: what they share, what they do not, and what is left when one dies.

use std::{
    io::{
        IoSlice,
        IoSliceMut, //
    },
    mem::MaybeUninit,
    os::fd::{
        AsFd,
        OwnedFd, //
    },
    sync::{
        Barrier,
        atomic::{
            AtomicU32,
            Ordering, //
        },
    },
    thread,
    time::Duration,
};

use rustix::{
    net::{
        AddressFamily,
        RecvAncillaryBuffer,
        RecvAncillaryMessage,
        RecvFlags,
        SendAncillaryBuffer,
        SendAncillaryMessage,
        SendFlags,
        SocketFlags,
        SocketType,
        recvmsg,
        sendmsg,
        socketpair, //
    },
    process::{
        Pid,
        PidfdFlags,
        PidfdGetfdFlags,
        pidfd_getfd,
        pidfd_open, //
    },
};

use crate::{
    device::{
        Device,
        Errno,
        position, //
    },
    uapi::{
        self,
        Engine,
        slablab_event,
        slablab_report,
        slablab_stats, //
    },
};

use super::{
    child::{
        Child,
        Role,
        SIZE, //
    },
    fixture::{
        KIB,
        POOL_BYTES,
        filled,
        has_pool,
        intact,
        is_missing,
        pattern,
        rounds,
        same_bytes,
        session,
        shared,
        sound,
        unchanged, //
    },
    memory::submit,
    misuse::debug,
    prelude::*, //
};

theme!("processes" {
    Each a_program_killed_at_work_leaves_nothing,
    Each programs_cannot_touch_each_others_blocks,
    Each blocks_stay_when_a_child_that_shares_the_session_dies,
    Each a_session_lives_until_the_last_program_leaves_it,
    Each a_session_taken_from_a_program_outlives_it,
    Once a_session_can_be_sent_through_a_socket,
    Each threads_share_a_session,
    Each of_many_who_free_a_block_one_does,
    Each whoever_moves_or_frees_a_block_leaves_it_whole,
    Once of_many_who_ask_a_new_session_first_all_are_served,
    Each of_many_who_bind_a_session_one_does,
    Once a_check_beside_a_busy_program_is_sound_or_eagain,
    Pools numbers_of_processes_are_those_of_the_first_namespace,
});

fn numbers_of_processes_are_those_of_the_first_namespace(engine: Engine) -> Outcome {
    let device = debug(engine, POOL_BYTES)?;
    device.record(8)?;
    let mut host = Child::start_in(Role::Host, engine, &device)?;
    let numbers = host.heard()?;
    host.succeeds()?;
    let [own, guest] = numbers[..] else {
        return Err(Verdict::skipped("the kernel has no pid namespaces"));
    };
    equal("the guest's number to itself", own, 1)?;
    let mut events = [slablab_event::default(); 8];
    let told = device.events(0, &mut events)?;
    equal("events", told.count, 1)?;
    equal("thread of the event", events[0].thread, guest)?;
    let mut reports = [slablab_report::default(); 2];
    equal("reports", device.reports(0, &mut reports)?.count, 1)?;
    for owner in [reports[0].allocated, reports[0].noticed] {
        equal("process of the report", owner.pid, guest)?;
    }
    Ok(())
}

fn a_program_killed_at_work_leaves_nothing(engine: Engine) -> Outcome {
    let observer = shared(engine)?;
    let mine = filled(&observer, 5000, 1)?;
    let before = observer.stats()?;
    let mut met = 0;
    let rounds = rounds(20, 334);
    for round in 0..rounds {
        let mut child = Child::start(Role::Stress, engine)?;
        child.heard()?;
        thread::sleep(Duration::from_millis(5 + 3 * (round % 20)));
        met += u64::from(observer.stats()?.live_blocks > before.live_blocks);
        child.kill()?;
        let after = observer.stats()?;
        equal("live blocks", after.live_blocks, before.live_blocks)
            .and_then(|()| equal("live bytes", after.live_bytes, before.live_bytes))
            .and_then(|()| equal("requested", after.requested_bytes, before.requested_bytes))
            .and_then(|()| {
                if has_pool(engine) {
                    sound(&observer)
                } else {
                    Ok(())
                }
            })
            .about(format_args!("round {round}"))?;
    }
    holds(
        met >= rounds / 2,
        format_args!("children had blocks when they were killed, not {met} times"),
    )?;
    intact(&observer, mine, 5000, 1)
}

fn programs_cannot_touch_each_others_blocks(engine: Engine) -> Outcome {
    let observer = shared(engine)?;
    let before = observer.stats()?.live_blocks;
    let mut one = Child::start(Role::Neighbour, engine)?;
    let mut other = Child::start(Role::Neighbour, engine)?;
    let (ones, others) = (one.heard()?, other.heard()?);
    equal("live blocks", observer.stats()?.live_blocks, before + 400)?;
    one.tell(&others)?;
    other.tell(&ones)?;
    one.heard().about("one")?;
    other.heard().about("the other")?;
    equal("live blocks", observer.stats()?.live_blocks, before + 400)?;
    one.tell(&[])?;
    other.tell(&[])?;
    one.succeeds()?;
    other.succeeds()?;
    equal("live blocks", observer.stats()?.live_blocks, before)
}

/// Checks the blocks that an heir made.
#[track_caller]
fn inherited(device: &Device, handles: &[u32]) -> Outcome {
    equal("blocks", handles.len(), 10)?;
    for (handle, n) in handles.iter().zip(0..) {
        intact(device, *handle, SIZE, n)?;
    }
    Ok(())
}

fn blocks_stay_when_a_child_that_shares_the_session_dies(engine: Engine) -> Outcome {
    let device = session(engine)?;
    let mut child = Child::start_in(Role::Heir, engine, &device)?;
    let handles = child.heard()?;
    unchanged(&device, || child.kill())?;
    inherited(&device, &handles)?;
    equal("blocks", device.stats()?.session_blocks, 10)?;
    for handle in handles {
        device.free(handle)?;
    }
    Ok(())
}

fn a_session_lives_until_the_last_program_leaves_it(engine: Engine) -> Outcome {
    let observer = shared(engine)?;
    let before = observer.stats()?.live_blocks;
    let device = shared(engine)?;
    let mut child = Child::start_in(Role::Heir, engine, &device)?;
    inherited(&device, &child.heard()?)?;
    drop(device);
    equal("live blocks", observer.stats()?.live_blocks, before + 10)?;
    child.kill()?;
    equal("live blocks", observer.stats()?.live_blocks, before)
}

/// Checks a session that came as a file, and the block of [`SIZE`] bytes in it.
#[track_caller]
fn usable_file(file: &OwnedFd, handle: u32) -> Outcome {
    let mut bytes = vec![0; SIZE as usize];
    let read = rustix::io::pread(file, &mut bytes[..], position(handle, 0))?;
    equal("read", read, bytes.len())?;
    same_bytes(&bytes, &pattern(1, bytes.len()))?;
    let mut stats = slablab_stats::default();
    submit(file, uapi::SLABLAB_NR_STATS, &mut stats)?;
    equal("blocks", stats.session_blocks, 1)
}

fn a_session_taken_from_a_program_outlives_it(engine: Engine) -> Outcome {
    let observer = shared(engine)?;
    let before = observer.stats()?.live_blocks;
    let mut child = Child::start(Role::Lender, engine)?;
    let lent = child.heard()?;
    let &[number, handle] = &lent[..] else {
        return Err(Verdict::failed(format!("a file and a handle: {lent:?}")));
    };
    let file = Pid::from_raw(child.id() as i32)
        .map(|pid| {
            let process = pidfd_open(pid, PidfdFlags::empty())?;
            pidfd_getfd(process, number as i32, PidfdGetfdFlags::empty())
        })
        .ok_or_else(|| Verdict::failed("the child has no number"))??;
    usable_file(&file, handle)?;
    child.kill()?;
    usable_file(&file, handle)?;
    drop(file);
    equal("live blocks", observer.stats()?.live_blocks, before)
}

fn a_session_can_be_sent_through_a_socket() -> Outcome {
    let device = shared(Engine::Seed)?;
    let handle = filled(&device, SIZE, 1)?;
    let flags = SocketFlags::CLOEXEC;
    let (from, to) = match socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None) {
        Err(errno) if is_missing(errno) => {
            return Err(Verdict::skipped("the kernel has no sockets"));
        }
        pair => pair?,
    };
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut message = SendAncillaryBuffer::new(&mut space);
    let files = [device.as_fd()];
    holds(
        message.push(SendAncillaryMessage::ScmRights(&files)),
        "there is room for one file",
    )?;
    sendmsg(
        &from,
        &[IoSlice::new(b"!")],
        &mut message,
        SendFlags::empty(),
    )?;
    drop(device);

    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut message = RecvAncillaryBuffer::new(&mut space);
    recvmsg(
        &to,
        &mut [IoSliceMut::new(&mut [0])],
        &mut message,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let mut files = message.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(files) => Some(files),
        _ => None,
    });
    match files.next().and_then(|mut files| files.next()) {
        Some(file) => usable_file(&file, handle),
        None => Err(Verdict::failed("no file was received")),
    }
}

/// Runs `act` in so many threads at once; each is told its number.
pub(super) fn together(threads: u64, act: impl Fn(u64) -> Outcome + Sync) -> Outcome {
    let (act, begin) = (&act, &Barrier::new(threads as usize));
    thread::scope(|scope| {
        let run = |n| {
            scope.spawn(move || {
                begin.wait();
                act(n)
            })
        };
        let threads: Vec<_> = (0..threads).map(run).collect();
        threads.into_iter().try_for_each(|thread| {
            thread
                .join()
                .unwrap_or_else(|_| Err(Verdict::failed("a thread panicked")))
        })
    })
}

fn threads_share_a_session(engine: Engine) -> Outcome {
    let device = session(engine)?;
    let work = |seed: u64| -> Outcome {
        let mut mine = Vec::new();
        for n in 0..600 {
            let size = 1 + (n * 131 + seed) % 3000;
            mine.push((filled(&device, size, seed + n)?, size, seed + n));
            if n % 3 == 2 {
                let (handle, size, seed) = mine.swap_remove((n as usize * 7) % mine.len());
                intact(&device, handle, size, seed)?;
                device.free(handle)?;
            }
        }
        for (handle, size, seed) in mine {
            intact(&device, handle, size, seed)?;
            device.free(handle)?;
        }
        Ok(())
    };
    together(4, |n| work((n + 1) << 32))?;
    let stats = device.stats()?;
    equal("session's blocks", stats.session_blocks, 0)?;
    equal(
        "session's operations",
        (stats.session_allocations, stats.session_frees),
        (2400, 2400),
    )?;
    if has_pool(engine) {
        sound(&device)
    } else {
        Ok(())
    }
}

fn of_many_who_free_a_block_one_does(engine: Engine) -> Outcome {
    let device = session(engine)?;
    for round in 0..200 {
        let handle = device.alloc(1 + round % 5000, 1)?.handle;
        let freed = AtomicU32::new(0);
        let free = || match device.free(handle) {
            Ok(()) => {
                freed.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            error => refused(error, Errno::NOENT),
        };
        together(3, |_| free()).about(format_args!("round {round}"))?;
        equal("frees", freed.into_inner(), 1).about(format_args!("round {round}"))?;
    }
    equal("session's blocks", device.stats()?.session_blocks, 0)?;
    if has_pool(engine) {
        sound(&device)
    } else {
        Ok(())
    }
}

fn whoever_moves_or_frees_a_block_leaves_it_whole(engine: Engine) -> Outcome {
    let device = session(engine)?;
    let before = device.stats()?.live_blocks;
    for round in 0..100 {
        let handle = filled(&device, 100, 1)?;
        let keeper = filled(&device, 9000, 2)?;
        let expected = pattern(1, 100);
        together(3, |n| {
            for size in [9000, 200, 5000, 100] {
                let answer = match n {
                    0 => device
                        .realloc(handle, size)
                        .map(drop)
                        .map_err(|refused| refused.errno),
                    1 => {
                        let mut bytes = [0; 100];
                        let read = device.read(handle, 0, &mut bytes);
                        if read == Ok(100) {
                            same_bytes(&bytes, &expected)?;
                        }
                        read.map(drop)
                    }
                    _ if size == 100 => device.free(handle),
                    _ => Ok(()),
                };
                if !matches!(answer, Ok(()) | Err(Errno::BUSY | Errno::NOENT)) {
                    answer?;
                }
            }
            Ok(())
        })
        .about(format_args!("round {round}"))?;
        intact(&device, keeper, 9000, 2)?;
        device.free(keeper)?;
        match device.free(handle) {
            Ok(()) => {}
            error => refused(error, Errno::NOENT)?,
        }
        equal("live blocks", device.stats()?.live_blocks, before)?;
    }
    equal("session's bytes", device.stats()?.session_bytes, 0)?;
    if has_pool(engine) {
        sound(&device)
    } else {
        Ok(())
    }
}

fn of_many_who_ask_a_new_session_first_all_are_served() -> Outcome {
    for round in 0..200 {
        let device = Device::open()?;
        together(3, |n| filled(&device, 64 + n, 1).map(|_| ()))
            .about(format_args!("round {round}"))?;
        equal("blocks", device.stats()?.session_blocks, 3)?;
    }
    Ok(())
}

fn of_many_who_bind_a_session_one_does(engine: Engine) -> Outcome {
    let before = Device::open()?.info()?.private_bytes_used;
    for round in 0..50 {
        let device = Device::open()?;
        let bound = AtomicU32::new(0);
        together(3, |n| {
            let private = has_pool(engine) && n > 0;
            let (flags, bytes) = if private {
                (uapi::SLABLAB_BIND_PRIVATE, 64 * KIB)
            } else {
                (0, 0)
            };
            match device.bind(engine.raw(), flags, bytes) {
                Ok(()) => {
                    bound.fetch_add(1, Ordering::Relaxed);
                    Ok(())
                }
                error => refused(error, Errno::BUSY),
            }
        })
        .about(format_args!("round {round}"))?;
        equal("bound", bound.into_inner(), 1)?;
        let info = device.info()?;
        let private = info.bind_flags & uapi::SLABLAB_BIND_PRIVATE != 0;
        let own = if private { info.pool_charge } else { 0 };
        equal("private pools", info.private_bytes_used, before + own)?;
        filled(&device, 100, 1)?;
    }
    equal(
        "private pools",
        Device::open()?.info()?.private_bytes_used,
        before,
    )
}

fn a_check_beside_a_busy_program_is_sound_or_eagain() -> Outcome {
    let observer = shared(Engine::Seed)?;
    let mut child = Child::start(Role::Stress, Engine::Seed)?;
    child.heard()?;
    for _ in 0..50 {
        match observer.check() {
            Ok(check) => equal("broken rule", check.rule, uapi::SLABLAB_RULE_NONE)?,
            error => refused(error, Errno::AGAIN)?,
        }
    }
    child.kill()?;
    sound(&observer)
}
