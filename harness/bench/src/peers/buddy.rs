// SPDX-License-Identifier: GPL-2.0

//! The crate `buddy_system_allocator`, which is also the second tier of the seed.

use std::alloc::Layout;

use buddy_system_allocator::Heap as Buddy;
use slab_heap::Block;

use crate::{
    heap::BenchHeap,
    lock::NewLock,
    pool::MemoryRange, //
};

/// The allocator with as many orders as in the seed.
type Inner = Buddy<32>;

/// The allocator behind a lock.
struct LockedHeap<L>(L);

/// Constructs the allocator in `memory`.
///
/// # Safety
///
/// The memory is valid for reads and writes, and nobody else accesses it, until the heap is dropped.
pub(super) unsafe fn new<L: NewLock<Inner> + 'static>(memory: MemoryRange) -> Box<dyn BenchHeap> {
    let mut heap = Inner::new();
    let start = memory.start.as_ptr().expose_provenance();
    // SAFETY: The caller guarantees that the memory is valid and used by nobody else.
    unsafe { heap.init(start, memory.bytes) };
    Box::new(LockedHeap(L::new(heap)))
}

impl<L: NewLock<Inner>> BenchHeap for LockedHeap<L> {
    fn alloc(&self, size: usize, align: usize) -> Option<Block> {
        // SAFETY: Patterns pass powers of two as alignment, and sizes far below `isize::MAX`.
        let layout = unsafe { Layout::from_size_align_unchecked(size, align) };
        let start = self.0.with(|heap| heap.alloc(layout)).ok()?;
        Some(Block { start })
    }

    unsafe fn free(&self, block: Block, size: usize, align: usize) {
        // SAFETY: The block was allocated with this layout, so the layout is valid.
        let layout = unsafe { Layout::from_size_align_unchecked(size, align) };
        // SAFETY: The caller passes a live, unused block of this heap with its layout.
        self.0
            .with(|heap| unsafe { heap.dealloc(block.start, layout) });
    }

    fn metadata_bytes(&self) -> usize {
        size_of::<Inner>()
    }
}
