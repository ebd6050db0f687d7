// SPDX-License-Identifier: GPL-2.0

//! The crate `linked_list_allocator`: first fit in one free list.

use std::{
    alloc::Layout,
    ptr::NonNull, //
};

use linked_list_allocator::Heap;

use crate::{
    Facts,
    Peer, //
};

/// The allocator.
pub struct LinkedList(Heap);

// SAFETY: The crate makes the same promise for its blocks. The nodes of the list lie in free blocks.
unsafe impl Peer for LinkedList {
    fn facts() -> Facts {
        Facts {
            name: "llist",
            package: "linked_list_allocator",
            version: "0.10.6",
            description: "first fit in one free list, sorted by address",
            metadata_bytes: size_of::<Self>(),
            align_max: None,
            cannot: Some("resize a block in place, so a session moves it"),
        }
    }

    unsafe fn new(pool: NonNull<[u8]>) -> Option<Self> {
        let mut heap = Heap::empty();
        // SAFETY: `init` requires memory that is valid and that nobody else uses, as the caller guarantees.
        unsafe { heap.init(pool.cast().as_ptr(), pool.len()) };
        Some(Self(heap))
    }

    #[inline]
    unsafe fn allocate(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        self.0.allocate_first_fit(layout).ok()
    }

    #[inline]
    unsafe fn free(&mut self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: `deallocate` requires a live block of this heap with its layout, as the caller guarantees.
        unsafe { self.0.deallocate(block, layout) };
    }
}
