// SPDX-License-Identifier: GPL-2.0

//! BENCH: parameters, results, and cleanup.

use std::{
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
    uapi::{
        self,
        BenchPattern,
        BenchSubject,
        Engine,
        slablab_bench, //
    },
};

use super::{
    child::{
        Child,
        ChildRole, //
    },
    fixture::{
        KIB,
        MIB,
        POOL_UNIT,
        filled,
        intact,
        private_of,
        unchanged, //
    },
    prelude::*,
    quotas::as_nobody,
};

suite!("bench" {
    Once every_allocator_runs_every_pattern_without_a_leak,
    Once percentiles_are_ordered,
    Once operations_are_whole_rounds_unless_timed_singly,
    Once lock_counts_are_reproducible,
    Once bench_does_not_change_the_session_or_its_pool,
    Once parameters_out_of_range_are_einval,
    Once contradictory_parameters_are_einval,
    Once blocks_that_may_not_fit_are_enospc,
    Once more_than_the_budget_is_edquot,
    Once a_cache_of_several_sizes_is_eopnotsupp,
    Once an_engine_that_refuses_is_measured_nevertheless,
    Once a_user_without_privilege_cannot_measure,
    Once threads_measure_together,
    Once a_thread_without_partners_times_out,
    Once a_killed_bench_leaks_nothing,
});

/// The number of slots of the patterns in these tests.
const SLOTS: u32 = 100;

/// Returns the allocators of every module. Only a module that was built with STUDENT=1 has `student`, too.
fn subjects() -> impl Iterator<Item = BenchSubject> {
    let all = BenchSubject::ALL.iter().copied();
    all.filter(|subject| *subject != BenchSubject::Student)
}

/// Returns the parameters of a short bench.
pub(super) fn small(subject: BenchSubject, pattern: BenchPattern) -> slablab_bench {
    let mut bench = slablab_bench {
        subject: subject.raw(),
        pattern: pattern.raw(),
        threads: 1,
        pool_bytes: 16 * MIB,
        size: 3000,
        count: 2048,
        seed: 7,
        slots: SLOTS,
        ..Default::default()
    };
    match pattern {
        BenchPattern::Replace => bench.size_min = 8,
        BenchPattern::Handover => bench.threads = 2,
        BenchPattern::Fragments => {
            bench.flags = uapi::SLABLAB_BENCH_SINGLY;
            bench.count = u64::from(SLOTS / 2);
            bench.size = 8 * KIB;
        }
        _ => {}
    }
    bench
}

/// Returns the parameters of a bench that takes longer than any test waits.
pub(super) fn endless() -> slablab_bench {
    slablab_bench {
        count: uapi::SLABLAB_BENCH_COUNT_MAX.into(),
        size: 64 * KIB,
        ..small(BenchSubject::Seed, BenchPattern::Lifo)
    }
}

