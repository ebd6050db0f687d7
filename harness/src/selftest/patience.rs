// SPDX-License-Identifier: GPL-2.0

//! No call keeps the processor to itself for long.
//!
//! While a thread makes the calls that take longest, another one of real-time priority, on the same
//! CPU, wants to wake every millisecond: the longest time that it was kept from that is the longest
//! way to a point where the scheduler gets in. On a machine whose clock counts instructions
//! (`vm.sh -i`) that is a number of instructions, whatever the host does, and 50 ms are 50 million of
//! them. Elsewhere nothing is measured. What is shorter than the timer's tick, 4 ms, is not seen.

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
    clock::Clock,
    device::Device,
    one_cpu::OneCpu,
    real_time,
    uapi::{
        self,
        Engine,
        slablab_operation, //
    },
};

use super::{
    fixture::{
        MIB,
        POOL_UNIT,
        filled,
        has_map,
        has_pool,
        intact,
        private_of,
        shared, //
    },
    prelude::*, //
};

theme!("patience" {
    // First, before there is anything that the kernel gives back in the background.
    Once a_free_that_searches_lets_others_run,
    Each no_call_keeps_the_scheduler_out_for_50_ms,
});

/// The longest that a call may keep the scheduler out.
const LONGEST: Duration = Duration::from_millis(50);

/// The time between two beats.
const BEAT: Duration = Duration::from_millis(1);

/// The largest block, in bytes: half of a pool.
const LARGE: u64 = 32 * MIB;

/// A heart that beats on this CPU until it is told to stop.
struct Heart {
    stop: AtomicBool,
    longest_ns: AtomicU64,
}

