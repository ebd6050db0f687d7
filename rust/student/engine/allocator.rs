// SPDX-License-Identifier: GPL-2.0

//! The trait that a learner implements.

use core::alloc::Layout;

use crate::{
    memory::Memory,
    violation::Error, //
};

/// An allocator over a [`Memory`].
///
/// Blocks are named by the offset of their first byte in the pool. Sizes are multiples of 8 bytes and at least 8, and
/// alignments are powers of two and at least 8: the engine rounds requests up.
///
/// All functions are called with a lock held, one at a time.
pub trait Allocator: Sized + Send {
    /// Creates the allocator of a pool in which no block is allocated. The contents of the pool are unspecified; page
    /// notes are 0.
    ///
    /// # Errors
    ///
    /// The error of an access.
    fn new(memory: &mut Memory) -> Result<Self, Error>;

    /// Allocates a block of `layout.size()` bytes at a multiple of `layout.align()`, and returns its offset; `None` if
    /// there is no room.
    ///
    /// # Errors
    ///
    /// The error of an access.
    fn allocate(&mut self, memory: &mut Memory, layout: Layout) -> Result<Option<usize>, Error>;

    /// Frees the block at offset `block`, which has this layout. The memory of the block may be accessed again.
    ///
    /// # Errors
    ///
    /// The error of an access.
    fn free(&mut self, memory: &mut Memory, block: usize, layout: Layout) -> Result<(), Error>;

    /// Resizes the block at offset `block` to `size` bytes without moving it, and returns whether that was possible. If
    /// not, nothing may be changed: the caller then allocates a new block and copies.
    ///
    /// The bytes that a growing block gets must not belong to another block. The memory of the bytes that a shrinking
    /// block loses may be accessed again, but only if the block is shrunk.
    ///
    /// # Errors
    ///
    /// The error of an access.
    fn resize(
        &mut self,
        memory: &mut Memory,
        block: usize,
        layout: Layout,
        size: usize,
    ) -> Result<bool, Error> {
        let _ = (memory, block);
        Ok(size == layout.size())
    }

    /// Checks the rules that the allocator's data must obey between two calls.
    ///
    /// # Errors
    ///
    /// [`Memory::broken`] returns the error for a broken rule.
    fn check(&mut self, memory: &mut Memory) -> Result<(), Error> {
        let _ = memory;
        Ok(())
    }
}
