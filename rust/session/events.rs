// SPDX-License-Identifier: GPL-2.0

//! The event log of a session.
//!
//! The log is a ring of a fixed number of events: a new event overwrites the oldest. The session's lock
//! protects the log together with the handle table, and an event is logged under the lock hold that
//! changes the table, so the events of one handle are in the order of its life:
//!
//! ```text
//! ALLOC  engine allocates ─▶ lock: handle becomes live, event logged
//! FREE   lock: handle dies, event logged ─▶ engine frees ─▶ lock: cost added to the event
//! ```
//!
//! Therefore the lifetimes of blocks at the same offset do not overlap in the log. The cost of a free is
//! known only after the engine has freed the block. Until then the event is
//! [pending](EventOutcome::Pending), and readers stop before it.
//!
//! Reading does not consume events: a reader passes the number of the first event that it wants, and
//! receives the number of events that were overwritten before it read them.

use core::{
    num::NonZeroU64,
    ops::DerefMut, //
};

use slab_heap::{
    Cost,
    Offset, //
};

use crate::{
    entry::Allocation,
    error::SessionError,
    handle::Handle,
    operation::{
        BlockRef,
        Operation, //
    },
};

/// The operation of an event. The numbers are those of the ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum EventKind {
    /// A malformed operation of a submission.
    None = 0,
    /// [`Session::allocate`](crate::Session::allocate)
    Allocate = 1,
    /// [`Session::free`](crate::Session::free)
    Free = 2,
    /// [`Session::reallocate`](crate::Session::reallocate)
    Reallocate = 3,
    /// [`Session::revoke`](crate::Session::revoke) of a live block.
    Revoke = 4,
}

/// The outcome of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventOutcome {
    /// The operation succeeded.
    Served,
    /// The operation succeeded. Its cost is not known yet.
    Pending,
    /// The operation failed and changed nothing.
    Failed(SessionError),
    /// The operation succeeded and was rolled back, since the reply could not be delivered.
    RolledBack,
}

/// The time, thread and CPU of an operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventContext {
    /// The time of a monotonic clock in nanoseconds.
    pub time_ns: u64,
    /// The thread id in the initial pid namespace, which is the same for every reader.
    pub thread: u32,
    /// The number of the CPU.
    pub cpu: u16,
}

/// An operation of a session. Fields that do not apply are 0 or `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// The time of the operation in nanoseconds.
    pub time_ns: u64,
    /// The requested bytes. For a free, the requested bytes of the freed block.
    pub size: u64,
    /// The usable bytes of the block.
    pub usable: u64,
    /// The offset of the block.
    pub offset: Option<Offset>,
    /// The path that served the operation, and its cost.
    pub cost: Cost,
    /// The thread of the call, as in [`EventContext::thread`].
    pub thread: u32,
    /// The handle of the block, or the number that the program passed instead of a handle.
    pub handle: u32,
    /// The outcome of the operation.
    pub outcome: EventOutcome,
    /// The CPU of the call.
    pub cpu: u16,
    /// The operation.
    pub kind: EventKind,
    /// Log2 of the alignment of the block, or [`NO_ALIGN`].
    pub align_log2: u8,
}

/// The value of [`Event::align_log2`] without an alignment, or for an alignment that is not a power of two.
pub const NO_ALIGN: u8 = u8::MAX;

const _: () = assert!(size_of::<Event>() == 56);

impl Event {
    /// The initial value of the events in a ring.
    pub const VACANT: Self = Self {
        time_ns: 0,
        size: 0,
        usable: 0,
        offset: None,
        cost: Cost::new(slab_heap::Path::None),
        thread: 0,
        handle: 0,
        outcome: EventOutcome::Served,
        cpu: 0,
        kind: EventKind::None,
        align_log2: NO_ALIGN,
    };

    /// Returns the event of a request for a new block.
    pub(crate) fn allocation(size: u64, align: u64) -> Self {
        Self {
            kind: EventKind::Allocate,
            size,
            align_log2: if align.is_power_of_two() {
                align.trailing_zeros() as u8
            } else {
                NO_ALIGN
            },
            ..Self::VACANT
        }
    }

    /// Returns the event of a request to free or reallocate the block with the number `handle`.
    pub(crate) fn request(kind: EventKind, handle: u32, size: u64) -> Self {
        Self {
            kind,
            handle,
            size,
            ..Self::VACANT
        }
    }

    /// Returns the event of a successful operation on `allocation`.
    pub(crate) fn served(
        kind: EventKind,
        handle: Handle,
        allocation: &Allocation,
        cost: Cost,
    ) -> Self {
        Self {
            kind,
            handle: handle.to_bits(),
            size: allocation.layout.size() as u64,
            usable: allocation.charge as u64,
            offset: allocation.offset,
            cost,
            align_log2: allocation.layout.align().trailing_zeros() as u8,
            ..Self::VACANT
        }
    }

    /// Returns this event with another outcome.
    pub(crate) fn with_outcome(self, outcome: EventOutcome) -> Self {
        Self { outcome, ..self }
    }

    /// Returns this event with its time, thread and CPU.
    pub(crate) fn with_context(self, context: EventContext) -> Self {
        Self {
            time_ns: context.time_ns,
            thread: context.thread,
            cpu: context.cpu,
            ..self
        }
    }
}

