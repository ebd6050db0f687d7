// SPDX-License-Identifier: GPL-2.0

//! The trait that a learner implements.

use core::alloc::Layout;

use crate::{
    memory::Memory,
    violation::Error, //
};

/// An allocator over a [`Memory`].
///
/// The [terms](crate#terms) are pool, offset, word, page, block, live, free and note. A block is named by the offset of its
/// first byte in the pool.
///
/// A [`Layout`] says which block a program needs: `layout.size()` bytes that begin at a multiple of `layout.align()`. The
/// engine rounds both up before it calls the allocator: a size is a multiple of 8 and at least 8, and at most the size of
/// the pool; an alignment is a power of two and at least 8. It may be larger than the pool.
///
/// Only the engine calls these functions, one at a time, with a lock held. An error that a function returns comes from
/// [`Memory`]; the operator `?` returns it. A function never panics: in the kernel a panic stops the machine.
pub trait Allocator: Sized + Send {
    /// Creates the allocator of a pool in which no block is allocated. The contents of the pool are unspecified; page
    /// notes are 0.
    ///
    /// # Errors
    ///
    /// The error of an access.
    fn new(memory: &mut Memory) -> Result<Self, Error>;

    /// Allocates a block of `layout.size()` bytes at a multiple of `layout.align()`, and returns its offset, for example
    /// `Ok(Some(64))`. The block is live from then on. If there is no room, the result is `Ok(None)`, and nothing may be
    /// changed: a smaller request may still be served.
    ///
    /// # Errors
    ///
    /// The error of an access.
    fn allocate(&mut self, memory: &mut Memory, layout: Layout) -> Result<Option<usize>, Error>;

    /// Frees the block at offset `block`, which is live and was allocated with this layout. After a resize, the layout has
    /// the new size. The block is free when the function is called, so its memory may be accessed already.
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

    /// Checks the rules that the allocator's data must obey between two calls, for example that a list is sorted. It
    /// changes nothing.
    ///
    /// It is called at the end of each test of the course, by the command `check` of `slablab shell`, and by `slablab
    /// stress` and `slablab replay`. No other call is under way then, and any number of blocks may be live.
    ///
    /// # Errors
    ///
    /// [`Memory::broken`] returns the error for a broken rule.
    fn check(&mut self, memory: &mut Memory) -> Result<(), Error> {
        let _ = memory;
        Ok(())
    }
}
