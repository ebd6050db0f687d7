// SPDX-License-Identifier: GPL-2.0

//! `linked_list_allocator`.

use std::{
    alloc::Layout,
    ptr::{
        self,
        NonNull, //
    },
};

use linked_list_allocator::Heap as Inner;

use crate::{
    heap::Heap,
    lock::New,
    pool::Memory, //
};

/// The allocator behind a lock.
struct Locked<L>(L);

/// Makes one.
///
/// # Safety
///
/// The memory is used by nobody else until the heap is dropped.
pub(super) unsafe fn make<L: New<Inner> + 'static>(memory: Memory) -> Box<dyn Heap> {
    let mut heap = Inner::empty();
    // SAFETY: By this function's contract.
    unsafe { heap.init(memory.start.as_ptr(), memory.bytes) };
    Box::new(Locked(L::new(heap)))
}

impl<L: New<Inner>> Heap for Locked<L> {
    fn alloc(&self, size: usize, align: usize) -> *mut u8 {
        // SAFETY: Patterns ask for powers of two and sizes far below half the address space.
        let layout = unsafe { Layout::from_size_align_unchecked(size, align) };
        self.0.with(|heap| match heap.allocate_first_fit(layout) {
            Ok(block) => block.as_ptr(),
            Err(()) => ptr::null_mut(),
        })
    }

    unsafe fn free(&self, block: *mut u8, size: usize, align: usize) {
        // SAFETY: By this function's contract.
        let layout = unsafe { Layout::from_size_align_unchecked(size, align) };
        // SAFETY: By this function's contract it is a block.
        let block = unsafe { NonNull::new_unchecked(block) };
        // SAFETY: By this function's contract.
        self.0
            .with(|heap| unsafe { heap.deallocate(block, layout) });
    }

    fn beside_bytes(&self) -> usize {
        size_of::<Inner>()
    }
}
