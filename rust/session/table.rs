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

use core::{
    ops::{
        Deref,
        DerefMut, //
    },
    ptr::{
        self,
        NonNull, //
    }, //
};

use slab_heap::nospec;

use crate::{
    entry::{
        Entry,
        EntryState, //
    },
    handle::{
        Handle,
        INDEX_MAX, //
    },
    slot::{
        Link,
        Slot, //
    },
    storage::Storage,
};

/// Entries of the first chunk.
pub(crate) const FIRST_CHUNK: usize = 1024;

/// The largest number of chunks of a table.
pub(crate) const CHUNKS: usize = 11;

// The chunks together have one entry for each index.
const _: () = assert!(FIRST_CHUNK << (CHUNKS - 1) == INDEX_MAX as usize + 1);

/// The handle table.
///
/// # Invariants
///
/// - The chunks were added in order, and `capacity` is the sum of their entries. The slots are accessed
///   only through pointers derived from `bases`, while the table lives.
/// - For each index below `capacity`, `bases[chunk_of(index)] + index` points to its slot.
/// - The vacant entries form a queue from `first` to `last`, linked by [`Slot::next`]. If `first` is
///   `None`, the queue is empty and `last` is meaningless.
pub(crate) struct HandleTable<S: Storage> {
    chunks: [Option<S::Chunk>; CHUNKS],
    bases: [*mut Slot; CHUNKS],
    capacity: u32,
    first: Link,
    last: NonNull<Slot>,
}

// SAFETY: `Send` requires that the table may be used on another thread. The pointers in `bases`,
// `first` and `last` point only to slots that `chunks` own, and the chunks are `Send` by the bound
// of `Storage`.
unsafe impl<S: Storage> Send for HandleTable<S> {}

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

impl<S: Storage> HandleTable<S> {
    /// Creates a table without entries.
    pub(crate) const fn new() -> Self {
        // INVARIANT: There is no chunk and no entry, and `first` is `None`.
        Self {
            chunks: [const { None }; CHUNKS],
            bases: [ptr::null_mut(); CHUNKS],
            capacity: 0,
            first: Link::END,
            last: NonNull::dangling(),
        }
    }

    /// Returns the number of entries.
    pub(crate) fn capacity(&self) -> u32 {
        self.capacity
    }

    /// Returns the number of entries of the next chunk.
    pub(crate) fn next_chunk_entries(&self) -> usize {
        chunk_entries(chunk_of(self.capacity))
    }

    /// Adds a chunk in O(1). Returns the chunk if it does not follow the last one, or if the table
    /// has a vacant entry.
    pub(crate) fn grow(&mut self, prepared: PreparedChunk<S>) -> Option<PreparedChunk<S>> {
        let number = chunk_of(self.capacity);
        let fits = prepared.first == self.capacity && prepared.entries == self.next_chunk_entries();
        let (Some(chunk), Some(base)) = (self.chunks.get_mut(number), self.bases.get_mut(number))
        else {
            return Some(prepared);
        };
        if self.first.0.is_some() || !fits {
            return Some(prepared);
        }
        // INVARIANT: The chunk begins at index `capacity` and has the size of chunk `number`. The queue
        // was empty and becomes the list of the chunk's slots, which are all vacant.
        *base = prepared
            .start
            .as_ptr()
            .wrapping_sub(prepared.first as usize);
        self.first = Link(Some(prepared.start));
        // SAFETY: `add` requires that the result is inside the same allocation: by the invariant of
        // `PreparedChunk`, `entries` slots begin at `start`, and `entries` is at least 1.
        self.last = unsafe { prepared.start.add(prepared.entries - 1) };
        self.capacity += prepared.entries as u32;
        *chunk = Some(prepared.chunk);
        None
    }

    /// Returns the entry with this index in O(1), or `None` if the index is not below the capacity.
    #[inline(always)]
    pub(crate) fn entry(&mut self, index: u32) -> Option<EntryRef<'_, S>> {
        if index >= self.capacity {
            return None;
        }
        // The program chose the index: a mispredicted bounds check must not read out of bounds.
        let index = nospec::clamp(index as usize, self.capacity as usize);
        let slot = self.bases.get(chunk_of(index as u32))?.wrapping_add(index);
        // SAFETY: `new_unchecked` requires a non-null pointer: the index is below `capacity`, so by the
        // type invariant `slot` points to its slot.
        let slot = unsafe { NonNull::new_unchecked(slot) };
        // INVARIANT: `slot` is a slot of this table, by the type invariant.
        Some(EntryRef { table: self, slot })
    }

    /// Returns the vacant entry that is used next, in O(1).
    #[inline(always)]
    pub(crate) fn first_vacant(&mut self) -> Option<VacantEntry<'_>> {
        let mut slot = self.first.0?;
        Some(VacantEntry {
            // SAFETY: `as_mut` requires a valid pointer and unique access: by the type invariant
            // `first` points to a slot of this table, and slots are accessed only through the
            // table, which the result borrows mutably.
            slot: unsafe { slot.as_mut() },
            first: &mut self.first,
        })
    }
}

