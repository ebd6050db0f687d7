// SPDX-License-Identifier: GPL-2.0

//! Pairs: one block is allocated and freed repeatedly.

use super::{
    ALIGN,
    PassTally,
    RunningPattern,
    allocate, //
};
use crate::heap::BenchHeap;

/// The pair pattern.
pub(super) struct PairPattern {
    size: usize,
}

impl PairPattern {
    /// Returns the pattern with blocks of `size` bytes.
    pub(super) fn new(size: usize) -> Self {
        Self { size }
    }
}

impl RunningPattern for PairPattern {
    fn pass(&mut self, heap: &dyn BenchHeap, pairs: u64) -> PassTally {
        let mut tally = PassTally::default();
        for _ in 0..pairs {
            if let Some(block) = allocate(heap, self.size, &mut tally) {
                // SAFETY: The block was allocated above with this layout and is not used.
                unsafe { heap.free(block, self.size, ALIGN) };
            }
        }
        tally.pairs = pairs;
        tally
    }

    fn live(&self) -> Vec<(usize, usize)> {
        Vec::new()
    }

    fn finish(&mut self, _heap: &dyn BenchHeap) {}
}
