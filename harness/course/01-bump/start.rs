// SPDX-License-Identifier: GPL-2.0

//! Exercise 1: a bump allocator.

#![cfg_attr(not(MODULE), no_std)]
#![forbid(unsafe_code)]

use slab_student::{
    Allocator,
    Error,
    Layout,
    Memory, //
};

/// A bump allocator.
pub struct Student {
    /// The offset of the first byte that was never allocated.
    next: usize,
}

impl Allocator for Student {
    fn new(_memory: &mut Memory) -> Result<Self, Error> {
        Ok(Self { next: 0 })
    }

    fn allocate(&mut self, memory: &mut Memory, layout: Layout) -> Result<Option<usize>, Error> {
        // Exercise: the block is not aligned, and may lie outside the pool.
        let _ = memory;
        let block = self.next;
        self.next = block + layout.size();
        Ok(Some(block))
    }

    fn free(&mut self, _memory: &mut Memory, _block: usize, _layout: Layout) -> Result<(), Error> {
        // A bump allocator never frees.
        Ok(())
    }
}
