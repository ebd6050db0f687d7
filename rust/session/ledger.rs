// SPDX-License-Identifier: GPL-2.0

//! A session's books: which blocks it has, under which handles, and what they count for.
//!
//! The table of entries is a list of chunks, each twice as large as the one before, so that
//! growing it moves nothing. It never allocates: when it is full it says so ([`Full::Table`]), the
//! caller lets go of the lock, gets a chunk, and asks again, as binder's range allocator does with
//! `NeedAlloc` (`drivers/android/binder/range_alloc/`).

use core::{
    alloc::Layout,
    ops::DerefMut, //
};

use slab_heap::Block;

use crate::{
    denied::{
        Cause,
        Denied, //
    },
    handle::{
        GENERATION_MAX,
        Handle,
        INDEX_MAX, //
    },
};

/// Entries of the first chunk.
const FIRST_CHUNK: usize = 1024;

/// Chunks that a table can have: enough for [`INDEX_MAX`] and one entry more.
const CHUNKS: usize = 11;

const _: () = assert!(FIRST_CHUNK * ((1 << CHUNKS) - 1) > INDEX_MAX as usize);

/// Entries that one call of [`Ledger::next_record`] looks at, at most.
const SCAN: u32 = 4096;

/// Where chunks come from.
pub trait Storage {
    /// An owned array of entries.
    type Chunk: DerefMut<Target = [Entry]> + Send;

    /// Returns `entries` vacant entries, or `None` if there is no memory for them.
    fn chunk(entries: usize) -> Option<Self::Chunk>;
}

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
    /// Allocations that were served.
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
    /// A block that `pins` others are using at the moment.
    Live { record: Record, pins: u32 },
    /// A block that is being moved.
    Moving { record: Record },
}

/// One entry of a session's table.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    generation: u32,
    state: State,
}

impl Entry {
    /// The entry of a new chunk.
    pub const VACANT: Self = Self {
        generation: 1,
        state: State::Vacant { next: None },
    };
}

/// Why nothing can be reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// The table has no vacant entry; [`Ledger::grow`] with a chunk of so many adds some.
    Table(usize),
    /// A quota.
    Quota(Denied),
}

/// A session's books.
///
/// # Invariants
///
/// - `tally.blocks` entries are not vacant; `tally.bytes` is what they count for together.
/// - The vacant entries form a queue from `first` to `last`, linked by `next`.
pub struct Ledger<C> {
    chunks: [Option<C>; CHUNKS],
    capacity: u32,
    first: Option<u32>,
    last: Option<u32>,
    limits: Limits,
    tally: Tally,
}

/// Returns the chunk and the place in it of the entry with this index.
fn locate(index: u32) -> (usize, usize) {
    let n = index as usize + FIRST_CHUNK;
    let chunk = (n.ilog2() - FIRST_CHUNK.ilog2()) as usize;
    (chunk, n - (FIRST_CHUNK << chunk))
}

