// SPDX-License-Identifier: GPL-2.0

//! All sequences of few operations in a tiny pool, compared with a reference implementation of the placement rule.
//!
//! The reference knows the runs as a sorted list, and finds everything by a walk over the list.

use std::{
    vec,
    vec::Vec, //
};

use super::{
    GRANULE,
    free_run_count,
    metadata,
    runs, //
};
use crate::extent::{
    place::{
        Demand,
        Granule,
        PAGE_GRANULES,
        Run, //
    },
    runs::{
        Runs,
        TRIES,
        Work, //
    },
    table::RegionTable,
};

/// The runs of a pool of one region, in granules: the start, the length, and whether the run is free.
#[derive(Clone)]
struct Reference(Vec<(usize, usize, bool)>);

impl Reference {
    /// Returns the shortest length of the bin of a length: 8 bins to a doubling from 16 to 512, and each length below
    /// 16 is a bin.
    fn bin(len: usize) -> usize {
        let steps = (0..5).flat_map(|k| (8..16).map(move |step| step << (k + 1)));
        let bins: Vec<_> = (1..16).chain(steps).chain([512]).collect();
        bins[bins.partition_point(|first| *first <= len) - 1]
    }

    /// Returns where a block lies in a free run: a short block at the end, a long one at the beginning.
    fn place((start, run, _): (usize, usize, bool), len: usize, align: usize) -> Option<usize> {
        let mut places =
            (start..start + run).filter(|at| at % align == 0 && at + len <= start + run);
        if len <= 64 {
            places.next_back()
        } else {
            places.next()
        }
    }

    /// Returns the index of the run from which a block is taken, and the place of the block.
    ///
    /// The bin of the block is the first candidate, then the next bins. In a bin, the last run that fits is taken for a
    /// short block, and the first one for a long block.
    fn find(&self, len: usize, align: usize) -> Option<(usize, usize)> {
        let mut bins: Vec<_> = self.free().map(|(_, run)| Self::bin(run.1)).collect();
        bins.sort_unstable();
        bins.dedup();
        bins.into_iter()
            .filter(|bin| *bin >= Self::bin(len))
            .find_map(|bin| {
                let in_bin = self.free().filter(|(_, run)| Self::bin(run.1) == bin);
                let mut fitting =
                    in_bin.filter_map(|(nth, run)| Some((nth, Self::place(run, len, align)?)));
                if len <= 64 {
                    fitting.last()
                } else {
                    fitting.next()
                }
            })
    }

    /// Returns the free runs with their indexes.
    fn free(&self) -> impl Iterator<Item = (usize, (usize, usize, bool))> {
        self.0.iter().copied().enumerate().filter(|(_, run)| run.2)
    }

    /// Allocates a block, and returns where it begins.
    fn allocate(&mut self, len: usize, align: usize) -> Option<usize> {
        let (nth, at) = self.find(len, align)?;
        let (start, run, _) = self.0[nth];
        let parts = [
            (start, at - start, true),
            (at, len, false),
            (at + len, start + run - at - len, true),
        ];
        self.0.splice(nth..=nth, parts);
        self.settle();
        Some(at)
    }

    /// Frees the block with this index.
    fn free_run(&mut self, nth: usize) {
        self.0[nth].2 = true;
        self.settle();
    }

    /// Gives the block with this index another length, and returns whether that is possible in place.
    fn resize(&mut self, nth: usize, len: usize) -> bool {
        let (start, old, _) = self.0[nth];
        let behind = self
            .0
            .get(nth + 1)
            .filter(|run| run.2)
            .map_or(0, |run| run.1);
        if len > old + behind {
            return false;
        }
        let parts = [(start, len, false), (start + len, old + behind - len, true)];
        self.0.splice(nth..=nth + usize::from(behind > 0), parts);
        self.settle();
        true
    }

    /// Removes empty runs, and coalesces free runs side by side.
    fn settle(&mut self) {
        self.0.retain(|run| run.1 > 0);
        self.0.dedup_by(|next, run| {
            let both = next.2 && run.2;
            run.1 += if both { next.1 } else { 0 };
            both
        });
    }

    /// Returns the indexes of the blocks.
    fn blocks(&self) -> Vec<usize> {
        let blocks = self.0.iter().enumerate().filter(|(_, run)| !run.2);
        blocks.map(|(nth, _)| nth).collect()
    }
}

/// An operation. Blocks are named by their order in the pool.
#[derive(Clone, Copy, Debug)]
enum Operation {
    /// Allocates a block of a length with an alignment, in granules.
    Allocate(usize, usize),
    Free(usize),
    Resize(usize, usize),
}

/// A pool of one region of a few pages, and its reference.
struct TinyPool {
    runs: Runs,
    pages: usize,
    reference: Reference,
}

