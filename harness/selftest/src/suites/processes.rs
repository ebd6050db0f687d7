// SPDX-License-Identifier: GPL-2.0

//! Several programs: shared sessions, separate sessions, and the end of a program.

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
        ChildRole,
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

suite!("processes" {
    Each a_program_killed_at_work_leaks_nothing,
    Each programs_cannot_touch_each_others_blocks,
    Each blocks_stay_when_a_child_that_shares_the_session_dies,
    Each a_session_lives_until_the_last_program_leaves_it,
    Each a_session_taken_from_a_program_outlives_it,
    Once a_session_can_be_sent_through_a_socket,
    Each threads_share_a_session,
    Each concurrent_frees_of_a_block_have_one_winner,
    Each concurrent_realloc_and_free_keep_a_block_intact,
    Once concurrent_first_requests_of_a_session_all_succeed,
    Each concurrent_binds_have_one_winner,
    Once check_under_load_finds_nothing_or_is_eagain,
    Pools numbers_of_processes_are_those_of_the_first_namespace,
});

fn numbers_of_processes_are_those_of_the_first_namespace(engine: Engine) -> TestResult {
    let device = debug(engine, POOL_BYTES)?;
    device.record(8)?;
    let mut host = Child::start_in(ChildRole::Host, engine, &device)?;
    let numbers = host.heard()?;
    host.succeeds()?;
    let [own, guest] = numbers[..] else {
        return Err(TestError::skipped("the kernel has no pid namespaces"));
    };
    check_eq("PID of the guest in its namespace", own, 1)?;
    let mut events = [slablab_event::default(); 8];
    let reply = device.events(0, &mut events)?;
    check_eq("events", reply.count, 1)?;
    check_eq("thread ID of the event", events[0].thread, guest)?;
    let mut reports = [slablab_report::default(); 2];
    check_eq("reports", device.reports(0, &mut reports)?.count, 1)?;
    for owner in [reports[0].allocated, reports[0].noticed] {
        check_eq("PID of the report", owner.pid, guest)?;
    }
    Ok(())
}

fn a_program_killed_at_work_leaks_nothing(engine: Engine) -> TestResult {
    let observer = shared(engine)?;
    let mine = filled(&observer, 5000, 1)?;
    let before = observer.stats()?;
    let mut met = 0;
    let rounds = rounds(20, 334);
    for round in 0..rounds {
        let mut child = Child::start(ChildRole::Stress, engine)?;
        child.heard()?;
        thread::sleep(Duration::from_millis(5 + 3 * (round % 20)));
        met += u64::from(observer.stats()?.live_blocks > before.live_blocks);
        child.kill()?;
        let after = observer.stats()?;
        check_eq("live blocks", after.live_blocks, before.live_blocks)
            .and_then(|()| check_eq("live bytes", after.live_bytes, before.live_bytes))
            .and_then(|()| check_eq("requested", after.requested_bytes, before.requested_bytes))
            .and_then(|()| {
                if has_pool(engine) {
                    sound(&observer)
                } else {
                    Ok(())
                }
            })
            .about(format_args!("round {round}"))?;
    }
    check(
        met >= rounds / 2,
        format_args!(
            "at least half of the {rounds} children have blocks before they are killed, not {met}"
        ),
    )?;
    intact(&observer, mine, 5000, 1)
}

fn programs_cannot_touch_each_others_blocks(engine: Engine) -> TestResult {
    let observer = shared(engine)?;
    let before = observer.stats()?.live_blocks;
    let mut one = Child::start(ChildRole::Neighbour, engine)?;
    let mut other = Child::start(ChildRole::Neighbour, engine)?;
    let (ones, others) = (one.heard()?, other.heard()?);
    check_eq("live blocks", observer.stats()?.live_blocks, before + 400)?;
    one.tell(&others)?;
    other.tell(&ones)?;
    one.heard().about("one child")?;
    other.heard().about("the other child")?;
    check_eq("live blocks", observer.stats()?.live_blocks, before + 400)?;
    one.tell(&[])?;
    other.tell(&[])?;
    one.succeeds()?;
    other.succeeds()?;
    check_eq("live blocks", observer.stats()?.live_blocks, before)
}

/// Checks the blocks that a child in the role [`ChildRole::Heir`] allocated.
#[track_caller]
fn inherited(device: &Device, handles: &[u32]) -> TestResult {
    check_eq("blocks", handles.len(), 10)?;
    for (handle, n) in handles.iter().zip(0..) {
        intact(device, *handle, SIZE, n)?;
    }
    Ok(())
}

fn blocks_stay_when_a_child_that_shares_the_session_dies(engine: Engine) -> TestResult {
    let device = session(engine)?;
    let mut child = Child::start_in(ChildRole::Heir, engine, &device)?;
    let handles = child.heard()?;
    unchanged(&device, || child.kill())?;
    inherited(&device, &handles)?;
    check_eq("blocks", device.stats()?.session_blocks, 10)?;
    for handle in handles {
        device.free(handle)?;
    }
    Ok(())
}

fn a_session_lives_until_the_last_program_leaves_it(engine: Engine) -> TestResult {
    let observer = shared(engine)?;
    let before = observer.stats()?.live_blocks;
    let device = shared(engine)?;
    let mut child = Child::start_in(ChildRole::Heir, engine, &device)?;
    inherited(&device, &child.heard()?)?;
    drop(device);
    check_eq("live blocks", observer.stats()?.live_blocks, before + 10)?;
    child.kill()?;
    check_eq("live blocks", observer.stats()?.live_blocks, before)
}

