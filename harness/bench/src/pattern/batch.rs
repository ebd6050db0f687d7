// SPDX-License-Identifier: GPL-2.0

//! Batches: many blocks of one size are allocated, then all are freed.

use slab_heap::Block;

use super::{
    ALIGN,
    Run,
    Tally,
    allocate, //
};
use crate::heap::Heap;

/// The order in which the blocks of a batch are freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// The block that was allocated last is freed first.
    Lifo,
    /// The block that was allocated first is freed first.
    Fifo,
}

/// The batch pattern.
pub(super) struct Batch {
    size: usize,
    order: Order,
    blocks: Vec<Option<Block>>,
}

impl Batch {
    /// Returns the pattern with batches of `count` blocks of `size` bytes.
    pub(super) fn new(size: usize, count: usize, order: Order) -> Self {
        Self {
            size,
            order,
            blocks: vec![None; count],
        }
    }

    /// Frees a block of the batch.
    #[inline(always)]
    fn free(&self, heap: &dyn Heap, block: Option<Block>) {
        if let Some(block) = block {
            // SAFETY: This pass allocated the block with this layout, and each block is freed once.
            unsafe { heap.free(block, self.size, ALIGN) };
        }
    }
}

impl Run for Batch {
    fn pass(&mut self, heap: &dyn Heap, pairs: u64) -> Tally {
        let mut tally = Tally::default();
        while tally.pairs < pairs {
            for block in &mut self.blocks {
                *block = allocate(heap, self.size, &mut tally);
            }
            match self.order {
                Order::Fifo => self.blocks.iter().for_each(|block| self.free(heap, *block)),
                Order::Lifo => {
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

    fn finish(&mut self, _heap: &dyn Heap) {}
}
