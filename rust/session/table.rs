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
//! Vacant entries form a FIFO queue, so that the entry that was released last is reused last and a
//! stale handle stays invalid for as long as possible.

use core::ops::DerefMut;

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

/// The index that ends the queue of vacant entries. No entry has it.
const NO_INDEX: u32 = u32::MAX;

/// Returns the number of entries of a chunk.
pub(crate) const fn chunk_entries(chunk: usize) -> usize {
    FIRST_CHUNK << chunk.saturating_sub(1)
}

/// Returns the chunk that contains an index.
#[inline(always)]
pub(crate) const fn chunk_of(index: u32) -> usize {
    // In units of half a first chunk, chunk `n` of 1 and above begins at 2^n. Chunk 0 covers the
    // units 0 and 1, which `| 1` maps to log2 0.
    ((index / (FIRST_CHUNK as u32 / 2)) | 1).ilog2() as usize
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
/// - The vacant entries form a queue from `first` to `last`, linked by `next_vacant`. If `first` is
///   [`NO_INDEX`], the queue is empty and `last` is meaningless.
pub(crate) struct HandleTable<C> {
    chunks: [Option<C>; CHUNKS],
    capacity: u32,
    first: u32,
    last: u32,
}

/// Returns the entry with an index in O(1), or `None` if its chunk does not exist.
#[inline(always)]
fn find<C>(chunks: &mut [Option<C>; CHUNKS], index: u32) -> Option<&mut HandleEntry>
where
    C: DerefMut<Target = [HandleEntry]>,
{
    let chunk = &mut **chunks.get_mut(chunk_of(index))?.as_mut()?;
    // The first index of a chunk is a multiple of the chunk's length, which is a power of two.
    chunk.get_mut(index as usize & chunk.len().wrapping_sub(1))
}

impl<C: DerefMut<Target = [HandleEntry]>> HandleTable<C> {
    /// Creates a table without entries.
    pub(crate) const fn new() -> Self {
        // INVARIANT: There is no chunk and no entry, and the queue is empty.
        Self {
            chunks: [const { None }; CHUNKS],
            capacity: 0,
            first: NO_INDEX,
            last: NO_INDEX,
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
            Some(place) if is_next && self.first == NO_INDEX => {
                // INVARIANT: The chunk has the size of chunk `number`. The queue was empty and becomes
                // the list of the chunk's entries, which are all vacant.
                *place = Some(prepared.chunk);
                self.first = self.capacity;
                self.capacity += entries as u32;
                self.last = self.capacity - 1;
                None
            }
            _ => Some(prepared),
        }
    }

    /// Returns the entry with this handle in O(1), in any state.
    #[inline(always)]
    pub(crate) fn entry(&mut self, handle: Handle) -> Result<&mut HandleEntry, SessionError> {
        // The program chose the index: a mispredicted bounds check must not read out of bounds. An index
        // out of bounds becomes 0, and entry 0 has another handle.
        let index = nospec::clamp(handle.index() as usize, self.capacity as usize);
        match find(&mut self.chunks, index as u32) {
            Some(entry) if entry.handle == handle => Ok(entry),
            _ => Err(SessionError::NoSuchBlock),
        }
    }

    /// Returns the vacant entry that is used next, in O(1).
    #[inline(always)]
    pub(crate) fn first_vacant(&mut self) -> Result<VacantEntry<'_>, NeedChunk> {
        match find(&mut self.chunks, self.first) {
            Some(entry) => Ok(VacantEntry {
                entry,
                first: &mut self.first,
            }),
            None => Err(NeedChunk {
                first: self.capacity,
                entries: chunk_entries(chunk_of(self.capacity)),
            }),
        }
    }

    /// Releases the entry with this handle if `take` returns a value for it, in O(1). The handle becomes
    /// stale.
    #[inline(always)]
    pub(crate) fn release<T>(
        &mut self,
        handle: Handle,
        take: impl FnOnce(&HandleEntry) -> Option<T>,
    ) -> Option<T> {
        let entry = self.entry(handle).ok()?;
        let taken = take(entry)?;
        entry.handle = handle.next();
        entry.state = EntryState::Vacant;
        entry.next_vacant = NO_INDEX;
        // INVARIANT: The entry becomes the last of the queue, or the only one.
        let index = handle.index();
        match find(&mut self.chunks, self.last) {
            Some(last) if self.first != NO_INDEX => last.next_vacant = index,
            _ => self.first = index,
        }
        self.last = index;
        Some(taken)
    }

    /// Returns the handle of the entry with an index, and its state.
    pub(crate) fn state_at(&mut self, index: u32) -> Option<(Handle, EntryState)> {
        find(&mut self.chunks, index).map(|entry| (entry.handle, entry.state))
    }
}

/// The first vacant entry. Dropping it changes nothing.
pub(crate) struct VacantEntry<'t> {
    entry: &'t mut HandleEntry,
    first: &'t mut u32,
}

impl<'t> VacantEntry<'t> {
    /// Removes the entry from the queue of vacant entries, and sets its state.
    #[inline(always)]
    pub(crate) fn occupy(self, state: EntryState) -> &'t mut HandleEntry {
        // INVARIANT: The queue begins with the next vacant entry.
        *self.first = self.entry.next_vacant;
        self.entry.state = state;
        self.entry
    }
}

/// A chunk whose entries are linked to each other, ready to be added to a table.
///
/// # Invariants
///
/// Entry `n` of the chunk has the index `first + n`, and is followed by entry `n + 1` in the queue of
/// vacant entries.
pub(crate) struct PreparedChunk<C> {
    chunk: C,
    first: u32,
}

impl<C: DerefMut<Target = [HandleEntry]>> PreparedChunk<C> {
    /// Links the entries of a chunk in O(`chunk.len()`). This is the slow part of growing a table, and
    /// needs no lock.
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
