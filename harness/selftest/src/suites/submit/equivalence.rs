// SPDX-License-Identifier: GPL-2.0

//! The results of SUBMIT equal those of its operations one by one, and are the same in the kernel and in this
//! process.

use crate::{
    affinity::CpuPin,
    device::Errno,
    rng::Rng,
    sim::Sim,
    target::{
        Refused,
        Target, //
    },
    uapi::{
        self,
        slablab_cost,
        slablab_operation, //
    },
};

use crate::suites::{
    fixture::{
        MIB,
        POOL_ENGINES,
        private_of,
        sound, //
    },
    prelude::*, //
};

use super::{
    alloc,
    earlier,
    free,
    realloc, //
};

suite!("submit/equivalence" {
    Once a_submission_is_the_same_as_its_operations_one_by_one,
    Once a_submission_is_the_same_in_the_kernel_and_outside,
});

fn parts(cost: &slablab_cost) -> CostFields {
    (
        cost.path,
        cost.cause,
        cost.class_index,
        cost.order,
        cost.splits,
        cost.merges,
    )
}

/// The reply to an operation: errno, handle, usable bytes, offset and cost.
type ReplyFields = (Option<Errno>, u32, u64, u64, CostFields);

/// The fields of a cost: path, cause, class, order, splits and merges.
type CostFields = (u8, u8, u8, u8, u8, u8);

/// Executes operations one by one, each with its own command, until one fails.
fn one_by_one(target: &dyn Target, operations: &[slablab_operation]) -> Vec<ReplyFields> {
    let mut answers: Vec<ReplyFields> = Vec::new();
    let refusal = |refused: Refused| (Some(refused.errno), 0, 0, 0, parts(&refused.cost));
    for operation in operations {
        let handle = if operation.flags == 0 {
            operation.handle
        } else {
            answers[operation.handle as usize].1
        };
        let align = 1 << operation.align_log2;
        let answer = match u32::from(operation.kind) {
            uapi::SLABLAB_OP_ALLOC => match target.alloc(operation.bytes, align) {
                Ok(done) => (
                    None,
                    done.handle,
                    done.usable,
                    done.offset,
                    parts(&done.cost),
                ),
                Err(refused) => refusal(refused),
            },
            uapi::SLABLAB_OP_REALLOC => match target.realloc(handle, operation.bytes) {
                Ok(done) => (None, handle, done.usable, done.offset, parts(&done.cost)),
                Err(refused) => refusal(refused),
            },
            _ => match target.free(handle) {
                Ok(()) => (None, handle, 0, 0, CostFields::default()),
                Err(errno) => (Some(errno), 0, 0, 0, CostFields::default()),
            },
        };
        answers.push(answer);
        if answer.0.is_some() {
            break;
        }
    }
    answers
}

/// Executes operations in one call, and returns the replies in the form of [`one_by_one`].
fn at_once(target: &dyn Target, operations: &[slablab_operation]) -> TestResult<Vec<ReplyFields>> {
    let mut sent = operations.to_vec();
    let answer = target.submit(&mut sent)?;
    let done = answer.done as usize;
    // The reply to a FREE outside of SUBMIT has no cost.
    let cost = |operation: &slablab_operation| match u32::from(operation.kind) {
        uapi::SLABLAB_OP_FREE => CostFields::default(),
        _ => parts(&operation.cost),
    };
    let mut answers: Vec<ReplyFields> = sent[..done]
        .iter()
        .map(|done| (None, done.handle, done.bytes, done.offset, cost(done)))
        .collect();
    if answer.error != 0 {
        let errno = Errno::from_raw_os_error(answer.error as i32);
        answers.push((Some(errno), 0, 0, 0, cost(&sent[done])));
    }
    Ok(answers)
}

/// Executes random submissions on both targets, and compares the replies. The first target gets each
/// submission in one call. The second target gets it in one call, too, or, if `singly` is set, one command
/// per operation.
fn alike(one: &dyn Target, other: &dyn Target, seed: u64, singly: bool) -> TestResult {
    // A block in the magazine of one CPU is a miss on another CPU.
    let _cpu = CpuPin::current()?;
    let mut random = Rng::new(seed);
    let mut live: Vec<u32> = Vec::new();
    for round in 0..150 {
        let most = if random.chance(1, 8) { 300 } else { 40 };
        let count = 1 + random.index(most);
        let mut operations: Vec<slablab_operation> = Vec::new();
        let mut own: Vec<usize> = Vec::new();
        for number in 0..count {
            let most = if random.chance(1, 8) { 200_000 } else { 2000 };
            let size = random.doubling(1, most);
            operations.push(match random.below(8) {
                3 if !own.is_empty() => {
                    let at = random.index(own.len());
                    earlier(free(own.swap_remove(at) as u32))
                }
                4 if !own.is_empty() => earlier(realloc(own[random.index(own.len())] as u32, size)),
                5 if !live.is_empty() => realloc(live[random.index(live.len())], size),
                6..8 if !live.is_empty() => {
                    let at = random.index(live.len());
                    free(live.swap_remove(at))
                }
                _ => {
                    own.push(number);
                    slablab_operation {
                        align_log2: random.below(8) as u8,
                        ..alloc(size)
                    }
                }
            });
        }
        let answers = at_once(one, &operations)?;
        let expected = if singly {
            one_by_one(other, &operations)
        } else {
            at_once(other, &operations)?
        };
        check_eq("answers", &answers, &expected)
            .about(format_args!("seed {seed}, round {round}"))?;
        let done = answers.iter().filter(|answer| answer.1 != 0).count();
        live.extend(own.iter().filter(|at| **at < done).map(|at| answers[*at].1));
        // A FREE after the failed operation was not executed, so its block is live.
        for operation in &operations[done..] {
            if u32::from(operation.kind) == uapi::SLABLAB_OP_FREE && operation.flags == 0 {
                live.push(operation.handle);
            }
        }
        // A block that is freed by the index of its operation is removed from `own`, also after a failure.
        for operation in &operations[done..] {
            let number = operation.handle as usize;
            if u32::from(operation.kind) == uapi::SLABLAB_OP_FREE
                && operation.flags != 0
                && number < done
            {
                live.push(answers[number].1);
            }
        }
    }
    let figures = |target: &dyn Target| target.stats().map(|stats| format!("{stats:?}"));
    check_eq("figures", figures(one)?, figures(other)?).about(format_args!("seed {seed}"))
}

fn a_submission_is_the_same_as_its_operations_one_by_one() -> TestResult {
    for engine in POOL_ENGINES {
        for seed in 1..4 {
            let (one, other) = (private_of(engine, MIB)?, private_of(engine, MIB)?);
            alike(&one, &other, seed, true).about(engine)?;
            sound(&one)?;
        }
    }
    Ok(())
}

fn a_submission_is_the_same_in_the_kernel_and_outside() -> TestResult {
    for engine in POOL_ENGINES {
        for seed in 1..4 {
            let (one, other) = (private_of(engine, MIB)?, Sim::private(engine, MIB)?);
            alike(&one, &other, seed, false).about(engine)?;
        }
    }
    Ok(())
}
