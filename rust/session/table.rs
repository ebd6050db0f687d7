// SPDX-License-Identifier: GPL-2.0

//! A session's table of entries.
//!
//! It is a list of chunks, each as large as all before it together, so that growing it moves
//! nothing: an entry stays where it is for as long as the table lives. The vacant ones are linked to
//! each other in a queue, so that the one that was vacated last is used again last.

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
        State, //
    },
    handle::{
        Handle,
        INDEX_MAX, //
    },
    storage::Storage,
};

/// Entries of the first chunk.
pub(crate) const FIRST_CHUNK: usize = 1024;

/// Chunks that a table can have.
pub(crate) const CHUNKS: usize = 11;

// All of them together have an entry for every index.
const _: () = assert!(FIRST_CHUNK << (CHUNKS - 1) == INDEX_MAX as usize + 1);

/// The one that is to be used after a vacant entry.
#[derive(Clone, Copy, Debug)]
struct Link(Option<NonNull<Slot>>);

impl Link {
    /// Leads nowhere.
    const END: Self = Self(None);
}

// SAFETY: Nothing can be done with it, but by the table that it belongs to.
unsafe impl Send for Link {}

/// An entry with its link, which only the table knows: a cache line.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub struct Slot {
    entry: Entry,
    next: Link,
}

const _: () = assert!(size_of::<Slot>() == 64);

impl Slot {
    /// The slot of a new chunk.
    pub const VACANT: Self = Self {
        entry: Entry::VACANT,
        next: Link::END,
    };
}

/// The entries.
///
/// # Invariants
///
/// - There are `capacity` entries, which is what the chunks have together: they were added in order.
///   They are there as long as the table, and reached through `bases` alone.
/// - Base `n` and an index that chunk `n` is for are a pointer to the index's entry.
/// - The vacant entries form a queue from `first` to `last`, which [`Slot::next`] links. Where there
///   is no `first` there are none, and `last` means nothing.
pub(crate) struct Table<S: Storage> {
    chunks: [Option<S::Chunk>; CHUNKS],
    bases: [*mut Slot; CHUNKS],
    capacity: u32,
    first: Link,
    last: NonNull<Slot>,
}

// SAFETY: The pointers are to what the chunks own, and these can be sent.
unsafe impl<S: Storage> Send for Table<S> {}

/// Returns the entries of a chunk.
pub(crate) const fn chunk_entries(chunk: usize) -> usize {
    FIRST_CHUNK << chunk.saturating_sub(1)
}

/// Returns the chunk that an index is for.
#[inline(always)]
pub(crate) const fn chunk_of(index: u32) -> usize {
    // The first chunk counts as two halves, so that all begin at powers of two; these are one.
    ((index / (FIRST_CHUNK as u32 / 2)) | 1).ilog2() as usize
}

impl<S: Storage> Table<S> {
    /// Returns a table without entries.
    pub(crate) const fn new() -> Self {
        // INVARIANT: There are none.
        Self {
            chunks: [const { None }; CHUNKS],
            bases: [ptr::null_mut(); CHUNKS],
            capacity: 0,
            first: Link::END,
            last: NonNull::dangling(),
        }
    }

    /// Returns how many entries there are.
    pub(crate) fn capacity(&self) -> u32 {
        self.capacity
    }

    /// Returns how many entries the next chunk has.
    pub(crate) fn next_entries(&self) -> usize {
        chunk_entries(chunk_of(self.capacity))
    }

    /// Adds a chunk, if it is for the indexes that are next, and those that there are are in use;
    /// gives it back otherwise.
    pub(crate) fn grow(&mut self, part: Linked<S>) -> Option<Linked<S>> {
        let number = chunk_of(self.capacity);
        let fits = part.first == self.capacity && part.entries == self.next_entries();
        let (Some(slot), Some(base)) = (self.chunks.get_mut(number), self.bases.get_mut(number))
        else {
            return Some(part);
        };
        if self.first.0.is_some() || !fits {
            return Some(part);
        }
        // INVARIANT: It is the next one and holds so many; the queue was empty, and is the chunk's.
        *base = part.start.as_ptr().wrapping_sub(part.first as usize);
        self.first = Link(Some(part.start));
        // SAFETY: There are so many, of which this is the last.
        self.last = unsafe { part.start.add(part.entries - 1) };
        self.capacity += part.entries as u32;
        *slot = Some(part.chunk);
        None
    }

