// SPDX-License-Identifier: GPL-2.0

//! A session's books: which blocks it has, under which handles, and what they count for.
//!
//! The table of entries is a list of chunks, each as large as all before it together, so that
//! growing it moves nothing. It never allocates: when it is full it says so ([`Full::Table`]), the
//! caller lets go of the lock, gets a chunk, and asks again, as binder's range allocator does with
//! `NeedAlloc` (`drivers/android/binder/range_alloc/`).

use core::{
    alloc::Layout,
    ops::DerefMut,
    ptr::NonNull, //
};

use slab_heap::{
    Block,
    Refusal,
    fail::Every, //
};

use crate::{
    denied::{
        Cause,
        Denied, //
    },
    handle::{
        Handle,
        INDEX_MAX, //
    },
    pins::Pins,
};

/// Entries of the first chunk.
const FIRST_CHUNK: usize = 1024;

/// Chunks that a table can have.
const CHUNKS: usize = 11;

// All of them together have an entry for every index.
const _: () = assert!(FIRST_CHUNK << (CHUNKS - 1) == INDEX_MAX as usize + 1);

/// Entries that one call of [`Ledger::next_record`] looks at, at most.
const SCAN: u32 = 4096;

/// What a session may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Usable bytes of all blocks together.
    pub bytes: usize,
    /// Blocks.
    pub handles: u32,
}

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

/// A block and what is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// The block.
    pub(crate) block: Block,
    /// The layout that the program asked for: it may touch `layout.size()` bytes.
    pub(crate) layout: Layout,
    /// The bytes that it counts for in the quota.
    pub(crate) charge: usize,
}

/// What an entry is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing; `next` is the index of the entry that is to be used after it.
    Vacant { next: Option<u32> },
    /// An allocation that is not complete.
    Reserved,
    /// A block that is there, and who is using it at the moment.
    Live { pins: Pins },
    /// A block that is being moved.
    Moving,
}

impl State {
    /// Returns why the block of an entry that is not quietly live cannot be had.
    #[cold]
    fn denied(self) -> Denied {
        match self {
            Self::Live { .. } | Self::Moving => Denied::Pinned,
            Self::Vacant { .. } | Self::Reserved => Denied::NoSuchBlock,
        }
    }
}

/// One entry of a session's table.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub struct Entry {
    /// What names the entry, or will.
    handle: Handle,
    state: State,
    /// Of a block that is there.
    record: Record,
}

// An entry is a cache line.
const _: () = assert!(size_of::<Entry>() == 64);

impl Entry {
    /// The entry of a new chunk.
    pub const VACANT: Self = Self {
        handle: match Handle::first(0) {
            Some(handle) => handle,
            None => unreachable!(),
        },
        state: State::Vacant { next: None },
        record: Record {
            block: Block {
                start: NonNull::dangling(),
                offset: None,
            },
            layout: Layout::new::<()>(),
            charge: 0,
        },
    };

    /// Empties the entry: what named it names nothing any more.
    #[inline]
    fn vacate(&mut self) {
        self.handle = self.handle.next();
        self.state = State::Vacant { next: None };
    }
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
/// - `tally.blocks` entries are not vacant; `tally.bytes` is what they count for together.
/// - The vacant entries form a queue from `first` to `last`, linked by `next`. Where there is no
///   `first` there are none, and `last` means nothing.
pub struct Ledger<C> {
    chunks: [Option<C>; CHUNKS],
    capacity: u32,
    first: Option<u32>,
    last: u32,
    limits: Limits,
    /// Requests that are refused to order.
    failing: Every,
    /// Blocks up to which there is a place at once; none while requests are refused to order.
    at_once: u32,
    /// But for the allocations, which are the blocks and those that were freed.
    tally: Tally,
}

/// The place for one more block. While it is not taken nothing has changed.
pub(crate) struct Vacancy<'l> {
    /// The first vacant entry.
    entry: &'l mut Entry,
    first: &'l mut Option<u32>,
    tally: &'l mut Tally,
    /// What is counted with the block.
    bytes: usize,
}

