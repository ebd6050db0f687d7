// SPDX-License-Identifier: GPL-2.0

//! The handle table: the entries of a session, by index.
//!
//! The table is a list of chunks. Each chunk after the first is as large as all earlier chunks
//! together, so growing the table doubles it and moves no entry:
//!
//! ```text
//! chunk      0            1              2                  3
//! index  0 … 1023   1024 … 2047    2048 … 4095        4096 … 8191     …
//! ```
//!
//! Vacant entries are used in rounds. A round uses the entries that were vacant when it began, and an entry
//! that is released meanwhile waits for the next round. No entry is used twice in a round, so a stale handle
//! stays invalid for as long as possible. A FIFO queue has the same effect, but appending to a queue accesses
//! its last entry in addition to the released entry.

use core::{
    mem,
    ops::DerefMut, //
};

use slab_heap::nospec;

use crate::{
    entry::{
        EntryState,
        HandleEntry, //
    },
    error::SessionError,
    handle::{
        Handle,
        INDEX_MAX, //
    },
};

/// Entries of the first chunk.
pub(crate) const FIRST_CHUNK: usize = 1024;

/// The largest number of chunks of a table.
pub(crate) const CHUNKS: usize = 11;

// The chunks together have one entry for each index.
const _: () = assert!(FIRST_CHUNK << (CHUNKS - 1) == INDEX_MAX as usize + 1);

/// The index that ends a list of vacant entries. No entry has this index.
const NO_INDEX: u32 = u32::MAX;

/// Returns the number of entries of a chunk.
pub(crate) const fn chunk_entries(chunk: usize) -> usize {
    FIRST_CHUNK << chunk.saturating_sub(1)
}

/// Returns the chunk that contains an index.
#[inline(always)]
pub(crate) const fn chunk_of(index: u32) -> usize {
    // Chunk `n` of 1 and above begins at `HALF << n`. Chunk 0 begins at 0, and ends below `HALF << 1`.
    const HALF: u32 = FIRST_CHUNK as u32 / 2;
    (index | HALF).ilog2() as usize - HALF.ilog2() as usize
}

/// The chunk that a full table needs: `entries` entries from index `first` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NeedChunk {
    pub(crate) first: u32,
    pub(crate) entries: usize,
}

/// The handle table. `C` owns the entries of a chunk.
///
/// # Invariants
///
/// - The first chunks have [`chunk_entries`] entries each, the others are `None`, and `capacity` is the
///   sum of their entries.
/// - Each vacant entry is in one of two lists, which begin at `vacant` and `released`, are linked by
///   `next_vacant` and end with [`NO_INDEX`].
pub(crate) struct HandleTable<C> {
    chunks: [Option<C>; CHUNKS],
    capacity: u32,
    /// The index of the first entry that this round has not used.
    vacant: u32,
    /// The index of the entry that was released last in this round.
    released: u32,
}

/// Returns the entry with an index, which is at most [`INDEX_MAX`], in O(1), or `None` if its chunk does not
/// exist.
#[inline(always)]
fn find<C>(chunks: &mut [Option<C>; CHUNKS], index: u32) -> Option<&mut HandleEntry>
where
    C: DerefMut<Target = [HandleEntry]>,
{
    // Because of the mask the compiler knows that the chunk's number is less than `CHUNKS`.
    let chunk = &mut **chunks.get_mut(chunk_of(index & INDEX_MAX))?.as_mut()?;
    // The first index of a chunk is a multiple of the chunk's length, which is a power of two.
    chunk.get_mut(index as usize & chunk.len().wrapping_sub(1))
}

impl<C: DerefMut<Target = [HandleEntry]>> HandleTable<C> {
    /// Creates a table without entries.
    pub(crate) const fn new() -> Self {
        // INVARIANT: There is no chunk and no entry, and both lists are empty.
        Self {
            chunks: [const { None }; CHUNKS],
            capacity: 0,
            vacant: NO_INDEX,
            released: NO_INDEX,
        }
    }

    /// Returns the number of entries.
    pub(crate) fn capacity(&self) -> u32 {
        self.capacity
    }

    /// Adds a chunk in O(1). Returns the chunk if the table does not need it: the chunk does not follow
    /// the last one, or an entry is vacant.
    pub(crate) fn grow(&mut self, prepared: PreparedChunk<C>) -> Option<PreparedChunk<C>> {
        let number = chunk_of(self.capacity);
        let entries = prepared.chunk.len();
        let is_next = prepared.first == self.capacity && entries == chunk_entries(number);
        match self.chunks.get_mut(number) {
            Some(place) if is_next && self.vacant == NO_INDEX && self.released == NO_INDEX => {
                // INVARIANT: The chunk has the size of chunk `number`. The lists were empty, and one becomes
                // the list of the chunk's entries, which are all vacant.
                *place = Some(prepared.chunk);
                self.vacant = self.capacity;
                self.capacity += entries as u32;
                None
            }
            _ => Some(prepared),
        }
    }

