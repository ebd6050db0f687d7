// SPDX-License-Identifier: GPL-2.0

//! The call that every allocator is behind.
//!
//! Patterns see a `&dyn Heap` and nothing else, so each operation of each allocator is one indirect
//! call, and none is inlined into a loop.

use std::ptr;

/// An allocator under test. What it promises is what [`check`](crate::check) looks for.
pub(crate) trait Heap {
    /// Allocates `size` bytes, at least 1, aligned to `align`; null when it cannot.
    fn alloc(&self, size: usize, align: usize) -> *mut u8;

    /// Takes a block back.
    ///
    /// # Safety
    ///
    /// The block is one of this allocator's, has this layout, is out, and nobody uses it any more.
    unsafe fn free(&self, block: *mut u8, size: usize, align: usize);

    /// Gives a block another size, elsewhere if need be; null, and nothing has changed, when it
    /// cannot.
    ///
    /// # Safety
    ///
    /// As for [`Heap::free`]. `new` is at least 1.
    unsafe fn realloc(&self, block: *mut u8, size: usize, align: usize, new: usize) -> *mut u8 {
        // SAFETY: By this function's contract.
        unsafe { moved(self, block, size, align, new) }
    }

    /// Returns the bytes that a block gets for a request, as far as is known.
    fn usable(&self, size: usize, align: usize) -> usize {
        let _ = align;
        size
    }

    /// Returns the bytes that it keeps beside its pool.
    fn beside_bytes(&self) -> usize {
        0
    }
}

/// Moves a block to a new one of another size.
///
/// # Safety
///
/// As for [`Heap::realloc`].
pub(crate) unsafe fn moved<H: Heap + ?Sized>(
    heap: &H,
    block: *mut u8,
    size: usize,
    align: usize,
    new: usize,
) -> *mut u8 {
    let to = heap.alloc(new, align);
    if !to.is_null() {
        // SAFETY: Both blocks are out and have so many bytes, and they are not the same one.
        unsafe { ptr::copy_nonoverlapping(block, to, size.min(new)) };
        // SAFETY: By this function's contract; what was in it has been copied.
        unsafe { heap.free(block, size, align) };
    }
    to
}