impl Heart {
    fn beat(&self) -> Outcome {
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

    /// Returns the longest time that the heart stood still during `act`.
    fn stood_still(&self, act: impl FnOnce() -> Outcome) -> Outcome<Duration> {
        self.longest_ns.store(0, Ordering::Relaxed);
        act()?;
        thread::sleep(2 * BEAT);
        Ok(Duration::from_nanos(
            self.longest_ns.load(Ordering::Relaxed),
        ))
    }
}

/// A call, by its name, that takes as long as it can.
type Long<'a> = (&'a str, Box<dyn Fn() -> Outcome + 'a>);

/// Calls that take long, each after what makes it so.
fn long_calls<'a>(engine: Engine, device: &'a Device, blocks: u64) -> Vec<Long<'a>> {
    let mut calls: Vec<Long<'a>> = vec![
        ("INFO", Box::new(|| Ok(device.info().map(drop)?))),
        ("STATS", Box::new(|| Ok(device.stats().map(drop)?))),
        (
            "ALLOC and FREE of 32 MiB",
            Box::new(|| Ok(device.free(device.alloc(LARGE, 1)?.handle)?)),
        ),
        (
            "REALLOC to 32 MiB that moves",
            Box::new(move || {
                let block = device.alloc(LARGE / 4, 1)?.handle;
                // What lies behind it is not free, so there is nowhere to grow.
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
            "BIND to a pool of 240 MiB, and close",
            Box::new(move || {
                let other = Device::open()?;
                // A pool takes more than its region.
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

/// Allocates blocks of two pages, as many as go into a call and the pool, and frees them.
fn submit(device: &Device) -> Outcome {
    let alloc = slablab_operation {
        kind: uapi::SLABLAB_OP_ALLOC as u8,
        bytes: LARGE / u64::from(uapi::SLABLAB_OPERATIONS_MAX),
        ..Default::default()
    };
    let mut operations = vec![alloc; uapi::SLABLAB_OPERATIONS_MAX as usize];
    let count = operations.len() as u32;
    equal("allocated", device.submit(&mut operations)?.done, count)?;
    for operation in &mut operations {
        *operation = slablab_operation {
            kind: uapi::SLABLAB_OP_FREE as u8,
            handle: operation.handle,
            ..Default::default()
        };
    }
    equal("freed", device.submit(&mut operations)?.done, count)
}

fn no_call_keeps_the_scheduler_out_for_50_ms(engine: Engine) -> Outcome {
    beside_a_heart(|heart| measure(engine, heart))
}

/// Does something while a heart beats on the same CPU.
fn beside_a_heart(act: impl FnOnce(&Heart) -> Outcome) -> Outcome {
    if Clock::of_this_machine() != Clock::Instructions {
        return Err(Verdict::skipped("the clock counts no instructions"));
    }
    let _here = OneCpu::stay()?;
    let heart = Heart {
        stop: AtomicBool::new(false),
        longest_ns: AtomicU64::new(0),
    };
    thread::scope(|scope| {
        let beating = scope.spawn(|| heart.beat());
        let done = act(&heart);
        heart.stop.store(true, Ordering::Relaxed);
        beating
            .join()
            .unwrap_or_else(|_| Err(Verdict::failed("the heart panicked")))?;
        done
    })
}

/// Wakes on this CPU until it is told to stop, and returns when it did so.
fn wakes(begin: Instant, stop: &AtomicBool) -> Outcome<Vec<Duration>> {
    real_time::become_first()?;
    let mut times = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        thread::sleep(BEAT);
        times.push(begin.elapsed());
    }
    Ok(times)
}

/// Returns by how much the moments at which a thread woke differ, counted from the timer's tick that woke
/// it, without the tenth of them at either end: all ticks are multiples of a millisecond apart.
fn spread(times: &[Duration]) -> Duration {
    let beat_ns = BEAT.as_nanos() as u64;
    let phases = times.iter().map(|time| time.as_nanos() as u64 % beat_ns);
    let mut phases: Vec<_> = phases.collect();
    phases.sort_unstable();
    // They lie on a circle. The first one is behind the widest gap.
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

/// Frees blocks of the seed, each of which has it search all free blocks of the same size.
///
/// With the scheduler kept out meanwhile, a thread that the tick wakes would run as much later as the
/// longest search takes.
fn a_free_that_searches_lets_others_run() -> Outcome {
    if Clock::of_this_machine() != Clock::Instructions {
        return Err(Verdict::skipped("the clock counts no instructions"));
    }
    let _here = OneCpu::stay()?;
    let device = private_of(Engine::Seed, 96 * MIB)?;
    let mut blocks = Vec::new();
    while let Ok(block) = device.alloc(8192, 8) {
        blocks.push(block.handle);
    }
    // What is left between them has no buddy that is free.
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
            Ok::<_, Verdict>(())
        });
        stop.store(true, Ordering::Relaxed);
        let times = waking
            .join()
            .unwrap_or_else(|_| Err(Verdict::failed("the thread panicked")))?;
        freed.map(|()| times)
    })?;
    holds(
        times.len() > 20,
        format_args!("{} ticks are enough", times.len()),
    )?;
    let spread = spread(&times);
    holds(
        spread < free / 4,
        format_args!(
            "the scheduler gets in during a free of {free:?}, not up to {spread:?} later: {times:?}"
        ),
    )
}

/// Fills a good part of the shared pool with small blocks, half of them freed, and makes each call.
fn measure(engine: Engine, heart: &Heart) -> Outcome {
    let device = shared(engine)?;
    let blocks = (0..20_000).map(|n| Ok(device.alloc(1 + n % 600, 1)?.handle));
    let blocks = blocks.collect::<Outcome<Vec<_>>>()?;
    for handle in blocks.iter().step_by(2) {
        device.free(*handle)?;
    }
    for (name, call) in long_calls(engine, &device, blocks.len() as u64) {
        let longest = heart.stood_still(&call).about(name)?;
        holds(
            longest <= LONGEST,
            format_args!("{name} lets the scheduler in within {LONGEST:?}, not {longest:?}"),
        )?;
    }
    Ok(())
}
