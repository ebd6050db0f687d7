// SPDX-License-Identifier: GPL-2.0

//! The crate `talc`: a dlmalloc-style allocator with bins, with its metadata in the pool.

use std::alloc::Layout;

use slab_heap::Block;
use talc::{
    DefaultBinning,
    base::Talc,
    source::Manual, //
};

use crate::{
    heap::{BenchHeap, reallocate_by_copy},
    lock::NewLock,
    pool::MemoryRange,
};

/// The allocator with the configuration of its own wrappers.
type Inner = Talc<Manual, DefaultBinning>;

/// The allocator behind a lock.
struct LockedHeap<L>(L);

/// Constructs the allocator in `memory`.
///
/// # Safety
///
/// The memory is valid for reads and writes, and nobody else accesses it, until the heap is dropped.
pub(super) unsafe fn new<L: NewLock<Inner> + 'static>(memory: MemoryRange) -> Box<dyn BenchHeap> {
    let mut talc = Inner::new(Manual);
    // SAFETY: The caller guarantees that the memory is valid and used by nobody else.
    let claimed = unsafe { talc.claim(memory.start.as_ptr(), memory.bytes) };
    assert!(claimed.is_some(), "talc refused its pool");
    Box::new(LockedHeap(L::new(talc)))
}

/// Returns a request as a `Layout`.
#[inline]
fn layout(size: usize, align: usize) -> Layout {
    // SAFETY: Patterns pass powers of two as alignment, and sizes far below `isize::MAX`.
    unsafe { Layout::from_size_align_unchecked(size, align) }
}

impl<L: NewLock<Inner>> BenchHeap for LockedHeap<L> {
    fn alloc(&self, size: usize, align: usize) -> Option<Block> {
        // SAFETY: Patterns request at least 1 byte.
        self.0
            .with(|talc| unsafe { talc.allocate(layout(size, align)) })
            .map(|start| Block { start })
    }

    unsafe fn free(&self, block: Block, size: usize, align: usize) {
        // SAFETY: The caller passes a live, unused block of this heap with its layout.
        self.0
            .with(|talc| unsafe { talc.deallocate(block.start.as_ptr(), layout(size, align)) });
    }

    unsafe fn realloc(&self, block: Block, size: usize, align: usize, new: usize) -> Option<Block> {
        let start = block.start.as_ptr();
        let resized = self.0.with(|talc| {
            // SAFETY: The caller passes a live block of this heap with its layout.
            unsafe { talc.try_realloc_in_place(start, layout(size, align), new) }
        });
        if resized {
            return Some(block);
        }
        // SAFETY: Both functions have the same contract, and the block did not change.
        unsafe { reallocate_by_copy(self, block, size, align, new) }
    }

    fn metadata_bytes(&self) -> usize {
        size_of::<Inner>()
    }
}
