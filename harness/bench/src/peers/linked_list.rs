// SPDX-License-Identifier: GPL-2.0

//! The crate `linked_list_allocator`: first fit in one free list.

use std::alloc::Layout;

use linked_list_allocator::Heap as Inner;
use slab_heap::Block;

use crate::{
    heap::BenchHeap,
    lock::NewLock,
    pool::MemoryRange, //
};

/// The allocator behind a lock.
struct LockedHeap<L>(L);

/// Constructs the allocator in `memory`.
///
/// # Safety
///
/// The memory is valid for reads and writes, and nobody else accesses it, until the heap is dropped.
pub(super) unsafe fn new<L: NewLock<Inner> + 'static>(memory: MemoryRange) -> Box<dyn BenchHeap> {
    let mut heap = Inner::empty();
    // SAFETY: The caller guarantees that the memory is valid and used by nobody else.
    unsafe { heap.init(memory.start.as_ptr(), memory.bytes) };
    Box::new(LockedHeap(L::new(heap)))
}

impl<L: NewLock<Inner>> BenchHeap for LockedHeap<L> {
    fn alloc(&self, size: usize, align: usize) -> Option<Block> {
        // SAFETY: Patterns pass powers of two as alignment, and sizes far below `isize::MAX`.
        let layout = unsafe { Layout::from_size_align_unchecked(size, align) };
        let start = self.0.with(|heap| heap.allocate_first_fit(layout)).ok()?;
        Some(Block { start })
    }

    unsafe fn free(&self, block: Block, size: usize, align: usize) {
        // SAFETY: The block was allocated with this layout, so the layout is valid.
        let layout = unsafe { Layout::from_size_align_unchecked(size, align) };
        // SAFETY: The caller passes a live, unused block of this heap with its layout.
        self.0
            .with(|heap| unsafe { heap.deallocate(block.start, layout) });
    }

    fn metadata_bytes(&self) -> usize {
        size_of::<Inner>()
    }
}
