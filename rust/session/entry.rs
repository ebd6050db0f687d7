// SPDX-License-Identifier: GPL-2.0

//! Entries of the handle table: an allocation, the handle that names it, and its state.

use core::{
    alloc::Layout,
    num::NonZeroU32,
    ptr::NonNull, //
};

use slab_heap::{
    Block,
    Offset, //
};

use crate::{
    error::SessionError,
    handle::Handle, //
};

/// An allocation: a block, its layout and its charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Allocation {
    /// The block.
    pub(crate) block: Block,
    /// The offset of the block, if the engine has a pool.
    pub(crate) offset: Option<Offset>,
    /// The requested layout. The program may access `layout.size()` bytes.
    pub(crate) layout: Layout,
    /// The bytes charged to the quota: the usable size of the block.
    pub(crate) charge: usize,
}

/// The state of an entry.
///
/// ```text
///                                    Pinned
///                                     ▲ │
///                                 pin │ │ unpin
///                                     │ ▼
/// Vacant ─reserve─▶ Reserved ─commit─▶ Idle ─begin_move─▶ Moving
///    ▲                 │ abort          │ ▲                 │
///    └─────────────────┴───remove───────┘ └────end_move─────┘
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryState {
    /// The entry is unused.
    Vacant,
    /// An allocation is in progress. The handle does not name a block yet.
    Reserved,
    /// The handle names a live block without pins.
    Idle,
    /// The handle names a live block with this many pins. The count saturates, like `refcount_t`: a block
    /// whose count reaches the maximum stays pinned until its session ends.
    Pinned(NonZeroU32),
    /// A reallocation is in progress and has exclusive access to the block.
    Moving,
}

impl EntryState {
    /// Returns the error for an operation that needs a live block without pins.
    #[cold]
    fn error(self) -> SessionError {
        match self {
            Self::Idle | Self::Pinned(_) | Self::Moving => SessionError::Pinned,
            Self::Vacant | Self::Reserved => SessionError::NoSuchBlock,
        }
    }
}

/// An entry of the handle table, of one cache line.
///
/// Its fields are private to the crate, so a platform can allocate entries but not use them.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub struct HandleEntry {
    /// The handle of the entry's block, or of its next block if the entry has none.
    pub(crate) handle: Handle,
    /// The index of the next entry in the list of vacant entries, valid in the state `Vacant`.
    pub(crate) next_vacant: u32,
    /// The state of the entry.
    pub(crate) state: EntryState,
    /// The allocation, valid in the states `Idle`, `Pinned` and `Moving`.
    pub(crate) allocation: Allocation,
}

const _: () = assert!(size_of::<HandleEntry>() == 64);

impl HandleEntry {
    /// An entry of a new chunk.
    pub const VACANT: Self = Self {
        handle: match Handle::first(0) {
            Some(handle) => handle,
            None => unreachable!(),
        },
        next_vacant: 0,
        state: EntryState::Vacant,
        allocation: Allocation {
            block: Block {
                start: NonNull::dangling(),
            },
            offset: None,
            layout: Layout::new::<()>(),
            charge: 0,
        },
    };

    /// Returns an error unless the block is live and has no pins.
    #[inline(always)]
    pub(crate) fn ensure_idle(&self) -> Result<(), SessionError> {
        match self.state {
            EntryState::Idle => Ok(()),
            state => Err(state.error()),
        }
    }

    /// Pins a live block, so that it is neither removed nor moved.
    pub(crate) fn pin(&mut self) -> Result<Allocation, SessionError> {
        self.state = match self.state {
            EntryState::Idle => EntryState::Pinned(NonZeroU32::MIN),
            EntryState::Pinned(pins) => EntryState::Pinned(pins.saturating_add(1)),
            state => return Err(state.error()),
        };
        Ok(self.allocation)
    }

    /// Removes a pin that [`HandleEntry::pin`] added.
    pub(crate) fn unpin(&mut self) {
        if let EntryState::Pinned(pins) = self.state {
            if pins != NonZeroU32::MAX {
                self.state =
                    NonZeroU32::new(pins.get() - 1).map_or(EntryState::Idle, EntryState::Pinned);
            }
        }
    }

    /// Gives the caller exclusive access to a block, until [`HandleEntry::end_move`].
    pub(crate) fn begin_move(&mut self) -> Result<Allocation, SessionError> {
        self.ensure_idle()?;
        self.state = EntryState::Moving;
        Ok(self.allocation)
    }

    /// Ends the exclusive access: the handle names `allocation`.
    pub(crate) fn end_move(&mut self, allocation: &Allocation) {
        self.allocation = *allocation;
        self.state = EntryState::Idle;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pinned(pins: u32) -> HandleEntry {
        HandleEntry {
            state: NonZeroU32::new(pins).map_or(EntryState::Idle, EntryState::Pinned),
            ..HandleEntry::VACANT
        }
    }

    #[test]
    fn each_unpin_removes_one_pin() {
        let mut entry = pinned(0);
        assert!(entry.pin().is_ok() && entry.pin().is_ok());
        entry.unpin();
        assert_eq!(entry.ensure_idle(), Err(SessionError::Pinned));
        entry.unpin();
        assert_eq!(entry.ensure_idle(), Ok(()));
    }

    #[test]
    fn a_saturated_count_of_pins_never_decreases() {
        let mut entry = pinned(u32::MAX - 1);
        assert!(entry.pin().is_ok());
        for _ in 0..3 {
            entry.unpin();
            assert_eq!(entry.state, pinned(u32::MAX).state);
        }
        assert!(entry.pin().is_ok());
        assert_eq!(entry.state, pinned(u32::MAX).state);
    }
}
