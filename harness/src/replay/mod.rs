// SPDX-License-Identifier: GPL-2.0

//! A trace, run through an engine.
//!
//! Three ways of it, all through SUBMIT: [`Checked`] looks at every answer and every byte, and is
//! what figures come from ([`timeline`] stops it now and then to look at the pool); [`fits()`] only asks
//! whether there is room; [`times()`] takes the time of single operations.

mod checked;
mod fits;
pub(crate) mod seed_model;
#[cfg(test)]
mod tests;
pub(crate) mod timeline;
mod times;

use slablab_trace::{
    Kind,
    Op, //
};

pub(crate) use self::{
    checked::{
        Checked,
        Figures,
        RunResult,
        checked, //
    },
    fits::fits,
    times::{
        Times,
        times, //
    },
};
use crate::{
    oracle::Violation,
    report::count,
    uapi::{
        Cause,
        slablab_cost, //
    },
};

/// The result of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpOutcome {
    /// It was done.
    Done,
    /// It was refused; a block that was to be resized is as before.
    Refused(Cause),
    /// It is about a block that was refused.
    LeftOut,
}

/// The answer to an operation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    /// The result.
    pub(crate) outcome: OpOutcome,
    /// The block's offset after the operation, or 2⁶⁴ − 1.
    pub(crate) offset: u64,
    /// The block's usable bytes after the operation.
    pub(crate) usable: u64,
    /// How it was served, and what that cost.
    pub(crate) cost: slablab_cost,
}

impl PartialEq for Answer {
    fn eq(&self, other: &Self) -> bool {
        let all = |answer: &Self| {
            (
                answer.outcome,
                answer.offset,
                answer.usable,
                answer.cost.bits(),
            )
        };
        all(self) == all(other)
    }
}

/// A wrong answer.
#[derive(Clone, Debug, thiserror::Error)]
#[error("operation {operation} ({what}): {violation}")]
pub(crate) struct Failure {
    /// The operation that showed it, counted from 1; one more than there are, at the end.
    pub(crate) operation: u64,
    /// The operation in words.
    pub(crate) what: String,
    /// The violated rule.
    pub(crate) violation: Violation,
}

impl Failure {
    /// Names an operation that a violation came up at.
    fn at(ops: &[Op], index: usize, violation: Violation) -> Self {
        Self {
            operation: index as u64 + 1,
            what: words(ops, index).unwrap_or_else(|| "the end".to_owned()),
            violation,
        }
    }
}

/// Returns an operation in words. A block is named by the operation that allocated it: what a file
/// calls it may change.
pub(crate) fn words(ops: &[Op], index: usize) -> Option<String> {
    let op = ops.get(index)?;
    let block = || {
        let allocates = |other: &Op| other.id == op.id && matches!(other.kind, Kind::Alloc { .. });
        let first = ops.iter().position(allocates).unwrap_or(index);
        format!("the block of operation {}", count(first as u64 + 1))
    };
    Some(match op.kind {
        Kind::Alloc { bytes, align } if align == slablab_trace::ALIGN => {
            format!("allocate {bytes} bytes")
        }
        Kind::Alloc { bytes, align } => {
            format!("allocate {bytes} bytes at a multiple of {align}")
        }
        Kind::Realloc { bytes } => format!("reallocate {} to {bytes} bytes", block()),
        Kind::Free => format!("free {}", block()),
    })
}
