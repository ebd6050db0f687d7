// SPDX-License-Identifier: GPL-2.0

//! The results of one run on one machine.

use serde::{
    Deserialize,
    Serialize, //
};

use super::suite::Group;
use crate::{
    clock::Clock,
    uapi::{
        BenchSubject,
        slablab_bench, //
    },
};

/// Everything that one run measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct BenchDocument {
    pub(super) clock: Clock,
    pub(super) cpus: usize,
    pub(super) kernel: String,
    pub(super) rows: Vec<BenchRow>,
    pub(super) calls: Vec<CallCost>,
    /// The rows that could not be measured, and the reasons.
    pub(super) left_out: Vec<String>,
}

/// One line of a table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct BenchRow {
    pub(super) group: Group,
    pub(super) name: String,
    pub(super) block_bytes: u64,
    pub(super) threads: u32,
    pub(super) results: Vec<Measured>,
}

/// The figures of one subject in a row. Times are in instructions or nanoseconds, depending on the clock of the run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Measured {
    pub(super) subject: BenchSubject,
    /// The time of an operation, including the loop.
    pub(super) cost: f64,
    /// The times of single operations, if the row measures them.
    pub(super) singly: Option<Singly>,
    /// The number of acquisitions of the engine's lock per operation.
    pub(super) locks: f64,
    pub(super) operations: u64,
    pub(super) refusals: u64,
    pub(super) checked_blocks: u64,
    pub(super) wrong_blocks: u64,
    /// The number of the rule that the engine's metadata violated, or 0.
    pub(super) rule: u32,
}

/// The times of single operations.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Singly {
    pub(super) p50: u64,
    pub(super) p99: u64,
    pub(super) max: u64,
    /// The number of samples that were left out because the timer ticked during them.
    pub(super) disturbed: u32,
}

/// The cost of a system call.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct CallCost {
    pub(super) name: String,
    pub(super) cost: f64,
}

impl Measured {
    /// Combines the replies to the calls of a row's threads.
    pub(super) fn new(subject: BenchSubject, singly: bool, replies: &[slablab_bench]) -> Self {
        let sum = |field: fn(&slablab_bench) -> u64| replies.iter().map(field).sum::<u64>();
        let max = |field: fn(&slablab_bench) -> u64| replies.iter().map(field).max().unwrap_or(0);
        let hands_over = replies
            .iter()
            .any(|reply| reply.pattern == crate::uapi::SLABLAB_BENCH_HANDOVER);
        let span_operations = max(|reply| reply.span_operations);
        let cost = if replies.len() > 1 && !hands_over {
            // The time from the first begin to the last end, per operation of all threads.
            ratio(max(|reply| reply.span_ns), span_operations)
        } else if singly {
            ratio(
                sum(|reply| reply.total_ns),
                sum(|reply| reply.samples.into()),
            )
        } else {
            // With HANDOVER, one thread allocates and the other one frees: the sum is the cost of both.
            replies
                .iter()
                .map(|reply| ratio(reply.p50_ns, reply.sample_operations.into()))
                .sum()
        };
        let pairs = if hands_over {
            span_operations / 2
        } else {
            span_operations
        };
        Self {
            subject,
            cost,
            singly: singly.then(|| Singly {
                p50: max(|reply| reply.p50_ns),
                p99: max(|reply| reply.p99_ns),
                max: max(|reply| reply.max_ns),
                disturbed: replies.iter().map(|reply| reply.disturbed).sum(),
            }),
            locks: ratio(max(|reply| reply.lock_acquisitions), pairs),
            operations: sum(|reply| reply.operations),
            refusals: sum(|reply| reply.refusals),
            checked_blocks: sum(|reply| reply.checked_blocks),
            wrong_blocks: sum(|reply| reply.wrong_blocks),
            rule: replies.iter().map(|reply| reply.rule).max().unwrap_or(0),
        }
    }

    /// Returns whether every block was right and the engine's metadata was sound at the end.
    pub(super) fn is_right(&self) -> bool {
        self.wrong_blocks == 0 && self.rule == 0
    }
}

impl BenchRow {
    /// Returns the figures of a subject.
    pub(super) fn of(&self, subject: BenchSubject) -> Option<&Measured> {
        self.results.iter().find(|result| result.subject == subject)
    }

    /// Returns whether operations were timed one by one.
    pub(super) fn is_singly(&self) -> bool {
        self.results.iter().any(|result| result.singly.is_some())
    }

    /// Returns the cost of a subject's operation, minus that of the empty loop.
    pub(super) fn net(&self, subject: BenchSubject) -> Option<f64> {
        let empty = self
            .of(BenchSubject::Nothing)
            .map_or(0.0, |empty| empty.cost);
        Some((self.of(subject)?.cost - empty).max(0.0))
    }
}

impl BenchDocument {
    /// Returns whether nothing was measured.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.calls.is_empty()
    }

    /// Returns whether every block was right and every engine's metadata was sound at the end.
    pub(super) fn is_right(&self) -> bool {
        self.rows
            .iter()
            .flat_map(|row| &row.results)
            .all(Measured::is_right)
    }
}

/// Returns a quotient. A divisor of 0 counts as 1: its dividend is then 0, too.
fn ratio(dividend: u64, divisor: u64) -> f64 {
    dividend as f64 / divisor.max(1) as f64
}
