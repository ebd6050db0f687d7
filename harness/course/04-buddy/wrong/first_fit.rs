// SPDX-License-Identifier: GPL-2.0

//! Fails: a block begins at a multiple of its size, rounded up to a power of two
//! Hint: 1
//!
//! First fit of exercise 2: a good allocator, but no buddy system.

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
    first: usize,
}

impl Student {
    /// Makes `next` the block after `before` in the list, or the first block if `before` is `NONE`.
    fn link(&mut self, memory: &mut Memory, before: usize, next: usize) -> Result<(), Error> {
        if before == NONE {
            self.first = next;
            return Ok(());
        }
        let header: Header = memory.load(before)?;
        memory.store(before, Header { next, ..header })
    }

    /// Inserts a free block between `before` and `next`, and merges it with those that it touches.
    fn insert(
        &mut self,
        memory: &mut Memory,
        (before, next): (usize, usize),
        (block, mut bytes): (usize, usize),
    ) -> Result<(), Error> {
        let mut after = next;
        if next == block + bytes {
            let header: Header = memory.load(next)?;
            bytes += header.bytes;
            after = header.next;
        }
        if before != NONE {
            let header: Header = memory.load(before)?;
            if before + header.bytes == block {
                let bytes = header.bytes + bytes;
                return memory.store(before, Header { bytes, next: after });
            }
        }
        memory.store(block, Header { bytes, next: after })?;
        self.link(memory, before, block)
    }
}

impl Allocator for Student {
    fn new(memory: &mut Memory) -> Result<Self, Error> {
        let bytes = memory.len();
        memory.store(0, Header { bytes, next: NONE })?;
        Ok(Self { first: 0 })
    }

    fn allocate(&mut self, memory: &mut Memory, layout: Layout) -> Result<Option<usize>, Error> {
        let bytes = layout.size().next_multiple_of(UNIT);
        let (mut before, mut free) = (NONE, self.first);
        while free != NONE {
            let header: Header = memory.load(free)?;
            let block = free.next_multiple_of(layout.align());
            let (end, free_end) = (block + bytes, free + header.bytes);
            if end <= free_end {
                let mut next = header.next;
                if end < free_end {
                    // The rest behind the block stays free.
                    let bytes = free_end - end;
                    memory.store(end, Header { bytes, next })?;
                    next = end;
                }
                if block > free {
                    // So does the rest before it, which the alignment left out.
                    let bytes = block - free;
                    memory.store(free, Header { bytes, next })?;
                    next = free;
                }
                self.link(memory, before, next)?;
                return Ok(Some(block));
            }
            (before, free) = (free, header.next);
        }
        Ok(None)
    }

    fn free(&mut self, memory: &mut Memory, block: usize, layout: Layout) -> Result<(), Error> {
        let bytes = layout.size().next_multiple_of(UNIT);
        let (mut before, mut next) = (NONE, self.first);
        while next < block {
            let header: Header = memory.load(next)?;
            (before, next) = (next, header.next);
        }
        self.insert(memory, (before, next), (block, bytes))
    }

    fn check(&mut self, memory: &mut Memory) -> Result<(), Error> {
        let (mut end, mut free) = (0, self.first);
        while free != NONE {
            let header: Header = memory.load(free)?;
            if free < end {
                return Err(memory.broken("the free blocks are not in the order of their offsets", free));
            }
            if free == end && end > 0 {
                return Err(memory.broken("two adjacent free blocks are not merged", free));
            }
            (end, free) = (free + header.bytes, header.next);
        }
        Ok(())
    }
}
