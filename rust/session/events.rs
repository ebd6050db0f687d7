// SPDX-License-Identifier: GPL-2.0

//! Events: the operations of a session, written down.
//!
//! The log is a ring of a fixed number of events, the oldest of which make room for new ones. It is
//! a part of the books, under the same lock, and an event is written where the books change: so a
//! handle's events are in the order in which it came, changed and went. A block's memory goes back
//! to the engine after its free was written down, and is had from it before its allocation is, so
//! blocks that lie at the same place do not overlap in the log either.
//!
//! What a free costs is known only when the engine has the block. Until then the event is
//! [unfinished](Outcome::Unfinished), and readers wait for it.
//!
//! Nothing is taken out by reading: whoever reads names the event that he wants to go on with, and
//! is told how many from there on are gone.

use core::{
    num::NonZeroU64,
    ops::{
        Deref,
        DerefMut, //
    },
};

use slab_heap::{
    Cost,
    Engine,
    Offset,
    lock::Lock, //
};

use crate::{
    denied::Denied,
    entry::Record,
    handle::Handle,
    ledger::Ledger,
    request::{
        Name,
        Operation, //
    },
    session::Session,
    storage::Storage,
};

/// What was done, with the numbers of the ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Nothing: an operation of a submission that is none.
    None = 0,
    /// [`Session::allocate`]
    Allocate = 1,
    /// [`Session::free`]
    Free = 2,
    /// [`Session::reallocate`]
    Reallocate = 3,
    /// [`Session::revoke`], of a block that was there.
    Revoke = 4,
}

/// What became of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Served,
    /// It was done, but what it cost is not known yet.
    Unfinished,
    /// It was denied, and changed nothing.
    Denied(Denied),
    /// It was done and undone, as the program could not be told.
    Undone,
}

/// When and where something was done, and by whom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Nanoseconds of a clock that never goes back.
    pub time_ns: u64,
    /// The thread, by a number that is the same for every reader: that of the initial pid namespace.
    pub thread: u32,
    /// The CPU.
    pub cpu: u16,
}

/// An operation. What does not apply is 0 or `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// When it was done.
    pub time_ns: u64,
    /// The bytes that were asked for; of a block that went, those that it had.
    pub size: u64,
    /// The bytes that the engine set aside.
    pub usable: u64,
    /// Where the block is, or was.
    pub offset: Option<Offset>,
    /// How it was served.
    pub cost: Cost,
    /// Who did it.
    pub thread: u32,
    /// The block's name, or what was sent in place of one.
    pub handle: u32,
    /// What became of it.
    pub outcome: Outcome,
    /// Where it was done.
    pub cpu: u16,
    /// What was done.
    pub kind: Kind,
    /// Log2 of the block's alignment, or [`NO_ALIGN`].
    pub align_log2: u8,
}

/// What stands in [`Event::align_log2`] for no alignment, or one that is no power of two.
pub const NO_ALIGN: u8 = u8::MAX;

/// What stands in [`Event::handle`] for a number that is too large for one.
const NO_HANDLE: u32 = u32::MAX;

const _: () = assert!(size_of::<Event>() == 56);

impl Event {
    /// What a new ring is full of.
    pub const VACANT: Self = Self {
        time_ns: 0,
        size: 0,
        usable: 0,
        offset: None,
        cost: Cost::new(slab_heap::Path::None),
        thread: 0,
        handle: 0,
        outcome: Outcome::Served,
        cpu: 0,
        kind: Kind::None,
        align_log2: NO_ALIGN,
    };

    /// A request for a new block.
    pub(crate) fn allocation(size: u64, align: u64) -> Self {
        Self {
            kind: Kind::Allocate,
            size,
            align_log2: if align.is_power_of_two() {
                align.trailing_zeros() as u8
            } else {
                NO_ALIGN
            },
            ..Self::VACANT
        }
    }

    /// A request that is about the block that `handle` names, if it names one.
    pub(crate) fn about(kind: Kind, handle: u32, size: u64) -> Self {
        Self {
            kind,
            handle,
            size,
            ..Self::VACANT
        }
    }

    /// What was done with the block in `record`.
    pub(crate) fn done(kind: Kind, handle: Handle, record: &Record, cost: Cost) -> Self {
        Self {
            kind,
            handle: handle.to_bits(),
            size: record.layout.size() as u64,
            usable: record.charge as u64,
            offset: record.block.offset,
            cost,
            align_log2: record.layout.align().trailing_zeros() as u8,
            ..Self::VACANT
        }
    }

    /// Returns this with what became of it.
    pub(crate) fn with(self, outcome: Outcome) -> Self {
        Self { outcome, ..self }
    }

    /// Returns this with when and where it was done, and by whom.
    pub(crate) fn at(self, moment: Moment) -> Self {
        Self {
            time_ns: moment.time_ns,
            thread: moment.thread,
            cpu: moment.cpu,
            ..self
        }
    }
}

impl From<Result<Operation, Denied>> for Event {
    /// Makes what was asked for of an operation of a submission.
    fn from(operation: Result<Operation, Denied>) -> Self {
        let named = |name| match name {
            Name::Handle(bits) => bits,
            Name::Earlier(_) => 0,
        };
        match operation {
            Ok(Operation::Allocate { size, align }) => Self::allocation(size, align),
            Ok(Operation::Free(name)) => Self::about(Kind::Free, named(name), 0),
            Ok(Operation::Reallocate(name, size)) => {
                Self::about(Kind::Reallocate, named(name), size)
            }
            Ok(Operation::Nothing) | Err(_) => Self::VACANT,
        }
    }
}

/// Names an event that is to be finished: its number in the session, plus 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket(NonZeroU64);

/// Events that were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// The number of the first one.
    pub first: u64,
    /// How many they are.
    pub count: usize,
    /// How many before the first one are gone.
    pub lost: u64,
}

