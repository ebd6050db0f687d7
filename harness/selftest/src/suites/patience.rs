// SPDX-License-Identifier: GPL-2.0

//! The latency of preemption, and of the end of a killed program, during every call.
//!
//! While one thread makes the longest calls, a real-time thread on the same CPU wakes every
//! millisecond. The longest delay of the real-time thread is the longest section without a point of
//! preemption. On a machine whose clock counts instructions (`vm.sh -i`), 50 ms are 50 million
//! instructions, independent of the host. On other machines the test is skipped. Delays below the
//! timer's tick, 4 ms, are not detected.
//!
//! Programs whose calls copy or zero more than 100 MiB (slub: 40 MiB) are killed, in most cases during a
//! call. Each program must end within the time to zero and copy 16 MiB, which is measured first, plus the
//! time to end a program. The session is shared with this program, so it outlives the killed program, and
//! must be unchanged.

use std::{
    sync::atomic::{
        AtomicBool,
        AtomicU64,
        Ordering, //
    },
    thread,
    time::{
        Duration,
        Instant, //
    },
};

use crate::{
    affinity::CpuPin,
    clock::Clock,
    device::{
        Device,
        Errno, //
    },
    real_time,
    uapi::{
        self,
        Engine,
        slablab_event,
        slablab_operation, //
    },
};

use super::{
    child::Fork,
    fixture::{
        MIB,
        POOL_UNIT,
        filled,
        has_map,
        has_pool,
        intact,
        private_of,
        shared,
        to_len, //
    },
    mapping::MappedPages,
    prelude::*, //
};

suite!("patience" {
    // This test runs first, because later the kernel frees memory of earlier tests in the background.
    Once a_long_free_is_preemptible,
    Each no_call_disables_preemption_for_50_ms,
    Each a_killed_program_ends_within_16_mib_of_copying_or_zeroing,
});

/// The maximum time that a call may run without a point of preemption.
const LONGEST: Duration = Duration::from_millis(50);

/// The interval of the real-time thread.
const BEAT: Duration = Duration::from_millis(1);

/// The largest block, in bytes: half of a pool.
const LARGE: u64 = 32 * MIB;

/// A thread that measures how long this CPU does not schedule it.
struct Heartbeat {
    stop: AtomicBool,
    longest_ns: AtomicU64,
}

impl Heartbeat {
    fn beat(&self) -> TestResult {
        real_time::become_first()?;
        while !self.stop.load(Ordering::Relaxed) {
            let begin = Instant::now();
            thread::sleep(BEAT);
            let late = begin.elapsed().saturating_sub(BEAT);
            self.longest_ns
                .fetch_max(late.as_nanos() as u64, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Returns the longest delay of the thread during `act`.
    fn stood_still(&self, act: impl FnOnce() -> TestResult) -> TestResult<Duration> {
        self.longest_ns.store(0, Ordering::Relaxed);
        act()?;
        thread::sleep(2 * BEAT);
        Ok(Duration::from_nanos(
            self.longest_ns.load(Ordering::Relaxed),
        ))
    }
}

/// The name of a call, and a function that makes the call with the longest possible work.
type Long<'a> = (&'a str, Box<dyn Fn() -> TestResult + 'a>);

/// Returns the longest calls, each with the preparation that makes the call long.
fn long_calls<'a>(engine: Engine, device: &'a Device, blocks: u64) -> Vec<Long<'a>> {
    let mut calls: Vec<Long<'a>> = vec![
        ("INFO", Box::new(|| Ok(device.info().map(drop)?))),
        ("STATS", Box::new(|| Ok(device.stats().map(drop)?))),
        (
            "ALLOC and FREE of 32 MiB",
            Box::new(|| Ok(device.free(device.alloc(LARGE, 1)?.handle)?)),
        ),
        (
            "REALLOC to 32 MiB that moves the block",
            Box::new(move || {
                let block = device.alloc(LARGE / 4, 1)?.handle;
                // The memory behind the block is not free, so the block cannot grow in place.
                let behind = device.alloc(LARGE / 4, 1)?.handle;
                device.realloc(block, LARGE)?;
                device.free(behind)?;
                Ok(device.free(block)?)
            }),
        ),
        (
            "pwrite and pread of 32 MiB",
            Box::new(|| {
                let block = filled(device, LARGE, 1)?;
                intact(device, block, LARGE, 1)?;
                Ok(device.free(block)?)
            }),
        ),
        ("SUBMIT of 4,096 operations", Box::new(|| submit(device))),
        (
            "close of a file with many blocks",
            Box::new(move || {
                let other = shared(engine)?;
                for _ in 0..blocks {
                    other.alloc(64, 1)?;
                }
                drop(other);
                Ok(())
            }),
        ),
    ];
    if has_pool(engine) {
        calls.push(("CHECK", Box::new(|| Ok(device.check().map(drop)?))));
        calls.push((
            "EXTEND by 64 MiB",
            Box::new(move || {
                let other = private_of(engine, MIB)?;
                Ok(other.extend(2 * LARGE).map(drop)?)
            }),
        ));
        calls.push(("SHRINK", Box::new(|| Ok(device.shrink().map(drop)?))));
        calls.push((
            "BIND to a pool of 240 MiB and close",
            Box::new(move || {
                let other = Device::open()?;
                // A pool is charged for more than its region.
                let most = other.info()?.private_bytes_max / 16 * 15;
                let bytes = most.min(256 * MIB) / POOL_UNIT * POOL_UNIT;
                Ok(other.bind(engine.raw(), uapi::SLABLAB_BIND_PRIVATE, bytes)?)
            }),
        ));
    }
    if has_map(engine) {
        let mut room = vec![uapi::slablab_extent::default(); 4096];
        let map = std::cell::RefCell::new(move || device.map(0, 0, &mut room).map(drop));
        calls.push(("MAP", Box::new(move || Ok(map.borrow_mut()()?))));
    }
    calls
}

