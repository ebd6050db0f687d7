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

/// One subject's figures of a row. Times are instructions or nanoseconds, as the clock has it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Measured {
    pub(super) subject: BenchSubject,
    /// The time of an operation, the loop's included.
    pub(super) cost: f64,
    /// The times of single operations, where these were taken.
    pub(super) singly: Option<Singly>,
    /// Acquisitions of the engine's lock for each operation.
    pub(super) locks: f64,
    pub(super) operations: u64,
    pub(super) refusals: u64,
    pub(super) checked_blocks: u64,
    pub(super) wrong_blocks: u64,
    /// The number of the rule that the engine's records broke, or 0.
    pub(super) rule: u32,
}

/// The times of single operations.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Singly {
    pub(super) p50: u64,
    pub(super) p99: u64,
    pub(super) max: u64,
    /// Samples that a tick of the timer was in, and which were left out.
    pub(super) disturbed: u32,
}

/// The cost of a system call.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct CallCost {
    pub(super) name: String,
    pub(super) cost: f64,
}

impl Measured {
    /// Returns what the calls of a row's threads say together.
    pub(super) fn new(subject: BenchSubject, singly: bool, replies: &[slablab_bench]) -> Self {
        let sum = |field: fn(&slablab_bench) -> u64| replies.iter().map(field).sum::<u64>();
        let max = |field: fn(&slablab_bench) -> u64| replies.iter().map(field).max().unwrap_or(0);
        let hands_over = replies
            .iter()
            .any(|reply| reply.pattern == crate::uapi::SLABLAB_BENCH_HANDOVER);
        let span_operations = max(|reply| reply.span_operations);
        let cost = if replies.len() > 1 && !hands_over {
            // The cost on all processors together, per operation.
            ratio(max(|reply| reply.span_ns), span_operations)
        } else if singly {
            ratio(
                sum(|reply| reply.total_ns),
                sum(|reply| reply.samples.into()),
            )
        } else {
            // The half of one thread, and the half of the other.
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

    /// Says whether every block was right, and the engine's records at the end.
    pub(super) fn is_right(&self) -> bool {
        self.wrong_blocks == 0 && self.rule == 0
    }
}

impl BenchRow {
    /// Returns a subject's figures.
    pub(super) fn of(&self, subject: BenchSubject) -> Option<&Measured> {
        self.results.iter().find(|result| result.subject == subject)
    }

    /// Returns what a subject's operation takes, without what the loop does.
    pub(super) fn net(&self, subject: BenchSubject) -> Option<f64> {
        let empty = self
            .of(BenchSubject::Nothing)
            .map_or(0.0, |empty| empty.cost);
        Some((self.of(subject)?.cost - empty).max(0.0))
    }
}

impl BenchDocument {
    /// Says whether nothing was measured.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.calls.is_empty()
    }

    /// Says whether every block was right, and every engine's records at the end.
    pub(super) fn is_right(&self) -> bool {
        self.rows
            .iter()
            .flat_map(|row| &row.results)
            .all(Measured::is_right)
    }
}

/// Returns a quotient, or 0 where there is nothing to divide by.
fn ratio(dividend: u64, divisor: u64) -> f64 {
    dividend as f64 / divisor.max(1) as f64
}
