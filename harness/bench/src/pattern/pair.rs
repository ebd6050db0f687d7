// SPDX-License-Identifier: GPL-2.0

//! One block, allocated and freed, again and again.

use super::{
    ALIGN,
    Run,
    Tally,
    taken, //
};
use crate::heap::Heap;

/// Pairs of one size.
pub(super) struct Pair {
    size: usize,
}

impl Pair {
    /// Begins with blocks of `size` bytes.
    pub(super) fn new(size: usize) -> Self {
        Self { size }
    }
}

impl Run for Pair {
    fn pass(&mut self, heap: &dyn Heap, pairs: u64) -> Tally {
        let mut tally = Tally::default();
        for _ in 0..pairs {
            let block = taken(heap, self.size, &mut tally);
            if !block.is_null() {
                // SAFETY: Allocated just above.
                unsafe { heap.free(block, self.size, ALIGN) };
            }
        }
        tally.pairs = pairs;
        tally
    }

    fn live(&self) -> Vec<(usize, usize)> {
        Vec::new()
    }

    fn finish(&mut self, _heap: &dyn Heap) {}
}
