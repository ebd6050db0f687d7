// SPDX-License-Identifier: GPL-2.0

//! Entries of the handle table: one allocation and its state.

use core::{
    alloc::Layout,
    ptr::NonNull, //
};

use slab_heap::{
    Block,
    errand::Known, //
};

use crate::{
    error::SessionError,
    handle::Handle,
    pins::Pins, //
};

/// An allocation: a block, its layout and its charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Allocation {
    /// The block.
    pub(crate) block: Block,
    /// The requested layout. The program may access `layout.size()` bytes.
    pub(crate) layout: Layout,
    /// The bytes charged to the quota: the usable size of the block.
    pub(crate) charge: usize,
}

/// The state of an entry.
///
/// ```text
/// Vacant ─reserve─▶ Reserved ─commit─▶ Live ─begin_move─▶ Moving
///    ▲                 │ abort          │ ▲                 │
///    └─────────────────┴────────free────┘ └────end_move─────┘
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryState {
    /// The entry is unused.
    Vacant,
    /// An allocation is in progress. The handle does not name a block yet.
    Reserved,
    /// The handle names a live block with this many pins.
    Live { pins: Pins },
    /// A reallocation is in progress and has exclusive access to the block.
    Moving,
}

impl EntryState {
    /// Returns the error for an operation that needs a live block without pins.
    #[cold]
    pub(crate) fn error(self) -> SessionError {
        match self {
            Self::Live { .. } | Self::Moving => SessionError::Pinned,
            Self::Vacant | Self::Reserved => SessionError::NoSuchBlock,
        }
    }
}

/// An entry of the handle table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    /// The handle that names the entry's block, or will name its next block.
    pub(crate) handle: Handle,
    /// The engine's hint about the block, which makes its free cheaper.
    pub(crate) hint: Option<Known>,
    /// The state of the entry.
    pub(crate) state: EntryState,
    /// The allocation, valid in the states `Live` and `Moving`.
    pub(crate) allocation: Allocation,
}

impl Entry {
    /// An entry of a new chunk, before its handle is set.
    pub(crate) const VACANT: Self = Self {
        handle: match Handle::first(0) {
            Some(handle) => handle,
            None => unreachable!(),
        },
        hint: None,
        state: EntryState::Vacant,
        allocation: Allocation {
            block: Block {
                start: NonNull::dangling(),
                offset: None,
            },
            layout: Layout::new::<()>(),
            charge: 0,
        },
    };
}
