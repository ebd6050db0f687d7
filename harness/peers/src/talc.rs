// SPDX-License-Identifier: GPL-2.0

//! The crate `talc`: an allocator in the style of dlmalloc, with bins, and with its metadata in the pool.

use std::{
    alloc::Layout,
    ptr::NonNull, //
};

use talc::{
    DefaultBinning,
    base::Talc as Inner,
    source::Manual, //
};

use crate::{
    Facts,
    Peer, //
};

/// The allocator, with the configuration of the crate's own wrappers.
pub struct Talc(Inner<Manual, DefaultBinning>);

// SAFETY: The crate makes the same promise for its blocks. The tags lie behind the blocks.
unsafe impl Peer for Talc {
    fn facts() -> Facts {
        Facts {
            name: "talc",
            package: "talc",
            version: "5.1.1",
            description: "best fit by bins, in the style of dlmalloc, with tags",
            metadata_bytes: size_of::<Self>(),
            align_max: None,
            cannot: None,
        }
    }

    unsafe fn new(pool: NonNull<[u8]>) -> Option<Self> {
        let mut talc = Inner::new(Manual);
        // SAFETY: `claim` requires memory that is valid and that nobody else uses, as the caller guarantees.
        unsafe { talc.claim(pool.cast().as_ptr(), pool.len()) }?;
        Some(Self(talc))
    }

    #[inline]
    unsafe fn allocate(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        // SAFETY: `allocate` requires a size that is not 0, as the caller guarantees.
        unsafe { self.0.allocate(layout) }
    }

    #[inline]
    unsafe fn free(&mut self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: `deallocate` requires a live block of this heap with its layout, as the caller guarantees.
        unsafe { self.0.deallocate(block.as_ptr(), layout) };
    }

    #[inline]
    unsafe fn resize_in_place(
        &mut self,
        block: NonNull<u8>,
        layout: Layout,
        new_bytes: usize,
    ) -> bool {
        // SAFETY: `try_realloc_in_place` requires a live block of this heap with its layout, and a size that is not 0,
        // as the caller guarantees.
        unsafe { (self.0).try_realloc_in_place(block.as_ptr(), layout, new_bytes) }
    }
}
