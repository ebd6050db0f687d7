// SPDX-License-Identifier: GPL-2.0

//! A request can get memory from the magazines of all CPUs, whatever runs on these CPUs.

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
    device::{
        Device,
        Errno, //
    },
    real_time::{
        self,
        Unthrottled, //
    },
    uapi::{
        Engine,
        SLABLAB_PATH_MAGAZINE, //
    },
};

use super::{
    fixture::{
        KIB,
        MIB,
        private_of,
        rounds,
        sound, //
    },
    prelude::*, //
};

suite!("reclaim" {
    Magazines magazines_of_a_cpu_under_a_real_time_task_are_reclaimed,
    Magazines no_request_is_refused_because_another_task_was_preempted,
    Magazines an_idle_cpu_releases_the_reserve,
});

/// The size of a page in bytes.
const PAGE: u64 = 4 * KIB;

/// Skips a test that needs two CPUs on a machine with one.
fn two_cpus() -> TestResult {
    match thread::available_parallelism()?.get() {
        1 => Err(TestError::skipped("the machine has one CPU")),
        _ => Ok(()),
    }
}

/// Allocates blocks of `size` bytes until one is refused, and returns their handles.
fn fill(device: &Device, size: u64) -> TestResult<Vec<u32>> {
    let mut handles = Vec::new();
    loop {
        match device.alloc(size, 8) {
            Ok(reply) => handles.push(reply.handle),
            Err(refused) if refused.errno == Errno::NOMEM => return Ok(handles),
            Err(refused) => return Err(refused.errno.into()),
        }
    }
}

fn magazines_of_a_cpu_under_a_real_time_task_are_reclaimed(engine: Engine) -> TestResult {
    /// After this time the task ends, and the test fails.
    const PATIENCE: Duration = Duration::from_secs(20);
    two_cpus()?;
    let device = private_of(engine, MIB)?;
    let here = CpuPin::to(0)?;
    let blocks = (0..40).map(|_| Ok(device.alloc(64, 8)?.handle));
    let blocks = blocks.collect::<TestResult<Vec<_>>>()?;
    fill(&device, PAGE)?;
    let filled = device.stats()?.live_bytes;
    drop(here);
    {
        let _there = CpuPin::to(1)?;
        for handle in blocks {
            device.free(handle)?;
        }
    }
    check(
        device.stats()?.magazine_bytes > 0,
        "the magazines of CPU 1 have blocks",
    )?;

    let _unthrottled = Unthrottled::new()?;
    let (started, stop) = (AtomicBool::new(false), AtomicBool::new(false));
    // Occupies CPU 1 until `stop` is set, and returns whether it was set within `PATIENCE`.
    let occupy = || -> TestResult<bool> {
        let _there = CpuPin::to(1)?;
        real_time::become_first()?;
        let begin = Instant::now();
        started.store(true, Ordering::Relaxed);
        while !stop.load(Ordering::Relaxed) {
            if begin.elapsed() > PATIENCE {
                return Ok(false);
            }
        }
        Ok(true)
    };
    let in_time = thread::scope(|scope| -> TestResult<bool> {
        let occupied = scope.spawn(occupy);
        let served = (|| -> TestResult {
            let _here = CpuPin::to(0)?;
            while !started.load(Ordering::Relaxed) && !occupied.is_finished() {
                thread::yield_now();
            }
            // As many bytes as were live before are allocated; some of the blocks come from the magazine of
            // CPU 1. The next request is refused after the magazines of all CPUs were searched.
            while device.stats()?.live_bytes < filled {
                device.alloc(64, 8)?;
            }
            let refused = device.alloc(PAGE, 8).map(|_| ());
            check(refused.is_err(), "a request for one more page is refused")
        })();
        stop.store(true, Ordering::Relaxed);
        let in_time = occupied.join();
        served?;
        in_time.unwrap_or_else(|_| Err(TestError::failed("the task panicked")))
    })?;
    check(in_time, "the requests end before the task stops after 20 s")?;
    sound(&device)
}

