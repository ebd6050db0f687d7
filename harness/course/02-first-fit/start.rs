// SPDX-License-Identifier: GPL-2.0

//! Exercise 2: first fit.
//!
//! ```text
//!  first ─▶ │ bytes │ next │ …     a free block begins with its length and the offset of the next free block
//! ```

#![cfg_attr(not(MODULE), no_std)]
#![forbid(unsafe_code)]

use slab_student::{
    Allocator,
    Error,
    Layout,
    Memory, //
};

/// The length of every block is a multiple of this, so that a free block has room for its header.
const UNIT: usize = 16;

/// The end of the list: no block has this offset.
const NONE: usize = usize::MAX;

/// The header of a free block.
#[derive(Clone, Copy)]
struct Header {
    bytes: usize,
    next: usize,
}

impl From<[u64; 2]> for Header {
    fn from([bytes, next]: [u64; 2]) -> Self {
        Self {
            bytes: bytes as usize,
            next: next as usize,
        }
    }
}

impl From<Header> for [u64; 2] {
    fn from(header: Header) -> Self {
        [header.bytes as u64, header.next as u64]
    }
}

/// A first-fit allocator.
pub struct Student {
    /// The offset of the first free block, or `NONE`.
    first: usize,
}

impl Allocator for Student {
    fn new(memory: &mut Memory) -> Result<Self, Error> {
        let bytes = memory.len();
        memory.store(0, Header { bytes, next: NONE })?;
        Ok(Self { first: 0 })
    }

    fn allocate(&mut self, memory: &mut Memory, layout: Layout) -> Result<Option<usize>, Error> {
        // Exercise: only the first free block is looked at, and the alignment is ignored.
        let bytes = layout.size().next_multiple_of(UNIT);
        if self.first == NONE {
            return Ok(None);
        }
        let header: Header = memory.load(self.first)?;
        // Exercise: a block that fits exactly is refused, too.
        if header.bytes <= bytes {
            return Ok(None);
        }
        let (block, rest) = (self.first, self.first + bytes);
        let bytes = header.bytes - bytes;
        memory.store(rest, Header { bytes, ..header })?;
        self.first = rest;
        Ok(Some(block))
    }

    fn free(&mut self, memory: &mut Memory, block: usize, layout: Layout) -> Result<(), Error> {
        // Exercise: the block goes to the front of the list, and is never merged.
        let bytes = layout.size().next_multiple_of(UNIT);
        let next = self.first;
        memory.store(block, Header { bytes, next })?;
        self.first = block;
        Ok(())
    }
}
