// SPDX-License-Identifier: GPL-2.0

//! The state of a session under its lock: handle table, quota, statistics and event log.
//!
//! Nothing here allocates or sleeps. If the table is full, [`SessionState::reserve_new`] returns
//! [`ReserveError::NeedChunk`]; the caller drops the lock, allocates a chunk, adds it and retries. This
//! is the protocol of binder's range allocator with `NeedAlloc`
//! (`drivers/android/binder/range_alloc/`):
//!
//! ```text
//! locked    reserve_new ─▶ a reserved handle, charged to the quota
//! unlocked  the engine allocates, the block is zeroed
//! locked    reservation_commit ─▶ the handle names the block         (success)
//!           reservation_abort  ─▶ handle and charge are released     (failure)
//! ```

use slab_heap::{
    Cost,
    Refusal,
    fail::Every, //
};

use crate::{
    entry::{
        Allocation,
        Entry,
        EntryState, //
    },
    error::{
        RefusalCause,
        SessionError, //
    },
    events::{
        Event,
        EventId,
        EventKind,
        EventOutcome,
        Log, //
    },
    handle::{
        Handle,
        INDEX_MAX, //
    },
    pins::Pins,
    reservation::{
        BulkReservation,
        Limits,
        Reservation, //
    },
    storage::Storage,
    table::{
        EntryRef,
        HandleTable,
        PreparedChunk, //
    },
};

/// The largest number of entries that one call of [`SessionState::remove_next`] visits. Each visit may
/// miss the cache, and the session's lock is held.
const SCAN: u32 = 256;

/// The largest block in bytes that is allocated, and therefore zeroed, with the session's lock held.
pub(crate) const LOCKED_ALLOC_MAX: usize = 4096;

/// The statistics of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionStats {
    /// Live blocks and reservations.
    pub blocks: u32,
    /// Bytes charged to the quota.
    pub bytes: usize,
    /// Successful allocations, including those in progress.
    pub allocations: u64,
    /// Freed blocks.
    pub frees: u64,
    /// Successful reallocations.
    pub reallocations: u64,
    /// Refused requests for memory, by [`RefusalCause`].
    pub refusals: [u64; RefusalCause::END],
}

/// The reason why no handle can be reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReserveError {
    /// The table is full. [`SessionState::grow`] adds a chunk of `entries` entries from index
    /// `first` on.
    NeedChunk { first: u32, entries: usize },
    /// A quota is exhausted, or fault injection refuses the request.
    Refused(SessionError),
}

/// The state of a session, which the session's lock protects.
///
/// # Invariants
///
/// - `left` is `limits` minus the entries that are not vacant and minus their charges.
/// - `locked_alloc_max` is 0 while `log` is on, and while `fault_interval` is set.
pub struct SessionState<S: Storage> {
    table: HandleTable<S>,
    limits: Limits,
    left: Limits,
    /// Fault injection: every n-th request is refused.
    fault_interval: Every,
    /// The counters that [`SessionState::stats`] cannot derive: `blocks`, `bytes` and `allocations`
    /// stay 0 here.
    counters: SessionStats,
    /// The engine is [quick](slab_heap::engine::Capabilities::quick): its frees never sleep.
    nonblocking: bool,
    /// The largest block that is allocated with the session's lock held; 0 disables this.
    locked_alloc_max: usize,
    log: Log<S::Ring>,
}