    /// Returns the entry with this handle in O(1), in any state.
    #[inline(always)]
    pub(crate) fn entry(&mut self, handle: Handle) -> Result<&mut HandleEntry, SessionError> {
        Ok(self.occupied(handle)?.entry)
    }

    /// Returns the entry with this handle, so that it can be released, in O(1).
    #[inline(always)]
    pub(crate) fn occupied(&mut self, handle: Handle) -> Result<OccupiedEntry<'_>, SessionError> {
        // The program chose the index, so a mispredicted bounds check must not read out of bounds. An index out
        // of bounds becomes 0, and entry 0 has another handle.
        let index = nospec::clamp(handle.index() as usize, self.capacity as usize);
        match find(&mut self.chunks, index as u32) {
            Some(entry) if entry.handle == handle => Ok(OccupiedEntry {
                entry,
                handle,
                released: &mut self.released,
            }),
            _ => Err(SessionError::NoSuchBlock),
        }
    }

    /// Returns the vacant entry that is used next, in O(1).
    #[inline(always)]
    pub(crate) fn first_vacant(&mut self) -> Result<VacantEntry<'_>, NeedChunk> {
        if self.vacant == NO_INDEX {
            self.begin_round()?;
        }
        let need = self.next_chunk();
        let entry = find(&mut self.chunks, self.vacant).ok_or(need)?;
        Ok(VacantEntry {
            entry,
            vacant: &mut self.vacant,
        })
    }

    /// Begins a round, which uses the entries that were released in the round before.
    #[cold]
    fn begin_round(&mut self) -> Result<(), NeedChunk> {
        // INVARIANT: The list `vacant` was empty, and becomes the list `released`.
        self.vacant = mem::replace(&mut self.released, NO_INDEX);
        if self.vacant == NO_INDEX {
            return Err(self.next_chunk());
        }
        Ok(())
    }

    /// Returns the chunk that follows the last one.
    fn next_chunk(&self) -> NeedChunk {
        NeedChunk {
            first: self.capacity,
            entries: chunk_entries(chunk_of(self.capacity)),
        }
    }

    /// Returns the handle of the entry with an index, and its state.
    pub(crate) fn state_at(&mut self, index: u32) -> Option<(Handle, EntryState)> {
        find(&mut self.chunks, index).map(|entry| (entry.handle, entry.state))
    }
}

/// The first vacant entry. Dropping this value changes nothing.
pub(crate) struct VacantEntry<'t> {
    entry: &'t mut HandleEntry,
    vacant: &'t mut u32,
}

impl<'t> VacantEntry<'t> {
    /// Removes the entry from the list of vacant entries, and sets its state.
    #[inline(always)]
    pub(crate) fn occupy(self, state: EntryState) -> &'t mut HandleEntry {
        // INVARIANT: The list begins with the next vacant entry.
        *self.vacant = self.entry.next_vacant;
        self.entry.state = state;
        self.entry
    }
}

/// An entry that was found by its handle. Dropping this value changes nothing.
pub(crate) struct OccupiedEntry<'t> {
    pub(crate) entry: &'t mut HandleEntry,
    handle: Handle,
    released: &'t mut u32,
}

impl OccupiedEntry<'_> {
    /// Makes a reserved entry vacant again. The handle of the entry named no block, so the handle does not become
    /// stale.
    pub(crate) fn cancel(self) {
        self.entry.state = EntryState::Vacant;
        // INVARIANT: The entry becomes the first of the list of released entries.
        self.entry.next_vacant = mem::replace(self.released, self.handle.index());
    }

    /// Makes the entry vacant. The handle becomes stale.
    #[inline(always)]
    pub(crate) fn release(self) {
        self.entry.handle = self.handle.next();
        self.entry.state = EntryState::Vacant;
        // INVARIANT: The entry becomes the first of the list of released entries.
        self.entry.next_vacant = mem::replace(self.released, self.handle.index());
    }
}

/// A chunk whose entries are linked to each other, ready to be added to a table.
///
/// # Invariants
///
/// Entry `n` of the chunk has the index `first + n`, and is followed by entry `n + 1` in the list of
/// vacant entries.
pub(crate) struct PreparedChunk<C> {
    chunk: C,
    first: u32,
}

impl<C: DerefMut<Target = [HandleEntry]>> PreparedChunk<C> {
    /// Links the entries of a chunk in O(`chunk.len()`), which is the slow part of growing a table and needs no
    /// lock.
    pub(crate) fn new(mut chunk: C, first: u32) -> Self {
        // `HandleTable::grow` never adds a chunk with an index above `INDEX_MAX`, for which there is no
        // handle.
        for (entry, index) in chunk.iter_mut().zip(first..=INDEX_MAX) {
            entry.handle = Handle::first(index).unwrap_or(entry.handle);
            entry.next_vacant = index + 1;
        }
        if let Some(last) = chunk.last_mut() {
            last.next_vacant = NO_INDEX;
        }
        Self { chunk, first }
    }
}
