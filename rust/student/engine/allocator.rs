// SPDX-License-Identifier: GPL-2.0

//! The trait that a learner implements.

use core::alloc::Layout;

use crate::{
    memory::Memory,
    violation::Error, //
};

/// An allocator over a [`Memory`].
///
/// The table of [terms](crate#terms) explains pool, offset, word, page, block, live, free and note. A block is named by
/// the offset of its first byte in the pool.
///
/// A [`Layout`] says which block a program needs: `layout.size()` bytes that begin at a multiple of `layout.align()`.
/// The engine rounds both up before it calls the allocator. A size is then a multiple of 8, at least 8, and at most the
/// length of the pool. An alignment is a power of two and at least 8; it may be larger than the size.
///
/// Only the engine calls these functions, one at a time, with a lock held. Errors come from [`Memory`]: a function of
/// the allocator returns them unchanged, with the operator `?`. A function never panics: in the kernel a panic stops
/// the machine.
pub trait Allocator: Sized + Send {
    /// Creates the allocator of a pool in which no block is live. The contents of the pool are unspecified; all notes
    /// are 0.
    ///
    /// # Errors
    ///
    /// The error of an access.
    fn new(memory: &mut Memory) -> Result<Self, Error>;

    /// Allocates a block of `layout.size()` bytes at a multiple of `layout.align()`, and returns its offset, for
    /// example `Ok(Some(64))`. The block is live after the call. If there is no room, the function returns `Ok(None)`
    /// and changes nothing, so that a smaller request can still be served.
    ///
    /// # Errors
    ///
    /// The error of an access.
    fn allocate(&mut self, memory: &mut Memory, layout: Layout) -> Result<Option<usize>, Error>;

    /// Frees the block at offset `block`, which was allocated with this layout and not freed since. After a resize, the
    /// layout has the new size. The block is no longer live when the function is called, so the function may access
    /// its memory.
    ///
    /// # Errors
    ///
    /// The error of an access.
    fn free(&mut self, memory: &mut Memory, block: usize, layout: Layout) -> Result<(), Error>;

    /// Resizes the block at offset `block` to `size` bytes without moving it, and returns whether that was possible.
    /// `layout` is the layout before the resize; the alignment does not change. If the function returns `false`, it
    /// changes nothing, and the program then allocates a new block and copies the contents.
    ///
    /// The bytes that a growing block gains must not belong to another block. The function may access the bytes that a
    /// shrinking block loses, but if it writes there, it must shrink the block.
    ///
    /// The default function resizes no block.
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

    /// Checks the rules that the allocator's data must obey between two calls, for example that a list is sorted. The
    /// function changes nothing.
    ///
    /// It is called at the end of each test of the course, by the command `check` of `slablab shell`, and by `slablab
    /// stress` and `slablab replay`. Any number of blocks may be live then.
    ///
    /// # Errors
    ///
    /// [`Memory::broken`] returns the error for a broken rule.
    fn check(&mut self, memory: &mut Memory) -> Result<(), Error> {
        let _ = memory;
        Ok(())
    }
}