/// Checks the session of a file that another program opened or sent, and the block of [`SIZE`] bytes in this
/// session.
#[track_caller]
fn usable_file(file: &OwnedFd, handle: u32) -> TestResult {
    let mut bytes = vec![0; SIZE as usize];
    let read = rustix::io::pread(file, &mut bytes[..], position(handle, 0))?;
    check_eq("read", read, bytes.len())?;
    same_bytes(&bytes, &pattern(1, bytes.len()))?;
    let mut stats = slablab_stats::default();
    submit(file, uapi::SLABLAB_NR_STATS, &mut stats)?;
    check_eq("blocks", stats.session_blocks, 1)
}

fn a_session_taken_from_a_program_outlives_it(engine: Engine) -> TestResult {
    let observer = shared(engine)?;
    let before = observer.stats()?.live_blocks;
    let mut child = Child::start(ChildRole::Lender, engine)?;
    let lent = child.heard()?;
    let &[number, handle] = &lent[..] else {
        return Err(TestError::failed(format!(
            "expected a file descriptor and a handle from the child, got {lent:?}"
        )));
    };
    let file = Pid::from_raw(child.id() as i32)
        .map(|pid| {
            let process = pidfd_open(pid, PidfdFlags::empty())?;
            pidfd_getfd(process, number as i32, PidfdGetfdFlags::empty())
        })
        .ok_or_else(|| TestError::failed("the child has no PID"))??;
    usable_file(&file, handle)?;
    child.kill()?;
    usable_file(&file, handle)?;
    drop(file);
    check_eq("live blocks", observer.stats()?.live_blocks, before)
}

fn a_session_can_be_sent_through_a_socket() -> TestResult {
    let device = shared(Engine::Seed)?;
    let handle = filled(&device, SIZE, 1)?;
    let flags = SocketFlags::CLOEXEC;
    let (from, to) = match socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None) {
        Err(errno) if is_missing(errno) => {
            return Err(TestError::skipped("the kernel has no sockets"));
        }
        pair => pair?,
    };
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut message = SendAncillaryBuffer::new(&mut space);
    let files = [device.as_fd()];
    check(
        message.push(SendAncillaryMessage::ScmRights(&files)),
        "the control message has space for one file descriptor",
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
        None => Err(TestError::failed("the message has no file descriptor")),
    }
}

/// Runs `act` in `threads` threads at the same time. The argument of `act` is the number of the thread.
pub(super) fn together(threads: u64, act: impl Fn(u64) -> TestResult + Sync) -> TestResult {
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
                .unwrap_or_else(|_| Err(TestError::failed("a thread panicked")))
        })
    })
}

fn threads_share_a_session(engine: Engine) -> TestResult {
    let device = session(engine)?;
    let work = |seed: u64| -> TestResult {
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
    check_eq("session's blocks", stats.session_blocks, 0)?;
    check_eq(
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

fn concurrent_frees_of_a_block_have_one_winner(engine: Engine) -> TestResult {
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
        check_eq("successful FREEs", freed.into_inner(), 1).about(format_args!("round {round}"))?;
    }
    check_eq("session's blocks", device.stats()?.session_blocks, 0)?;
    if has_pool(engine) {
        sound(&device)
    } else {
        Ok(())
    }
}

fn concurrent_realloc_and_free_keep_a_block_intact(engine: Engine) -> TestResult {
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
        check_eq("live blocks", device.stats()?.live_blocks, before)?;
    }
    check_eq("session's bytes", device.stats()?.session_bytes, 0)?;
    if has_pool(engine) {
        sound(&device)
    } else {
        Ok(())
    }
}

fn concurrent_first_requests_of_a_session_all_succeed() -> TestResult {
    for round in 0..200 {
        let device = Device::open()?;
        together(3, |n| filled(&device, 64 + n, 1).map(|_| ()))
            .about(format_args!("round {round}"))?;
        check_eq("blocks", device.stats()?.session_blocks, 3)?;
    }
    Ok(())
}

fn concurrent_binds_have_one_winner(engine: Engine) -> TestResult {
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
        check_eq("successful BINDs", bound.into_inner(), 1)?;
        let info = device.info()?;
        let private = info.bind_flags & uapi::SLABLAB_BIND_PRIVATE != 0;
        let own = if private { info.pool_charge } else { 0 };
        check_eq("private_bytes_used", info.private_bytes_used, before + own)?;
        filled(&device, 100, 1)?;
    }
    check_eq(
        "private_bytes_used",
        Device::open()?.info()?.private_bytes_used,
        before,
    )
}

fn check_under_load_finds_nothing_or_is_eagain() -> TestResult {
    let observer = shared(Engine::Seed)?;
    let mut child = Child::start(ChildRole::Stress, Engine::Seed)?;
    child.heard()?;
    for _ in 0..50 {
        match observer.check() {
            Ok(check) => check_eq("broken rule", check.rule, uapi::SLABLAB_RULE_NONE)?,
            error => refused(error, Errno::AGAIN)?,
        }
    }
    child.kill()?;
    sound(&observer)
}
