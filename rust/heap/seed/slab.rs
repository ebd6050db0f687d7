// SPDX-License-Identifier: GPL-2.0

//! Slabs of `seed`.
//!
//! A [`Slab`] allocates blocks of one size from a free list. If the list is empty, the slab grows by
//! [`SET_SIZE`] contiguous blocks from the buddy system. A slab never returns memory.

use core::alloc::Layout;

use super::{
    AllocError,
    BuddySystem,
    PAGE_SIZE,
    free_list::FreeBlockList, //
};

/// The number of blocks by which a slab grows.
pub const SET_SIZE: usize = 64;

/// A slab of blocks of `BLK_SIZE` bytes.
pub(super) struct Slab<const BLK_SIZE: usize> {
    free_block_list: FreeBlockList<BLK_SIZE>,
    total_blocks: usize,
}

impl<const BLK_SIZE: usize> Slab<BLK_SIZE> {
    /// The layout of the buddy block with which the slab grows.
    const SET: Layout = match Layout::from_size_align(SET_SIZE * BLK_SIZE, PAGE_SIZE) {
        Ok(layout) => layout,
        Err(_) => panic!("a set of blocks is larger than the address space"),
    };

    /// Returns a slab without blocks.
    pub(super) const fn new() -> Self {
        Self {
            free_block_list: FreeBlockList::empty(),
            total_blocks: 0,
        }
    }

    /// Returns the number of blocks, free and live.
    pub(super) fn total_blocks(&self) -> usize {
        self.total_blocks
    }

    /// Returns the number of live blocks.
    pub(super) fn used_blocks(&self) -> usize {
        // A slab with more free blocks than blocks is damaged. CHECK reports the damage. A subtraction that
        // overflows would panic.
        self.total_blocks.saturating_sub(self.free_block_list.len())
    }

    /// Returns the number of blocks in the free list, and the address of the first block.
    pub(super) fn free_blocks(&self) -> (usize, Option<usize>) {
        (self.free_block_list.len(), self.free_block_list.head())
    }

    /// Adds the blocks in `slab_size` bytes at `start_addr`. The last of these blocks is allocated first:
    /// they are moved one by one from a new list in order of address, which reverses the order.
    ///
    /// # Safety
    ///
    /// The contract of [`FreeBlockList::new`], for `slab_size / BLK_SIZE` blocks at `start_addr`.
    pub(super) unsafe fn grow(&mut self, start_addr: usize, slab_size: usize) {
        let num_of_blocks = slab_size / BLK_SIZE;
        self.total_blocks += num_of_blocks;
        // SAFETY: The contract of `FreeBlockList::new` is that of this function, and
        // `num_of_blocks * BLK_SIZE` is at most `slab_size`.
        let mut blocks = unsafe { FreeBlockList::<BLK_SIZE>::new(start_addr, num_of_blocks) };
        while let Some(block) = blocks.pop() {
            // SAFETY: The block was just removed from the list that owned it, so no list has it.
            unsafe { self.free_block_list.push(block) };
        }
    }

    /// Allocates a block. Grows first if no block is free.
    ///
    /// O(1), and O([`SET_SIZE`]) with a growth.
    ///
    /// # Errors
    ///
    /// [`AllocError`] if the slab has to grow and the buddy system has no block that is large
    /// enough.
    #[inline]
    pub(super) fn allocate(&mut self, buddy: &mut BuddySystem) -> Result<usize, AllocError> {
        if let Some(block) = self.free_block_list.pop() {
            return Ok(block);
        }
        let set = buddy.alloc(Self::SET).map_err(|()| AllocError)?;
        // SAFETY: The buddy system allocated the memory, so the memory is valid and nothing else uses it. The
        // alignment of the memory, a page, is a multiple of `BLK_SIZE`. The caller of `Heap::try_add_memory`
        // exposed the provenance of the memory.
        unsafe { self.grow(set.addr().get(), Self::SET.size()) };
        self.free_block_list.pop().ok_or(AllocError)
    }

    /// Frees the block at `ptr`. O(1).
    ///
    /// # Safety
    ///
    /// [`Slab::allocate`] of this slab returned `ptr`, the block is live, and nothing uses it.
    #[inline]
    pub(super) unsafe fn deallocate(&mut self, ptr: usize) {
        // SAFETY: The block came from this slab's list, so it is valid memory of the right size and
        // alignment. The block is live, so no list has it, and the caller promises that nothing uses it.
        unsafe { self.free_block_list.push(ptr) };
    }
}
