// SPDX-License-Identifier: GPL-2.0

//! The crate `rlsf`: two-level segregated fit, with headers in the pool.

use std::{
    alloc::Layout,
    ptr::NonNull, //
};

use rlsf::Tlsf;
use slab_heap::Block;

use crate::{
    heap::BenchHeap,
    lock::NewLock,
    pool::MemoryRange, //
};

/// TLSF with 28 first-level classes (blocks of up to 8 GiB) of 32 lists each, the most that a `u32`
/// bitmap allows.
type Inner = Tlsf<'static, u32, u32, 28, 32>;

/// The allocator behind a lock.
struct LockedHeap<L>(L);

/// Constructs the allocator in `memory`.
///
/// # Safety
///
/// The memory is valid for reads and writes, and nobody else accesses it, until the heap is dropped.
pub(super) unsafe fn new<L: NewLock<Inner> + 'static>(memory: MemoryRange) -> Box<dyn BenchHeap> {
    let mut tlsf = Inner::new();
    let pool = NonNull::slice_from_raw_parts(memory.start, memory.bytes);
    // SAFETY: The caller guarantees that the memory is valid and used by nobody else.
    let inserted = unsafe { tlsf.insert_free_block_ptr(pool) };
    assert!(inserted.is_some(), "rlsf refused its pool");
    Box::new(LockedHeap(L::new(tlsf)))
}

/// Returns a request as a `Layout`.
#[inline]
fn layout(size: usize, align: usize) -> Layout {
    // SAFETY: Patterns pass powers of two as alignment, and sizes far below `isize::MAX`.
    unsafe { Layout::from_size_align_unchecked(size, align) }
}

impl<L: NewLock<Inner>> BenchHeap for LockedHeap<L> {
    fn alloc(&self, size: usize, align: usize) -> Option<Block> {
        self.0
            .with(|tlsf| tlsf.allocate(layout(size, align)))
            .map(|start| Block { start })
    }

    unsafe fn free(&self, block: Block, _size: usize, align: usize) {
        // SAFETY: The caller passes a live, unused block of this heap with its alignment.
        self.0
            .with(|tlsf| unsafe { tlsf.deallocate(block.start, align) });
    }

    unsafe fn realloc(
        &self,
        block: Block,
        _size: usize,
        align: usize,
        new: usize,
    ) -> Option<Block> {
        // SAFETY: The caller passes a live block of this heap with its alignment.
        self.0
            .with(|tlsf| unsafe { tlsf.reallocate(block.start, layout(new, align)) })
            .map(|start| Block { start })
    }

    fn metadata_bytes(&self) -> usize {
        size_of::<Inner>()
    }
}
