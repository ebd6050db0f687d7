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
    /// The day, in UTC.
    pub(crate) date: String,
    /// The processor's name.
    pub(crate) processor: String,
    /// The kernel's version.
    pub(crate) kernel: String,
    /// Repetitions of each pattern, in all rounds together.
    pub(crate) repetitions: usize,
    /// How often the allocators were made anew for each pattern.
    pub(crate) rounds: usize,
    /// How long one repetition is, about.
    pub(crate) repetition_microseconds: u64,
    /// How many were disturbed and done again.
    pub(crate) redone: u64,
    /// How many were disturbed at every try.
    pub(crate) disturbed: usize,
    /// What sizes, places and traces were drawn from.
    pub(crate) seed: u64,
    /// Whether it was a brief run, whose times mean nothing.
    pub(crate) quick: bool,
    /// Blocks that were handed out with every answer checked.
    pub(crate) checked_blocks: u64,
    /// Why there are no instructions, if there are none.
    pub(crate) no_instructions: Option<String>,
}

/// An allocator.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Allocator {
    /// What it is called in tables.
    pub(crate) name: String,
    /// Package and version, of those that are not ours.
    pub(crate) version: String,
    /// Whether it is safe to use from several threads, as measured.
    pub(crate) threads: bool,
    /// Whether it does nothing.
    pub(crate) baseline: bool,
    /// Whether it is one of slablab's.
    pub(crate) ours: bool,
    /// Whether it has a pool.
    pub(crate) pool: bool,
}

/// What was measured with one pattern.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row<T> {
    /// The pattern, as on the command line.
    pub(crate) pattern: String,
    /// The pattern, for people.
    pub(crate) title: String,
    /// By allocator, in their order; nothing where it cannot be measured.
    pub(crate) cells: Vec<Option<T>>,
}

/// The time of a pair.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Time {
    /// What the repetitions say.
    pub(crate) nanoseconds: Summary,
    /// Pairs in a repetition.
    pub(crate) pairs: u64,
    /// Repetitions that were done again.
    pub(crate) redone: u64,
    /// Repetitions that were disturbed at every try.
    pub(crate) disturbed: usize,
}

/// Nanoseconds of single frees: of each the median of its repetitions, then over all of them.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Free {
    /// Half are faster.
    pub(crate) median: f64,
    /// One in a hundred is slower.
    pub(crate) p99: f64,
    /// The slowest.
    pub(crate) max: f64,
    /// How many there were.
    pub(crate) frees: usize,
    /// Repetitions of each.
    pub(crate) repetitions: usize,
}

/// The instructions of a pair, the loop's included; of single frees, the mean.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Instructions {
    /// All of them.
    pub(crate) per_pair: f64,
    /// Where most of them are: file and function, and how many there.
    pub(crate) functions: Vec<(String, f64)>,
}

/// What a trace needs.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Space {
    /// The trace's name.
    pub(crate) trace: String,
    /// `classic` or `newer`.
    pub(crate) family: String,
    /// How long it is.
    pub(crate) operations: usize,
    /// The most bytes that are out at once.
    pub(crate) peak_bytes: usize,
    /// By allocator, in their order.
    pub(crate) cells: Vec<Option<Pool>>,
}

/// The smallest pool of a trace.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Pool {
    /// Its bytes.
    pub(crate) pool_bytes: usize,
    /// What the allocator keeps beside it.
    pub(crate) beside_bytes: usize,
    /// Peak over pool.
    pub(crate) utilisation: f64,
    /// What the rounding of sizes alone would allow, as far as the allocator tells.
    pub(crate) utilisation_at_most: f64,
    /// Peak over pool and what is beside it.
    pub(crate) utilisation_with_beside: f64,
}

/// What was to be reached, and was or was not.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Target {
    /// What is judged.
    pub(crate) what: String,
    /// What is to be reached.
    pub(crate) target: String,
    /// What was reached.
    pub(crate) hybrid: String,
    /// The best of the others that are safe with threads.
    pub(crate) best_other: String,
    /// The best of those without a lock, for the eye.
    pub(crate) best_without_lock: String,
    /// Whether it is reached.
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
