// SPDX-License-Identifier: GPL-2.0

//! `talc`: a dlmalloc with bins, its bookkeeping in the pool.

use std::{
    alloc::Layout,
    ptr::{
        self,
        NonNull, //
    },
};

use talc::{
    DefaultBinning,
    base::Talc,
    source::Manual, //
};

use crate::{
    heap::{
        Heap,
        moved, //
    },
    lock::New,
    pool::Memory,
};

/// The allocator as its own wrappers have it.
type Inner = Talc<Manual, DefaultBinning>;

/// The allocator behind a lock.
struct Locked<L>(L);

/// Makes one.
///
/// # Safety
///
/// The memory is used by nobody else until the heap is dropped.
pub(super) unsafe fn make<L: New<Inner> + 'static>(memory: Memory) -> Box<dyn Heap> {
    let mut talc = Inner::new(Manual);
    // SAFETY: By this function's contract.
    let claimed = unsafe { talc.claim(memory.start.as_ptr(), memory.bytes) };
    assert!(claimed.is_some(), "talc refuses its pool");
    Box::new(Locked(L::new(talc)))
}

/// Returns the layout of a request.
#[inline]
fn layout(size: usize, align: usize) -> Layout {
    // SAFETY: Patterns ask for powers of two and sizes far below half the address space.
    unsafe { Layout::from_size_align_unchecked(size, align) }
}

impl<L: New<Inner>> Heap for Locked<L> {
    fn alloc(&self, size: usize, align: usize) -> *mut u8 {
        // SAFETY: The size is not 0.
        self.0
            .with(|talc| unsafe { talc.allocate(layout(size, align)) })
            .map_or(ptr::null_mut(), NonNull::as_ptr)
    }

    unsafe fn free(&self, block: *mut u8, size: usize, align: usize) {
        // SAFETY: By this function's contract.
        self.0
            .with(|talc| unsafe { talc.deallocate(block, layout(size, align)) });
    }

    unsafe fn realloc(&self, block: *mut u8, size: usize, align: usize, new: usize) -> *mut u8 {
        let resized = self.0.with(|talc| {
            // SAFETY: By this function's contract.
            unsafe { talc.try_realloc_in_place(block, layout(size, align), new) }
        });
        if resized {
            return block;
        }
        // SAFETY: By this function's contract.
        unsafe { moved(self, block, size, align, new) }
    }

    fn beside_bytes(&self) -> usize {
        size_of::<Inner>()
    }
}
