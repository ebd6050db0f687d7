// SPDX-License-Identifier: GPL-2.0

//! Replays of correct engines, and of a faulty target.

use std::sync::atomic::{
    AtomicU32,
    Ordering, //
};

use proptest::prelude::*;
use slablab_trace::{
    Builder,
    Trace,
    pattern,
    rng::Rng, //
};

use super::*;
use crate::{
    oracle::fault_injecting_backend::Faulty,
    sim::{
        Pool,
        Sim, //
    },
    target::Target,
    uapi::{
        self,
        Engine,
        slablab_operation, //
    },
};

const MIB: u64 = 1 << 20;

fn sim(engine: Engine, pool_bytes: u64) -> Sim {
    Sim::private(engine, pool_bytes).unwrap()
}

/// The offset of the first block of 100 bytes in the seed.
const FIRST: u64 = 8064;

/// Returns a trace with three blocks. The first block grows and shrinks, and the second is freed before the
/// third is allocated.
fn small() -> Trace {
    let mut trace = Builder::new();
    let first = trace.alloc(100, 64);
    let second = trace.alloc(5000, 8);
    trace.realloc(first, 300);
    trace.free(second);
    trace.alloc(40, 8);
    trace.realloc(first, 20);
    trace.finish("small", "")
}

#[test]
fn figures_are_what_can_be_counted_by_hand() {
    for engine in Pool::ENGINES {
        let ran = checked(&sim(engine, MIB), &small()).unwrap();
        assert_eq!(ran.answers.len(), 6);
        assert!(
            ran.answers
                .iter()
                .all(|answer| answer.outcome == OpOutcome::Done)
        );
        assert_eq!((ran.figures.done, ran.figures.peak_bytes), (6, 5300));
        assert!(ran.figures.is_complete());
        let usable = ran.answers[1].usable + ran.answers[2].usable;
        assert_eq!(ran.figures.usable_at_peak, usable);
        assert_eq!(ran.figures.peak_usable, usable);
    }
}

#[test]
fn operations_on_a_refused_block_are_left_out() {
    let mut trace = Builder::new();
    let first = trace.alloc(600 << 10, 8);
    let second = trace.alloc(600 << 10, 8);
    trace.realloc(second, 100);
    trace.realloc(first, 2 << 20);
    trace.free(second);
    trace.free(first);
    let third = trace.alloc(100, 8);
    trace.free(third);
    let trace = trace.finish("refused", "");
    let ran = checked(&sim(Engine::Hybrid, MIB), &trace).unwrap();
    let fates: Vec<_> = ran.answers.iter().map(|answer| answer.outcome).collect();
    let expected = [
        OpOutcome::Done,
        OpOutcome::Refused(Cause::Exhausted),
        OpOutcome::LeftOut,
        OpOutcome::Refused(Cause::TooBig),
        OpOutcome::LeftOut,
        OpOutcome::Done,
        OpOutcome::Done,
        OpOutcome::Done,
    ];
    assert_eq!(fates, expected);
    assert_eq!((ran.figures.done, ran.figures.left_out), (4, 2));
    assert!(!ran.figures.is_complete());
    // The refused REALLOC has not changed the block.
    assert_eq!(ran.answers[3].usable, ran.answers[0].usable);
    assert!(!fits(&sim(Engine::Hybrid, MIB), &trace).unwrap());
}

/// Returns the failure of a replay in which `change` changes the answers to operations.
fn failure(change: impl Fn(usize, &mut slablab_operation) + Sync + 'static) -> Failure {
    let faulty = Faulty {
        submit: Box::new(move |_, operations| {
            for (index, operation) in operations.iter_mut().enumerate() {
                change(index, operation);
            }
        }),
        ..Faulty::default()
    };
    checked(&faulty, &small()).unwrap_err()
}

#[test]
fn wrong_answers_name_the_first_operation_that_shows_them() {
    let of_size = |usable: u64| move |operation: &slablab_operation| operation.bytes >= usable;
    // The block of 5000 bytes is the second operation.
    let second = of_size(5000);
    let misplaced = failure(move |_, operation| {
        if second(operation) {
            operation.offset = MIB;
        }
    });
    assert_eq!(misplaced.operation, 2);
    assert_eq!(misplaced.what, "allocate 5000 bytes");
    assert!(matches!(misplaced.violation, Violation::OutsidePool { .. }));

    let overlapping = failure(move |_, operation| {
        if second(operation) {
            operation.offset = FIRST + 64;
        }
    });
    assert_eq!(overlapping.operation, 2);
    assert!(matches!(overlapping.violation, Violation::Overlap { .. }));

    let renamed = failure(|_, operation| {
        if u32::from(operation.kind) == uapi::SLABLAB_OP_REALLOC {
            operation.handle += 1;
        }
    });
    assert_eq!(renamed.operation, 3);
    assert_eq!(
        renamed.what,
        "reallocate the block of operation 1 to 300 bytes"
    );

    let too_small = failure(|_, operation| {
        if u32::from(operation.kind) == uapi::SLABLAB_OP_REALLOC {
            operation.bytes = 299;
        }
    });
    assert_eq!(too_small.operation, 3);
    assert!(matches!(too_small.violation, Violation::TooSmall { .. }));
}

