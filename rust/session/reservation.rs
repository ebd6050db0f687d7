// SPDX-License-Identifier: GPL-2.0

//! The blocks of a session within its quota, and reservations for new ones.
//!
//! No function of this file allocates or sleeps. If the table is full, [`QuotaTable::reserve`] returns
//! [`ReserveError::NeedChunk`]; the caller drops the lock, allocates a chunk, adds the chunk and retries. This
//! is the protocol of binder's range allocator with `NeedAlloc`
//! (`drivers/android/binder/range_alloc/`). A [`Reservation`] is completed under the same lock hold, or
//! in two more steps:
//!
//! ```text
//! locked    reserve ─▶ Reservation ─ commit ─▶ the handle names the block
//!                                  └ detach ─▶ a reserved handle, charged to the quota
//! unlocked  the engine allocates, the block is zeroed
//! locked    commit ─▶ the handle names the block         (success)
//!           abort  ─▶ handle and charge are released     (failure)
//! ```

use core::ops::DerefMut;

use crate::{
    entry::{
        Allocation,
        EntryState,
        HandleEntry, //
    },
    error::SessionError,
    handle::{
        Handle,
        INDEX_MAX, //
    },
    table::{
        HandleTable,
        NeedChunk,
        OccupiedEntry,
        PreparedChunk,
        VacantEntry, //
    },
};

/// The largest number of entries that one call of [`QuotaTable::remove_next`] visits. Each visit may
/// miss the cache, and the session's lock is held.
const SCAN: u32 = 256;

/// The quota of a session, or the unused part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// The usable bytes of all blocks together.
    pub bytes: usize,
    /// The number of blocks.
    pub handles: u32,
}

impl Quota {
    /// Returns `charge` bytes, which were charged before.
    #[inline(always)]
    fn uncharge(&mut self, charge: usize) {
        // The sum is at most the whole quota, so it does not wrap.
        self.bytes = self.bytes.wrapping_add(charge);
    }

    /// Returns one handle and `charge` bytes, which were charged before.
    #[inline(always)]
    fn uncharge_block(&mut self, charge: usize) {
        // The sum is at most the whole quota, so it does not wrap.
        self.handles = self.handles.wrapping_add(1);
        self.uncharge(charge);
    }
}

/// The reason why nothing can be reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReserveError {
    /// The table is full. [`QuotaTable::grow`] adds a chunk.
    NeedChunk(NeedChunk),
    /// A quota is exhausted, or fault injection refuses the request.
    Refused(SessionError),
}

/// A handle table with a quota.
///
/// # Invariants
///
/// `left` is `quota` minus the entries that are not vacant, and minus their charges.
pub(crate) struct QuotaTable<C> {
    table: HandleTable<C>,
    quota: Quota,
    left: Quota,
}

impl<C: DerefMut<Target = [HandleEntry]>> QuotaTable<C> {
    /// Creates a table without entries.
    pub(crate) fn new(quota: Quota) -> Self {
        let quota = Quota {
            handles: quota.handles.min(INDEX_MAX + 1),
            ..quota
        };
        // INVARIANT: There are no entries, so `left` equals `quota`.
        Self {
            table: HandleTable::new(),
            quota,
            left: quota,
        }
    }

    /// Returns the number of live blocks and reservations, and the bytes charged for them.
    pub(crate) fn used(&self) -> Quota {
        Quota {
            bytes: self.quota.bytes - self.left.bytes,
            handles: self.quota.handles - self.left.handles,
        }
    }

    /// Returns the entry with this handle, in any state.
    #[inline(always)]
    pub(crate) fn entry(&mut self, handle: Handle) -> Result<&mut HandleEntry, SessionError> {
        self.table.entry(handle)
    }

    /// Adds the chunk that [`ReserveError::NeedChunk`] asked for. Returns the chunk if the table does
    /// not need it any more, since another caller added one.
    pub(crate) fn grow(&mut self, chunk: PreparedChunk<C>) -> Option<PreparedChunk<C>> {
        self.table.grow(chunk)
    }

