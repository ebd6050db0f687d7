// SPDX-License-Identifier: GPL-2.0

//! Reservations: vacant entries of the handle table, within the quota.

use slab_heap::errand::Known;

use crate::{
    entry::{
        Allocation,
        Entry,
        EntryState, //
    },
    handle::Handle,
    pins::Pins,
    storage::Storage,
    table::{
        HandleTable,
        VacantEntry, //
    },
};

/// The quota of a session, or the unused part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The usable bytes of all blocks together.
    pub bytes: usize,
    /// The number of blocks.
    pub handles: u32,
}

/// A vacant entry for one block, within the quota. Dropping it changes nothing.
pub(crate) struct Reservation<'l> {
    vacant: VacantEntry<'l>,
    left: &'l mut Limits,
    /// The quota that is left after the commit.
    left_after: Limits,
}

impl<'l> Reservation<'l> {
    /// Returns a reservation for a block with this charge in bytes, or `None` if the table is full or a
    /// quota would be exceeded.
    #[inline(always)]
    pub(crate) fn new<S: Storage>(
        table: &'l mut HandleTable<S>,
        left: &'l mut Limits,
        charge: usize,
    ) -> Option<Self> {
        Some(Self {
            left_after: Limits {
                bytes: left.bytes.checked_sub(charge)?,
                handles: left.handles.checked_sub(1)?,
            },
            vacant: table.first_vacant()?,
            left,
        })
    }

    /// Inserts a live block and returns its handle.
    #[inline(always)]
    pub(crate) fn commit(self, allocation: Allocation) -> Handle {
        let entry = self.occupy(EntryState::Live { pins: Pins::NONE });
        entry.allocation = allocation;
        entry.handle
    }

    /// Charges the block to the quota and occupies the entry.
    #[inline(always)]
    pub(crate) fn occupy(self, state: EntryState) -> &'l mut Entry {
        // INVARIANT: `SessionState::left` decreases by the entry that is occupied here, and its charge.
        *self.left = self.left_after;
        let entry = self.vacant.occupy();
        entry.state = state;
        entry.hint = None;
        entry
    }
}

/// A reservation for several blocks of the same charge. Its drop charges the committed blocks to the
/// quota with one subtraction each for bytes and handles.
///
/// # Invariants
///
/// `left` has at least `max_blocks` handles, and at least `max_blocks * charge` bytes.
pub(crate) struct BulkReservation<'l, S: Storage> {
    table: &'l mut HandleTable<S>,
    left: &'l mut Limits,
    charge: usize,
    max_blocks: u32,
    /// The number of blocks that can still be committed.
    remaining: u32,
}

impl<'l, S: Storage> BulkReservation<'l, S> {
    /// Returns a reservation for blocks of `charge` bytes each, and of at most `max_bytes` bytes
    /// together.
    #[inline(always)]
    pub(crate) fn new(
        table: &'l mut HandleTable<S>,
        left: &'l mut Limits,
        charge: usize,
        max_bytes: usize,
    ) -> Self {
        let max_blocks = left.bytes.min(max_bytes).checked_div(charge).unwrap_or(0);
        let max_blocks = max_blocks.min(left.handles as usize) as u32;
        // INVARIANT: `max_blocks` is at most `left.bytes / charge` and at most `left.handles`.
        Self {
            table,
            left,
            charge,
            max_blocks,
            remaining: max_blocks,
        }
    }

    /// Returns the number of committed blocks.
    #[inline(always)]
    pub(crate) fn committed(&self) -> usize {
        self.max_blocks.wrapping_sub(self.remaining) as usize
    }

    /// Returns the reservation of the next block, or `None` if the table is full or the limit is
    /// reached.
    #[inline(always)]
    pub(crate) fn next(&mut self) -> Option<BulkSlot<'_>> {
        let remaining_after = self.remaining.checked_sub(1)?;
        Some(BulkSlot {
            vacant: self.table.first_vacant()?,
            remaining: &mut self.remaining,
            remaining_after,
        })
    }
}

impl<S: Storage> Drop for BulkReservation<'_, S> {
    #[inline(always)]
    fn drop(&mut self) {
        // The differences do not wrap: at most `max_blocks` blocks were committed, and by the type
        // invariant `left` has as many handles and their bytes.
        let committed = self.committed();
        self.left.handles = self.left.handles.wrapping_sub(committed as u32);
        let bytes = self.charge.wrapping_mul(committed);
        self.left.bytes = self.left.bytes.wrapping_sub(bytes);
    }
}

/// The reservation of one block of a [`BulkReservation`]. Dropping it changes nothing.
pub(crate) struct BulkSlot<'r> {
    vacant: VacantEntry<'r>,
    remaining: &'r mut u32,
    remaining_after: u32,
}

impl BulkSlot<'_> {
    /// Inserts a live block with the engine's hint about it, and returns its handle.
    #[inline(always)]
    pub(crate) fn commit(self, allocation: Allocation, hint: Known) -> Handle {
        *self.remaining = self.remaining_after;
        let entry = self.vacant.occupy();
        entry.state = EntryState::Live { pins: Pins::NONE };
        entry.hint = Some(hint);
        entry.allocation = allocation;
        entry.handle
    }
}
