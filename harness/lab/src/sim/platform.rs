// SPDX-License-Identifier: GPL-2.0

//! The memory for the tables of sessions, and what they ask the platform.

use rustix::{
    thread::gettid,
    time::{
        ClockId,
        clock_gettime, //
    },
};
use slab_session::{
    Event,
    EventContext,
    Slot,
    Storage, //
};

/// The host's heap.
pub(super) struct Heap;

// SAFETY: A vector is its entries' only owner.
unsafe impl Storage for Heap {
    type Chunk = Vec<Slot>;
    type Ring = Vec<Event>;

    fn chunk(&self, entries: usize) -> Option<Self::Chunk> {
        let mut chunk = Vec::new();
        chunk.try_reserve_exact(entries).ok()?;
        chunk.resize(entries, Slot::VACANT);
        Some(chunk)
    }

    fn event_context() -> EventContext {
        let now = clock_gettime(ClockId::Monotonic);
        let seconds = now.tv_sec as u64;
        EventContext {
            time_ns: seconds * 1_000_000_000 + now.tv_nsec as u64,
            thread: gettid().as_raw_nonzero().get() as u32,
            // The machine has one.
            cpu: 0,
        }
    }

    fn interrupted() -> bool {
        // A signal ends this program wherever it is.
        false
    }
}
