// SPDX-License-Identifier: GPL-2.0

//! First fit: a list of the free blocks in the order of their offsets.
//!
//! ```text
//!  first ─▶ │ bytes │ next │ …     a free block begins with its length and the offset of the next free block
//! ```
//!
//! A block is split if it is longer than requested. A freed block is merged with the free blocks that touch it. Live
//! blocks have no header, because the caller names the layout again when it frees.

use slab_student::{
    Error,
    Layout,
    Memory, //
};

use crate::defect::{
    Active,
    Defect, //
};

/// The length of every block is a multiple of this number of bytes, so that a free block has room for its header.
pub(super) const UNIT: usize = 16;

/// The end of the list: no block has this offset.
pub(super) const NONE: usize = usize::MAX;

/// The header of a free block.
#[derive(Clone, Copy)]
pub(super) struct Header {
    pub(super) bytes: usize,
    pub(super) next: usize,
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

/// A part of the pool.
#[derive(Clone, Copy)]
pub(super) struct Part {
    pub(super) begin: usize,
    pub(super) bytes: usize,
}

impl Part {
    /// Returns the offset behind the last byte.
    pub(super) fn end(self) -> usize {
        self.begin.saturating_add(self.bytes)
    }
}

/// A place in the list: between two free blocks that follow each other, each of which may be [`NONE`].
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) before: usize,
    pub(super) next: usize,
}

/// A first-fit allocator.
pub struct FirstFit {
    defect: Active,
    /// The offset of the first free block.
    first: usize,
}

impl FirstFit {
    /// Creates the allocator of an empty pool.
    ///
    /// # Errors
    ///
    /// The error of an access.
    pub fn new(memory: &mut Memory, defect: Active) -> Result<Self, Error> {
        let bytes = memory.len();
        memory.store(0, Header { bytes, next: NONE })?;
        Ok(Self { defect, first: 0 })
    }

    /// Returns the bytes of the block that serves a request of `bytes` bytes.
    pub(super) fn rounded(&self, bytes: usize) -> usize {
        let unit = if self.defect.is(Defect::RemainderTooSmall) {
            slab_student::GRANULE
        } else {
            UNIT
        };
        bytes.next_multiple_of(unit)
    }

    /// Returns the place of a block in the list.
    pub(super) fn place(&self, memory: &Memory, block: usize) -> Result<Place, Error> {
        let mut place = Place {
            before: NONE,
            next: self.first,
        };
        while place.next < block {
            let header: Header = memory.load(place.next)?;
            place = Place {
                before: place.next,
                next: header.next,
            };
        }
        Ok(place)
    }

    /// Makes `next` the free block behind `before`, or the first one if `before` is `NONE`.
    pub(super) fn link(
        &mut self,
        memory: &mut Memory,
        before: usize,
        next: usize,
    ) -> Result<(), Error> {
        if before == NONE {
            self.first = next;
            return Ok(());
        }
        let header: Header = memory.load(before)?;
        memory.store(before, Header { next, ..header })
    }

    /// Inserts a free part at its place, and merges it with the free blocks that it touches.
    pub(super) fn insert(
        &mut self,
        memory: &mut Memory,
        place: Place,
        part: Part,
    ) -> Result<(), Error> {
        let Place { before, next } = place;
        let mut header = Header {
            bytes: part.bytes,
            next,
        };
        let touches_next = if self.defect.is(Defect::CoalescesOverLiveBlock) {
            next.saturating_sub(part.end()) <= UNIT
        } else {
            next == part.end()
        };
        if touches_next {
            let after: Header = memory.load(next)?;
            header = Header {
                bytes: (next - part.begin).saturating_add(after.bytes),
                next: after.next,
            };
        }
        if before != NONE {
            let previous: Header = memory.load(before)?;
            if before.saturating_add(previous.bytes) == part.begin {
                let bytes = if self.defect.is(Defect::MergeOfThreeLosesThird) {
                    part.bytes
                } else {
                    header.bytes
                };
                header.bytes = previous.bytes.saturating_add(bytes);
                return memory.store(before, header);
            }
        }
        if self.defect.is(Defect::ListLoops) && before == NONE && !touches_next {
            // `first` was replaced before it was read.
            header.next = part.begin;
        }
        memory.store(part.begin, header)?;
        self.link(memory, before, part.begin)
    }

    /// Takes a part from the free block at `free`, which follows `before` in the list and contains the part.
    fn carve(
        &mut self,
        memory: &mut Memory,
        (before, free): (usize, usize),
        header: Header,
        part: Part,
    ) -> Result<(), Error> {
        let free_end = free.saturating_add(header.bytes);
        let mut next = header.next;
        if part.end() < free_end || self.defect.is(Defect::ZeroRemainder) {
            // The rest behind the block stays free.
            let bytes = free_end - part.end();
            memory.store(part.end(), Header { bytes, next })?;
            next = part.end();
        }
        if part.begin > free && !self.defect.is(Defect::GapLost) {
            // The alignment left a gap in front of the block, which stays free.
            let bytes = part.begin - free;
            memory.store(free, Header { bytes, next })?;
            next = free;
        }
        self.link(memory, before, next)
    }

    /// See [`slab_student::Allocator::allocate`].
    pub(super) fn allocate(
        &mut self,
        memory: &mut Memory,
        layout: Layout,
    ) -> Result<Option<usize>, Error> {
        let bytes = self.rounded(layout.size());
        let (mut before, mut free) = (NONE, self.first);
        while free != NONE {
            let header: Header = memory.load(free)?;
            let is_last = header.next == NONE && before != NONE;
            if is_last && self.defect.is(Defect::LastFreeBlockSkipped) {
                break;
            }
            // Free blocks begin at multiples of `UNIT`.
            let begin = match layout.align() {
                align if align <= UNIT => free,
                align => free.next_multiple_of(align),
            };
            let part = Part { begin, bytes };
            if part.end() <= free.saturating_add(header.bytes) {
                self.carve(memory, (before, free), header, part)?;
                return Ok(Some(begin));
            }
            (before, free) = (free, header.next);
        }
        Ok(None)
    }

    /// See [`slab_student::Allocator::free`].
    pub(super) fn free(
        &mut self,
        memory: &mut Memory,
        block: usize,
        layout: Layout,
    ) -> Result<(), Error> {
        let part = Part {
            begin: block,
            bytes: self.rounded(layout.size()),
        };
        let place = self.place(memory, block)?;
        self.insert(memory, place, part)
    }

    /// See [`slab_student::Allocator::check`].
    pub(super) fn check(&mut self, memory: &mut Memory) -> Result<(), Error> {
        let (mut end, mut free) = (0, self.first);
        while free != NONE {
            let header: Header = memory.load(free)?;
            if free < end {
                return Err(memory.broken("the free blocks are not in order, or overlap", free));
            }
            if free == end && end > 0 {
                return Err(memory.broken("two adjacent free blocks are not merged", free));
            }
            end = free.saturating_add(header.bytes);
            if end > memory.len() {
                return Err(memory.broken("a free block ends outside of the pool", free));
            }
            free = header.next;
        }
        Ok(())
    }
}
