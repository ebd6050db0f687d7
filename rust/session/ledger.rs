// SPDX-License-Identifier: GPL-2.0

//! A session's books: which blocks it has, under which handles, and what they count for.
//!
//! They never allocate: when the [`Table`] is full they say so ([`Full::Table`]), the caller lets go
//! of the lock, gets a chunk, and asks again, as binder's range allocator does with `NeedAlloc`
//! (`drivers/android/binder/range_alloc/`).

use slab_heap::{
    Cost,
    Refusal,
    fail::Every, //
};

use crate::{
    denied::{
        Cause,
        Denied, //
    },
    entry::{
        Entry,
        Record,
        State, //
    },
    events::{
        Event,
        Kind,
        Log,
        Outcome,
        Ticket, //
    },
    handle::{
        Handle,
        INDEX_MAX, //
    },
    pins::Pins,
    room::{
        Limits,
        Room,
        Vacancy, //
    },
    storage::Storage,
    table::{
        Linked,
        Place,
        Table, //
    },
};

/// Entries that one call of [`Ledger::next_record`] looks at, at most, with the session's lock held:
/// each is a cache line that may be cold.
const SCAN: u32 = 256;

/// The largest block that is allocated, and so zeroed, with the session's lock held.
pub(crate) const AT_ONCE_BYTES: usize = 4096;

/// What a session has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Blocks that it holds now.
    pub blocks: u32,
    /// Bytes that these count for.
    pub bytes: usize,
    /// Allocations that were served, or are about to be.
    pub allocations: u64,
    /// Blocks that were freed.
    pub frees: u64,
    /// Reallocations that were served.
    pub reallocations: u64,
    /// Requests for memory that were refused, by [`Cause`].
    pub refusals: [u64; Cause::END],
}

/// Why nothing can be reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// The table has no vacant entry; [`Ledger::grow`] adds a chunk of `entries`, which is linked
    /// from index `first` on.
    Table { first: u32, entries: usize },
    /// A quota, or that it is to fail.
    Denied(Denied),
}

/// A session's books.
///
/// # Invariants
///
/// - `left` is what the entries that are not vacant, and the bytes that these count for, leave of
///   `limits`.
/// - `at_once_bytes` is 0 while `log` is on, and while requests are refused to order.
pub struct Ledger<S: Storage> {
    table: Table<S>,
    limits: Limits,
    left: Limits,
    /// Requests that are refused to order.
    failing: Every,
    /// But for what follows from others.
    tally: Tally,
    /// The engine is [quick](slab_heap::engine::Capabilities::quick).
    quick: bool,
    /// The largest block that is allocated with the session's lock held; 0 when nothing is done so.
    at_once_bytes: usize,
    log: Log<S::Ring>,
}