impl<S: Storage> SessionState<S> {
    /// Creates the state of a session without blocks.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let limits = Limits {
            handles: limits.handles.min(INDEX_MAX + 1),
            ..limits
        };
        // INVARIANT: There are no entries, so `left` equals `limits`. `locked_alloc_max` is 0.
        Self {
            table: HandleTable::new(),
            limits,
            left: limits,
            fault_interval: Every::new(),
            counters: SessionStats::default(),
            nonblocking: false,
            locked_alloc_max: 0,
            log: Log::new(),
        }
    }

    /// Sets whether the frees of the engine never sleep.
    pub(crate) fn set_nonblocking(&mut self, nonblocking: bool) {
        self.nonblocking = nonblocking;
        self.update_locked_alloc_max();
    }

    /// Recomputes `locked_alloc_max`. The fast path under the lock neither logs nor injects faults, so
    /// that sessions without either pay nothing for them.
    fn update_locked_alloc_max(&mut self) {
        let enabled = self.nonblocking && !self.log.is_on() && !self.fault_interval.is_set();
        // INVARIANT: The value is 0 if the log is on or the fault interval is set.
        self.locked_alloc_max = if enabled { LOCKED_ALLOC_MAX } else { 0 };
    }

    /// Returns the largest block in bytes that is allocated with the session's lock held, or 0 if none
    /// is.
    #[inline(always)]
    pub(crate) fn locked_alloc_max(&self) -> usize {
        self.locked_alloc_max
    }

    /// Starts the event log in `ring`. Returns `ring` if the log is on already or `ring` is empty.
    pub(crate) fn begin_log(&mut self, ring: S::Ring) -> Option<S::Ring> {
        let rejected = self.log.begin(ring);
        self.update_locked_alloc_max();
        rejected
    }

    /// Stops the event log and returns its ring.
    pub(crate) fn end_log(&mut self) -> Option<S::Ring> {
        let ring = self.log.end();
        self.update_locked_alloc_max();
        ring
    }

    /// Returns the event log.
    pub(crate) fn log(&self) -> &Log<S::Ring> {
        &self.log
    }

    /// Logs an event if the log is on.
    #[inline(always)]
    pub(crate) fn log_event(&mut self, event: impl FnOnce() -> Event) -> Option<EventId> {
        if self.log.is_on() {
            self.log_event_slow(event())
        } else {
            None
        }
    }

    /// Logs an event. The function is not inlined, so that the callers stay small.
    #[cold]
    #[inline(never)]
    fn log_event_slow(&mut self, event: Event) -> Option<EventId> {
        self.log.push(event.with_context(S::event_context()))
    }

    /// Sets the cost of a pending event.
    #[cold]
    #[inline(never)]
    pub(crate) fn finish_event(&mut self, id: EventId, cost: Cost) {
        self.log.finish(id, cost);
    }

    /// Returns the statistics in O(1).
    pub(crate) fn stats(&self) -> SessionStats {
        let blocks = self.limits.handles - self.left.handles;
        SessionStats {
            blocks,
            bytes: self.limits.bytes - self.left.bytes,
            allocations: u64::from(blocks) + self.counters.frees,
            ..self.counters
        }
    }

    /// Logs a failed operation, and counts it if it was a request for memory that was refused.
    pub(crate) fn report_error(
        &mut self,
        request: impl FnOnce() -> Event,
        error: SessionError,
    ) -> SessionError {
        if let Some(cause) = error.cause() {
            self.counters.refusals[cause as usize] += 1;
        }
        self.log_event(|| request().with_outcome(EventOutcome::Failed(error)));
        error
    }

    /// Returns the entry of a handle, in any state.
    #[inline(always)]
    fn entry(&mut self, handle: Handle) -> Result<EntryRef<'_, S>, SessionError> {
        self.entry_by_number(handle.to_bits())
    }

    /// Returns the entry whose handle has this number. The program chose the number.
    #[inline(always)]
    fn entry_by_number(&mut self, number: u32) -> Result<EntryRef<'_, S>, SessionError> {
        match self.table.entry(number & INDEX_MAX) {
            Some(entry) if entry.handle.to_bits() == number => Ok(entry),
            _ => Err(SessionError::NoSuchBlock),
        }
    }

    /// Adds the chunk that [`ReserveError::NeedChunk`] asked for. Returns the chunk if the table does
    /// not need it any more, since another caller added one.
    pub(crate) fn grow(&mut self, chunk: PreparedChunk<S>) -> Option<PreparedChunk<S>> {
        self.table.grow(chunk)
    }

    /// Reserves an entry and charges `charge` bytes, unless fault injection refuses the request.
    ///
    /// The handle names no block until [`SessionState::reservation_commit`].
    pub(crate) fn reserve_new(&mut self, charge: usize) -> Result<Handle, ReserveError> {
        // Only a request that would succeed counts as a try for fault injection.
        let counts = self.fault_interval.is_set() && self.try_reserve(charge).is_some();
        if counts && self.should_fail() {
            return Err(ReserveError::Refused(SessionError::Refused(
                Refusal::Injected,
            )));
        }
        match self.try_reserve(charge) {
            Some(reservation) => Ok(reservation.occupy(EntryState::Reserved).handle),
            None => Err(self.reserve_error(charge)),
        }
    }

    /// Sets fault injection to refuse every `interval`-th request, or none for 0.
    pub(crate) fn set_fault_interval(&mut self, interval: u64) {
        self.fault_interval.set(interval);
        self.update_locked_alloc_max();
    }

    /// Counts a request for fault injection, and returns whether it is refused.
    pub(crate) fn should_fail(&mut self) -> bool {
        self.fault_interval.strikes()
    }

    /// Returns a reservation for a block of `charge` bytes. [`SessionState::reserve_error`] returns the
    /// reason for `None`.
    #[inline(always)]
    pub(crate) fn try_reserve(&mut self, charge: usize) -> Option<Reservation<'_>> {
        Reservation::new(&mut self.table, &mut self.left, charge)
    }

    /// Returns a reservation for several blocks of `charge` bytes each, and of at most `max_bytes`
    /// bytes together.
    #[inline(always)]
    pub(crate) fn reserve_bulk(
        &mut self,
        charge: usize,
        max_bytes: usize,
    ) -> BulkReservation<'_, S> {
        BulkReservation::new(&mut self.table, &mut self.left, charge, max_bytes)
    }

    /// Returns the reason why [`SessionState::try_reserve`] failed.
    #[cold]
    pub(crate) fn reserve_error(&self, charge: usize) -> ReserveError {
        if self.left.handles == 0 {
            return ReserveError::Refused(SessionError::QuotaHandles);
        }
        if charge > self.left.bytes {
            return ReserveError::Refused(SessionError::QuotaBytes);
        }
        ReserveError::NeedChunk {
            first: self.table.capacity(),
            entries: self.table.next_chunk_entries(),
        }
    }

    /// Charges `charge` bytes to the quota.
    pub(crate) fn charge(&mut self, charge: usize) -> Result<(), SessionError> {
        let left = self.left.bytes.checked_sub(charge);
        self.left.bytes = left.ok_or(SessionError::QuotaBytes)?;
        Ok(())
    }

    /// Returns `charge` bytes, which were charged before, to the quota.
    #[inline]
    pub(crate) fn uncharge(&mut self, charge: usize) {
        // The sum is at most `limits.bytes`, so it does not wrap.
        self.left.bytes = self.left.bytes.wrapping_add(charge);
    }

    /// Returns one handle and `charge` bytes to the quota.
    #[inline(always)]
    fn uncharge_block(&mut self, charge: usize) {
        self.left.handles = self.left.handles.wrapping_add(1);
        self.uncharge(charge);
    }

    /// Makes a reserved handle name a live block.
    pub(crate) fn reservation_commit(
        &mut self,
        handle: Handle,
        allocation: &Allocation,
        cost: Cost,
    ) {
        self.log_event(|| Event::served(EventKind::Allocate, handle, allocation, cost));
        if let Ok(mut entry) = self.entry(handle) {
            entry.allocation = *allocation;
            entry.state = EntryState::Live { pins: Pins::NONE };
        }
    }

    /// Releases a reserved handle and its charge.
    pub(crate) fn reservation_abort(&mut self, handle: Handle, charge: usize) {
        if let Ok(entry) = self.entry(handle) {
            entry.release();
            self.uncharge_block(charge);
        }
    }

    /// Returns the entry of a live block without pins.
    #[inline(always)]
    fn idle_entry(&mut self, number: u32) -> Result<EntryRef<'_, S>, SessionError> {
        let entry = self.entry_by_number(number)?;
        if entry.state != (EntryState::Live { pins: Pins::NONE }) {
            return Err(entry.state.error());
        }
        Ok(entry)
    }

    /// Removes a block from the table in O(1). The caller frees the block.
    pub(crate) fn remove(&mut self, handle: Handle) -> Result<Allocation, SessionError> {
        self.remove_with(handle, |allocation| *allocation)
    }

    /// Removes a block, and logs the free or its error. The event is pending until
    /// [`SessionState::finish_event`].
    pub(crate) fn remove_logged(
        &mut self,
        handle: Handle,
    ) -> Result<(Allocation, Option<EventId>), SessionError> {
        match self.remove(handle) {
            Ok(allocation) => Ok((
                allocation,
                self.log_removal(EventKind::Free, handle, &allocation),
            )),
            Err(error) => Err(self.report_error(
                || Event::request(EventKind::Free, handle.to_bits(), 0),
                error,
            )),
        }
    }

    /// Removes a block whose allocation is rolled back: neither the allocation nor the free is counted.
    pub(crate) fn revoke(
        &mut self,
        handle: Handle,
    ) -> Result<(Allocation, Option<EventId>), SessionError> {
        let allocation = self.remove(handle)?;
        self.counters.frees -= 1;
        let event = self.log_removal(EventKind::Revoke, handle, &allocation);
        Ok((allocation, event))
    }

    /// Logs the removal of a block as a pending event, since the cost of the free is not known yet.
    fn log_removal(
        &mut self,
        kind: EventKind,
        handle: Handle,
        allocation: &Allocation,
    ) -> Option<EventId> {
        let event = || Event::served(kind, handle, allocation, Cost::default());
        self.log_event(|| event().with_outcome(EventOutcome::Pending))
    }

    /// Removes a block, and returns the result of `f` for its allocation.
    #[inline(always)]
    pub(crate) fn remove_with<T>(
        &mut self,
        handle: Handle,
        f: impl FnOnce(&Allocation) -> T,
    ) -> Result<T, SessionError> {
        let removed = self.try_remove(handle.to_bits(), |entry| Some(f(&entry.allocation)))?;
        removed.ok_or(SessionError::NoSuchBlock)
    }

    /// Calls `f` with the entry of the block with this handle number, and removes the block if `f`
    /// returns `Some`.
    #[inline(always)]
    pub(crate) fn try_remove<T>(
        &mut self,
        number: u32,
        f: impl FnOnce(&Entry) -> Option<T>,
    ) -> Result<Option<T>, SessionError> {
        let entry = self.idle_entry(number)?;
        let (result, charge) = (f(&entry), entry.allocation.charge);
        if result.is_some() {
            entry.release();
            self.uncharge_block(charge);
            self.counters.frees = self.counters.frees.wrapping_add(1);
        }
        Ok(result)
    }

    /// Pins a block.
    pub(crate) fn pin(&mut self, handle: Handle) -> Result<Allocation, SessionError> {
        let mut entry = self.entry(handle)?;
        match &mut entry.state {
            EntryState::Live { pins } => pins.pin(),
            state => return Err(state.error()),
        }
        Ok(entry.allocation)
    }

    /// Removes a pin.
    pub(crate) fn unpin(&mut self, handle: Handle) {
        self.with_pins(handle, Pins::unpin);
    }

    /// Adds a pin to a block that is pinned.
    pub(crate) fn pin_again(&mut self, handle: Handle) {
        self.with_pins(handle, Pins::pin);
    }

    /// Changes the pins of a pinned block. A pinned block stays live, so the entry is found.
    fn with_pins(&mut self, handle: Handle, change: impl FnOnce(&mut Pins)) {
        if let Ok(mut entry) = self.entry(handle) {
            if let EntryState::Live { pins } = &mut entry.state {
                change(pins);
            }
        }
    }

    /// Gives the caller exclusive access to a block, until [`SessionState::end_move`].
    pub(crate) fn begin_move(&mut self, handle: Handle) -> Result<Allocation, SessionError> {
        let mut entry = self.idle_entry(handle.to_bits())?;
        entry.state = EntryState::Moving;
        Ok(entry.allocation)
    }

    /// Ends the exclusive access: the handle names `allocation`. `committed` counts a reallocation.
    pub(crate) fn end_move(&mut self, handle: Handle, allocation: &Allocation, committed: bool) {
        if let Ok(mut entry) = self.entry(handle) {
            entry.allocation = *allocation;
            entry.hint = None;
            entry.state = EntryState::Live { pins: Pins::NONE };
            self.counters.reallocations += u64::from(committed);
        }
    }

    /// Removes the next live block, pinned or not, at or after index `cursor`.
    ///
    /// Visits at most [`SCAN`] entries and advances `cursor` past them. Returns `None` at the end
    /// of the table, and `Some(None)` if no visited entry was live and the table continues.
    pub(crate) fn remove_next(&mut self, cursor: &mut u32) -> Option<Option<Allocation>> {
        let end = self.table.capacity().min(cursor.saturating_add(SCAN));
        while *cursor < end {
            let entry = self.table.entry(*cursor)?;
            *cursor += 1;
            // A block in the state `Moving` belongs to the call that reallocates it.
            if let EntryState::Live { .. } = entry.state {
                let allocation = entry.allocation;
                entry.release();
                self.uncharge_block(allocation.charge);
                return Some(Some(allocation));
            }
        }
        (*cursor < self.table.capacity()).then_some(None)
    }
}

#[cfg(test)]
#[path = "tests/state.rs"]
mod tests;
