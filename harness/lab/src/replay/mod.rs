// SPDX-License-Identifier: GPL-2.0

//! Replays a trace on an engine, through SUBMIT, in one of three ways:
//!
//! - [`Checked`] checks every answer and every byte, and computes sums; [`timeline`] samples the pool between
//!   the operations of a [`Checked`] replay;
//! - [`fits()`] tests whether every request of the trace succeeds;
//! - [`times()`] measures the time of single operations.

mod checked;
mod fits;
pub mod seed_model;
#[cfg(test)]
mod tests;
pub mod timeline;
mod times;

use slablab_trace::{
    Kind,
    Op, //
};

pub use self::{
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
pub enum OpOutcome {
    /// The operation succeeded.
    Done,
    /// The operation was refused; the block of a refused REALLOC is unchanged.
    Refused(Cause),
    /// The operation was not executed, because the allocation of its block was refused.
    LeftOut,
}

/// The answer to an operation.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// The result.
    pub outcome: OpOutcome,
    /// The block's offset after the operation, or 2⁶⁴ − 1.
    pub offset: u64,
    /// The block's usable bytes after the operation.
    pub usable: u64,
    /// The path and its cost.
    pub cost: slablab_cost,
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
pub struct Failure {
    /// The operation at which the violation was found, counted from 1. At the end of the run: the number of
    /// operations plus 1.
    pub operation: u64,
    /// The operation in words.
    pub what: String,
    /// The violated rule.
    pub violation: Violation,
}

impl Failure {
    /// Returns the failure for a violation that was found at the operation with the index `index`.
    fn at(ops: &[Op], index: usize, violation: Violation) -> Self {
        Self {
            operation: index as u64 + 1,
            what: words(ops, index).unwrap_or_else(|| "the end".to_owned()),
            violation,
        }
    }
}

/// Returns an operation in words. A block is named by the operation that allocated it, because a file may use
/// one number for several blocks.
pub fn words(ops: &[Op], index: usize) -> Option<String> {
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
            format!("allocate {bytes} bytes aligned to {align}")
        }
        Kind::Realloc { bytes } => format!("reallocate {} to {bytes} bytes", block()),
        Kind::Free => format!("free {}", block()),
    })
}