    /// Returns a reservation for a block with this charge in bytes.
    #[inline(always)]
    pub(crate) fn reserve(&mut self, charge: usize) -> Result<Reservation<'_>, ReserveError> {
        if self.left.handles == 0 {
            return Err(ReserveError::Refused(SessionError::QuotaHandles));
        }
        if self.left.bytes < charge {
            return Err(ReserveError::Refused(SessionError::QuotaBytes));
        }
        // INVARIANT: The quota is checked above.
        Ok(Reservation {
            vacant: self.table.first_vacant().map_err(ReserveError::NeedChunk)?,
            left: &mut self.left,
            charge,
        })
    }

    /// Makes a reserved handle name a live block.
    pub(crate) fn commit(&mut self, handle: Handle, allocation: &Allocation) {
        if let Ok(entry) = self.entry(handle) {
            entry.allocation = *allocation;
            entry.state = EntryState::Idle;
        }
    }

    /// Releases a reserved handle, which can name the next block, and its charge.
    pub(crate) fn abort(&mut self, handle: Handle, charge: usize) {
        if let Ok(occupied) = self.table.occupied(handle) {
            if occupied.entry.state == EntryState::Reserved {
                occupied.cancel();
                self.left.uncharge_block(charge);
            }
        }
    }

    /// Removes a live block without pins in O(1). The caller frees the block.
    pub(crate) fn remove(&mut self, handle: Handle) -> Result<Allocation, SessionError> {
        let removal = self.removal(handle)?;
        let allocation = *removal.allocation();
        removal.commit();
        Ok(allocation)
    }

    /// Returns the removal of a live block without pins.
    #[inline(always)]
    pub(crate) fn removal(&mut self, handle: Handle) -> Result<Removal<'_>, SessionError> {
        let occupied = self.table.occupied(handle)?;
        occupied.entry.ensure_idle()?;
        Ok(Removal {
            occupied,
            left: &mut self.left,
        })
    }

    /// Removes the next live block, pinned or not, at or after index `cursor`.
    ///
    /// Visits at most [`SCAN`] entries and advances `cursor` past them. Returns `None` at the end
    /// of the table, and `Some(None)` if no visited entry was live and the table continues.
    pub(crate) fn remove_next(&mut self, cursor: &mut u32) -> Option<Option<Allocation>> {
        let end = self.table.capacity().min(cursor.saturating_add(SCAN));
        while *cursor < end {
            let (handle, state) = self.table.state_at(*cursor)?;
            *cursor += 1;
            // A block in the state `Moving` belongs to the call that reallocates it.
            if let EntryState::Idle | EntryState::Pinned(_) = state {
                let occupied = self.table.occupied(handle).ok()?;
                let allocation = occupied.entry.allocation;
                occupied.release();
                self.left.uncharge_block(allocation.charge);
                return Some(Some(allocation));
            }
        }
        (*cursor < self.table.capacity()).then_some(None)
    }

    /// Charges `charge` more bytes to the quota.
    pub(crate) fn charge(&mut self, charge: usize) -> Result<(), SessionError> {
        let left = self.left.bytes.checked_sub(charge);
        self.left.bytes = left.ok_or(SessionError::QuotaBytes)?;
        Ok(())
    }

    /// Returns `charge` bytes, which were charged before, to the quota.
    pub(crate) fn uncharge(&mut self, charge: usize) {
        self.left.uncharge(charge);
    }
}

/// A vacant entry for one block, within the quota. Dropping the reservation changes nothing.
///
/// # Invariants
///
/// `left` is at least one handle and `charge` bytes.
pub(crate) struct Reservation<'t> {
    vacant: VacantEntry<'t>,
    left: &'t mut Quota,
    charge: usize,
}

impl<'t> Reservation<'t> {
    /// Inserts a live block and returns its handle.
    #[inline(always)]
    pub(crate) fn commit(self, allocation: Allocation) -> Handle {
        let entry = self.occupy(EntryState::Idle);
        entry.allocation = allocation;
        entry.handle
    }

    /// Returns a handle that names no block until [`QuotaTable::commit`].
    pub(crate) fn detach(self) -> Handle {
        self.occupy(EntryState::Reserved).handle
    }

    /// Charges the block to the quota and occupies the entry.
    #[inline(always)]
    fn occupy(self, state: EntryState) -> &'t mut HandleEntry {
        // INVARIANT: `QuotaTable::left` decreases by the entry that is occupied here, and by its charge. By the
        // type invariant the differences do not wrap.
        self.left.handles = self.left.handles.wrapping_sub(1);
        self.left.bytes = self.left.bytes.wrapping_sub(self.charge);
        self.vacant.occupy(state)
    }
}

/// The removal of a live block without pins. Dropping the removal changes nothing.
pub(crate) struct Removal<'t> {
    occupied: OccupiedEntry<'t>,
    left: &'t mut Quota,
}

impl Removal<'_> {
    /// Returns the block.
    #[inline(always)]
    pub(crate) fn allocation(&self) -> &Allocation {
        &self.occupied.entry.allocation
    }

    /// Removes the block, which the caller frees or has freed. The handle becomes stale.
    #[inline(always)]
    pub(crate) fn commit(self) {
        // INVARIANT: `QuotaTable::left` increases by the entry that is released here, and by its charge.
        self.left.uncharge_block(self.allocation().charge);
        self.occupied.release();
    }
}

#[cfg(test)]
#[path = "tests/reservation.rs"]
mod tests;