/// Allocates 32 MiB in blocks of two pages with one call of the maximum length, and frees the blocks with
/// another.
fn submit(device: &Device) -> TestResult {
    let alloc = slablab_operation {
        kind: uapi::SLABLAB_OP_ALLOC as u8,
        bytes: LARGE / u64::from(uapi::SLABLAB_OPERATIONS_MAX),
        ..Default::default()
    };
    let mut operations = vec![alloc; uapi::SLABLAB_OPERATIONS_MAX as usize];
    let count = operations.len() as u32;
    check_eq("allocated", device.submit(&mut operations)?.done, count)?;
    for operation in &mut operations {
        *operation = slablab_operation {
            kind: uapi::SLABLAB_OP_FREE as u8,
            handle: operation.handle,
            ..Default::default()
        };
    }
    check_eq("freed", device.submit(&mut operations)?.done, count)
}

fn no_call_disables_preemption_for_50_ms(engine: Engine) -> TestResult {
    beside_a_heart(|heart| measure(engine, heart))
}

/// Runs `act` while a heartbeat thread runs on the same CPU.
fn beside_a_heart(act: impl FnOnce(&Heartbeat) -> TestResult) -> TestResult {
    if Clock::of_this_machine() != Clock::Instructions {
        return Err(TestError::skipped("the clock does not count instructions"));
    }
    let _here = CpuPin::current()?;
    let heart = Heartbeat {
        stop: AtomicBool::new(false),
        longest_ns: AtomicU64::new(0),
    };
    thread::scope(|scope| {
        let beating = scope.spawn(|| heart.beat());
        let done = act(&heart);
        heart.stop.store(true, Ordering::Relaxed);
        beating
            .join()
            .unwrap_or_else(|_| Err(TestError::failed("the heartbeat thread panicked")))?;
        done
    })
}

/// Wakes periodically on this CPU until `stop` is set, and returns the times of waking.
///
/// The thread sleeps until a multiple of the period, so that its times have one phase also with timers of high
/// resolution, which do not wait for a tick.
fn wakes(begin: Instant, stop: &AtomicBool) -> TestResult<Vec<Duration>> {
    real_time::become_first()?;
    let mut times = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let phase_ns = begin.elapsed().as_nanos() as u64 % BEAT.as_nanos() as u64;
        thread::sleep(BEAT - Duration::from_nanos(phase_ns));
        times.push(begin.elapsed());
    }
    Ok(times)
}

