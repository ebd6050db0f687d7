// SPDX-License-Identifier: GPL-2.0

//! Lists of free blocks.
//!
//! The first word of a free block is the link to the next free block, so a list needs no memory of its own.
//! The disadvantage is that a write to a freed block overwrites the link, and so chooses the address that the
//! second next allocation returns (`tests::weaknesses::a_write_after_free_chooses_an_allocation` in the
//! parent module).
//!
//! ```text
//! head ─▶ block      ┌─▶ block      ┌─▶ block
//!         ┌──────┐   │   ┌──────┐   │   ┌──────┐
//!         │ next ├───┘   │ next ├───┘   │ null │
//!         │      │       │      │       │      │
//!         └──────┘       └──────┘       └──────┘
//! ```

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
/// In the design (`docs/seed-design.md`) the head is an `Option<&'static mut FreeBlock>`. A `&'static mut`
/// asserts that nothing else reads the block for ever. This assertion is false: a block becomes the caller's
/// memory when it is allocated, and a check reads the links.
///
/// # Invariants
///
/// The links from `head` lead to `len` blocks, and nothing but the list uses these blocks.
pub(super) struct FreeBlockList<const BLK_SIZE: usize> {
    len: usize,
    head: Option<NonNull<FreeBlock>>,
}

impl<const BLK_SIZE: usize> FreeBlockList<BLK_SIZE> {
    /// Returns a list without blocks.
    pub(super) const fn empty() -> Self {
        const { assert!(BLK_SIZE >= size_of::<FreeBlock>() && BLK_SIZE.is_power_of_two()) };
        // INVARIANT: There is no head, and `len` is 0.
        Self { len: 0, head: None }
    }

    /// Cuts the memory at `start_addr` into `num_of_blocks` blocks. The block at `start_addr` becomes
    /// the head.
    ///
    /// # Safety
    ///
    /// - `num_of_blocks * BLK_SIZE` bytes at `start_addr` are valid for reads and writes as long as the list
    ///   exists, and nothing else uses them while they are in the list.
    /// - The provenance of that memory was exposed, and `start_addr` is a multiple of `BLK_SIZE`.
    pub(super) unsafe fn new(start_addr: usize, num_of_blocks: usize) -> Self {
        let mut list = Self::empty();
        for i in (0..num_of_blocks).rev() {
            // SAFETY: The block lies in the memory that the caller promises, its address is a
            // multiple of `BLK_SIZE`, and the blocks of this loop do not overlap.
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

    /// Removes the first block and returns its address. O(1).
    #[inline]
    pub(super) fn pop(&mut self) -> Option<usize> {
        let block = self.head?;
        // SAFETY: By the type invariant nothing but the list uses the block, so the header is valid, aligned
        // and initialised, and nothing writes to it.
        self.head = unsafe { block.read() }.next;
        // INVARIANT: The new head leads to the other `len - 1` blocks.
        self.len -= 1;
        Some(block.addr().get())
    }

    /// Adds the block at `addr` in front of the first one. O(1).
    ///
    /// # Safety
    ///
    /// The contract of [`FreeBlockList::new`], for one block at `addr`.
    #[inline]
    pub(super) unsafe fn push(&mut self, addr: usize) {
        let block = NonNull::new(ptr::with_exposed_provenance_mut::<FreeBlock>(addr));
        if let Some(block) = block {
            // SAFETY: The caller promises that the block is valid and unused. A block is at least
            // as large as its header, and aligned to its size.
            unsafe { block.write(FreeBlock { next: self.head }) };
            // INVARIANT: The new head leads to the `len` blocks of the old list.
            self.head = Some(block);
            self.len += 1;
        }
    }
}

/// Returns the link of the free block at `addr`, as an address; 0 at the end of the list.
///
/// The link is read as an integer, so that a damaged link is not an invalid pointer.
///
/// # Safety
///
/// The bytes of the header at `addr` are valid for reads, their provenance was exposed, and `addr` has the
/// alignment of a header.
pub(super) unsafe fn link(addr: usize) -> usize {
    // SAFETY: The caller promises that the bytes of the header are readable and aligned. A link has the size
    // of a `usize`, as asserted below, and every bit pattern is a valid `usize`.
    unsafe { ptr::with_exposed_provenance::<usize>(addr).read() }
}

const _: () = assert!(size_of::<FreeBlock>() == size_of::<usize>());

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::HostMemory;
    use std::vec::Vec;

    #[test]
    fn a_new_list_has_its_blocks_in_order_of_address() {
        let memory = HostMemory::new(4096);
        // SAFETY: Nothing but this test uses the memory.
        let mut list = unsafe { FreeBlockList::<64>::new(memory.addr(), 4) };
        assert_eq!(list.len(), 4);
        let popped: Vec<_> = core::iter::from_fn(|| list.pop()).collect();
        let expected: Vec<_> = (0..4).map(|i| memory.addr() + i * 64).collect();
        assert_eq!(popped, expected);
        assert_eq!((list.len(), list.head()), (0, None));
    }

    #[test]
    fn the_block_pushed_last_is_popped_first() {
        let memory = HostMemory::new(4096);
        let mut list = FreeBlockList::<128>::empty();
        assert_eq!(list.pop(), None);
        for i in [2, 0, 1] {
            // SAFETY: Nothing but this test uses the memory.
            unsafe { list.push(memory.addr() + i * 128) };
        }
        // SAFETY: The block is in the list, so its header is valid and aligned.
        assert_eq!(unsafe { link(memory.addr() + 128) }, memory.addr());
        for i in [1, 0, 2] {
            assert_eq!(list.pop(), Some(memory.addr() + i * 128));
        }
    }
}