impl<'l> Vacancy<'l> {
    /// Puts a block there, and returns the handle that names it from now on.
    #[inline(always)]
    pub(crate) fn insert(self, record: Record) -> Handle {
        let entry = self.fill(State::Live { pins: Pins::NONE });
        entry.record = record;
        entry.handle
    }

    /// Counts the entry as one that is not vacant.
    #[inline(always)]
    fn fill(self, state: State) -> &'l mut Entry {
        // INVARIANT: The first of the queue leaves it, and is counted.
        if let State::Vacant { next } = self.entry.state {
            *self.first = next;
        }
        self.tally.blocks += 1;
        self.tally.bytes = self.bytes;
        self.entry.state = state;
        self.entry
    }
}

/// Returns the entries of a chunk.
const fn chunk_entries(chunk: usize) -> usize {
    FIRST_CHUNK << chunk.saturating_sub(1)
}

/// Returns the chunk and the place in it of the entry with this index.
#[inline]
fn locate(index: u32) -> (usize, usize) {
    let index = index as usize;
    // The first chunk counts as two halves, so that all begin at powers of two.
    match (index / FIRST_CHUNK).checked_ilog2() {
        None => (0, index),
        Some(log2) => {
            let chunk = log2 as usize + 1;
            (chunk, index - chunk_entries(chunk))
        }
    }
}

