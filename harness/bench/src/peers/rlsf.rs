// SPDX-License-Identifier: GPL-2.0

//! `rlsf`: two-level segregated fit, its headers in the pool.

use std::{
    alloc::Layout,
    ptr::{
        self,
        NonNull, //
    },
};

use rlsf::Tlsf;

use crate::{
    heap::Heap,
    lock::New,
    pool::Memory, //
};

/// 28 doublings, so blocks of up to 8 GiB, each cut into 32 lists: the finest that one word of
/// bits allows.
type Inner = Tlsf<'static, u32, u32, 28, 32>;

/// The allocator behind a lock.
struct Locked<L>(L);

/// Makes one.
///
/// # Safety
///
/// The memory is used by nobody else until the heap is dropped.
pub(super) unsafe fn make<L: New<Inner> + 'static>(memory: Memory) -> Box<dyn Heap> {
    let mut tlsf = Inner::new();
    let pool = NonNull::slice_from_raw_parts(memory.start, memory.bytes);
    // SAFETY: By this function's contract.
    let inserted = unsafe { tlsf.insert_free_block_ptr(pool) };
    assert!(inserted.is_some(), "rlsf refuses its pool");
    Box::new(Locked(L::new(tlsf)))
}

/// Returns the layout of a request.
#[inline]
fn layout(size: usize, align: usize) -> Layout {
    // SAFETY: Patterns ask for powers of two and sizes far below half the address space.
    unsafe { Layout::from_size_align_unchecked(size, align) }
}

impl<L: New<Inner>> Heap for Locked<L> {
    fn alloc(&self, size: usize, align: usize) -> *mut u8 {
        self.0
            .with(|tlsf| tlsf.allocate(layout(size, align)))
            .map_or(ptr::null_mut(), NonNull::as_ptr)
    }

    unsafe fn free(&self, block: *mut u8, _size: usize, align: usize) {
        // SAFETY: By this function's contract it is a block.
        let block = unsafe { NonNull::new_unchecked(block) };
        // SAFETY: By this function's contract.
        self.0.with(|tlsf| unsafe { tlsf.deallocate(block, align) });
    }

    unsafe fn realloc(&self, block: *mut u8, _size: usize, align: usize, new: usize) -> *mut u8 {
        // SAFETY: By this function's contract it is a block.
        let block = unsafe { NonNull::new_unchecked(block) };
        // SAFETY: By this function's contract.
        self.0
            .with(|tlsf| unsafe { tlsf.reallocate(block, layout(new, align)) })
            .map_or(ptr::null_mut(), NonNull::as_ptr)
    }

    fn beside_bytes(&self) -> usize {
        size_of::<Inner>()
    }
}
