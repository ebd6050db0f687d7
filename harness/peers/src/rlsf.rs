// SPDX-License-Identifier: GPL-2.0

//! The crate `rlsf`: two-level segregated fit, with headers in the pool.

use std::{
    alloc::Layout,
    ptr::NonNull, //
};

use rlsf::Tlsf;

use crate::{
    Facts,
    Peer, //
};

/// The allocator, with 28 first-level classes (blocks of up to 8 GiB) of 32 lists each, the most that a `u32` bitmap
/// allows.
pub struct Rlsf(Tlsf<'static, u32, u32, 28, 32>);

// SAFETY: The crate makes the same promise for its blocks. The headers lie in front of the blocks.
unsafe impl Peer for Rlsf {
    fn facts() -> Facts {
        Facts {
            name: "rlsf",
            package: "rlsf",
            version: "0.2.3",
            description: "two-level segregated fit (TLSF) with headers",
            metadata_bytes: size_of::<Self>(),
            align_max: None,
            cannot: Some(
                "be asked to grow a block only in place, so a session moves a block that grows",
            ),
        }
    }

    unsafe fn new(pool: NonNull<[u8]>) -> Option<Self> {
        let mut tlsf = Tlsf::new();
        // SAFETY: `insert_free_block_ptr` requires memory that is valid and that nobody else uses, as the caller
        // guarantees.
        unsafe { tlsf.insert_free_block_ptr(pool) }?;
        Some(Self(tlsf))
    }

    #[inline]
    unsafe fn allocate(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        self.0.allocate(layout)
    }

    #[inline]
    unsafe fn free(&mut self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: `deallocate` requires a live block of this heap with its alignment, as the caller guarantees.
        unsafe { self.0.deallocate(block, layout.align()) };
    }

    /// The crate has one function, which moves the block if necessary. A block that shrinks is never moved.
    unsafe fn resize_in_place(
        &mut self,
        block: NonNull<u8>,
        layout: Layout,
        new_bytes: usize,
    ) -> bool {
        // SAFETY: Both functions have the same contract.
        new_bytes <= layout.size() && unsafe { self.reallocate(block, layout, new_bytes) }.is_some()
    }

    #[inline]
    unsafe fn reallocate(
        &mut self,
        block: NonNull<u8>,
        layout: Layout,
        new_bytes: usize,
    ) -> Option<NonNull<u8>> {
        // SAFETY: The caller guarantees that the new layout is valid.
        let new = unsafe { Layout::from_size_align_unchecked(new_bytes, layout.align()) };
        // SAFETY: `reallocate` requires a live block of this heap and its alignment, as the caller guarantees.
        unsafe { self.0.reallocate(block, new) }
    }
}
