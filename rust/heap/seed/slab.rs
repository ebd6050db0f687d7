// SPDX-License-Identifier: GPL-2.0

//! Slabs.
//!
//! A [`Slab`] hands out blocks of one size from a free list, and takes [`SET_SIZE`] blocks at once
//! from the buddy system when the list is empty. It never gives them back.

use core::alloc::Layout;

use super::{
    AllocError,
    BuddySystem,
    PAGE_SIZE,
    free_list::FreeBlockList, //
};

/// Blocks that a slab takes from the buddy system at once.
pub const SET_SIZE: usize = 64;

/// A slab of blocks of `BLK_SIZE` bytes.
pub(super) struct Slab<const BLK_SIZE: usize> {
    free_block_list: FreeBlockList<BLK_SIZE>,
    total_blocks: usize,
}

impl<const BLK_SIZE: usize> Slab<BLK_SIZE> {
    /// The layout of what the slab takes from the buddy system.
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

    /// Returns the number of blocks, free or out.
    pub(super) fn total_blocks(&self) -> usize {
        self.total_blocks
    }

    /// Returns the number of blocks that are out.
    pub(super) fn used_blocks(&self) -> usize {
        // A slab with more free blocks than blocks is damaged. The check says so, not a panic.
        self.total_blocks.saturating_sub(self.free_block_list.len())
    }

    /// Returns the number of blocks in the free list, and the address of the first.
    pub(super) fn free_blocks(&self) -> (usize, Option<usize>) {
        (self.free_block_list.len(), self.free_block_list.head())
    }

    /// Adds the blocks in `slab_size` bytes at `start_addr`; the last of them comes first.
    ///
    /// # Safety
    ///
    /// As for [`FreeBlockList::new`].
    pub(super) unsafe fn grow(&mut self, start_addr: usize, slab_size: usize) {
        let num_of_blocks = slab_size / BLK_SIZE;
        self.total_blocks += num_of_blocks;
        // SAFETY: By this function's contract.
        let mut blocks = unsafe { FreeBlockList::<BLK_SIZE>::new(start_addr, num_of_blocks) };
        while let Some(block) = blocks.pop() {
            // SAFETY: The block has just left the list that owned it.
            unsafe { self.free_block_list.push(block) };
        }
    }

    /// Hands out a block, after growing when there is none.
    ///
    /// # Errors
    ///
    /// [`AllocError`] when the buddy system has no set of blocks to give.
    #[inline]
    pub(super) fn allocate(&mut self, buddy: &mut BuddySystem) -> Result<usize, AllocError> {
        if let Some(block) = self.free_block_list.pop() {
            return Ok(block);
        }
        let set = buddy.alloc(Self::SET).map_err(|()| AllocError)?;
        // SAFETY: The buddy system gives valid memory of that size and alignment, which is a
        // multiple of the block's, and gives it to nobody else. Who filled the buddy system has
        // exposed its provenance.
        unsafe { self.grow(set.addr().get(), Self::SET.size()) };
        self.free_block_list.pop().ok_or(AllocError)
    }

    /// Takes a block back.
    ///
    /// # Safety
    ///
    /// This slab handed out the block at `ptr`, it was not taken back since, and nobody uses it.
    #[inline]
    pub(super) unsafe fn deallocate(&mut self, ptr: usize) {
        // SAFETY: The caller says that the block came from this slab's list, and is unused.
        unsafe { self.free_block_list.push(ptr) };
    }
}
