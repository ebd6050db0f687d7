// SPDX-License-Identifier: GPL-2.0

//! Red zones and poison, around a first-fit allocator.
//!
//! ```text
//!  allocated chunk   │ red zone │ the program's block   │ red zone │
//!                    chunk      chunk + ZONE            chunk + ZONE + size
//!
//!  free chunk        │ header   │ poison                           │
//! ```

#![cfg_attr(not(MODULE), no_std)]
#![forbid(unsafe_code)]

use slab_student::{
    Allocator,
    Error,
    Layout,
    Memory, //
};

/// The length of every chunk is a multiple of this, so that a free chunk has room for its header.
const UNIT: usize = 16;

/// The bytes of the red zone before a block. The header of a free chunk has the same length and place.
const ZONE: usize = 16;

/// The words of a red zone.
const RED: u64 = 0xcccc_cccc_cccc_cccc;

/// The words of free memory.
const POISON: u64 = 0x6b6b_6b6b_6b6b_6b6b;

/// The end of the list: no chunk has this offset.
const NONE: usize = usize::MAX;

/// The header of a free chunk.
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

/// A first-fit allocator with red zones.
pub struct Student {
    first: usize,
}

/// Returns the bytes of the chunk of a block: the red zones, the block, and the rest up to a multiple of `UNIT`.
fn chunk_bytes(layout: Layout) -> usize {
    (ZONE + layout.size() + ZONE).next_multiple_of(UNIT)
}

/// Writes `word` to all words from `begin` up to `end`.
fn fill(memory: &mut Memory, begin: usize, end: usize, word: u64) -> Result<(), Error> {
    (begin..end)
        .step_by(8)
        .try_for_each(|at| memory.write(at, word))
}

/// Returns the first word from `begin` up to `end` that is not `word`.
fn damage(memory: &Memory, begin: usize, end: usize, word: u64) -> Result<Option<usize>, Error> {
    for at in (begin..end).step_by(8) {
        if memory.read(at)? != word {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

/// Reports the first word from `begin` up to `end` that is not poison.
fn expect_poison(memory: &Memory, begin: usize, end: usize) -> Result<(), Error> {
    match damage(memory, begin, end, POISON)? {
        Some(at) => Err(memory.program_error("a write into freed memory", at)),
        None => Ok(()),
    }
}

impl Student {
    /// Makes `next` the chunk after `before` in the list, or the first chunk if `before` is `NONE`.
    fn link(&mut self, memory: &mut Memory, before: usize, next: usize) -> Result<(), Error> {
        if before == NONE {
            self.first = next;
            return Ok(());
        }
        let header: Header = memory.load(before)?;
        memory.store(before, Header { next, ..header })
    }

    /// Inserts a chunk full of poison between `before` and `next`, and merges it with those that it touches.
    fn insert(
        &mut self,
        memory: &mut Memory,
        (before, next): (usize, usize),
        (chunk, mut bytes): (usize, usize),
    ) -> Result<(), Error> {
        let mut after = next;
        if next == chunk + bytes {
            let header: Header = memory.load(next)?;
            bytes += header.bytes;
            after = header.next;
            // The header lies inside of the larger chunk now.
            fill(memory, next, next + ZONE, POISON)?;
        }
        if before != NONE {
            let header: Header = memory.load(before)?;
            if before + header.bytes == chunk {
                let bytes = header.bytes + bytes;
                return memory.store(before, Header { bytes, next: after });
            }
        }
        memory.store(chunk, Header { bytes, next: after })?;
        self.link(memory, before, chunk)
    }
}

impl Allocator for Student {
    fn new(memory: &mut Memory) -> Result<Self, Error> {
        let bytes = memory.len();
        memory.store(0, Header { bytes, next: NONE })?;
        fill(memory, ZONE, bytes, POISON)?;
        Ok(Self { first: 0 })
    }

    fn allocate(&mut self, memory: &mut Memory, layout: Layout) -> Result<Option<usize>, Error> {
        let (mut before, mut free) = (NONE, self.first);
        while free != NONE {
            let header: Header = memory.load(free)?;
            let block = (free + ZONE).next_multiple_of(layout.align());
            let chunk = block - ZONE;
            let (end, free_end) = (chunk + chunk_bytes(layout), free + header.bytes);
            if end <= free_end {
                // The words that get another use now. The header of the rest, if there is one, takes some of them.
                expect_poison(memory, free + ZONE, (end + ZONE).min(free_end))?;
                let mut next = header.next;
                if end < free_end {
                    let bytes = free_end - end;
                    memory.store(end, Header { bytes, next })?;
                    next = end;
                }
                if chunk > free {
                    let bytes = chunk - free;
                    memory.store(free, Header { bytes, next })?;
                    next = free;
                }
                self.link(memory, before, next)?;
                fill(memory, chunk, block, RED)?;
                fill(memory, block + layout.size(), end, RED)?;
                return Ok(Some(block));
            }
            (before, free) = (free, header.next);
        }
        Ok(None)
    }

    fn free(&mut self, memory: &mut Memory, block: usize, layout: Layout) -> Result<(), Error> {
        let (chunk, bytes) = (block - ZONE, chunk_bytes(layout));
        let (block_end, end) = (block + layout.size(), chunk + bytes);
        if let Some(at) = damage(memory, chunk, block, RED)? {
            return Err(memory.program_error("a write before the block", at));
        }
        if let Some(at) = damage(memory, block_end, end, RED)? {
            return Err(memory.program_error("a write behind the block", at));
        }
        fill(memory, chunk, end, POISON)?;
        let (mut before, mut next) = (NONE, self.first);
        while next < chunk {
            let header: Header = memory.load(next)?;
            (before, next) = (next, header.next);
        }
        self.insert(memory, (before, next), (chunk, bytes))
    }

    fn check(&mut self, memory: &mut Memory) -> Result<(), Error> {
        let mut free = self.first;
        while free != NONE {
            let header: Header = memory.load(free)?;
            expect_poison(memory, free + ZONE, free + header.bytes)?;
            free = header.next;
        }
        Ok(())
    }
}
