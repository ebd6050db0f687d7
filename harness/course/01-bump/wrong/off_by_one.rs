// SPDX-License-Identifier: GPL-2.0

//! Fails: the whole pool can be allocated
//! Hint: 2
//!
//! A block that ends where the pool ends is refused.

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
        let block = self.next.next_multiple_of(layout.align());
        let end = block + layout.size();
        if end >= memory.len() {
            return Ok(None);
        }
        self.next = end;
        Ok(Some(block))
    }

    fn free(&mut self, _memory: &mut Memory, _block: usize, _layout: Layout) -> Result<(), Error> {
        // A bump allocator never frees.
        Ok(())
    }
}