impl TinyPool {
    fn new(pages: usize) -> Self {
        let mut runs = Runs::new();
        let memory = metadata(RegionTable::bytes(pages));
        // SAFETY: `new` requires zeroed and aligned bytes for the pages that nobody else uses: `metadata` returns them.
        let table = unsafe { RegionTable::new(memory, pages) };
        runs.tables.add(0, table);
        let whole = Run {
            start: Granule::new(0, 0),
            len: pages * PAGE_GRANULES,
        };
        runs.free(whole);
        Self {
            runs,
            pages,
            reference: Reference(vec![(0, whole.len, true)]),
        }
    }

    /// Runs an operation on the runs and on the reference, and compares them. Returns `false` if the operation names a
    /// block that does not exist.
    fn apply(&mut self, operation: Operation) -> bool {
        self.runs.work = Work::default();
        let blocks = self.reference.blocks();
        let run = |(start, len, _): (usize, usize, bool)| Run {
            start: Granule::new(0, start),
            len,
        };
        match operation {
            Operation::Allocate(len, align) => {
                let block = self.runs.allocate(Demand { len, align }, 1, TRIES);
                let start = block.map(|block| block.start.index());
                assert_eq!(start, self.reference.allocate(len, align), "{operation:?}");
            }
            Operation::Free(nth) => {
                let Some(nth) = blocks.get(nth).copied() else {
                    return false;
                };
                self.runs.free(run(self.reference.0[nth]));
                self.reference.free_run(nth);
            }
            Operation::Resize(nth, len) => {
                let Some(nth) = blocks.get(nth).copied() else {
                    return false;
                };
                let block = run(self.reference.0[nth]);
                if len == block.len {
                    return false;
                }
                let is_possible = self.reference.resize(nth, len);
                if len < block.len {
                    self.runs.shrink(block, len);
                } else {
                    assert_eq!(self.runs.grow(block, len), is_possible, "{operation:?}");
                }
            }
        }
        let found = runs(&self.runs, 0, self.pages * PAGE_GRANULES * GRANULE);
        let expected = self.reference.0.iter();
        let expected = expected.map(|(start, len, free)| (start * GRANULE, len * GRANULE, *free));
        assert_eq!(found, expected.collect::<Vec<_>>(), "{operation:?}");
        let free: Vec<_> = self.reference.free().map(|(_, run)| run.1).collect();
        let counters = (self.runs.free_counts.granules, free_run_count(&self.runs));
        assert_eq!(counters, (free.iter().sum(), free.len()));
        true
    }

    /// Frees all blocks, so that the pool is as new.
    fn empty(&mut self) {
        while let Some(nth) = self.reference.blocks().first() {
            self.runs.work = Work::default();
            let (start, len, _) = self.reference.0[*nth];
            self.runs.free(Run {
                start: Granule::new(0, start),
                len,
            });
            self.reference.free_run(*nth);
        }
        let whole = self.pages * PAGE_GRANULES;
        assert_eq!(
            (self.runs.free_counts.granules, free_run_count(&self.runs)),
            (whole, 1)
        );
    }
}

/// Runs all sequences of `count` operations, each in an empty pool. A sequence ends early if an operation names a block
/// that does not exist.
fn run_all(pages: usize, operations: &[Operation], count: u32) {
    let mut pool = TinyPool::new(pages);
    let mut sequence = 0;
    let all = operations.len().pow(count);
    while sequence < all {
        let mut skipped = 1;
        for place in (0..count).rev() {
            let weight = operations.len().pow(place);
            let operation = operations[sequence / weight % operations.len()];
            if !pool.apply(operation) {
                // The other sequences with the same beginning are skipped.
                skipped = weight;
                break;
            }
        }
        sequence = (sequence / skipped + 1) * skipped;
        pool.empty();
    }
}

#[test]
fn all_sequences_of_five_operations_in_a_page_follow_the_placement_rule() {
    use Operation::{Allocate, Free, Resize};
    let operations = [
        Allocate(1, 1),
        Allocate(17, 1),
        Allocate(65, 1),
        Allocate(100, 64),
        Allocate(4, 32),
        Free(0),
        Free(1),
        Free(2),
        Resize(0, 33),
        Resize(1, 1),
        Resize(0, 130),
    ];
    run_all(1, &operations, 5);
}

#[test]
fn all_sequences_of_five_operations_in_two_pages_follow_the_placement_rule() {
    use Operation::{Allocate, Free, Resize};
    let operations = [
        Allocate(64, 1),
        Allocate(190, 1),
        Allocate(256, 256),
        Allocate(30, 128),
        Free(0),
        Free(1),
        Resize(0, 300),
        Resize(1, 20),
    ];
    run_all(2, &operations, 5);
}
