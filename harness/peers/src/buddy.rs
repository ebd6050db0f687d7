// SPDX-License-Identifier: GPL-2.0

//! The crate `buddy_system_allocator`, which is also the second tier of the engine `seed`.

use std::{
    alloc::Layout,
    ptr::NonNull, //
};

use buddy_system_allocator::Heap;

use crate::{
    Facts,
    Peer, //
};

/// The allocator, with as many orders as in the engine `seed`.
pub struct Buddy(Heap<32>);

// SAFETY: The crate makes the same promise for its blocks. Free blocks have links inside, live blocks have none.
unsafe impl Peer for Buddy {
    fn facts() -> Facts {
        Facts {
            name: "buddy",
            package: "buddy_system_allocator",
            version: "0.13.0",
            description: "a buddy system for blocks of 8 bytes and more",
            metadata_bytes: size_of::<Self>(),
            align_max: None,
            cannot: Some("resize a block in place, so a session moves it"),
        }
    }

    unsafe fn new(pool: NonNull<[u8]>) -> Option<Self> {
        let mut heap = Heap::new();
        let start = pool.cast::<u8>().as_ptr().expose_provenance();
        // SAFETY: `init` requires memory that is valid and that nobody else uses, as the caller guarantees.
        unsafe { heap.init(start, pool.len()) };
        Some(Self(heap))
    }

    #[inline]
    unsafe fn allocate(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        self.0.alloc(layout).ok()
    }

    #[inline]
    unsafe fn free(&mut self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: `dealloc` requires a live block of this heap with its layout, as the caller guarantees.
        unsafe { self.0.dealloc(block, layout) };
    }

    /// The size of a block is a power of two, and at least a word and the alignment.
    fn usable_bytes(layout: Layout) -> Option<usize> {
        let least = layout.align().max(size_of::<usize>());
        Some(layout.size().checked_next_power_of_two()?.max(least))
    }
}