/// Calls BENCH on `bench.threads` threads and returns the reply to each.
fn all(device: &Device, bench: &slablab_bench) -> Vec<Result<slablab_bench, Errno>> {
    thread::scope(|scope| {
        let threads: Vec<_> = (0..bench.threads)
            .map(|_| scope.spawn(|| device.bench(bench)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or(Err(Errno::IO)))
            .collect()
    })
}

/// Checks that the bench found no wrong block and no broken rule.
#[track_caller]
fn right(bench: &slablab_bench) -> TestResult {
    check_eq("wrong blocks", bench.wrong_blocks, 0)?;
    check_eq("broken rule", bench.rule, uapi::SLABLAB_RULE_NONE)
}

fn every_allocator_runs_every_pattern_without_a_leak() -> TestResult {
    let device = Device::open()?;
    for subject in subjects() {
        for pattern in BenchPattern::ALL {
            let bench = small(subject, *pattern);
            let several_sizes = *pattern == BenchPattern::Replace;
            if subject == BenchSubject::KmemCache && several_sizes {
                continue;
            }
            let about = format!("{subject}, {pattern}");
            let mut checked_blocks = 0;
            for reply in all(&device, &bench) {
                let reply = reply.map_err(TestError::from).about(&about)?;
                right(&reply).about(&about)?;
                check_eq("refusals", reply.refusals, 0).about(&about)?;
                checked_blocks += reply.checked_blocks;
            }
            let real = subject != BenchSubject::Nothing;
            check_eq("blocks were checked", checked_blocks > 0, real).about(&about)?;
            check_eq("private_bytes_used", device.info()?.private_bytes_used, 0).about(&about)?;
            if !BenchSubject::ENGINES.contains(&subject) {
                let reply = device.bench(&small(subject, BenchPattern::Pair))?;
                check_eq("lock acquisitions", reply.lock_acquisitions, 0).about(&about)?;
            }
        }
    }
    Ok(())
}

fn percentiles_are_ordered() -> TestResult {
    let device = Device::open()?;
    for flags in [0, uapi::SLABLAB_BENCH_SINGLY] {
        for subject in subjects() {
            let reply = device.bench(&slablab_bench {
                flags,
                ..small(subject, BenchPattern::Churn)
            })?;
            let order = [reply.min_ns, reply.p50_ns, reply.p99_ns, reply.max_ns];
            check(
                order.is_sorted(),
                format_args!("minimum, p50, p99 and maximum are sorted: {order:?}"),
            )
            .about(subject)?;
            let samples = u64::from(reply.samples);
            let bounds = samples * reply.min_ns..=samples * reply.max_ns;
            check(
                bounds.contains(&reply.total_ns),
                format_args!("total_ns is in {bounds:?}, not {}", reply.total_ns),
            )
            .about(subject)?;
            check(
                reply.span_ns >= reply.total_ns,
                "span_ns is at least total_ns",
            )
            .about(subject)?;
            check_eq(
                "operations of all threads",
                reply.span_operations,
                reply.operations,
            )?;
        }
    }
    Ok(())
}

fn operations_are_whole_rounds_unless_timed_singly() -> TestResult {
    let device = Device::open()?;
    let rounds = |pattern, flags, count| {
        device
            .bench(&slablab_bench {
                flags,
                count,
                ..small(BenchSubject::Kmalloc, pattern)
            })
            .map(|reply| {
                let samples = reply.samples + reply.disturbed;
                (reply.operations, samples, reply.sample_operations)
            })
    };
    let singly = uapi::SLABLAB_BENCH_SINGLY;
    check_eq(
        "pairs of one round",
        rounds(BenchPattern::Pair, 0, 1)?,
        (1024, 1, 1024),
    )?;
    check_eq(
        "pairs of three rounds",
        rounds(BenchPattern::Pair, 0, 2049)?,
        (3072, 3, 1024),
    )?;
    check_eq(
        "operations timed singly",
        rounds(BenchPattern::Pair, singly, 5)?,
        (5, 5, 1),
    )?;
    check_eq(
        "batches",
        rounds(BenchPattern::Lifo, 0, 101)?,
        (200, 2, 100),
    )?;
    check_eq(
        "allocations and frees timed singly",
        rounds(BenchPattern::Fifo, singly, 100)?,
        (100, 200, 1),
    )
}

fn lock_counts_are_reproducible() -> TestResult {
    let device = Device::open()?;
    // On another CPU the thread would fill that CPU's magazines under the lock.
    let _cpu = CpuPin::current()?;
    for subject in BenchSubject::ENGINES {
        let bench = small(subject, BenchPattern::Replace);
        let first = device.bench(&bench)?.lock_acquisitions;
        check_eq(
            "lock acquisitions of the second run",
            device.bench(&bench)?.lock_acquisitions,
            first,
        )
        .about(subject)?;
    }
    // The seed acquires its lock for each allocation and for each free.
    let reply = device.bench(&small(BenchSubject::Seed, BenchPattern::Pair))?;
    check_eq(
        "lock acquisitions",
        reply.lock_acquisitions,
        2 * reply.operations,
    )
}

fn bench_does_not_change_the_session_or_its_pool() -> TestResult {
    let device = private_of(Engine::Hybrid, MIB)?;
    let handle = filled(&device, 5000, 3)?;
    unchanged(&device, || {
        right(&device.bench(&small(BenchSubject::Hybrid, BenchPattern::Churn))?)
    })?;
    intact(&device, handle, 5000, 3)?;
    // A file that has no session does not get one.
    let unbound = Device::open()?;
    unbound.bench(&small(BenchSubject::Hybrid, BenchPattern::Pair))?;
    Ok(unbound.bind(Engine::Slub.raw(), 0, 0)?)
}

/// Checks that a valid bench is refused with `errno` after `spoil` has changed it.
#[track_caller]
fn spoilt(
    about: &str,
    pattern: BenchPattern,
    errno: Errno,
    spoil: impl Fn(&mut slablab_bench),
) -> TestResult {
    let device = Device::open()?;
    let mut bench = small(BenchSubject::Hybrid, pattern);
    spoil(&mut bench);
    refused(device.bench(&bench), errno).about(about)
}

fn parameters_out_of_range_are_einval() -> TestResult {
    let refuse = |about, spoil: fn(&mut slablab_bench)| {
        spoilt(about, BenchPattern::Churn, Errno::INVAL, spoil)
    };
    refuse("subject after the last one", |bench| {
        let numbers = BenchSubject::ALL.iter().map(|subject| subject.raw());
        bench.subject = numbers.max().unwrap_or_default() + 1;
    })?;
    refuse("subject 2^32 - 1", |bench| bench.subject = u32::MAX)?;
    refuse("pattern after the last one", |bench| bench.pattern = 7)?;
    refuse("pattern 2^32 - 1", |bench| bench.pattern = u32::MAX)?;
    refuse("0 threads", |bench| bench.threads = 0)?;
    refuse("too many threads", |bench| {
        bench.threads = uapi::SLABLAB_BENCH_THREADS_MAX + 1;
    })?;
    refuse("pool of 0 bytes", |bench| bench.pool_bytes = 0)?;
    refuse("pool size that is not a multiple of the unit", |bench| {
        bench.pool_bytes += 1
    })?;
    refuse("pool size above the maximum", |bench| {
        bench.pool_bytes = (4 << 30) + POOL_UNIT
    })?;
    refuse(
        "largest 64-bit multiple of the unit as pool size",
        |bench| bench.pool_bytes = u64::MAX - POOL_UNIT + 1,
    )?;
    refuse("size 0", |bench| bench.size = 0)?;
    refuse("size above the maximum", |bench| {
        bench.size = u64::from(uapi::SLABLAB_BENCH_SIZE_MAX) + 1;
    })?;
    refuse("size 2^64 - 1", |bench| bench.size = u64::MAX)?;
    refuse("0 operations", |bench| bench.count = 0)?;
    refuse("too many operations", |bench| {
        bench.count = u64::from(uapi::SLABLAB_BENCH_COUNT_MAX) + 1;
    })?;
    refuse("2^64 - 1 operations", |bench| bench.count = u64::MAX)?;
    refuse("0 slots", |bench| bench.slots = 0)?;
    refuse("too many slots", |bench| {
        bench.slots = uapi::SLABLAB_BENCH_SLOTS_MAX + 1;
    })?;
    refuse("2^32 - 1 slots", |bench| bench.slots = u32::MAX)
}

fn contradictory_parameters_are_einval() -> TestResult {
    let refuse =
        |about, pattern, spoil: fn(&mut slablab_bench)| spoilt(about, pattern, Errno::INVAL, spoil);
    let singly = uapi::SLABLAB_BENCH_SINGLY;
    refuse("pair with size_min", BenchPattern::Pair, |bench| {
        bench.size_min = 8;
    })?;
    refuse("replace without size_min", BenchPattern::Replace, |bench| {
        bench.size_min = 0;
    })?;
    refuse("size_min above size", BenchPattern::Replace, |bench| {
        bench.size_min = bench.size + 1;
    })?;
    for pattern in [BenchPattern::Lifo, BenchPattern::Fifo] {
        refuse("batch larger than a round", pattern, |bench| {
            bench.slots = uapi::SLABLAB_BENCH_ROUND + 1;
        })?;
    }
    refuse(
        "handover with one thread",
        BenchPattern::Handover,
        |bench| {
            bench.threads = 1;
        },
    )?;
    refuse(
        "handover with three threads",
        BenchPattern::Handover,
        |bench| {
            bench.threads = 3;
        },
    )?;
    refuse(
        "fragments without SINGLY",
        BenchPattern::Fragments,
        |bench| {
            bench.flags = 0;
        },
    )?;
    refuse(
        "more operations than fragments",
        BenchPattern::Fragments,
        |bench| {
            bench.count = u64::from(bench.slots / 2) + 1;
        },
    )?;
    refuse(
        "fragments with one slot",
        BenchPattern::Fragments,
        |bench| {
            (bench.slots, bench.count) = (1, 1);
        },
    )?;
    spoilt(
        "too many samples",
        BenchPattern::Pair,
        Errno::INVAL,
        |bench| {
            bench.flags = singly;
            bench.count = u64::from(uapi::SLABLAB_BENCH_SAMPLES_MAX) + 1;
        },
    )?;
    spoilt(
        "too many rounds",
        BenchPattern::Lifo,
        Errno::INVAL,
        |bench| {
            bench.slots = 1;
            bench.count = u64::from(uapi::SLABLAB_BENCH_SAMPLES_MAX) + 1;
        },
    )
}

fn blocks_that_may_not_fit_are_enospc() -> TestResult {
    let device = Device::open()?;
    let bench = slablab_bench {
        size: 4097,
        slots: 7,
        pool_bytes: 2 * POOL_UNIT,
        ..small(BenchSubject::Kmalloc, BenchPattern::Churn)
    };
    right(&device.bench(&bench)?)?;
    for spoilt in [
        slablab_bench { slots: 8, ..bench },
        slablab_bench {
            size: 8193,
            ..bench
        },
        slablab_bench {
            threads: 2,
            ..bench
        },
        slablab_bench {
            pool_bytes: POOL_UNIT,
            ..bench
        },
    ] {
        refused(device.bench(&spoilt), Errno::NOSPC)?;
    }
    Ok(())
}

fn more_than_the_budget_is_edquot() -> TestResult {
    let device = Device::open()?;
    let budget = device.info()?.private_bytes_max;
    for subject in subjects() {
        // The pool alone fits into the budget, but not together with the metadata, slots and samples of the
        // bench.
        let bench = slablab_bench {
            pool_bytes: budget / POOL_UNIT * POOL_UNIT,
            ..small(subject, BenchPattern::Pair)
        };
        refused(device.bench(&bench), Errno::DQUOT).about(subject)?;
    }
    // A private pool of another session leaves less of the budget than the bench needs.
    let neighbour = budget - 8 * MIB - budget / 32;
    let _neighbour = private_of(Engine::Hybrid, neighbour / POOL_UNIT * POOL_UNIT)?;
    refused(
        device.bench(&small(BenchSubject::Hybrid, BenchPattern::Pair)),
        Errno::DQUOT,
    )
}

fn a_cache_of_several_sizes_is_eopnotsupp() -> TestResult {
    let bench = small(BenchSubject::KmemCache, BenchPattern::Replace);
    refused(Device::open()?.bench(&bench), Errno::OPNOTSUPP)
}

fn an_engine_that_refuses_is_measured_nevertheless() -> TestResult {
    // The seed grows a class by 64 blocks. This pool is too small for 64 blocks of 1,024 bytes.
    for pattern in [BenchPattern::Pair, BenchPattern::Lifo, BenchPattern::Churn] {
        let reply = Device::open()?.bench(&slablab_bench {
            pool_bytes: POOL_UNIT,
            size: 1024,
            slots: 10,
            ..small(BenchSubject::Seed, pattern)
        })?;
        right(&reply).about(pattern)?;
        check(reply.refusals > 0, "the engine refuses requests").about(pattern)?;
        check_eq("checked blocks", reply.checked_blocks, 0).about(pattern)?;
    }
    Ok(())
}

fn a_user_without_privilege_cannot_measure() -> TestResult {
    let device = Device::open()?;
    let bench = small(BenchSubject::Nothing, BenchPattern::Pair);
    as_nobody(|| refused(device.bench(&bench), Errno::PERM))?;
    device.bench(&bench)?;
    Ok(())
}

fn threads_measure_together() -> TestResult {
    let device = Device::open()?;
    for subject in subjects() {
        for threads in [2, 3, uapi::SLABLAB_BENCH_THREADS_MAX] {
            let bench = slablab_bench {
                threads,
                ..small(subject, BenchPattern::Churn)
            };
            let about = format!("{subject}, {threads} threads");
            let replies = all(&device, &bench);
            let together = |reply: &slablab_bench| {
                let span = (reply.span_ns, reply.span_operations);
                (span, reply.lock_acquisitions)
            };
            let first = together(&replies[0].map_err(TestError::from).about(&about)?);
            check_eq("operations", first.0.1, u64::from(threads) * 2048).about(&about)?;
            for reply in replies {
                let reply = reply?;
                right(&reply).about(&about)?;
                check_eq(
                    "span and lock acquisitions of all threads",
                    together(&reply),
                    first,
                )
                .about(&about)?;
                check(
                    reply.total_ns <= reply.span_ns,
                    "total_ns is at most span_ns",
                )
                .about(&about)?;
            }
        }
    }
    Ok(())
}

fn a_thread_without_partners_times_out() -> TestResult {
    let device = Device::open()?;
    let bench = small(BenchSubject::Hybrid, BenchPattern::Handover);
    thread::scope(|scope| {
        let alone = scope.spawn(|| device.bench(&bench));
        while device.info()?.private_bytes_used == 0 {
            thread::sleep(Duration::from_millis(1));
        }
        // While the first call waits, a call with other parameters is refused, and a bench of one thread
        // runs.
        let other = slablab_bench { seed: 8, ..bench };
        refused(device.bench(&other), Errno::BUSY)?;
        right(&device.bench(&small(BenchSubject::Hybrid, BenchPattern::Pair))?)?;
        refused(alone.join().unwrap_or(Err(Errno::IO)), Errno::TIMEDOUT)
    })?;
    check_eq("private_bytes_used", device.info()?.private_bytes_used, 0)?;
    // The call that timed out does not affect later calls.
    for reply in all(&device, &bench) {
        right(&reply?)?;
    }
    Ok(())
}

fn a_killed_bench_leaks_nothing() -> TestResult {
    let observer = Device::open()?;
    for round in 0..5 {
        let mut child = Child::start(ChildRole::Bench, Engine::Seed)?;
        child.heard()?;
        thread::sleep(Duration::from_millis(20 + 30 * round));
        child.kill()?;
        let begin = Instant::now();
        while observer.info()?.private_bytes_used > 0 {
            check(
                begin.elapsed() < Duration::from_secs(20),
                "the charge of the killed bench is refunded within 20 s",
            )?;
            thread::sleep(Duration::from_millis(1));
        }
    }
    Ok(())
}