/// Returns the spread of the times at which a thread woke, modulo the timer's period, without the
/// lowest and the highest tenth. All ticks are a multiple of a millisecond apart.
fn spread(times: &[Duration]) -> Duration {
    let beat_ns = BEAT.as_nanos() as u64;
    let phases = times.iter().map(|time| time.as_nanos() as u64 % beat_ns);
    let mut phases: Vec<_> = phases.collect();
    phases.sort_unstable();
    // Times modulo the period lie on a circle: the first one follows the widest gap.
    let gap = |n: usize| {
        let before = n.checked_sub(1).unwrap_or(phases.len() - 1);
        (beat_ns + phases[n] - phases[before]) % beat_ns
    };
    let Some(first) = (0..phases.len()).max_by_key(|n| gap(*n)) else {
        return Duration::ZERO;
    };
    let start = phases[first];
    phases.rotate_left(first);
    let tenth = phases.len() / 10;
    let behind = |n: usize| (beat_ns + phases[n] - start) % beat_ns;
    Duration::from_nanos(behind(phases.len() - 1 - tenth) - behind(tenth))
}

/// Frees blocks of the seed; each free compares all free blocks of the same size.
///
/// If a free disabled preemption, a thread that the tick wakes would be delayed by the time of a search.
fn a_long_free_is_preemptible() -> TestResult {
    if Clock::of_this_machine() != Clock::Instructions {
        return Err(TestError::skipped("the clock does not count instructions"));
    }
    let _here = CpuPin::current()?;
    let device = private_of(Engine::Seed, 96 * MIB)?;
    let mut blocks = Vec::new();
    while let Ok(block) = device.alloc(8192, 8) {
        blocks.push(block.handle);
    }
    // The blocks between them have no free buddy.
    for handle in blocks.iter().step_by(2) {
        device.free(*handle)?;
    }
    let (begin, stop) = (Instant::now(), AtomicBool::new(false));
    let mut free = Duration::ZERO;
    let times = thread::scope(|scope| {
        let waking = scope.spawn(|| wakes(begin, &stop));
        let freed = blocks.iter().skip(1).step_by(2).try_for_each(|handle| {
            let begin = Instant::now();
            device.free(*handle)?;
            if free == Duration::ZERO {
                free = begin.elapsed();
            }
            Ok::<_, TestError>(())
        });
        stop.store(true, Ordering::Relaxed);
        let times = waking
            .join()
            .unwrap_or_else(|_| Err(TestError::failed("the thread panicked")))?;
        freed.map(|()| times)
    })?;
    check(
        times.len() > 20,
        format_args!(
            "the thread wakes more than 20 times, not {} times",
            times.len()
        ),
    )?;
    let spread = spread(&times);
    check(
        spread < free / 4,
        format_args!(
            "a thread wakes in time during a free of {free:?}, not up to {spread:?} late: {times:?}"
        ),
    )
}

/// Allocates 20,000 small blocks in the shared pool, frees half of them, and measures each call.
fn measure(engine: Engine, heart: &Heartbeat) -> TestResult {
    let device = shared(engine)?;
    let blocks = (0..20_000).map(|n| Ok(device.alloc(1 + n % 600, 1)?.handle));
    let blocks = blocks.collect::<TestResult<Vec<_>>>()?;
    for handle in blocks.iter().step_by(2) {
        device.free(*handle)?;
    }
    for (name, call) in long_calls(engine, &device, blocks.len() as u64) {
        let longest = heart.stood_still(&call).about(name)?;
        check(
            longest <= LONGEST,
            format_args!("{name} disables preemption for at most {LONGEST:?}, not {longest:?}"),
        )?;
    }
    Ok(())
}

/// The maximum number of bytes that a call may zero and copy after its program was killed.
const PIECE: u64 = 16 * MIB;

/// The time to end a program, independent of its last call.
const END: Duration = Duration::from_millis(10);

/// The time to free up to 200 MiB of a program's memory, in a pool or of its own.
const FREE: Duration = Duration::from_millis(30);

/// The number of operations in a submission.
const OPERATIONS: usize = 8;

