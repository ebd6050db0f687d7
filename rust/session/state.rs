// SPDX-License-Identifier: GPL-2.0

//! The state of a session under its lock: the blocks with their quota, statistics and event log.
//!
//! This file also declares [`Platform`], which names the types that a session consists of. No function of this
//! file allocates or sleeps.

use core::ops::{
    Deref,
    DerefMut, //
};

use slab_heap::{
    Cost,
    Engine,
    Refusal,
    fail::Every,
    lock::Lock, //
};

use crate::{
    entry::{
        Allocation,
        HandleEntry, //
    },
    error::{
        RefusalCause,
        SessionError, //
    },
    events::{
        Event,
        EventContext,
        EventId,
        EventKind,
        EventLog,
        EventOutcome, //
    },
    handle::Handle,
    reservation::{
        Quota,
        QuotaTable,
        ReserveError, //
    },
};

/// The types that a session consists of, and the services that it needs.
///
/// # Safety
///
/// - Each dereference of an engine pointer yields the same engine.
/// - A lock is given to one session only, with a new state.
/// - [`Platform::with_quick`] passes an engine whose blocks are blocks of the engine behind the pointer, and which
///   frees all blocks of that engine.
/// - Each dereference of a chunk yields the same entries, as many as were requested, and nothing else
///   changes them.
pub unsafe trait Platform: Sized {
    /// A pointer to an engine.
    type Engine: Deref<Target: Engine>;

    /// The lock of a session.
    type Lock: Lock<SessionState<Self>>;

    /// An owned array of entries of the handle table.
    type Chunk: DerefMut<Target = [HandleEntry]> + Send;

    /// An owned array of events.
    type Ring: DerefMut<Target = [Event]> + Send;

    /// Passes the engine behind a pointer to `work`, or returns `None` if the engine is not
    /// [quick](slab_heap::engine::Capabilities::quick).
    ///
    /// If the engine is one of several, `work` is compiled for each quick engine among them, so that the operations
    /// under the session's lock do not dispatch: with dispatch an operation of a submission takes 32 instructions more.
    fn with_quick<W: QuickWork>(engine: &Self::Engine, work: W) -> Option<W::Output>;

    /// Returns a chunk of `entries` vacant entries, or `None` if there is no memory for it.
    fn chunk(&self, entries: usize) -> Option<Self::Chunk>;

    /// Returns the time, CPU and thread of the call. The session calls it with its lock held, so the
    /// implementation must not sleep.
    fn event_context() -> EventContext;

    /// Returns whether a fatal signal is pending. The session then ends a long call early.
    fn interrupted() -> bool;
}

/// Work on a quick engine of any type.
pub trait QuickWork {
    /// The result.
    type Output;

    /// Does the work.
    fn run<E: Engine>(self, engine: &E) -> Self::Output;
}

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

/// The state of a session, which the session's lock protects.
pub struct SessionState<P: Platform> {
    pub(crate) blocks: QuotaTable<P::Chunk>,
    pub(crate) log: EventLog<P::Ring>,
    /// The interval of fault injection: every n-th request is refused.
    pub(crate) fault_interval: Every,
    /// The counters that [`SessionState::stats`] cannot derive: `blocks`, `bytes` and `allocations`
    /// stay 0 here.
    counters: SessionStats,
}

impl<P: Platform> SessionState<P> {
    /// Creates the state of a session without blocks.
    #[must_use]
    pub fn new(quota: Quota) -> Self {
        Self {
            blocks: QuotaTable::new(quota),
            log: EventLog::new(),
            fault_interval: Every::new(),
            counters: SessionStats::default(),
        }
    }

    /// Returns whether the session neither logs events nor injects faults.
    #[inline(always)]
    pub(crate) fn is_plain(&self) -> bool {
        !self.log.is_on() && !self.fault_interval.is_set()
    }

    /// Returns the statistics in O(1).
    pub(crate) fn stats(&self) -> SessionStats {
        let used = self.blocks.used();
        SessionStats {
            blocks: used.handles,
            bytes: used.bytes,
            allocations: u64::from(used.handles) + self.counters.frees,
            ..self.counters
        }
    }

    /// Reserves a handle and charges `charge` bytes, unless fault injection refuses the request.
    ///
    /// The handle names no block until [`SessionState::commit`].
    pub(crate) fn reserve(&mut self, charge: usize) -> Result<Handle, ReserveError> {
        // Only a request that would succeed counts for fault injection.
        let reservation = self.blocks.reserve(charge)?;
        if self.fault_interval.should_fail() {
            let injected = SessionError::Refused(Refusal::Injected);
            return Err(ReserveError::Refused(injected));
        }
        Ok(reservation.detach())
    }

    /// Makes a reserved handle name a live block, and logs the allocation.
    pub(crate) fn commit(&mut self, handle: Handle, allocation: &Allocation, cost: Cost) {
        self.log_event(|| Event::served(EventKind::Allocate, handle, allocation, cost));
        self.blocks.commit(handle, allocation);
    }

    /// Counts a free.
    #[inline(always)]
    pub(crate) fn count_free(&mut self) {
        self.counters.frees = self.counters.frees.wrapping_add(1);
    }

    /// Removes a block, counts the free, and logs the free or its error. The event is pending until
    /// [`EventLog::finish`]. The caller frees the block.
    pub(crate) fn remove(
        &mut self,
        handle: Handle,
    ) -> Result<(Allocation, Option<EventId>), SessionError> {
        match self.blocks.remove(handle) {
            Ok(allocation) => {
                self.count_free();
                let event = self.log_removal(EventKind::Free, handle, &allocation);
                Ok((allocation, event))
            }
            Err(error) => {
                let request = || Event::request(EventKind::Free, handle.to_bits(), 0);
                Err(self.report_error(request, error))
            }
        }
    }

    /// Removes a block whose allocation is rolled back: neither the allocation nor the free is counted.
    pub(crate) fn revoke(
        &mut self,
        handle: Handle,
    ) -> Result<(Allocation, Option<EventId>), SessionError> {
        let allocation = self.blocks.remove(handle)?;
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

    /// Ends the exclusive access of a reallocation: the handle names `allocation`. Counts the reallocation if
    /// `committed` is true.
    pub(crate) fn end_move(&mut self, handle: Handle, allocation: &Allocation, committed: bool) {
        if let Ok(entry) = self.blocks.entry(handle) {
            entry.end_move(allocation);
            self.counters.reallocations += u64::from(committed);
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

    /// Logs an event if the log is on.
    #[inline]
    pub(crate) fn log_event(&mut self, event: impl FnOnce() -> Event) -> Option<EventId> {
        if !self.log.is_on() {
            return None;
        }
        self.log.push(event().with_context(P::event_context()))
    }
}