#[test]
fn contents_are_compared_across_reallocations() {
    let faulty = Faulty {
        submit: Box::new(|sim, operations| {
            let resized = operations
                .iter()
                .find(|operation| u32::from(operation.kind) == uapi::SLABLAB_OP_REALLOC);
            if let Some(operation) = resized {
                sim.write(operation.handle, 50, &[0x55]).unwrap();
            }
        }),
        ..Faulty::default()
    };
    let failure = checked(&faulty, &small()).unwrap_err();
    assert_eq!(failure.operation, 3);
    assert!(matches!(
        failure.violation,
        Violation::Corrupt { byte: 50, .. }
    ));
}

#[test]
fn contents_are_compared_before_a_free() {
    let mut trace = Builder::new();
    let first = trace.alloc(100, 8);
    let second = trace.alloc(100, 8);
    trace.realloc(first, 50);
    trace.realloc(first, 60);
    trace.free(second);
    // The first three calls have two, one and two operations.
    let handle = AtomicU32::new(0);
    let faulty = Faulty {
        submit: Box::new(move |sim, operations| match operations {
            [_, second] => {
                handle.fetch_max(second.handle, Ordering::Relaxed);
            }
            _ => {
                let second = handle.load(Ordering::Relaxed);
                sim.write(second, 99, &[0x55]).unwrap();
            }
        }),
        ..Faulty::default()
    };
    let failure = checked(&faulty, &trace.finish("freed", "")).unwrap_err();
    assert_eq!(failure.operation, 5);
    assert!(matches!(
        failure.violation,
        Violation::Corrupt { byte: 99, .. }
    ));
}

#[test]
fn every_pattern_has_the_same_answers_each_time_and_fits_where_it_was_done() {
    for pattern in pattern::workloads() {
        let trace = pattern.make(1, 1);
        for engine in Pool::ENGINES {
            let run = || checked(&sim(engine, 8 * MIB), &trace).unwrap();
            let (one, other) = (run(), run());
            assert_eq!(one.answers, other.answers, "{} on {engine}", pattern.name);
            assert_eq!(one.figures.peak_bytes, trace.peak_bytes());
            let fits = fits(&sim(engine, 8 * MIB), &trace).unwrap();
            assert_eq!(fits, one.figures.is_complete(), "{}", pattern.name);
        }
    }
}

#[test]
fn an_unsupported_alignment_is_a_refusal_in_all_three_replays() {
    let mut trace = Builder::new();
    let first = trace.alloc(100, 8192);
    trace.alloc(100, 8);
    trace.free(first);
    let trace = trace.finish("aligned", "");
    assert_eq!(trace.align_max(), 8192);
    for (engine, done) in [(Engine::Seed, 1), (Engine::Hybrid, 3)] {
        let ran = checked(&sim(engine, MIB), &trace).unwrap();
        assert_eq!(ran.figures.done, done);
        assert_eq!(fits(&sim(engine, MIB), &trace), Ok(done == 3));
        let open = || -> anyhow::Result<Box<dyn Target>> { Ok(Box::new(sim(engine, MIB))) };
        assert_eq!(times(&trace, 1, open).unwrap().operations, done);
    }
}

#[test]
fn every_operation_that_is_done_has_a_time() {
    let trace = pattern::named("vectors").unwrap().make(1, 2);
    let open = || -> anyhow::Result<Box<dyn Target>> { Ok(Box::new(sim(Engine::Hybrid, MIB))) };
    let times = times(&trace, 2, open).unwrap();
    assert_eq!(times.operations, trace.ops().len() as u64);
    assert!(times.p50 <= times.p99 && times.p99 <= times.max);
    assert!(times.sum >= times.max);
}

/// Returns a trace of random operations. A pool of 256 KiB refuses some of them.
fn random(seed: u64, operations: usize) -> Trace {
    let mut rng = Rng::new(seed);
    let mut builder = Builder::new();
    let mut live = Vec::new();
    for _ in 0..operations {
        let pick = rng.index(live.len().max(1));
        match rng.below(5) {
            0 | 1 if !live.is_empty() => builder.free(live.swap_remove(pick)),
            2 if !live.is_empty() => builder.realloc(live[pick], rng.doubling(1, 1 << 16) as u32),
            _ => {
                let size = rng.doubling(1, 1 << 16) as u32;
                live.push(builder.alloc(size, 1 << rng.below(13)));
            }
        }
    }
    builder.finish("random", "")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    // Operations in batches of any size have the same answers as single operations.
    #[test]
    fn single_operations_have_the_answers_of_batches(seed: u64, operations in 1_usize..300) {
        let trace = random(seed, operations);
        for engine in Pool::ENGINES {
            let ran = checked(&sim(engine, MIB / 4), &trace).unwrap();
            let target = sim(engine, MIB / 4);
            let oracle = crate::oracle::Oracle::new(&target, 1).unwrap();
            let mut run = Checked::new(&trace, &oracle);
            for end in 1..=trace.ops().len() {
                run.advance(end).unwrap();
            }
            prop_assert_eq!(run.answers(), &*ran.answers);
            let fits = fits(&sim(engine, MIB / 4), &trace).unwrap();
            prop_assert_eq!(fits, ran.figures.is_complete());
        }
    }
}
