// SPDX-License-Identifier: GPL-2.0

//! The baseline: it always returns the same block, so its time is that of the loop and its calls.

use std::ptr::NonNull;

use slab_heap::Block;

use crate::heap::BenchHeap;

/// The name in tables.
pub(super) const NAME: &str = "(empty)";

/// The size of the block in bytes: larger than any request of a pattern.
const BYTES: usize = 1 << 17;

/// The baseline, with its block.
struct BaselineHeap(Block);

/// Constructs the baseline. Its block is never freed.
pub(super) fn new() -> Box<dyn BenchHeap> {
    let block = vec![0_u64; BYTES / size_of::<u64>()];
    Box::new(BaselineHeap(Block {
        start: NonNull::from(block.leak()).cast(),
    }))
}

impl BenchHeap for BaselineHeap {
    fn alloc(&self, _size: usize, _align: usize) -> Option<Block> {
        Some(self.0)
    }

    unsafe fn free(&self, _block: Block, _size: usize, _align: usize) {}
}
