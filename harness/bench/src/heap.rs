// SPDX-License-Identifier: GPL-2.0

//! The common interface of the allocators under test.
//!
//! Patterns call allocators only through `&dyn BenchHeap`, so each operation costs every allocator one
//! indirect call, and no allocator is inlined into the loop.

use std::ptr;

use slab_heap::Block;

/// An allocator under test. [`check`](crate::check) checks its guarantees.
///
/// Blocks have the type of slablab's engines: an address. Patterns store the address for every allocator, so the
/// loop costs all of them the same.
pub(crate) trait BenchHeap {
    /// Allocates `size` bytes, at least 1, aligned to `align`. Returns `None` on failure.
    fn alloc(&self, size: usize, align: usize) -> Option<Block>;

    /// Frees a block.
    ///
    /// # Safety
    ///
    /// - The block was returned by this allocator for `size` and `align`, and is live.
    /// - Nobody accesses the block during or after the call.
    unsafe fn free(&self, block: Block, size: usize, align: usize);

    /// Changes the size of a block, which may move. Returns `None` on failure; the block is then
    /// unchanged.
    ///
    /// # Safety
    ///
    /// The requirements of [`BenchHeap::free`] hold, and `new` is at least 1.
    unsafe fn realloc(&self, block: Block, size: usize, align: usize, new: usize) -> Option<Block> {
        // SAFETY: Both functions have the same contract.
        unsafe { reallocate_by_copy(self, block, size, align, new) }
    }

    /// Returns the usable size of a block for a request, or `size` when the allocator cannot say.
    fn usable_size(&self, size: usize, align: usize) -> usize {
        let _ = align;
        size
    }

    /// Returns the size of the metadata outside the pool without the caches of CPUs, in bytes.
    fn metadata_bytes(&self) -> usize {
        0
    }

    /// Returns the size of the cache of one CPU outside the pool, in bytes.
    fn cache_bytes(&self) -> usize {
        0
    }
}

/// Reallocates by allocating a new block, copying the content and freeing the old block.
///
/// # Safety
///
/// The requirements of [`BenchHeap::realloc`] hold.
pub(crate) unsafe fn reallocate_by_copy<H: BenchHeap + ?Sized>(
    heap: &H,
    block: Block,
    size: usize,
    align: usize,
    new: usize,
) -> Option<Block> {
    let to = heap.alloc(new, align)?;
    let (from, into) = (block.start.as_ptr(), to.start.as_ptr());
    // SAFETY: The old block has `size` bytes and the new one `new` bytes; both are live, so they do not
    // overlap.
    unsafe { ptr::copy_nonoverlapping(from, into, size.min(new)) };
    // SAFETY: The caller guarantees that the block is live and unused; its content was copied.
    unsafe { heap.free(block, size, align) };
    Some(to)
}
