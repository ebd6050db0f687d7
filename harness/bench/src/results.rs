// SPDX-License-Identifier: GPL-2.0

//! What was measured, as JSON has it.

use serde::Serialize;

use crate::statistics::Summary;

/// One run of the benchmark.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Results {
    /// How it was measured.
    pub(crate) about: About,
    /// The allocators.
    pub(crate) allocators: Vec<Allocator>,
    /// Nanoseconds of patterns.
    pub(crate) times: Vec<Row<Time>>,
    /// Nanoseconds of single frees.
    pub(crate) frees: Vec<Row<Free>>,
    /// Instructions of patterns.
    pub(crate) instructions: Vec<Row<Instructions>>,
    /// Memory that traces need.
    pub(crate) space: Vec<Space>,
    /// What was to be reached.
    pub(crate) targets: Vec<Target>,
}

/// How it was measured.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct About {
    pub(crate) date: String,
    pub(crate) processor: String,
    pub(crate) kernel: String,
    pub(crate) repetitions: usize,
    pub(crate) repetition_microseconds: u64,
    pub(crate) redone: u64,
    pub(crate) seed: u64,
    pub(crate) quick: bool,
    /// Blocks that were handed out with every answer checked.
    pub(crate) checked_blocks: u64,
    /// Why there are no instructions, if there are none.
    pub(crate) no_instructions: Option<String>,
}

/// An allocator.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Allocator {
    pub(crate) name: String,
    pub(crate) version: String,
    /// Whether it is safe to use from several threads, as measured.
    pub(crate) threads: bool,
    pub(crate) baseline: bool,
    pub(crate) ours: bool,
    pub(crate) pool: bool,
}

/// What was measured with one pattern.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row<T> {
    pub(crate) pattern: String,
    pub(crate) title: String,
    /// By allocator, in their order; nothing where it cannot be measured.
    pub(crate) cells: Vec<Option<T>>,
}

/// The time of a pair.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Time {
    pub(crate) nanoseconds: Summary,
    /// Pairs in a repetition.
    pub(crate) pairs: u64,
    /// Repetitions that were done again.
    pub(crate) redone: u64,
}

/// The time of single frees: of each the median of its repetitions, then over all of them.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Free {
    pub(crate) median: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
    pub(crate) frees: usize,
    pub(crate) repetitions: usize,
}

/// The instructions of a pair, the loop's included; of a single free, the mean.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Instructions {
    pub(crate) per_pair: f64,
    /// Where most of them are: function, and how many there.
    pub(crate) functions: Vec<(String, f64)>,
}

/// What a trace needs.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Space {
    pub(crate) trace: String,
    pub(crate) family: String,
    pub(crate) operations: usize,
    pub(crate) peak_bytes: usize,
    /// By allocator, in their order.
    pub(crate) cells: Vec<Option<Pool>>,
}

/// The smallest pool of a trace.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Pool {
    pub(crate) pool_bytes: usize,
    pub(crate) beside_bytes: usize,
    /// Peak over pool.
    pub(crate) utilisation: f64,
    /// Peak over pool and what is beside it.
    pub(crate) utilisation_with_beside: f64,
}

/// What was to be reached, and was or was not.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Target {
    pub(crate) what: String,
    pub(crate) target: String,
    pub(crate) hybrid: String,
    pub(crate) best_other: String,
    /// The same among those without a lock, for the eye.
    pub(crate) best_without_lock: String,
    pub(crate) met: bool,
}

impl Results {
    /// Returns the place of an allocator.
    pub(crate) fn place(&self, name: &str) -> Option<usize> {
        self.allocators.iter().position(|of| of.name == name)
    }

    /// Returns the row of a pattern.
    pub(crate) fn row<'rows, T>(rows: &'rows [Row<T>], pattern: &str) -> Option<&'rows Row<T>> {
        rows.iter().find(|row| row.pattern == pattern)
    }
}