impl From<Result<Operation, SessionError>> for Event {
    /// Returns the event of a request for this operation of a submission.
    fn from(operation: Result<Operation, SessionError>) -> Self {
        let number = |block| match block {
            BlockRef::Handle(bits) => bits,
            BlockRef::Earlier(_) => 0,
        };
        match operation {
            Ok(Operation::Allocate { size, align }) => Self::allocation(size, align),
            Ok(Operation::Free(block)) => Self::request(EventKind::Free, number(block), 0),
            Ok(Operation::Reallocate(block, size)) => {
                Self::request(EventKind::Reallocate, number(block), size)
            }
            Ok(Operation::Nothing) | Err(_) => Self::VACANT,
        }
    }
}

/// Identifies a pending event: the number of the event in the session, plus 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EventId(NonZeroU64);

/// A contiguous range of events that were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventBatch {
    /// The number of the first event.
    pub first: u64,
    /// The number of events.
    pub count: usize,
    /// The number of events that were requested, but overwritten before the first one.
    pub lost: u64,
}

/// The reason why no events can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventReadError {
    /// The log is off.
    Off,
    /// The requested number is larger than the number of the next event.
    BeyondEnd,
}

/// The event log.
///
/// Events are numbered across all rings of a session, so that [`EventLog::finish`] with an [`EventId`] of an
/// earlier ring changes no event of a later one. Readers number events from the start of the ring.
///
/// # Invariants
///
/// - `first <= next`.
/// - Event `number` is at `ring[number % ring.len()]` if it is in `first..next` and among the last
///   `ring.len()` events.
pub(crate) struct EventLog<M> {
    ring: Option<M>,
    /// The number of the first event of the ring.
    first: u64,
    /// The number of the next event.
    next: u64,
}

impl<M: DerefMut<Target = [Event]>> EventLog<M> {
    /// Creates a log that is off.
    pub(crate) const fn new() -> Self {
        // INVARIANT: `first` equals `next`, so there is no event.
        Self {
            ring: None,
            first: 0,
            next: 0,
        }
    }

    /// Returns whether events are logged.
    #[inline(always)]
    pub(crate) fn is_on(&self) -> bool {
        self.ring.is_some()
    }

    /// Starts logging into `ring`. Returns `ring` if the log is on already or `ring` is empty.
    pub(crate) fn begin(&mut self, ring: M) -> Option<M> {
        if self.is_on() || ring.is_empty() {
            return Some(ring);
        }
        // INVARIANT: `first` becomes `next`, so the new ring has no event.
        self.ring = Some(ring);
        self.first = self.next;
        None
    }

    /// Stops logging and returns the ring. The caller drops the ring without the session's lock.
    pub(crate) fn end(&mut self) -> Option<M> {
        self.ring.take()
    }

    /// Logs an event in O(1) and returns its id. A full ring loses its oldest event.
    pub(crate) fn push(&mut self, event: Event) -> Option<EventId> {
        // INVARIANT: The new event is the last event, and overwrites event `next - ring.len()`, which is no
        // longer among the last `ring.len()` events.
        *self.slot_mut(self.next)? = event;
        self.next += 1;
        NonZeroU64::new(self.next).map(EventId)
    }

    /// Sets the cost of a pending event, unless the event was overwritten.
    pub(crate) fn finish(&mut self, id: EventId, cost: Cost) {
        let number = id.0.get() - 1;
        if number >= self.oldest() {
            if let Some(event) = self.slot_mut(number) {
                event.cost = cost;
                event.outcome = EventOutcome::Served;
            }
        }
    }

    /// Copies events from `number` on into `buffer`, up to the first pending event, in
    /// O(`buffer.len()`).
    pub(crate) fn read(
        &self,
        number: u64,
        buffer: &mut [Event],
    ) -> Result<EventBatch, EventReadError> {
        let ring = self.ring.as_ref().ok_or(EventReadError::Off)?;
        if number > self.next - self.first {
            return Err(EventReadError::BeyondEnd);
        }
        let begin = self.oldest().max(self.first + number);
        let mut count = 0;
        for (slot, number) in buffer.iter_mut().zip(begin..self.next) {
            match ring.get(ring_index(number, ring.len())) {
                Some(event) if event.outcome != EventOutcome::Pending => *slot = *event,
                _ => break,
            }
            count += 1;
        }
        Ok(EventBatch {
            first: begin - self.first,
            count,
            lost: begin - self.first - number,
        })
    }

    /// Returns the number of the oldest event in the ring, or of the next event if there is none.
    fn oldest(&self) -> u64 {
        let len = self.ring.as_ref().map_or(0, |ring| ring.len() as u64);
        self.next.saturating_sub(len).max(self.first)
    }

    /// Returns the element of the ring for event `number`.
    fn slot_mut(&mut self, number: u64) -> Option<&mut Event> {
        let ring = self.ring.as_mut()?;
        let index = ring_index(number, ring.len());
        ring.get_mut(index)
    }
}

/// Returns the index of event `number` in a ring of `len` events.
fn ring_index(number: u64, len: usize) -> usize {
    // `EventLog::begin` rejects an empty ring, so `len` is never 0.
    number.checked_rem(len as u64).unwrap_or(0) as usize
}

#[cfg(test)]
#[path = "tests/log.rs"]
mod tests;