/// The capacity of the ring of events: enough for the call during which a program is killed, and for the
/// previous call.
const RING: usize = 32;

/// The name of the calls whose longest part records no event.
const TRANSFERS: &str = "pwrite and pread";

/// Returns calls that take longer than those of [`long_calls`]. Each call copies or zeroes `whole` bytes and
/// leaves no block.
fn endless_calls<'a>(device: &'a Device, whole: u64) -> Vec<Long<'a>> {
    let part = whole / 2;
    let operation = |kind| slablab_operation {
        kind: kind as u8,
        ..Default::default()
    };
    let submit_all = |device: &Device, mut operations: [slablab_operation; OPERATIONS]| {
        let answer = device.submit(&mut operations)?;
        check_eq(
            "done, error",
            (answer.done, answer.error),
            (OPERATIONS as u32, 0),
        )
    };
    let mut calls: Vec<Long<'a>> = vec![
        (
            "ALLOC",
            Box::new(move || Ok(device.free(device.alloc(whole, 1)?.handle)?)),
        ),
        (
            "REALLOC",
            Box::new(move || {
                let block = device.alloc(part, 1)?.handle;
                device.realloc(block, whole)?;
                Ok(device.free(block)?)
            }),
        ),
        (
            "SUBMIT of ALLOCs and FREEs",
            Box::new(move || {
                let mut operations = [slablab_operation {
                    bytes: whole,
                    ..operation(uapi::SLABLAB_OP_ALLOC)
                }; OPERATIONS];
                for number in (1..OPERATIONS).step_by(2) {
                    operations[number] = slablab_operation {
                        flags: uapi::SLABLAB_OP_EARLIER as u16,
                        handle: number as u32 - 1,
                        ..operation(uapi::SLABLAB_OP_FREE)
                    };
                }
                submit_all(device, operations)
            }),
        ),
        (
            "SUBMIT of REALLOCs",
            Box::new(move || {
                let handle = device.alloc(part, 1)?.handle;
                let mut operations = [slablab_operation {
                    handle,
                    bytes: whole,
                    ..operation(uapi::SLABLAB_OP_REALLOC)
                }; OPERATIONS];
                for number in (1..OPERATIONS).step_by(2) {
                    operations[number].bytes = part;
                }
                submit_all(device, operations)?;
                Ok(device.free(handle)?)
            }),
        ),
    ];
    let room = std::cell::RefCell::new(vec![1; whole as usize]);
    calls.push((
        TRANSFERS,
        Box::new(move || {
            let handle = device.alloc(whole, 1)?.handle;
            let mut room = room.borrow_mut();
            check_eq("written", device.write(handle, 0, &room)?, room.len())?;
            check_eq("read", device.read(handle, 0, &mut room)?, whole as usize)?;
            Ok(device.free(handle)?)
        }),
    ));
    calls
}

/// Returns calls that create and free pools, each on its own file.
fn pool_calls<'a>(engine: Engine) -> Vec<Long<'a>> {
    let bind = move |flags, bytes| -> TestResult<Device> {
        let device = Device::open()?;
        device.bind(engine.raw(), uapi::SLABLAB_BIND_PRIVATE | flags, bytes)?;
        Ok(device)
    };
    vec![
        ("BIND", Box::new(move || bind(0, 200 * MIB).map(drop))),
        (
            "BIND of a pool in debug mode",
            Box::new(move || bind(uapi::SLABLAB_BIND_DEBUG, 160 * MIB).map(drop)),
        ),
        (
            "EXTEND of a pool in debug mode",
            Box::new(move || {
                let device = bind(uapi::SLABLAB_BIND_DEBUG, MIB)?;
                Ok(device.extend(160 * MIB).map(drop)?)
            }),
        ),
        (
            "mmap",
            Box::new(move || {
                let device = bind(0, 128 * MIB)?;
                let handle = device.alloc(120 * MIB, 4096)?.handle;
                drop(MappedPages::new(&device, handle, 0, 120 << 8)?);
                Ok(())
            }),
        ),
    ]
}

/// Returns the duration of `act`.
fn time(act: impl FnOnce() -> TestResult) -> TestResult<Duration> {
    let begin = Instant::now();
    act()?;
    Ok(begin.elapsed())
}