impl<C: DerefMut<Target = [Entry]>> Ledger<C> {
    /// Opens the books of a session that holds nothing.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let handles = limits.handles.min(INDEX_MAX + 1);
        // INVARIANT: There are no entries.
        Self {
            chunks: [const { None }; CHUNKS],
            capacity: 0,
            first: None,
            last: 0,
            limits: Limits { handles, ..limits },
            failing: Every::new(),
            at_once: handles,
            tally: Tally::default(),
        }
    }

    /// Returns what the session has done.
    pub(crate) fn tally(&self) -> Tally {
        Tally {
            allocations: u64::from(self.tally.blocks) + self.tally.frees,
            ..self.tally
        }
    }

    /// Counts a request that was refused.
    pub(crate) fn refused(&mut self, cause: Cause) {
        self.tally.refusals[cause as usize] += 1;
    }

    #[inline(always)]
    fn entry(&mut self, index: u32) -> Option<&mut Entry> {
        let (chunk, place) = locate(index);
        self.chunks.get_mut(chunk)?.as_mut()?.get_mut(place)
    }

    /// Returns the entry that a handle names, in whatever state.
    #[inline(always)]
    fn named(&mut self, handle: Handle) -> Result<&mut Entry, Denied> {
        match self.entry(handle.index()) {
            Some(entry) if entry.handle == handle => Ok(entry),
            _ => Err(Denied::NoSuchBlock),
        }
    }

    /// Links the entries of a new chunk to each other; the slow part of growing, for which no lock
    /// is needed.
    ///
    /// `first` is the index of the chunk's first entry.
    pub(crate) fn link(chunk: &mut C, first: u32) {
        let end = first + chunk.len() as u32;
        for (index, entry) in (first..end).zip(chunk.iter_mut()) {
            let next = (index + 1 < end).then_some(index + 1);
            entry.state = State::Vacant { next };
            // A chunk that lies behind the last index is never added.
            entry.handle = Handle::first(index).unwrap_or(entry.handle);
        }
    }

    /// Adds a linked chunk, if it is of the size that [`Full::Table`] asked for; gives it back
    /// otherwise.
    ///
    /// Two callers that were told so at once both come here; the second one's is not needed.
    pub(crate) fn grow(&mut self, chunk: C) -> Option<C> {
        let (slot, _) = locate(self.capacity);
        if self.first.is_some() || chunk.len() != chunk_entries(slot) {
            return Some(chunk);
        }
        let Some(free) = self.chunks.get_mut(slot) else {
            return Some(chunk);
        };
        let end = self.capacity + chunk.len() as u32;
        *free = Some(chunk);
        // INVARIANT: The queue was empty and now is the chunk's.
        self.first = Some(self.capacity);
        self.last = end - 1;
        self.capacity = end;
        None
    }

    /// Counts `charge` bytes and sets an entry aside for a block, unless that is to fail.
    ///
    /// Its handle names nothing until it is given to [`Ledger::fill`].
    pub(crate) fn reserve(&mut self, charge: usize) -> Result<Handle, Full> {
        let counts = self.failing.is_set() && self.place(charge, false).is_some();
        if counts && self.fails() {
            return Err(Full::Denied(Denied::Refused(Refusal::Injected)));
        }
        match self.place(charge, false) {
            Some(vacancy) => Ok(vacancy.fill(State::Reserved).handle),
            None => Err(self.full(charge)),
        }
    }

    /// Has every `every`-th request from now on fail, or none if that is 0.
    pub(crate) fn fail(&mut self, every: u64) {
        self.failing.set(every);
        // What is served at once is not counted, so nothing is, and this costs the others nothing.
        self.at_once = if every == 0 { self.limits.handles } else { 0 };
    }

    /// Counts a request for which the engine is to be asked, and says whether it fails.
    pub(crate) fn fails(&mut self) -> bool {
        self.failing.strikes()
    }

    /// Returns the place for a block that counts for `charge` bytes, if there is one at once:
    /// [`Ledger::reserve`] finds out why not.
    #[inline(always)]
    pub(crate) fn vacancy(&mut self, charge: usize) -> Option<Vacancy<'_>> {
        self.place(charge, true)
    }

    /// Returns the place for a block that counts for `charge` bytes, if there is one, or one at once.
    #[inline(always)]
    fn place(&mut self, charge: usize, at_once: bool) -> Option<Vacancy<'_>> {
        let bytes = self.with_charge(charge)?;
        let most = if at_once {
            self.at_once
        } else {
            self.limits.handles
        };
        if self.tally.blocks >= most {
            return None;
        }
        let (chunk, place) = locate(self.first?);
        let entry = self.chunks.get_mut(chunk)?.as_mut()?.get_mut(place)?;
        Some(Vacancy {
            entry,
            first: &mut self.first,
            tally: &mut self.tally,
            bytes,
        })
    }

    /// Says why nothing can be reserved.
    #[cold]
    pub(crate) fn full(&self, charge: usize) -> Full {
        if self.tally.blocks >= self.limits.handles {
            return Full::Denied(Denied::QuotaHandles);
        }
        if self.with_charge(charge).is_none() {
            return Full::Denied(Denied::QuotaBytes);
        }
        Full::Table {
            first: self.capacity,
            entries: chunk_entries(locate(self.capacity).0),
        }
    }

    /// Returns the bytes counted if `charge` more were.
    #[inline]
    fn with_charge(&self, charge: usize) -> Option<usize> {
        let bytes = self.tally.bytes.checked_add(charge)?;
        (bytes <= self.limits.bytes).then_some(bytes)
    }

    /// Counts `charge` bytes more.
    pub(crate) fn charge(&mut self, charge: usize) -> Result<(), Denied> {
        self.tally.bytes = self.with_charge(charge).ok_or(Denied::QuotaBytes)?;
        Ok(())
    }

    /// Counts `charge` bytes less.
    #[inline]
    pub(crate) fn discharge(&mut self, charge: usize) {
        self.tally.bytes = self.tally.bytes.saturating_sub(charge);
    }

    /// Empties an entry, so that its handle names nothing any more.
    #[inline]
    fn close(&mut self, index: u32, charge: usize) {
        if let Some(entry) = self.entry(index) {
            entry.vacate();
        }
        self.closed(index, charge);
    }

    /// Puts an entry that was vacated at the end of the queue of vacant ones.
    #[inline(always)]
    fn closed(&mut self, index: u32, charge: usize) {
        // Without a first one the queue is empty, and its last one history.
        match self.first.and_then(|_| self.entry(self.last)) {
            Some(entry) => entry.state = State::Vacant { next: Some(index) },
            None => self.first = Some(index),
        }
        self.last = index;
        self.tally.blocks -= 1;
        self.discharge(charge);
    }

    /// Makes a reserved handle name a block.
    pub(crate) fn fill(&mut self, handle: Handle, record: &Record) {
        if let Ok(entry) = self.named(handle) {
            entry.record = *record;
            entry.state = State::Live { pins: Pins::NONE };
        }
    }

    /// Gives up a reserved handle and the bytes that were counted for it.
    pub(crate) fn cancel(&mut self, handle: Handle, charge: usize) {
        self.close(handle.index(), charge);
    }

    /// Returns the block of a handle that nobody is using.
    #[inline(always)]
    fn quiet(&mut self, handle: Handle) -> Result<&mut Entry, Denied> {
        let entry = self.named(handle)?;
        if entry.state != (State::Live { pins: Pins::NONE }) {
            return Err(entry.state.denied());
        }
        Ok(entry)
    }

    /// Takes the block of a handle out of the books.
    pub(crate) fn take(&mut self, handle: Handle) -> Result<Record, Denied> {
        self.take_with(handle, |record| *record)
    }

    /// As [`Ledger::take`], but the block was not freed: it never was allocated.
    pub(crate) fn revoke(&mut self, handle: Handle) -> Result<Record, Denied> {
        let record = self.take(handle)?;
        self.tally.frees -= 1;
        Ok(record)
    }

    /// Takes the block of a handle out of the books, and shows it to `f`.
    #[inline(always)]
    pub(crate) fn take_with<T>(
        &mut self,
        handle: Handle,
        f: impl FnOnce(&Record) -> T,
    ) -> Result<T, Denied> {
        let entry = self.quiet(handle)?;
        let (told, charge) = (f(&entry.record), entry.record.charge);
        entry.vacate();
        self.closed(handle.index(), charge);
        self.tally.frees += 1;
        Ok(told)
    }

    /// Pins the block of a handle.
    pub(crate) fn pin(&mut self, handle: Handle) -> Result<Record, Denied> {
        let entry = self.named(handle)?;
        let State::Live { pins } = &mut entry.state else {
            return Err(entry.state.denied());
        };
        pins.pin();
        Ok(entry.record)
    }

    /// Takes back a pin.
    pub(crate) fn unpin(&mut self, handle: Handle) {
        if let Some(pins) = self.pins(handle) {
            pins.unpin();
        }
    }

    /// Makes the pin of a block one that is never taken back.
    pub(crate) fn keep(&mut self, handle: Handle) {
        if let Some(pins) = self.pins(handle) {
            pins.keep();
        }
    }

    /// Returns the pins of a block that is pinned, and so stays live.
    fn pins(&mut self, handle: Handle) -> Option<&mut Pins> {
        match self.named(handle) {
            Ok(Entry {
                state: State::Live { pins },
                ..
            }) => Some(pins),
            _ => None,
        }
    }

    /// Keeps everybody else from the block of a handle, so that it can be moved.
    pub(crate) fn begin_move(&mut self, handle: Handle) -> Result<Record, Denied> {
        let entry = self.quiet(handle)?;
        entry.state = State::Moving;
        Ok(entry.record)
    }

    /// Ends a move: the handle names `record` from now on.
    pub(crate) fn end_move(&mut self, handle: Handle, record: &Record, moved: bool) {
        if let Ok(entry) = self.named(handle) {
            entry.record = *record;
            entry.state = State::Live { pins: Pins::NONE };
            self.tally.reallocations += u64::from(moved);
        }
    }

    /// Takes the next block at or after index `cursor` out of the books, pinned or not.
    ///
    /// Looks at a bounded number of entries and moves `cursor` past them. Returns `None` when the
    /// table's end was reached, `Some(None)` when there is more to look at.
    pub(crate) fn next_record(&mut self, cursor: &mut u32) -> Option<Option<Record>> {
        let end = self.capacity.min(cursor.saturating_add(SCAN));
        while *cursor < end {
            let index = *cursor;
            *cursor += 1;
            // A block that is being moved belongs to the call that moves it.
            if let Some(Entry {
                state: State::Live { .. },
                record,
                ..
            }) = self.entry(index)
            {
                let record = *record;
                self.close(index, record.charge);
                return Some(Some(record));
            }
        }
        (*cursor < self.capacity).then_some(None)
    }
}

#[cfg(test)]
mod tests;