/// A chunk whose slots are linked to each other, ready to be added to a table.
///
/// # Invariants
///
/// - `chunk` owns `entries` slots at `start`, with `entries >= 1`. They are accessed only through
///   `start`.
/// - Slot `n` of the chunk has the index `first + n`.
pub(crate) struct PreparedChunk<S: Storage> {
    chunk: S::Chunk,
    start: NonNull<Slot>,
    entries: usize,
    first: u32,
}

impl<S: Storage> PreparedChunk<S> {
    /// Links the slots of a chunk in O(`chunk.len()`). This is the slow part of growing a table, and
    /// needs no lock. Returns `None` for an empty chunk.
    pub(crate) fn new(mut chunk: S::Chunk, first: u32) -> Option<Self> {
        let entries = chunk.len();
        if entries == 0 {
            return None;
        }
        let start = NonNull::from(&mut *chunk).cast::<Slot>();
        let mut next = Link::END;
        for number in (0..entries).rev() {
            // SAFETY: `add` requires that the result is inside the same allocation: `number` is below
            // `entries`, the length of the slice at `start`.
            let mut slot = unsafe { start.add(number) };
            // SAFETY: `as_mut` requires a valid pointer and unique access: the slot is an element
            // of the chunk, which this function owns, and no other reference to it exists.
            let vacant = unsafe { slot.as_mut() };
            vacant.next = next;
            // `HandleTable::grow` never adds a chunk with an index above `INDEX_MAX`, for which there is
            // no handle.
            if let Some(handle) = Handle::first(first + number as u32) {
                vacant.entry.handle = handle;
            }
            next = Link(Some(slot));
        }
        // INVARIANT: `start` and `entries` are those of the chunk's slice, which is not empty. By the
        // contract of `Storage` the slots stay there when the chunk moves, and nothing else accesses
        // them.
        Some(Self {
            chunk,
            start,
            entries,
            first,
        })
    }
}

/// A mutable reference to an entry, and to the table for [`EntryRef::release`].
///
/// # Invariants
///
/// `slot` points to a slot of `table`.
pub(crate) struct EntryRef<'t, S: Storage> {
    table: &'t mut HandleTable<S>,
    slot: NonNull<Slot>,
}

impl<S: Storage> EntryRef<'_, S> {
    /// Appends the entry, which must not be vacant, to the queue of vacant entries, in O(1). The old
    /// handle becomes stale.
    #[inline(always)]
    pub(crate) fn release(mut self) {
        self.handle = self.handle.next();
        self.state = EntryState::Vacant;
        // SAFETY: `as_mut` requires a valid pointer and unique access: by the type invariant `slot`
        // points to a slot of `table`, which `self` borrows mutably.
        unsafe { self.slot.as_mut() }.next = Link::END;
        // INVARIANT: The released slot becomes the last of the queue. If `first` is `None`, it becomes
        // the only one, and the old `last` is not dereferenced.
        let link = Link(Some(self.slot));
        match self.table.first.0 {
            // SAFETY: `as_mut` requires a valid pointer and unique access: the queue is not empty,
            // so by the invariant of the table `last` points to one of its slots. `self` borrows
            // the table mutably, and the reference to `self.slot` above is no longer in use.
            Some(_) => unsafe { self.table.last.as_mut() }.next = link,
            None => self.table.first = link,
        }
        self.table.last = self.slot;
    }
}

impl<S: Storage> Deref for EntryRef<'_, S> {
    type Target = Entry;

    #[inline(always)]
    fn deref(&self) -> &Entry {
        // SAFETY: `as_ref` requires a valid pointer to a value that is not mutated meanwhile: by
        // the type invariant `slot` points to a slot of `table`, which `self` borrows mutably; the
        // result borrows `self`.
        &unsafe { self.slot.as_ref() }.entry
    }
}

impl<S: Storage> DerefMut for EntryRef<'_, S> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut Entry {
        // SAFETY: `as_mut` requires a valid pointer and unique access: by the type invariant `slot`
        // points to a slot of `table`, which `self` borrows mutably; the result borrows `self`
        // mutably.
        &mut unsafe { self.slot.as_mut() }.entry
    }
}

/// The first vacant entry. Dropping it changes nothing.
pub(crate) struct VacantEntry<'t> {
    slot: &'t mut Slot,
    first: &'t mut Link,
}

impl<'t> VacantEntry<'t> {
    /// Removes the entry from the queue of vacant entries. The caller sets its state.
    #[inline(always)]
    pub(crate) fn occupy(self) -> &'t mut Entry {
        // INVARIANT: The queue begins with the next vacant slot.
        *self.first = self.slot.next;
        &mut self.slot.entry
    }
}