impl<C: DerefMut<Target = [Entry]>> Ledger<C> {
    /// Opens the books of a session that holds nothing.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        // INVARIANT: There are no entries.
        Self {
            chunks: [const { None }; CHUNKS],
            capacity: 0,
            first: None,
            last: None,
            limits: Limits {
                handles: limits.handles.min(INDEX_MAX + 1),
                ..limits
            },
            tally: Tally::default(),
        }
    }

    /// Returns what the session has done.
    pub(crate) fn tally(&self) -> Tally {
        self.tally
    }

    /// Counts a request that was refused.
    pub(crate) fn refused(&mut self, cause: Cause) {
        self.tally.refusals[cause as usize] += 1;
    }

    fn entry(&mut self, index: u32) -> Option<&mut Entry> {
        let (chunk, place) = locate(index);
        self.chunks.get_mut(chunk)?.as_mut()?.get_mut(place)
    }

    /// Returns the entry that a handle names, in whatever state.
    fn named(&mut self, handle: Handle) -> Result<&mut Entry, Denied> {
        match self.entry(handle.index()) {
            Some(entry) if entry.generation == handle.generation() => Ok(entry),
            _ => Err(Denied::NoSuchBlock),
        }
    }

    /// Puts an entry at the end of the queue of vacant ones.
    fn vacate(&mut self, index: u32) {
        if let Some(entry) = self.entry(index) {
            entry.state = State::Vacant { next: None };
        }
        match self.last.and_then(|last| self.entry(last)) {
            Some(entry) => entry.state = State::Vacant { next: Some(index) },
            None => self.first = Some(index),
        }
        self.last = Some(index);
    }

    /// Links the entries of a new chunk to each other; the slow part of growing, for which no lock
    /// is needed.
    pub(crate) fn link(chunk: &mut C) {
        let base = chunk.len() - FIRST_CHUNK;
        let end = (base + chunk.len()).min(INDEX_MAX as usize + 1);
        for (index, entry) in (base..end).zip(chunk.iter_mut()) {
            let next = (index + 1 < end).then_some(index as u32 + 1);
            entry.state = State::Vacant { next };
        }
    }

    /// Adds a linked chunk, if it is of the size that [`Full::Table`] asked for; gives it back
    /// otherwise.
    ///
    /// Two callers that were told so at once both come here; the second one's is not needed.
    pub(crate) fn grow(&mut self, chunk: C) -> Option<C> {
        let (slot, _) = locate(self.capacity);
        if self.first.is_some() || chunk.len() != FIRST_CHUNK << slot {
            return Some(chunk);
        }
        let Some(free) = self.chunks.get_mut(slot) else {
            return Some(chunk);
        };
        let end = (self.capacity as usize + chunk.len()).min(INDEX_MAX as usize + 1) as u32;
        *free = Some(chunk);
        // INVARIANT: The queue was empty and now is the chunk's.
        self.first = Some(self.capacity);
        self.last = Some(end - 1);
        self.capacity = end;
        None
    }

    /// Counts `charge` bytes and sets an entry aside for a block.
    ///
    /// The handle names nothing until it is given to [`Ledger::publish`].
    pub(crate) fn reserve(&mut self, charge: usize) -> Result<Handle, Full> {
        if self.tally.blocks >= self.limits.handles {
            return Err(Full::Quota(Denied::QuotaHandles));
        }
        let bytes = self
            .with_charge(charge)
            .ok_or(Full::Quota(Denied::QuotaBytes))?;
        let full = Full::Table(FIRST_CHUNK << locate(self.capacity).0);
        let index = self.first.ok_or(full)?;
        let entry = self.entry(index).ok_or(full)?;
        let State::Vacant { next } = entry.state else {
            return Err(full);
        };
        let handle = Handle::new(index, entry.generation).ok_or(full)?;
        entry.state = State::Reserved;
        self.first = next;
        if next.is_none() {
            self.last = None;
        }
        self.tally.blocks += 1;
        self.tally.bytes = bytes;
        Ok(handle)
    }

    /// Returns the bytes counted if `charge` more were.
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
    pub(crate) fn discharge(&mut self, charge: usize) {
        self.tally.bytes = self.tally.bytes.saturating_sub(charge);
    }

    /// Empties an entry, so that its handle names nothing any more.
    fn close(&mut self, index: u32, charge: usize) {
        if let Some(entry) = self.entry(index) {
            entry.generation = entry.generation % GENERATION_MAX + 1;
        }
        self.vacate(index);
        self.tally.blocks -= 1;
        self.discharge(charge);
    }

    /// Makes a reserved handle name a block.
    pub(crate) fn publish(&mut self, handle: Handle, record: Record) {
        if let Ok(entry) = self.named(handle) {
            entry.state = State::Live { record, pins: 0 };
            self.tally.allocations += 1;
        }
    }

    /// Gives up a reserved handle and the bytes that were counted for it.
    pub(crate) fn cancel(&mut self, handle: Handle, charge: usize) {
        self.close(handle.index(), charge);
    }

    /// Takes the block of a handle out of the books.
    pub(crate) fn take(&mut self, handle: Handle) -> Result<Record, Denied> {
        let record = match self.named(handle)?.state {
            State::Live { record, pins: 0 } => record,
            State::Live { .. } | State::Moving { .. } => return Err(Denied::Pinned),
            State::Vacant { .. } | State::Reserved => return Err(Denied::NoSuchBlock),
        };
        self.close(handle.index(), record.charge);
        self.tally.frees += 1;
        Ok(record)
    }

    /// Pins the block of a handle.
    pub(crate) fn pin(&mut self, handle: Handle) -> Result<Record, Denied> {
        match &mut self.named(handle)?.state {
            State::Live { record, pins } => {
                *pins = pins.checked_add(1).ok_or(Denied::Pinned)?;
                Ok(*record)
            }
            State::Moving { .. } => Err(Denied::Pinned),
            State::Vacant { .. } | State::Reserved => Err(Denied::NoSuchBlock),
        }
    }

    /// Takes back a pin.
    pub(crate) fn unpin(&mut self, handle: Handle) {
        if let Ok(Entry {
            state: State::Live { pins, .. },
            ..
        }) = self.named(handle)
        {
            *pins -= 1;
        }
    }

    /// Keeps everybody else from the block of a handle, so that it can be moved.
    pub(crate) fn begin_move(&mut self, handle: Handle) -> Result<Record, Denied> {
        let entry = self.named(handle)?;
        match entry.state {
            State::Live { record, pins: 0 } => {
                entry.state = State::Moving { record };
                Ok(record)
            }
            State::Live { .. } | State::Moving { .. } => Err(Denied::Pinned),
            State::Vacant { .. } | State::Reserved => Err(Denied::NoSuchBlock),
        }
    }

    /// Ends a move: the handle names `record` from now on.
    pub(crate) fn end_move(&mut self, handle: Handle, record: Record, moved: bool) {
        if let Ok(entry) = self.named(handle) {
            entry.state = State::Live { record, pins: 0 };
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
            if let Some(Entry {
                state: State::Live { record, .. } | State::Moving { record },
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
mod tests {
    use super::*;
    use core::ptr::NonNull;
    use std::{
        collections::{
            HashMap,
            HashSet, //
        },
        vec,
        vec::Vec, //
    };

    type TestLedger = Ledger<Vec<Entry>>;

    fn chunk(entries: usize) -> Vec<Entry> {
        let mut chunk = vec![Entry::VACANT; entries];
        TestLedger::link(&mut chunk);
        chunk
    }

    fn ledger(bytes: usize, handles: u32) -> TestLedger {
        Ledger::new(Limits { bytes, handles })
    }

    fn record(charge: usize) -> Record {
        Record {
            block: Block {
                start: NonNull::dangling(),
                offset: None,
            },
            layout: Layout::new::<u8>(),
            charge,
        }
    }

    fn reserve(ledger: &mut TestLedger, charge: usize) -> Result<Handle, Denied> {
        loop {
            match ledger.reserve(charge) {
                Ok(handle) => return Ok(handle),
                Err(Full::Quota(denied)) => return Err(denied),
                Err(Full::Table(entries)) => {
                    assert!(ledger.grow(chunk(entries)).is_none());
                }
            }
        }
    }

    fn insert(ledger: &mut TestLedger, charge: usize) -> Handle {
        let handle = reserve(ledger, charge).unwrap();
        ledger.publish(handle, record(charge));
        handle
    }

    #[test]
    fn every_index_has_its_own_place() {
        let mut next = 0;
        for chunk in 0..CHUNKS {
            for place in [0, (FIRST_CHUNK << chunk) - 1] {
                assert_eq!(locate(next + place as u32), (chunk, place));
            }
            next += (FIRST_CHUNK << chunk) as u32;
        }
        assert!(locate(INDEX_MAX).0 < CHUNKS);
    }

    #[test]
    fn a_reserved_handle_names_nothing() {
        let mut ledger = ledger(100, 10);
        let handle = reserve(&mut ledger, 1).unwrap();
        assert_eq!(ledger.take(handle), Err(Denied::NoSuchBlock));
        assert_eq!(ledger.pin(handle), Err(Denied::NoSuchBlock));
        assert_eq!(ledger.begin_move(handle), Err(Denied::NoSuchBlock));
        ledger.publish(handle, record(1));
        assert_eq!(ledger.take(handle), Ok(record(1)));
    }

    #[test]
    fn a_freed_handle_names_nothing_for_two_million_uses() {
        let mut ledger = ledger(100, 10);
        let stale = insert(&mut ledger, 1);
        ledger.take(stale).unwrap();
        for _ in 0..FIRST_CHUNK * GENERATION_MAX as usize - 1 {
            let handle = insert(&mut ledger, 1);
            assert_ne!(handle, stale);
            ledger.take(handle).unwrap();
        }
        assert_eq!(ledger.take(stale), Err(Denied::NoSuchBlock));
    }

    #[test]
    fn quotas_hold_and_are_given_back() {
        let mut ledger = ledger(100, 2);
        assert_eq!(reserve(&mut ledger, 101), Err(Denied::QuotaBytes));
        assert_eq!(reserve(&mut ledger, usize::MAX), Err(Denied::QuotaBytes));
        let first = insert(&mut ledger, 60);
        assert_eq!(reserve(&mut ledger, 41), Err(Denied::QuotaBytes));
        let second = reserve(&mut ledger, 40).unwrap();
        assert_eq!(reserve(&mut ledger, 0), Err(Denied::QuotaHandles));
        ledger.cancel(second, 40);
        assert_eq!(ledger.charge(41), Err(Denied::QuotaBytes));
        assert_eq!(ledger.charge(40), Ok(()));
        ledger.discharge(40);
        ledger.take(first).unwrap();
        assert_eq!((ledger.tally().blocks, ledger.tally().bytes), (0, 0));
    }

    #[test]
    fn a_pinned_block_stays() {
        let mut ledger = ledger(100, 10);
        let handle = insert(&mut ledger, 1);
        ledger.pin(handle).unwrap();
        ledger.pin(handle).unwrap();
        ledger.unpin(handle);
        assert_eq!(ledger.take(handle), Err(Denied::Pinned));
        assert_eq!(ledger.begin_move(handle), Err(Denied::Pinned));
        ledger.unpin(handle);
        assert_eq!(ledger.begin_move(handle), Ok(record(1)));
        assert_eq!(ledger.pin(handle), Err(Denied::Pinned));
        assert_eq!(ledger.take(handle), Err(Denied::Pinned));
        ledger.end_move(handle, record(1), true);
        assert_eq!(ledger.take(handle), Ok(record(1)));
        assert_eq!(ledger.tally().reallocations, 1);
    }

    #[test]
    fn a_chunk_that_is_not_needed_comes_back() {
        let mut ledger = ledger(100, 10);
        assert!(ledger.grow(chunk(FIRST_CHUNK + 1)).is_some());
        assert!(ledger.grow(chunk(FIRST_CHUNK)).is_none());
        assert!(ledger.grow(chunk(2 * FIRST_CHUNK)).is_some());
    }

    #[test]
    fn the_table_holds_a_block_under_every_index() {
        let mut ledger = ledger(usize::MAX, u32::MAX);
        for index in 0..=INDEX_MAX {
            assert_eq!(insert(&mut ledger, 1).index(), index);
        }
        assert_eq!(reserve(&mut ledger, 1), Err(Denied::QuotaHandles));
    }

    #[test]
    fn all_blocks_are_found_at_the_end() {
        let mut ledger = ledger(usize::MAX, 20_000);
        let handles: Vec<_> = (0..20_000).map(|_| insert(&mut ledger, 3)).collect();
        assert_eq!(reserve(&mut ledger, 0), Err(Denied::QuotaHandles));
        assert_eq!(handles.iter().collect::<HashSet<_>>().len(), 20_000);
        for handle in handles.iter().step_by(2) {
            ledger.take(*handle).unwrap();
        }
        ledger.pin(handles[1]).unwrap();
        let (mut cursor, mut found) = (0, 0);
        while let Some(record) = ledger.next_record(&mut cursor) {
            found += usize::from(record.is_some());
        }
        assert_eq!(found, 10_000);
        assert_eq!((ledger.tally().blocks, ledger.tally().bytes), (0, 0));
    }

    proptest::proptest! {
        /// Random operations against a map.
        #[test]
        fn the_ledger_agrees_with_a_map(operations in proptest::collection::vec(
            (0u8..6, proptest::num::usize::ANY, 0usize..200), 1..400)) {
            let mut ledger = ledger(5_000, 40);
            let mut model: HashMap<u32, (usize, u32)> = HashMap::new();
            let mut known = Vec::new();
            for (operation, pick, charge) in operations {
                let handle = (!known.is_empty()).then(|| known[pick % known.len()]);
                let bytes: usize = model.values().map(|(charge, _)| charge).sum();
                match (operation, handle) {
                    (0 | 1, _) | (_, None) => match reserve(&mut ledger, charge) {
                        Ok(handle) => {
                            ledger.publish(handle, record(charge));
                            assert!(model.insert(handle.to_bits(), (charge, 0)).is_none());
                            known.push(handle);
                        }
                        Err(Denied::QuotaHandles) => assert_eq!(model.len(), 40),
                        Err(denied) => {
                            assert_eq!(denied, Denied::QuotaBytes);
                            assert!(bytes + charge > 5_000);
                        }
                    },
                    (2 | 3, Some(handle)) => {
                        let expected = match model.get(&handle.to_bits()) {
                            None => Err(Denied::NoSuchBlock),
                            Some((_, 1..)) => Err(Denied::Pinned),
                            Some((charge, 0)) => Ok(record(*charge)),
                        };
                        assert_eq!(ledger.take(handle), expected);
                        if expected.is_ok() {
                            model.remove(&handle.to_bits());
                        }
                    }
                    (4, Some(handle)) => {
                        assert_eq!(ledger.pin(handle).is_ok(), model.contains_key(&handle.to_bits()));
                        if let Some((_, pins)) = model.get_mut(&handle.to_bits()) {
                            *pins += 1;
                        }
                    }
                    (_, Some(handle)) => {
                        if let Some((_, pins @ 1..)) = model.get_mut(&handle.to_bits()) {
                            *pins -= 1;
                            ledger.unpin(handle);
                        }
                    }
                }
                assert_eq!(ledger.tally().blocks as usize, model.len());
                assert_eq!(ledger.tally().bytes, model.values().map(|(charge, _)| charge).sum());
            }
        }
    }
}
