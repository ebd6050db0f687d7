// SPDX-License-Identifier: GPL-2.0

//! What the host brings for engines and sessions: locks and memory for tables.

use std::sync::{
    Mutex,
    PoisonError, //
};

use slab_heap::lock::Lock;
use slab_session::{
    Entry,
    Storage, //
};

/// The host's lock.
#[derive(Debug, Default)]
pub(super) struct HostLock<T>(Mutex<T>);

impl<T> HostLock<T> {
    /// Puts a lock around `value`.
    pub(super) fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }
}

// SAFETY: A mutex lets one thread in at a time, and orders them.
unsafe impl<T> Lock<T> for HostLock<T> {
    fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The host's heap.
pub(super) struct Heap;

// SAFETY: A vector is its entries' only owner.
unsafe impl Storage for Heap {
    type Chunk = Vec<Entry>;

    fn chunk(&self, entries: usize) -> Option<Self::Chunk> {
        let mut chunk = Vec::new();
        chunk.try_reserve_exact(entries).ok()?;
        chunk.resize(entries, Entry::VACANT);
        Some(chunk)
    }
}
