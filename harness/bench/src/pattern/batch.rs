// SPDX-License-Identifier: GPL-2.0

//! Many blocks of one size, allocated in a row and freed in a row.

use std::ptr;

use super::{
    ALIGN,
    Run,
    Tally,
    taken, //
};
use crate::heap::Heap;

/// Which block of a batch is freed first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// The last one.
    Lifo,
    /// The first one.
    Fifo,
}

/// Batches of one size.
pub(super) struct Batch {
    size: usize,
    order: Order,
    blocks: Vec<*mut u8>,
}

impl Batch {
    /// Begins with batches of `count` blocks of `size` bytes.
    pub(super) fn new(size: usize, count: usize, order: Order) -> Self {
        Self {
            size,
            order,
            blocks: vec![ptr::null_mut(); count],
        }
    }

    /// Frees a block of the batch.
    #[inline(always)]
    fn give(&self, heap: &dyn Heap, block: *mut u8) {
        if !block.is_null() {
            // SAFETY: Allocated by this pass, and each is freed once.
            unsafe { heap.free(block, self.size, ALIGN) };
        }
    }
}

impl Run for Batch {
    fn pass(&mut self, heap: &dyn Heap, pairs: u64) -> Tally {
        let mut tally = Tally::default();
        while tally.pairs < pairs {
            for block in &mut self.blocks {
                *block = taken(heap, self.size, &mut tally);
            }
            match self.order {
                Order::Fifo => self.blocks.iter().for_each(|block| self.give(heap, *block)),
                Order::Lifo => {
                    let backwards = self.blocks.iter().rev();
                    backwards.for_each(|block| self.give(heap, *block));
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
