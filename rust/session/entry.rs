// SPDX-License-Identifier: GPL-2.0

//! What a session notes of each of its blocks.

use core::{
    alloc::Layout,
    ptr::NonNull, //
};

use slab_heap::{
    Block,
    errand::Known, //
};

use crate::{
    denied::Denied,
    handle::Handle,
    pins::Pins, //
};

/// A block and what is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// The block.
    pub(crate) block: Block,
    /// The layout that the program asked for: it may touch `layout.size()` bytes.
    pub(crate) layout: Layout,
    /// The bytes that it counts for in the quota.
    pub(crate) charge: usize,
}

/// What an entry is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Nothing.
    Vacant,
    /// An allocation that is not complete.
    Reserved,
    /// A block that is there, and who is using it at the moment.
    Live { pins: Pins },
    /// A block that is being moved.
    Moving,
}

impl State {
    /// Returns why the block of an entry that is not quietly live cannot be had.
    #[cold]
    pub(crate) fn denied(self) -> Denied {
        match self {
            Self::Live { .. } | Self::Moving => Denied::Pinned,
            Self::Vacant | Self::Reserved => Denied::NoSuchBlock,
        }
    }
}

/// One entry of a session's table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    /// What names the entry, or will.
    pub(crate) handle: Handle,
    /// What the engine knows of the block.
    pub(crate) known: Option<Known>,
    /// What it is used for.
    pub(crate) state: State,
    /// Of a block that is there.
    pub(crate) record: Record,
}

impl Entry {
    /// The entry of a new chunk.
    pub(crate) const VACANT: Self = Self {
        handle: match Handle::first(0) {
            Some(handle) => handle,
            None => unreachable!(),
        },
        known: None,
        state: State::Vacant,
        record: Record {
            block: Block {
                start: NonNull::dangling(),
                offset: None,
            },
            layout: Layout::new::<()>(),
            charge: 0,
        },
    };
}
