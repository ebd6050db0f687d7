// SPDX-License-Identifier: GPL-2.0

//! Batches: many blocks of one size are allocated, then all are freed.

use slab_heap::Block;

use super::{
    ALIGN,
    PassTally,
    RunningPattern,
    allocate, //
};
use crate::heap::BenchHeap;

/// The order in which the blocks of a batch are freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FreeOrder {
    /// The block that was allocated last is freed first.
    Lifo,
    /// The block that was allocated first is freed first.
    Fifo,
}

/// The batch pattern.
pub(super) struct BatchPattern {
    size: usize,
    order: FreeOrder,
    blocks: Vec<Option<Block>>,
}

impl BatchPattern {
    /// Returns the pattern with batches of `count` blocks of `size` bytes.
    pub(super) fn new(size: usize, count: usize, order: FreeOrder) -> Self {
        Self {
            size,
            order,
            blocks: vec![None; count],
        }
    }

    /// Frees a block of the batch.
    #[inline(always)]
    fn free(&self, heap: &dyn BenchHeap, block: Option<Block>) {
        if let Some(block) = block {
            // SAFETY: This pass allocated the block with this layout, and each block is freed once.
            unsafe { heap.free(block, self.size, ALIGN) };
        }
    }
}

impl RunningPattern for BatchPattern {
    fn pass(&mut self, heap: &dyn BenchHeap, pairs: u64) -> PassTally {
        let mut tally = PassTally::default();
        while tally.pairs < pairs {
            for block in &mut self.blocks {
                *block = allocate(heap, self.size, &mut tally);
            }
            match self.order {
                FreeOrder::Fifo => self.blocks.iter().for_each(|block| self.free(heap, *block)),
                FreeOrder::Lifo => {
                    let reversed = self.blocks.iter().rev();
                    reversed.for_each(|block| self.free(heap, *block));
                }
            }
            tally.pairs += self.blocks.len() as u64;
        }
        tally
    }

    fn live(&self) -> Vec<(usize, usize)> {
        Vec::new()
    }

    fn finish(&mut self, _heap: &dyn BenchHeap) {}
}