/// Why no events can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotRead {
    /// None are written down.
    Off,
    /// There were not as many yet.
    Ahead,
}

/// The events of a session, while they are written down.
///
/// They are numbered through all rings that a session ever has, so that what is finished late is not
/// taken for an event of a later ring. Readers count from the first one of the ring.
///
/// # Invariants
///
/// - `first` is at most `next`.
/// - Event `number` is in the ring at place `number % ring.len()` if it is not before `first`, and
///   one of the last `ring.len()` before `next`.
pub(crate) struct Log<M> {
    ring: Option<M>,
    /// The first event of the ring.
    first: u64,
    /// The next event.
    next: u64,
}

impl<M: DerefMut<Target = [Event]>> Log<M> {
    /// Makes a log that is off.
    pub(crate) const fn new() -> Self {
        // INVARIANT: There is no event.
        Self {
            ring: None,
            first: 0,
            next: 0,
        }
    }

    /// Says whether events are written down.
    #[inline(always)]
    pub(crate) fn is_on(&self) -> bool {
        self.ring.is_some()
    }

    /// Begins to write down, in `ring`; gives it back if there is one, or no place in it.
    pub(crate) fn begin(&mut self, ring: M) -> Option<M> {
        if self.is_on() || ring.is_empty() {
            return Some(ring);
        }
        // INVARIANT: There is no event from `first` on.
        self.ring = Some(ring);
        self.first = self.next;
        None
    }

    /// Ends it, and returns the ring for the caller to drop.
    pub(crate) fn end(&mut self) -> Option<M> {
        self.ring.take()
    }

    /// Writes an event down, over the oldest one if it must be, and returns its ticket.
    pub(crate) fn push(&mut self, event: Event) -> Option<Ticket> {
        // INVARIANT: The event is the last one now; the one before it at its place was the oldest.
        *self.at(self.next)? = event;
        self.next += 1;
        NonZeroU64::new(self.next).map(Ticket)
    }

    /// Finishes the event of a ticket, if it is still there.
    pub(crate) fn finish(&mut self, ticket: Ticket, cost: Cost) {
        let number = ticket.0.get() - 1;
        if number >= self.oldest()
            && let Some(event) = self.at(number)
        {
            event.cost = cost;
            event.outcome = Outcome::Served;
        }
    }

    /// Returns events from `number` on, as many as there are and `room` has place for, up to the
    /// first that is unfinished.
    pub(crate) fn read(&self, number: u64, room: &mut [Event]) -> Result<Read, NotRead> {
        let ring = self.ring.as_ref().ok_or(NotRead::Off)?;
        if number > self.next - self.first {
            return Err(NotRead::Ahead);
        }
        let begin = self.oldest().max(self.first + number);
        let mut count = 0;
        for (slot, number) in room.iter_mut().zip(begin..self.next) {
            match ring.get(place(number, ring.len())) {
                Some(event) if event.outcome != Outcome::Unfinished => *slot = *event,
                _ => break,
            }
            count += 1;
        }
        Ok(Read {
            first: begin - self.first,
            count,
            lost: begin - self.first - number,
        })
    }

    /// Returns the oldest event that there is, or the next one.
    fn oldest(&self) -> u64 {
        let places = self.ring.as_ref().map_or(0, |ring| ring.len() as u64);
        self.next.saturating_sub(places).max(self.first)
    }

    /// Returns the place of an event.
    fn at(&mut self, number: u64) -> Option<&mut Event> {
        let ring = self.ring.as_mut()?;
        let place = place(number, ring.len());
        ring.get_mut(place)
    }
}

/// Returns where in a ring of `places` places an event is.
fn place(number: u64, places: usize) -> usize {
    // A ring without a place never begins.
    number.checked_rem(places as u64).unwrap_or(0) as usize
}

impl<R, L, S> Session<R, L, S>
where
    R: Deref<Target: Engine>,
    L: Lock<Ledger<S>>,
    S: Storage,
{
    /// Writes down every operation from now on, in `ring`, which it gives back if it does so
    /// already or if there is no place in it.
    pub fn begin_events(&self, ring: S::Ring) -> Option<S::Ring> {
        self.ledger.with(|ledger| ledger.begin_log(ring))
    }

    /// Ends that, and returns the ring, if there is one.
    pub fn end_events(&self) -> Option<S::Ring> {
        self.ledger.with(Ledger::end_log)
    }

    /// Reads events from number `number` on, as many as there are and `room` has place for. For so
    /// long the session is locked.
    ///
    /// # Errors
    ///
    /// [`NotRead`]
    pub fn events(&self, number: u64, room: &mut [Event]) -> Result<Read, NotRead> {
        self.ledger.with(|ledger| ledger.log().read(number, room))
    }

    /// Returns the handle that a program's number stands for, to do with its block what `kind` and
    /// `size` say.
    ///
    /// # Errors
    ///
    /// [`Denied::NoSuchBlock`]
    #[inline(always)]
    pub fn named(&self, bits: u64, kind: Kind, size: u64) -> Result<Handle, Denied> {
        let number = u32::try_from(bits).unwrap_or(NO_HANDLE);
        match Handle::from_bits(number) {
            Some(handle) => Ok(handle),
            // What is moved into the closure has no place in memory before.
            None => Err(self.denied(
                move || Event::about(kind, number, size),
                Denied::NoSuchBlock,
            )),
        }
    }

    /// Counts and writes down a request that was denied.
    #[cold]
    #[inline(never)]
    pub(super) fn denied(&self, asked: impl FnOnce() -> Event, denied: Denied) -> Denied {
        self.ledger.with(|ledger| ledger.denied(asked, denied))
    }
}

#[cfg(test)]
mod tests;