impl<S: Storage> Ledger<S> {
    /// Opens the books of a session that holds nothing.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let limits = Limits {
            handles: limits.handles.min(INDEX_MAX + 1),
            ..limits
        };
        // INVARIANT: There are no entries.
        Self {
            table: Table::new(),
            limits,
            left: limits,
            failing: Every::new(),
            tally: Tally::default(),
            quick: false,
            at_once_bytes: 0,
            log: Log::new(),
        }
    }

    /// Says whether the engine is quick.
    pub(crate) fn set_quick(&mut self, quick: bool) {
        self.quick = quick;
        self.set_at_once();
    }

    /// Sets what is allocated with the lock held: nothing that is to be written down or counted, so
    /// that neither costs the others anything.
    fn set_at_once(&mut self) {
        let at_once = self.quick && !self.log.is_on() && !self.failing.is_set();
        // INVARIANT: As it says.
        self.at_once_bytes = if at_once { AT_ONCE_BYTES } else { 0 };
    }

    /// Returns the largest block that is allocated with the session's lock held: 0 when nothing is
    /// done so.
    #[inline(always)]
    pub(crate) fn at_once_bytes(&self) -> usize {
        self.at_once_bytes
    }

    /// Begins to write down what is done, in `ring`; gives it back if that cannot be.
    pub(crate) fn begin_log(&mut self, ring: S::Ring) -> Option<S::Ring> {
        let refused = self.log.begin(ring);
        self.set_at_once();
        refused
    }

    /// Ends that, and returns the ring.
    pub(crate) fn end_log(&mut self) -> Option<S::Ring> {
        let ring = self.log.end();
        self.set_at_once();
        ring
    }

    /// Returns what was written down.
    pub(crate) fn log(&self) -> &Log<S::Ring> {
        &self.log
    }

    /// Writes an event down, if that is done.
    #[inline(always)]
    pub(crate) fn note(&mut self, event: impl FnOnce() -> Event) -> Option<Ticket> {
        if self.log.is_on() {
            self.note_down(event())
        } else {
            None
        }
    }

    /// Does the work of [`Ledger::note`].
    #[cold]
    #[inline(never)]
    fn note_down(&mut self, event: Event) -> Option<Ticket> {
        self.log.push(event.at(S::moment()))
    }

    /// Finishes an event.
    #[cold]
    #[inline(never)]
    pub(crate) fn finish(&mut self, ticket: Ticket, cost: Cost) {
        self.log.finish(ticket, cost);
    }

    /// Returns what the session has done.
    pub(crate) fn tally(&self) -> Tally {
        let blocks = self.limits.handles - self.left.handles;
        Tally {
            blocks,
            bytes: self.limits.bytes - self.left.bytes,
            allocations: u64::from(blocks) + self.tally.frees,
            ..self.tally
        }
    }

    /// Counts a request that was denied, if it was for memory, and writes it down.
    pub(crate) fn denied(&mut self, asked: impl FnOnce() -> Event, denied: Denied) -> Denied {
        if let Some(cause) = denied.cause() {
            self.tally.refusals[cause as usize] += 1;
        }
        self.note(|| asked().with(Outcome::Denied(denied)));
        denied
    }

    /// Returns the entry that a handle names, in whatever state.
    #[inline(always)]
    fn named(&mut self, handle: Handle) -> Result<Place<'_, S>, Denied> {
        self.numbered(handle.to_bits())
    }

    /// Returns the entry that a program's number names, if it is that of a handle.
    #[inline(always)]
    fn numbered(&mut self, number: u32) -> Result<Place<'_, S>, Denied> {
        match self.table.place(number & INDEX_MAX) {
            Some(entry) if entry.handle.to_bits() == number => Ok(entry),
            _ => Err(Denied::NoSuchBlock),
        }
    }

    /// Adds a chunk that is linked, if it is the one that [`Full::Table`] asked for; gives it back
    /// otherwise.
    ///
    /// Two callers that were told so at once both come here; the second one's is not needed.
    pub(crate) fn grow(&mut self, chunk: Linked<S>) -> Option<Linked<S>> {
        self.table.grow(chunk)
    }

    /// Counts `charge` bytes and sets an entry aside for a block, unless that is to fail.
    ///
    /// Its handle names nothing until it is given to [`Ledger::fill`].
    pub(crate) fn reserve(&mut self, charge: usize) -> Result<Handle, Full> {
        let counts = self.failing.is_set() && self.vacancy(charge).is_some();
        if counts && self.fails() {
            return Err(Full::Denied(Denied::Refused(Refusal::Injected)));
        }
        match self.vacancy(charge) {
            Some(vacancy) => Ok(vacancy.fill(State::Reserved).handle),
            None => Err(self.full(charge)),
        }
    }

    /// Has every `every`-th request from now on fail, or none if that is 0.
    pub(crate) fn fail(&mut self, every: u64) {
        self.failing.set(every);
        self.set_at_once();
    }

    /// Counts a request for which the engine is to be asked, and says whether it fails.
    pub(crate) fn fails(&mut self) -> bool {
        self.failing.strikes()
    }

    /// Returns the place for a block that counts for `charge` bytes, if there is one:
    /// [`Ledger::reserve`] finds out why not.
    #[inline(always)]
    pub(crate) fn vacancy(&mut self, charge: usize) -> Option<Vacancy<'_>> {
        Vacancy::new(&mut self.table, &mut self.left, charge)
    }

    /// Returns the room for blocks that count for `charge` bytes each, and for `bytes` together at
    /// most.
    #[inline(always)]
    pub(crate) fn room(&mut self, charge: usize, bytes: usize) -> Room<'_, S> {
        Room::new(&mut self.table, &mut self.left, charge, bytes)
    }

    /// Says why nothing can be reserved.
    #[cold]
    pub(crate) fn full(&self, charge: usize) -> Full {
        if self.left.handles == 0 {
            return Full::Denied(Denied::QuotaHandles);
        }
        if charge > self.left.bytes {
            return Full::Denied(Denied::QuotaBytes);
        }
        Full::Table {
            first: self.table.capacity(),
            entries: self.table.next_entries(),
        }
    }

    /// Counts `charge` bytes more.
    pub(crate) fn charge(&mut self, charge: usize) -> Result<(), Denied> {
        let left = self.left.bytes.checked_sub(charge);
        self.left.bytes = left.ok_or(Denied::QuotaBytes)?;
        Ok(())
    }

    /// Counts `charge` bytes less.
    #[inline]
    pub(crate) fn discharge(&mut self, charge: usize) {
        // Of the limit, so it does not wrap.
        self.left.bytes = self.left.bytes.wrapping_add(charge);
    }

    /// Counts a block less, which counted for `charge` bytes.
    #[inline(always)]
    fn closed(&mut self, charge: usize) {
        self.left.handles = self.left.handles.wrapping_add(1);
        self.discharge(charge);
    }

    /// Makes a reserved handle name a block.
    pub(crate) fn fill(&mut self, handle: Handle, record: &Record, cost: Cost) {
        self.note(|| Event::done(Kind::Allocate, handle, record, cost));
        if let Ok(mut entry) = self.named(handle) {
            entry.record = *record;
            entry.state = State::Live { pins: Pins::NONE };
        }
    }

    /// Gives up a reserved handle and the bytes that were counted for it.
    pub(crate) fn cancel(&mut self, handle: Handle, charge: usize) {
        if let Ok(entry) = self.named(handle) {
            entry.vacate();
            self.closed(charge);
        }
    }

    /// Returns the block that a number names and nobody is using.
    #[inline(always)]
    fn quiet(&mut self, number: u32) -> Result<Place<'_, S>, Denied> {
        let entry = self.numbered(number)?;
        if entry.state != (State::Live { pins: Pins::NONE }) {
            return Err(entry.state.denied());
        }
        Ok(entry)
    }

    /// Takes the block of a handle out of the books.
    pub(crate) fn take(&mut self, handle: Handle) -> Result<Record, Denied> {
        self.take_with(handle, |record| *record)
    }

    /// Takes the block of a handle out of the books, or says why not, and writes that down.
    pub(crate) fn remove(&mut self, handle: Handle) -> Result<(Record, Option<Ticket>), Denied> {
        match self.take(handle) {
            Ok(record) => Ok((record, self.note_gone(Kind::Free, handle, &record))),
            Err(denied) => {
                Err(self.denied(|| Event::about(Kind::Free, handle.to_bits(), 0), denied))
            }
        }
    }

    /// As [`Ledger::remove`], but the block was not freed: it never was allocated.
    pub(crate) fn revoke(&mut self, handle: Handle) -> Result<(Record, Option<Ticket>), Denied> {
        let record = self.take(handle)?;
        self.tally.frees -= 1;
        Ok((record, self.note_gone(Kind::Revoke, handle, &record)))
    }

    /// Writes down that a block is gone, at a cost that is not known yet.
    fn note_gone(&mut self, kind: Kind, handle: Handle, record: &Record) -> Option<Ticket> {
        let gone = || Event::done(kind, handle, record, Cost::default());
        self.note(|| gone().with(Outcome::Unfinished))
    }

    /// Takes the block of a handle out of the books, and shows it to `f`.
    #[inline(always)]
    pub(crate) fn take_with<T>(
        &mut self,
        handle: Handle,
        f: impl FnOnce(&Record) -> T,
    ) -> Result<T, Denied> {
        let taken = self.try_take(handle.to_bits(), |entry| Some(f(&entry.record)))?;
        taken.ok_or(Denied::NoSuchBlock)
    }

    /// Shows the entry of the block that a number names to `f`, and takes the block out of the books if
    /// that has anything to say.
    #[inline(always)]
    pub(crate) fn try_take<T>(
        &mut self,
        number: u32,
        f: impl FnOnce(&Entry) -> Option<T>,
    ) -> Result<Option<T>, Denied> {
        let entry = self.quiet(number)?;
        let (told, charge) = (f(&entry), entry.record.charge);
        if told.is_some() {
            entry.vacate();
            self.closed(charge);
            self.tally.frees = self.tally.frees.wrapping_add(1);
        }
        Ok(told)
    }

    /// Pins the block of a handle.
    pub(crate) fn pin(&mut self, handle: Handle) -> Result<Record, Denied> {
        let mut entry = self.named(handle)?;
        match &mut entry.state {
            State::Live { pins } => pins.pin(),
            state => return Err(state.denied()),
        }
        Ok(entry.record)
    }

    /// Takes back a pin.
    pub(crate) fn unpin(&mut self, handle: Handle) {
        self.with_pins(handle, Pins::unpin);
    }

    /// Counts one more pin of a block that is pinned.
    pub(crate) fn pin_again(&mut self, handle: Handle) {
        self.with_pins(handle, Pins::pin);
    }

    /// Changes the pins of a block that is pinned, and so stays live.
    fn with_pins(&mut self, handle: Handle, change: impl FnOnce(&mut Pins)) {
        if let Ok(mut entry) = self.named(handle) {
            if let State::Live { pins } = &mut entry.state {
                change(pins);
            }
        }
    }

    /// Keeps everybody else from the block of a handle, so that it can be moved.
    pub(crate) fn begin_move(&mut self, handle: Handle) -> Result<Record, Denied> {
        let mut entry = self.quiet(handle.to_bits())?;
        entry.state = State::Moving;
        Ok(entry.record)
    }

    /// Ends a move: the handle names `record` from now on.
    pub(crate) fn end_move(&mut self, handle: Handle, record: &Record, moved: bool) {
        if let Ok(mut entry) = self.named(handle) {
            entry.record = *record;
            entry.known = None;
            entry.state = State::Live { pins: Pins::NONE };
            self.tally.reallocations += u64::from(moved);
        }
    }

    /// Takes the next block at or after index `cursor` out of the books, pinned or not.
    ///
    /// Looks at a bounded number of entries and moves `cursor` past them. Returns `None` when the
    /// table's end was reached, `Some(None)` when there is more to look at.
    pub(crate) fn next_record(&mut self, cursor: &mut u32) -> Option<Option<Record>> {
        let end = self.table.capacity().min(cursor.saturating_add(SCAN));
        while *cursor < end {
            let entry = self.table.place(*cursor)?;
            *cursor += 1;
            // A block that is being moved belongs to the call that moves it.
            if let State::Live { .. } = entry.state {
                let record = entry.record;
                entry.vacate();
                self.closed(record.charge);
                return Some(Some(record));
            }
        }
        (*cursor < self.table.capacity()).then_some(None)
    }
}

#[cfg(test)]
mod tests;