fn a_killed_program_ends_within_16_mib_of_copying_or_zeroing(engine: Engine) -> TestResult {
    if Clock::of_this_machine() != Clock::Instructions {
        return Err(TestError::skipped("the clock does not count instructions"));
    }
    // A session may allocate 128 MiB. The shared pool of an engine without private pools has 64 MiB.
    let (device, whole) = if has_pool(engine) {
        (private_of(engine, 192 * MIB)?, 120 * MIB)
    } else {
        (shared(engine)?, 40 * MIB)
    };
    let room = vec![0; to_len(PIECE)];
    let piece = time(|| {
        let handle = device.alloc(PIECE, 1)?.handle;
        device.write(handle, 0, &room)?;
        Ok(device.free(handle)?)
    })?;
    device.record(RING as u32)?;
    for (name, call) in endless_calls(&device, whole) {
        let mut given_up = 0;
        let end = if name == TRANSFERS { END + FREE } else { END };
        let mut after = || {
            given_up += swept(&device)?;
            check_eq("blocks", device.stats()?.session_blocks, 0)?;
            Ok(given_up > 0)
        };
        let interrupted = killed_in_time(&call, piece + end, &KILLS, &mut after).about(name)?;
        if !interrupted && name != TRANSFERS {
            killed_in_time(&call, piece + end, &MORE_KILLS, &mut after).about(name)?;
        }
        check(
            given_up > 0 || name == TRANSFERS,
            format_args!("{name}: the kill interrupts at least one call"),
        )?;
    }
    drop(device);
    if has_pool(engine) {
        for (name, call) in pool_calls(engine) {
            killed_in_time(&call, piece + END + FREE, &KILLS, || Ok(false)).about(name)?;
        }
    }
    Ok(())
}

/// Frees the blocks that a killed program left in the session. Returns 1 if the program's last call was
/// interrupted, else 0.
fn swept(device: &Device) -> TestResult<u64> {
    let mut events = [slablab_event::default(); RING];
    let reply = device.events(0, &mut events)?;
    let mut live = Vec::new();
    for event in &events[..reply.count as usize] {
        match u32::from(event.kind) {
            uapi::SLABLAB_EVENT_ALLOC if event.error == 0 => live.push(event.handle),
            uapi::SLABLAB_EVENT_FREE => live.retain(|handle| *handle != event.handle),
            _ => {}
        }
    }
    let interrupted = Errno::INTR.raw_os_error() as u32;
    let last = (reply.count as usize)
        .checked_sub(1)
        .map(|last| events[last]);
    for handle in live {
        device.free(handle)?;
    }
    Ok(u64::from(
        last.is_some_and(|event| event.error == interrupted),
    ))
}

/// The times at which programs are killed, in sixteenths of the duration of a call.
const KILLS: [u32; 3] = [2, 6, 12];

/// The times of further kills, for calls that zero and copy in a small part of their duration. On arm64 an instruction
/// zeroes 64 bytes, and most instructions of an ALLOC of `slub` allocate and map pages.
const MORE_KILLS: [u32; 13] = [0, 1, 3, 4, 5, 7, 8, 9, 10, 11, 13, 14, 15];

/// Kills a program that repeats a call, once for each time in `sixteenths`, checks that it ends within `limit`, and
/// runs `after` after each. Returns the last result of `after`.
fn killed_in_time(
    call: &dyn Fn() -> TestResult,
    limit: Duration,
    sixteenths: &[u32],
    mut after: impl FnMut() -> TestResult<bool>,
) -> TestResult<bool> {
    let once = time(call)?;
    let mut result = false;
    for sixteenth in sixteenths {
        let child = Fork::new(|| {
            // A child cannot report an error. In the parent, the same call has just succeeded.
            let _ = call();
        })?;
        thread::sleep(once + once * *sixteenth / 16);
        let end = time(|| {
            drop(child);
            Ok(())
        })?;
        result = after()?;
        check(
            end <= limit,
            format_args!("the killed program ends within {limit:?}, not {end:?}"),
        )?;
    }
    Ok(result)
}
