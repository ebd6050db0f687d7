// SPDX-License-Identifier: GPL-2.0

//! The results of a run, which `--json` writes.

use serde::Serialize;

use crate::{
    museum::{
        MuseumCell,
        Verdict, //
    },
    statistics::SampleSummary, //
};

/// The results of one run.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Results {
    /// The conditions of the run.
    pub(crate) about: RunConditions,
    /// The allocators under test. The cells of all tables are in this order.
    pub(crate) allocators: Vec<AllocatorDescription>,
    /// The times of patterns, in nanoseconds.
    pub(crate) times: Vec<PatternRow<Time>>,
    /// The times of single frees, in nanoseconds.
    pub(crate) frees: Vec<PatternRow<FreeTimes>>,
    /// The instruction counts of patterns.
    pub(crate) instructions: Vec<PatternRow<Instructions>>,
    /// The memory that traces need.
    pub(crate) space: Vec<Space>,
    /// The inputs of bug reports.
    pub(crate) museum: Vec<MuseumRow>,
    /// The targets, and whether they are met.
    pub(crate) targets: Vec<TargetComparison>,
}

/// The conditions of the run.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct RunConditions {
    /// The date in UTC.
    pub(crate) date: String,
    /// The processor's name.
    pub(crate) processor: String,
    /// The kernel's version.
    pub(crate) kernel: String,
    /// The number of repetitions of each pattern, over all rounds.
    pub(crate) repetitions: usize,
    /// The number of rounds per pattern. Each round constructs the allocators in new pools.
    pub(crate) rounds: usize,
    /// The approximate duration of a repetition, in microseconds.
    pub(crate) repetition_microseconds: u64,
    /// The number of repetitions that were disturbed and repeated.
    pub(crate) redone: u64,
    /// The number of repetitions that were disturbed at every try.
    pub(crate) disturbed: usize,
    /// The seed of the random numbers.
    pub(crate) seed: u64,
    /// Whether the run was brief, so that its times are meaningless.
    pub(crate) quick: bool,
    /// The number of blocks that were allocated in checked passes.
    pub(crate) checked_blocks: u64,
    /// Why instructions were not counted, or `None` when they were.
    pub(crate) no_instructions: Option<String>,
}

/// An allocator.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct AllocatorDescription {
    /// The name in tables.
    pub(crate) name: String,
    /// The package and version; empty for engines of slablab.
    pub(crate) version: String,
    /// Whether the allocator, as measured, may be used by several threads.
    pub(crate) threads: bool,
    /// Whether this is the baseline.
    pub(crate) baseline: bool,
    /// Whether this is an engine of slablab.
    pub(crate) ours: bool,
    /// Whether the allocator runs in a pool.
    pub(crate) pool: bool,
}

/// The results of one pattern.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PatternRow<T> {
    /// The name of the pattern on the command line.
    pub(crate) pattern: String,
    /// The title of the pattern in tables.
    pub(crate) title: String,
    /// The result of each allocator; `None` where it was not measured.
    pub(crate) cells: Vec<Option<T>>,
}

/// The time of a pair of one allocation and one free.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Time {
    /// The statistics of the repetitions, in nanoseconds.
    pub(crate) nanoseconds: SampleSummary,
    /// The number of pairs in a repetition.
    pub(crate) pairs: u64,
    /// The number of repetitions that were repeated.
    pub(crate) redone: u64,
    /// The number of repetitions that were disturbed at every try.
    pub(crate) disturbed: usize,
}

/// The times of single frees, in nanoseconds. The time of a free is the median of its repetitions; the
/// fields are statistics over all frees.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct FreeTimes {
    /// The median.
    pub(crate) median: f64,
    /// The 99th percentile.
    pub(crate) p99: f64,
    /// The maximum.
    pub(crate) max: f64,
    /// The number of frees.
    pub(crate) frees: usize,
    /// The number of repetitions of each free.
    pub(crate) repetitions: usize,
}

/// The mean number of instructions of a pair including the loop, or of a single free.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Instructions {
    /// The instructions of a pair.
    pub(crate) per_pair: f64,
    /// The functions with the most instructions, with their files, and the count of each.
    pub(crate) functions: Vec<(String, f64)>,
}

/// The memory that a trace needs.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Space {
    /// The trace's name.
    pub(crate) trace: String,
    /// The groups of traces that the trace belongs to.
    pub(crate) groups: Vec<String>,
    /// The alignment of all requests in bytes.
    pub(crate) align: usize,
    /// The number of operations.
    pub(crate) operations: usize,
    /// The peak of live bytes.
    pub(crate) peak_bytes: usize,
    /// The upper bound of the utilisation that follows from rounding sizes to the alignment, and the pool to pages.
    pub(crate) bound: f64,
    /// The result of each allocator; `None` where it was not measured.
    pub(crate) cells: Vec<Option<SmallestPool>>,
}

/// The smallest pool in which a trace can be replayed.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct SmallestPool {
    /// The size of the pool in bytes.
    pub(crate) pool_bytes: usize,
    /// The size of the metadata outside the pool without the caches of CPUs, in bytes.
    pub(crate) metadata_bytes: usize,
    /// The size of the cache of one CPU outside the pool, in bytes.
    pub(crate) cache_bytes: usize,
    /// The peak divided by the size of the pool.
    pub(crate) utilisation: f64,
    /// The upper bound of the utilisation that follows from the allocator's own rounding of sizes alone.
    pub(crate) utilisation_bound: f64,
    /// The peak divided by the size of the pool and the metadata.
    pub(crate) utilisation_with_metadata: f64,
    /// The peak divided by the size of the pool, the metadata and the cache of one CPU.
    pub(crate) utilisation_with_caches: f64,
}

/// The results of an exhibit of the museum.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct MuseumRow {
    /// The name of the exhibit.
    pub(crate) exhibit: String,
    /// The address of the report.
    pub(crate) address: String,
    /// The size of the pool in bytes.
    pub(crate) pool_bytes: u64,
    /// The result of each allocator; `None` where it was not measured.
    pub(crate) cells: Vec<Option<MuseumCell>>,
}

/// A target, and whether it is met.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct TargetComparison {
    /// The figure that is compared.
    pub(crate) what: String,
    /// The engine.
    pub(crate) engine: String,
    /// The target value.
    pub(crate) target: String,
    /// The measured value.
    pub(crate) measured: String,
    /// Whether the target is met.
    pub(crate) met: bool,
    /// The best thread-safe allocator of another project, with its value; empty if the figure has no such value.
    pub(crate) best_peer: String,
    /// The place of the engine compared with the best peer.
    pub(crate) standing: String,
}

impl Results {
    /// Returns the index of an allocator in the cells.
    pub(crate) fn place(&self, name: &str) -> Option<usize> {
        self.allocators.iter().position(|of| of.name == name)
    }

    /// Returns whether an engine of slablab gave a wrong answer to an exhibit of the museum.
    pub(crate) fn wrong_in_the_museum(&self) -> bool {
        self.museum.iter().any(|row| {
            let ours = row
                .cells
                .iter()
                .zip(&self.allocators)
                .filter(|(_, of)| of.ours);
            ours.filter_map(|(cell, _)| cell.as_ref())
                .any(|cell| matches!(cell.verdict, Verdict::Wrong(_)))
        })
    }

    /// Returns the row of a pattern.
    pub(crate) fn row<'rows, T>(
        rows: &'rows [PatternRow<T>],
        pattern: &str,
    ) -> Option<&'rows PatternRow<T>> {
        rows.iter().find(|row| row.pattern == pattern)
    }
}
