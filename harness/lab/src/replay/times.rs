// SPDX-License-Identifier: GPL-2.0

//! Measures the time of single operations.
//!
//! Each call has one operation. The time of a call whose operation does nothing is subtracted: system call,
//! copying, the session's lock, and reading the clock. The rest is the time of the engine, of the session's
//! handle table, and of zeroing. A trace is run several times, each time in a new pool, and the minimum time
//! of each operation counts, because interrupts rarely hit the same operation in every pass.

use std::time::Instant;

use serde::{
    Deserialize,
    Serialize, //
};
use slablab_trace::{
    Trace,
    shape::quantile, //
};

use super::fits::{
    request,
    served, //
};
use crate::{
    clock::Clock,
    device::Errno,
    isolation::underway,
    target::Target,
    uapi::{
        self,
        slablab_operation,
        slablab_submit, //
    },
};

/// The number of calls that do nothing, per pass.
const EMPTY_CALLS: usize = 1000;

/// The times of the successful operations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// The unit.
    pub clock: Clock,
    /// The median.
    pub p50: u64,
    /// The 99th percentile.
    pub p99: u64,
    /// The maximum.
    pub max: u64,
    /// The sum.
    pub sum: u64,
    /// The number of operations.
    pub operations: u64,
    /// The time of a call that does nothing. It was subtracted from each of the other times.
    pub empty_call: u64,
    /// A histogram: the lower bound of each step, and the number of operations in the step. There are four
    /// steps per doubling, and empty steps are left out.
    #[serde(default)]
    pub histogram: Vec<(u64, u64)>,
}

/// Runs a trace on `passes` sessions that `open` opens, and returns the times of its operations.
///
/// # Errors
///
/// The errors of `open`, and when a call fails with an error that is no refusal.
pub fn times(
    trace: &Trace,
    passes: usize,
    mut open: impl FnMut() -> anyhow::Result<Box<dyn Target>>,
) -> anyhow::Result<Times> {
    let mut least = vec![u64::MAX; trace.ops().len()];
    let mut empty_call = u64::MAX;
    let nothing = slablab_operation {
        kind: uapi::SLABLAB_OP_NOP as u8,
        ..Default::default()
    };
    for _ in 0..passes.max(1) {
        let target = open()?;
        for _ in 0..EMPTY_CALLS {
            let (nanoseconds, answer) = timed(&*target, &mut nothing.clone())?;
            if served(&answer)? {
                empty_call = empty_call.min(nanoseconds);
            }
        }
        pass(&*target, trace, &mut least)?;
    }
    let mut times: Vec<_> = least
        .into_iter()
        .filter(|time| *time < u64::MAX)
        .map(|time| time.saturating_sub(empty_call))
        .collect();
    times.sort_unstable();
    Ok(Times {
        clock: Clock::of_this_machine(),
        p50: quantile(&times, 50),
        p99: quantile(&times, 99),
        max: times.last().copied().unwrap_or(0),
        sum: times.iter().sum(),
        operations: times.len() as u64,
        empty_call,
        histogram: histogram(&times),
    })
}

/// Counts the sorted times by step.
fn histogram(times: &[u64]) -> Vec<(u64, u64)> {
    let step = |time: u64| match time.checked_ilog2() {
        Some(log2 @ 2..) => time >> (log2 - 2) << (log2 - 2),
        _ => time,
    };
    let steps = times.chunk_by(|one, other| step(*one) == step(*other));
    steps
        .map(|same| (step(same[0]), same.len() as u64))
        .collect()
}

/// Runs a trace once, and lowers the times in `least` to those of this pass. A refused operation, and an
/// operation on a block whose allocation was refused, has no time.
fn pass(target: &dyn Target, trace: &Trace, least: &mut [u64]) -> Result<(), Errno> {
    let mut handles = vec![0; trace.blocks()];
    for ((op, least), number) in trace.ops().iter().zip(least).zip(1..) {
        underway::operation(number);
        let handle = &mut handles[op.id as usize];
        let mut operation = request(op.kind);
        if !matches!(op.kind, slablab_trace::Kind::Alloc { .. }) {
            if *handle == 0 {
                continue;
            }
            operation.handle = *handle;
        }
        let (nanoseconds, answer) = timed(target, &mut operation)?;
        if served(&answer)? {
            *handle = operation.handle;
            *least = nanoseconds.min(*least);
        }
    }
    Ok(())
}

/// Executes one operation, and returns its time in nanoseconds and the reply.
fn timed(
    target: &dyn Target,
    operation: &mut slablab_operation,
) -> Result<(u64, slablab_submit), Errno> {
    let operations = std::slice::from_mut(operation);
    let begun = Instant::now();
    let answer = target.submit(operations);
    let nanoseconds = begun.elapsed().as_nanos() as u64;
    Ok((nanoseconds, answer?))
}