/// Two tasks on one CPU never have more live blocks than fit. One task has a higher priority and
/// preempts the other one at any point.
fn no_request_is_refused_because_another_task_was_preempted(engine: Engine) -> TestResult {
    /// The pages of the pool, the maximum number of live pages of each task, and the pages that always stay
    /// free.
    const PAGES: u64 = 1024;
    const EACH: usize = 300;
    const SPARE: u64 = 8;
    let device = private_of(engine, PAGES * PAGE)?;
    let _here = CpuPin::to(0)?;
    for _ in 0..PAGES - 2 * EACH as u64 - SPARE {
        device.alloc(PAGE, 8)?;
    }
    let stop = AtomicBool::new(false);
    // Allocates and frees `EACH` pages, and returns the number of refused requests.
    let turn = || -> TestResult<u64> {
        let mut refused = 0;
        let mut handles = Vec::with_capacity(EACH);
        for _ in 0..EACH {
            match device.alloc(PAGE, 8) {
                Ok(reply) => handles.push(reply.handle),
                Err(_) => refused += 1,
            }
        }
        handles
            .into_iter()
            .rev()
            .try_for_each(|handle| device.free(handle))?;
        Ok(refused)
    };
    let turns = AtomicU64::new(0);
    let low = || -> TestResult<u64> {
        let mut refused = 0;
        while !stop.load(Ordering::Relaxed) {
            refused += turn()?;
            turns.fetch_add(1, Ordering::Relaxed);
        }
        Ok(refused)
    };
    let high = || -> TestResult<u64> {
        real_time::become_first()?;
        let mut refused = 0;
        for round in 0..rounds(3000, 20_000) {
            // The sleep takes 100 to 500 µs, so that the task wakes at any point of the other task's calls.
            thread::sleep(Duration::from_micros(100 + round * 7919 % 400));
            refused += turn()?;
        }
        Ok(refused)
    };
    let refused = thread::scope(|scope| -> TestResult<[u64; 2]> {
        let (low, high) = (scope.spawn(low), scope.spawn(high));
        let panicked = |_| Err(TestError::failed("a task panicked"));
        let high = high.join().unwrap_or_else(panicked);
        stop.store(true, Ordering::Relaxed);
        let low = low.join().unwrap_or_else(panicked);
        Ok([low?, high?])
    })?;
    check(turns.load(Ordering::Relaxed) > 0, "the other task runs")?;
    check_eq("refused requests", refused, [0, 0])?;
    sound(&device)
}

fn an_idle_cpu_releases_the_reserve(engine: Engine) -> TestResult {
    /// The number of pairs of ALLOC and FREE after which every ALLOC must be served from a magazine.
    const PAIRS: u64 = 1000;
    two_cpus()?;
    let device = private_of(engine, MIB)?;
    {
        let _there = CpuPin::to(1)?;
        // Blocks of many sizes are allocated and freed several times. The magazines of CPU 1 grow until they
        // have the whole reserve.
        for size in (0..6).flat_map(|_| (1..=64).map(|n| n * 16)) {
            let handles = (0..40).map(|_| Ok(device.alloc(size, 8)?.handle));
            for handle in handles.collect::<TestResult<Vec<_>>>()? {
                device.free(handle)?;
            }
        }
    }
    check(
        device.stats()?.magazine_bytes > 0,
        "the magazines of CPU 1 have blocks",
    )?;
    let _here = CpuPin::to(0)?;
    let pair = || -> TestResult<bool> {
        let reply = device.alloc(64, 8)?;
        device.free(reply.handle)?;
        Ok(u32::from(reply.cost.path) == SLABLAB_PATH_MAGAZINE)
    };
    for _ in 0..PAIRS {
        pair()?;
    }
    for _ in 0..100 {
        check(pair()?, "the block comes from a magazine")?;
    }
    sound(&device)
}
