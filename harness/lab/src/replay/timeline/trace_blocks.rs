// SPDX-License-Identifier: GPL-2.0

//! The live blocks of a trace, according to the answers.

use slablab_trace::{
    Kind,
    Op,
    Trace, //
};

use super::super::{
    Answer,
    OpOutcome, //
};
use crate::uapi::{
    self,
    NO_OFFSET, //
};

/// The bytes of a page.
pub(super) const PAGE_BYTES: u64 = 4096;

/// A block; a block that is not live has 0 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TraceBlock {
    /// The requested bytes.
    pub(super) requested: u64,
    /// The usable bytes.
    pub(super) usable: u64,
    /// The offset, or 2⁶⁴ − 1.
    pub(super) offset: u64,
}

/// The block of an operation before and after it.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlockChange {
    /// The block before the operation.
    pub(super) old: TraceBlock,
    /// The block after the operation.
    pub(super) new: TraceBlock,
}

/// All blocks of a trace, by number.
pub(super) struct TraceBlocks {
    blocks: Vec<TraceBlock>,
    /// The requested bytes of all live blocks.
    pub(super) requested: u64,
    /// The usable bytes of all live blocks.
    pub(super) usable: u64,
}

impl TraceBlock {
    const NOTHING: Self = Self {
        requested: 0,
        usable: 0,
        offset: NO_OFFSET,
    };

    /// Returns the offset within the region; `None` for a block without an offset.
    pub(super) fn byte(&self) -> Option<u64> {
        let byte = self.offset & ((1 << uapi::SLABLAB_OFFSET_REGION_SHIFT) - 1);
        (self.offset != NO_OFFSET).then_some(byte)
    }

    /// Returns the first page.
    pub(super) fn page(&self) -> Option<u64> {
        Some(self.byte()? / PAGE_BYTES)
    }
}

impl TraceBlocks {
    /// Creates the state before the first operation, without live blocks.
    pub(super) fn new(trace: &Trace) -> Self {
        Self {
            blocks: vec![TraceBlock::NOTHING; trace.blocks()],
            requested: 0,
            usable: 0,
        }
    }

    /// Returns all blocks. Those that are not live have 0 bytes and no offset.
    pub(super) fn all(&self) -> impl Iterator<Item = &TraceBlock> {
        self.blocks.iter()
    }

    /// Applies an operation.
    pub(super) fn enter(&mut self, op: &Op, answer: &Answer) -> BlockChange {
        let block = &mut self.blocks[op.id as usize];
        let old = *block;
        let new = match (answer.outcome, op.kind) {
            (OpOutcome::Done, Kind::Alloc { bytes, .. } | Kind::Realloc { bytes }) => TraceBlock {
                requested: bytes.into(),
                usable: answer.usable,
                offset: answer.offset,
            },
            (OpOutcome::Done, Kind::Free) => TraceBlock::NOTHING,
            (OpOutcome::Refused(_) | OpOutcome::LeftOut, _) => old,
        };
        *block = new;
        self.requested = self.requested - old.requested + new.requested;
        self.usable = self.usable - old.usable + new.usable;
        BlockChange { old, new }
    }
}
