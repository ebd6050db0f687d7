// SPDX-License-Identifier: GPL-2.0

//! Tests of the workloads, on the target `sim` and on targets with faults.

use std::time::Duration;

use super::*;
use crate::{
    oracle::{
        Summary,
        fault_injecting_backend::Faulty, //
    },
    sim::{
        Pool,
        Sim, //
    },
    target::Target,
    uapi::{
        Cause,
        Engine, //
    },
};

const SEED: u64 = 11;

/// The number of operations: enough for a few rounds in the small pool of these tests.
const OPERATIONS: u64 = 3_000;

fn stress(
    target: &dyn Target,
    workload: &Workload,
    limit: Limit,
) -> Result<Summary, WorkloadFailure> {
    let oracle = Oracle::new(target, SEED).unwrap();
    let budget = WorkloadBudget::start(limit);
    workload.run(&oracle, &budget, SEED, 3)?;
    if let Limit::Operations(operations) = limit {
        assert_eq!(budget.done(), operations);
    }
    oracle.finish().map_err(|violation| WorkloadFailure {
        operation: budget.done(),
        violation,
    })
}

fn sim() -> Sim {
    sim_of(Engine::Seed)
}

fn sim_of(engine: Engine) -> Sim {
    Sim::private(engine, 4 << 20).unwrap()
}

#[test]
fn every_workload_passes_on_every_engine() {
    for engine in Pool::ENGINES {
        for workload in &WORKLOADS {
            let name = workload.name;
            let limit = Limit::Operations(OPERATIONS);
            let summary = stress(&sim_of(engine), workload, limit).unwrap();
            let tally = &summary.tally;
            assert_eq!(tally.allocations, tally.frees, "{engine} {name}");
            assert!(tally.allocations > 0, "{engine} {name}");
        }
    }
}

#[test]
fn sequential_workloads_do_the_same_each_time() {
    for workload in WORKLOADS.iter().filter(|workload| workload.is_sequential) {
        let [one, other] =
            [0; 2].map(|_| stress(&sim(), workload, Limit::Operations(OPERATIONS)).unwrap());
        assert_eq!(one.trace, other.trace, "{}", workload.name);
        assert_eq!(one.tally, other.tally, "{}", workload.name);
    }
}

#[test]
fn threads_do_as_much_each_time() {
    let workload = Workload::named("threads").unwrap();
    let [one, other] =
        [0; 2].map(|_| stress(&sim(), workload, Limit::Operations(OPERATIONS)).unwrap());
    assert_eq!(one.tally, other.tally);
    assert_eq!(one.checked_bytes, other.checked_bytes);
}

#[test]
fn time_ends_a_workload_and_nothing_is_left() {
    for workload in &WORKLOADS {
        stress(&sim(), workload, Limit::Time(Duration::from_millis(20))).unwrap();
    }
}

#[test]
fn a_pool_that_is_almost_too_small_is_no_failure() {
    for workload in &WORKLOADS {
        let sim = Sim::private(Engine::Seed, 1 << 20).unwrap();
        stress(&sim, workload, Limit::Operations(1_000)).unwrap();
    }
}

/// A target that returns a wrong offset for the 100th allocation.
fn scribbling() -> Faulty {
    Faulty {
        alloc_number: 100,
        alloc: Box::new(|_, reply| {
            if let Ok(reply) = reply {
                reply.offset += 8;
            }
        }),
        ..Faulty::default()
    }
}

#[test]
fn a_failure_comes_back_with_as_many_operations() {
    let churn = Workload::named("churn").unwrap();
    let first = stress(&scribbling(), churn, Limit::Operations(OPERATIONS)).unwrap_err();
    assert!(matches!(
        first.violation,
        Violation::Misaligned { .. } | Violation::Overlap { .. }
    ));
    let again = stress(&scribbling(), churn, Limit::Operations(first.operation)).unwrap_err();
    assert_eq!(
        (again.operation, &again.violation),
        (first.operation, &first.violation)
    );
    stress(&scribbling(), churn, Limit::Operations(first.operation - 1)).unwrap();
}

#[test]
fn every_workload_passes_while_requests_fail_to_order() {
    for engine in Pool::ENGINES {
        for workload in &WORKLOADS {
            for (every, growth) in [(2, 0), (13, 3)] {
                let sim = sim_of(engine);
                sim.fail(every, growth).unwrap();
                let about = format!("{engine} {} {every} {growth}", workload.name);
                let oracle = Oracle::new(&sim, SEED).unwrap();
                let budget = WorkloadBudget::start(Limit::Operations(OPERATIONS));
                workload.run(&oracle, &budget, SEED, 3).expect(&about);
                // The refusals that the workload saw must equal the session's counters.
                let stats = oracle.finish().expect(&about).stats;
                let refused = |cause: Cause| stats.session_refusals[cause.raw() as usize];
                let by_engine = stats.refusals[Cause::Injected.raw() as usize];
                assert!(by_engine <= u64::from(growth != 0), "{about}");
                // All other injected refusals happened before the engine was called.
                let printed = [Cause::Injected, Cause::Exhausted, Cause::Fragmented].map(refused);
                let tried = stats.session_allocations + printed.iter().sum::<u64>();
                let injected = refused(Cause::Injected) - by_engine;
                assert!(injected > 0 || workload.name == "abuse", "{about}");
                // A reallocation in place needs no memory and is not counted by fault injection.
                if workload.name != "realloc" {
                    assert_eq!(injected, tried / every, "{about}");
                }
            }
        }
    }
}

#[test]
fn a_thread_s_failure_says_which_thread() {
    let threads = Workload::named("threads").unwrap();
    // An offset outside the pool is noticed whatever the other threads have allocated at that moment.
    let faulty = Faulty {
        alloc_number: 100,
        alloc: Box::new(|_, reply| {
            if let Ok(reply) = reply {
                reply.offset = 1 << 40;
            }
        }),
        ..Faulty::default()
    };
    let failure = stress(&faulty, threads, Limit::Operations(OPERATIONS)).unwrap_err();
    assert!(
        matches!(failure.violation, Violation::InThread { .. }),
        "{}",
        failure.violation
    );
}

#[test]
fn abuse_notices_a_change_that_a_bad_request_made() {
    let faulty = Faulty {
        free: Box::new(|_, reply| *reply = Ok(())),
        ..Faulty::default()
    };
    let abuse = Workload::named("abuse").unwrap();
    let failure = stress(&faulty, abuse, Limit::Operations(OPERATIONS)).unwrap_err();
    assert!(
        failure.violation.to_string().contains("FREE must fail"),
        "{}",
        failure.violation
    );
}
