// SPDX-License-Identifier: GPL-2.0

//! The memory of sessions' tables.
//!
//! A program decides how many entries there are, so all tables together have a budget, and stay
//! within it also when a program frees its blocks and keeps its file open.

use core::{
    alloc::Layout,
    ops::{
        Deref,
        DerefMut, //
    },
    slice,
};

use kernel::sync::Arc;
use slab_session::{
    Entry,
    Storage, //
};

use crate::{
    budget::{
        Budget,
        Lease, //
    },
    memory::Memory,
};

/// Where tables come from: vmalloc, up to a budget of entries.
pub(crate) struct Tables {
    entries: Arc<Budget>,
}

/// A part of a table.
///
/// # Invariants
///
/// `memory` holds `entries` entries, and is used for nothing else.
pub(crate) struct Chunk {
    memory: Memory,
    entries: usize,
    _lease: Lease,
}

impl Tables {
    /// Takes tables from what is left of `entries`.
    pub(crate) fn new(entries: Arc<Budget>) -> Self {
        Self { entries }
    }
}

// SAFETY: A chunk has memory of its own, which it gives to nobody else, and a length that never
// changes.
unsafe impl Storage for Tables {
    type Chunk = Chunk;

    fn chunk(&self, entries: usize) -> Option<Chunk> {
        let lease = Lease::new(&self.entries, entries)?;
        let memory = Memory::new(Layout::array::<Entry>(entries).ok()?.size()).ok()?;
        let first = memory.start().cast::<Entry>();
        for entry in 0..entries {
            // SAFETY: The memory has room for so many entries, and begins at a page.
            unsafe { first.add(entry).write(Entry::VACANT) };
        }
        // INVARIANT: All were written just above.
        Some(Chunk {
            memory,
            entries,
            _lease: lease,
        })
    }
}

impl Deref for Chunk {
    type Target = [Entry];

    #[inline]
    fn deref(&self) -> &[Entry] {
        let first = self.memory.start().cast::<Entry>();
        // SAFETY: By the type invariant; borrowed for as long as the chunk is.
        unsafe { slice::from_raw_parts(first.as_ptr(), self.entries) }
    }
}

impl DerefMut for Chunk {
    #[inline]
    fn deref_mut(&mut self) -> &mut [Entry] {
        let first = self.memory.start().cast::<Entry>();
        // SAFETY: By the type invariant; borrowed alone for as long as the chunk is.
        unsafe { slice::from_raw_parts_mut(first.as_ptr(), self.entries) }
    }
}