    /// Returns the entry with this index.
    #[inline(always)]
    pub(crate) fn place(&mut self, index: u32) -> Option<Place<'_, S>> {
        if index >= self.capacity {
            return None;
        }
        // The index is a program's.
        let index = nospec::clamp(index as usize, self.capacity as usize);
        let slot = self.bases.get(chunk_of(index as u32))?.wrapping_add(index);
        // SAFETY: By the type invariant it is the entry with that index, of which there is one.
        let slot = unsafe { NonNull::new_unchecked(slot) };
        // INVARIANT: As above.
        Some(Place { table: self, slot })
    }

    /// Returns the vacant entry that is to be used next.
    #[inline(always)]
    pub(crate) fn vacancy(&mut self) -> Option<Vacancy<'_>> {
        let mut slot = self.first.0?;
        Some(Vacancy {
            // SAFETY: By the type invariant it is an entry, and the table is borrowed.
            slot: unsafe { slot.as_mut() },
            first: &mut self.first,
        })
    }
}

/// A chunk, of which the entries lead to each other.
///
/// # Invariants
///
/// The chunk's `entries` entries, of which there is one at least, begin at `start` and are reached
/// through that pointer alone; their indexes begin with `first`.
pub(crate) struct Linked<S: Storage> {
    chunk: S::Chunk,
    start: NonNull<Slot>,
    entries: usize,
    first: u32,
}

impl<S: Storage> Linked<S> {
    /// Links the entries of a chunk, which is the slow part of growing, for which no lock is needed.
    pub(crate) fn new(mut chunk: S::Chunk, first: u32) -> Option<Self> {
        let entries = chunk.len();
        if entries == 0 {
            return None;
        }
        let start = NonNull::from(&mut *chunk).cast::<Slot>();
        let mut next = Link::END;
        for place in (0..entries).rev() {
            // SAFETY: The chunk has more entries than that.
            let mut slot = unsafe { start.add(place) };
            // SAFETY: It is the chunk's, which is ours.
            let vacant = unsafe { slot.as_mut() };
            vacant.next = next;
            // A chunk that lies behind the last index is never added.
            if let Some(handle) = Handle::first(first + place as u32) {
                vacant.entry.handle = handle;
            }
            next = Link(Some(slot));
        }
        // INVARIANT: By the contract of `Storage` they stay there, and nobody else has them.
        Some(Self {
            chunk,
            start,
            entries,
            first,
        })
    }
}

/// An entry of a table.
///
/// # Invariants
///
/// `slot` is one of `table`'s.
pub(crate) struct Place<'t, S: Storage> {
    table: &'t mut Table<S>,
    slot: NonNull<Slot>,
}

impl<S: Storage> Place<'_, S> {
    /// Puts the entry, which was in use and is no more, at the end of the queue of vacant ones. What
    /// named it names nothing any more.
    #[inline(always)]
    pub(crate) fn vacate(mut self) {
        self.handle = self.handle.next();
        self.state = State::Vacant;
        // SAFETY: By the type invariants; the table is borrowed.
        unsafe { self.slot.as_mut() }.next = Link::END;
        // INVARIANT: Without a first one the queue is empty, and its last one history.
        let link = Link(Some(self.slot));
        match self.table.first.0 {
            // SAFETY: By the type invariant of the table it is an entry, and the table is borrowed.
            Some(_) => unsafe { self.table.last.as_mut() }.next = link,
            None => self.table.first = link,
        }
        self.table.last = self.slot;
    }
}

impl<S: Storage> Deref for Place<'_, S> {
    type Target = Entry;

    #[inline(always)]
    fn deref(&self) -> &Entry {
        // SAFETY: By the type invariants; the table is borrowed.
        &unsafe { self.slot.as_ref() }.entry
    }
}

impl<S: Storage> DerefMut for Place<'_, S> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut Entry {
        // SAFETY: As above.
        &mut unsafe { self.slot.as_mut() }.entry
    }
}

/// The first of the vacant entries. While it is not taken nothing has changed.
pub(crate) struct Vacancy<'t> {
    slot: &'t mut Slot,
    first: &'t mut Link,
}

impl<'t> Vacancy<'t> {
    /// Takes it out of the queue, to be used.
    #[inline(always)]
    pub(crate) fn take(self) -> &'t mut Entry {
        // INVARIANT: The queue begins with the one behind it.
        *self.first = self.slot.next;
        &mut self.slot.entry
    }
}
