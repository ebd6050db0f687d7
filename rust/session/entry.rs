// SPDX-License-Identifier: GPL-2.0

//! Entries of the handle table: an allocation, the handle that names it, and its state.

use core::{
    alloc::Layout,
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

/// A pin count that saturates, like `refcount_t`: a block whose count reaches the maximum stays pinned
/// until its session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PinCount(u32);

impl PinCount {
    /// The block is not pinned.
    pub(crate) const ZERO: Self = Self(0);

    /// The saturated count.
    const SATURATED: Self = Self(u32::MAX);

    /// Adds a pin.
    fn increment(&mut self) {
        self.0 = self.0.saturating_add(1);
    }

    /// Removes a pin that [`PinCount::increment`] added.
    fn decrement(&mut self) {
        if *self != Self::SATURATED {
            self.0 = self.0.saturating_sub(1);
        }
    }
}

/// The state of an entry.
///
/// ```text
/// Vacant ─reserve─▶ Reserved ─commit─▶ Live ─begin_move─▶ Moving
///    ▲                 │ abort          │ ▲                 │
///    └─────────────────┴───remove───────┘ └────end_move─────┘
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryState {
    /// The entry is unused.
    Vacant,
    /// An allocation is in progress. The handle does not name a block yet.
    Reserved,
    /// The handle names a live block with this many pins.
    Live(PinCount),
    /// A reallocation is in progress and has exclusive access to the block.
    Moving,
}

impl EntryState {
    /// The state of a live block without pins.
    pub(crate) const IDLE: Self = Self::Live(PinCount::ZERO);

    /// Returns the error for an operation that needs a live block without pins.
    #[cold]
    fn error(self) -> SessionError {
        match self {
            Self::Live(_) | Self::Moving => SessionError::Pinned,
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
    /// The handle that names the entry's block, or will name its next block.
    pub(crate) handle: Handle,
    /// The index of the next entry in the queue of vacant entries, valid in the state `Vacant`.
    pub(crate) next_vacant: u32,
    /// The state of the entry.
    pub(crate) state: EntryState,
    /// The allocation, valid in the states `Live` and `Moving`.
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
            EntryState::IDLE => Ok(()),
            state => Err(state.error()),
        }
    }

    /// Pins a live block, so that it is neither removed nor moved.
    pub(crate) fn pin(&mut self) -> Result<Allocation, SessionError> {
        match &mut self.state {
            EntryState::Live(pins) => pins.increment(),
            state => return Err(state.error()),
        }
        Ok(self.allocation)
    }

    /// Removes a pin that [`HandleEntry::pin`] added.
    pub(crate) fn unpin(&mut self) {
        if let EntryState::Live(pins) = &mut self.state {
            pins.decrement();
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
        self.state = EntryState::IDLE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_decrement_removes_one_pin() {
        let mut pins = PinCount::ZERO;
        pins.increment();
        pins.increment();
        pins.decrement();
        assert_ne!(pins, PinCount::ZERO);
        pins.decrement();
        assert_eq!(pins, PinCount::ZERO);
    }

    #[test]
    fn a_saturated_count_never_decreases() {
        let mut pins = PinCount(u32::MAX - 1);
        pins.increment();
        for _ in 0..3 {
            pins.decrement();
            assert_eq!(pins, PinCount::SATURATED);
        }
        pins.increment();
        assert_eq!(pins, PinCount::SATURATED);
    }
}
