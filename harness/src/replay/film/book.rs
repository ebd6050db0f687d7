// SPDX-License-Identifier: GPL-2.0

//! What is out, by the answers that a program was given.

use slablab_trace::{
    Kind,
    Op,
    Trace, //
};

use super::super::{
    Answer,
    Fate, //
};
use crate::uapi::{
    self,
    NO_OFFSET, //
};

/// The bytes of a page.
pub(super) const PAGE_BYTES: u64 = 4096;

/// A block. That of which nothing is out has no bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    /// What was asked for.
    pub(super) requested: u64,
    /// What it has.
    pub(super) usable: u64,
    /// Where it is, or 2⁶⁴ − 1.
    pub(super) offset: u64,
}

/// What an operation changed about its block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change {
    /// The block before.
    pub(super) old: Held,
    /// The block behind it.
    pub(super) new: Held,
}

/// All blocks.
pub(super) struct Book {
    held: Vec<Held>,
    /// The bytes that are out, as asked for.
    pub(super) requested: u64,
    /// The bytes that these blocks have.
    pub(super) usable: u64,
}

impl Held {
    const NOTHING: Self = Self {
        requested: 0,
        usable: 0,
        offset: NO_OFFSET,
    };

    /// Returns the byte in its region, of a block with a place.
    pub(super) fn byte(&self) -> Option<u64> {
        let byte = self.offset & ((1 << uapi::SLABLAB_OFFSET_REGION_SHIFT) - 1);
        (self.offset != NO_OFFSET).then_some(byte)
    }

    /// Returns the first page.
    pub(super) fn page(&self) -> Option<u64> {
        Some(self.byte()? / PAGE_BYTES)
    }
}

impl Book {
    /// Begins with nothing.
    pub(super) fn new(trace: &Trace) -> Self {
        Self {
            held: vec![Held::NOTHING; trace.blocks()],
            requested: 0,
            usable: 0,
        }
    }

    /// Enters an operation.
    pub(super) fn enter(&mut self, op: &Op, answer: &Answer) -> Change {
        let held = &mut self.held[op.id as usize];
        let old = *held;
        let new = match (answer.fate, op.kind) {
            (Fate::Done, Kind::Alloc { bytes, .. } | Kind::Realloc { bytes }) => Held {
                requested: bytes.into(),
                usable: answer.usable,
                offset: answer.offset,
            },
            (Fate::Done, Kind::Free) => Held::NOTHING,
            (Fate::Refused(_) | Fate::LeftOut, _) => old,
        };
        *held = new;
        self.requested = self.requested - old.requested + new.requested;
        self.usable = self.usable - old.usable + new.usable;
        Change { old, new }
    }
}
