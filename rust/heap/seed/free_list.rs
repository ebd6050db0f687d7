// SPDX-License-Identifier: GPL-2.0

//! Lists of free blocks.
//!
//! A free block's first word is the link to the next one, so a list costs no memory of its own.
//! It costs trust instead: who writes to a block after freeing it writes the link, and chooses
//! what is allocated the time after next (`tests::a_write_after_free_chooses_an_allocation` in
//! the parent module).

use core::{
    mem::size_of,
    ptr::{
        self,
        NonNull, //
    },
};

/// The header of a free block.
#[repr(C)]
pub(super) struct FreeBlock {
    next: Option<NonNull<FreeBlock>>,
}

/// A last-in, first-out list of free blocks of `BLK_SIZE` bytes.
///
/// The document's head is an `Option<&'static mut FreeBlock>`. A reference would promise that
/// nobody else ever reads the block, which [`super::Heap`] cannot keep: its memory is lent to
/// others, and its links are what a check has to look at.
///
/// # Invariants
///
/// `head` leads to `len` blocks, each of which the list owns alone.
pub(super) struct FreeBlockList<const BLK_SIZE: usize> {
    len: usize,
    head: Option<NonNull<FreeBlock>>,
}

impl<const BLK_SIZE: usize> FreeBlockList<BLK_SIZE> {
    /// Returns a list without blocks.
    pub(super) const fn empty() -> Self {
        const { assert!(BLK_SIZE >= size_of::<FreeBlock>() && BLK_SIZE.is_power_of_two()) };
        // INVARIANT: There are no blocks.
        Self { len: 0, head: None }
    }

    /// Cuts `num_of_blocks` blocks from the memory at `start_addr`, the first of them at the head.
    ///
    /// # Safety
    ///
    /// - `num_of_blocks * BLK_SIZE` bytes at `start_addr` are valid for reads and writes for as
    ///   long as the list lives, and are the list's alone.
    /// - The provenance of that memory was exposed, and `start_addr` is a multiple of `BLK_SIZE`.
    pub(super) unsafe fn new(start_addr: usize, num_of_blocks: usize) -> Self {
        let mut list = Self::empty();
        for i in (0..num_of_blocks).rev() {
            // SAFETY: The block lies in the memory that the caller gave, and no other block does.
            unsafe { list.push(start_addr + i * BLK_SIZE) };
        }
        list
    }

    /// Returns the number of blocks.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Returns the address of the first block.
    pub(super) fn head(&self) -> Option<usize> {
        self.head.map(|block| block.addr().get())
    }

    /// Takes the first block and returns its address.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<usize> {
        let block = self.head?;
        // SAFETY: By the type invariant the list owns the block alone, header and all.
        self.head = unsafe { block.read() }.next;
        self.len -= 1;
        Some(block.addr().get())
    }

    /// Puts the block at `addr` first.
    ///
    /// # Safety
    ///
    /// As for [`FreeBlockList::new`], for the `BLK_SIZE` bytes at `addr`.
    #[inline]
    pub(super) unsafe fn push(&mut self, addr: usize) {
        let block = NonNull::new(ptr::with_exposed_provenance_mut::<FreeBlock>(addr));
        if let Some(block) = block {
            // SAFETY: The caller gives the block to the list; it is large and aligned enough for
            // the header.
            unsafe { block.write(FreeBlock { next: self.head }) };
            // INVARIANT: The block leads to what was the list, and is one more.
            self.head = Some(block);
            self.len += 1;
        }
    }
}

/// Returns the address in the link of the block at `addr`, 0 where the list ends.
///
/// The link is read as a plain word: nothing is assumed of it.
///
/// # Safety
///
/// The header's bytes at `addr` are valid for reads, their provenance was exposed, and `addr` is
/// aligned for it.
pub(super) unsafe fn link(addr: usize) -> usize {
    // SAFETY: By the function's contract. A link is a pointer or zero, as wide as a `usize`.
    unsafe { ptr::with_exposed_provenance::<usize>(addr).read() }
}

const _: () = assert!(size_of::<FreeBlock>() == size_of::<usize>());

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Memory;
    use std::vec::Vec;

    #[test]
    fn new_lists_hold_their_blocks_in_order_of_address() {
        let memory = Memory::new(4096);
        // SAFETY: The memory is this test's alone.
        let mut list = unsafe { FreeBlockList::<64>::new(memory.addr(), 4) };
        assert_eq!(list.len(), 4);
        let popped: Vec<_> = core::iter::from_fn(|| list.pop()).collect();
        let expected: Vec<_> = (0..4).map(|i| memory.addr() + i * 64).collect();
        assert_eq!(popped, expected);
        assert_eq!((list.len(), list.head()), (0, None));
    }

    #[test]
    fn the_last_block_in_is_the_first_out() {
        let memory = Memory::new(4096);
        let mut list = FreeBlockList::<128>::empty();
        assert_eq!(list.pop(), None);
        for i in [2, 0, 1] {
            // SAFETY: The memory is this test's alone.
            unsafe { list.push(memory.addr() + i * 128) };
        }
        // SAFETY: The block is in the list, so its header is there.
        assert_eq!(unsafe { link(memory.addr() + 128) }, memory.addr());
        for i in [1, 0, 2] {
            assert_eq!(list.pop(), Some(memory.addr() + i * 128));
        }
    }
}
