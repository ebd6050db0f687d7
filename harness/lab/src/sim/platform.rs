// SPDX-License-Identifier: GPL-2.0

//! The types of a session in this process.

use rustix::{
    thread::gettid,
    time::{
        ClockId,
        clock_gettime, //
    },
};
use slab_heap::Engine;
use slab_host::HostLock;
use slab_session::{
    Event,
    EventContext,
    HandleEntry,
    Platform,
    QuickWork,
    SessionState, //
};

use super::pool::PoolRef;

/// A session in this process.
pub(super) type Session = slab_session::Session<HostPlatform>;

/// The platform of a session in this process.
pub(super) struct HostPlatform;

// SAFETY:
// - A `PoolRef` derefs to the engine in its `Arc`, which is never replaced.
// - `Sim` alone creates sessions of this platform, and gives each one a new lock with a new state.
// - `with_quick` passes the engine behind the pointer itself.
// - A vector is the only owner of its entries, derefs to all of them, and `chunk` gives it `entries` entries.
unsafe impl Platform for HostPlatform {
    type Engine = PoolRef;
    type Lock = HostLock<SessionState<Self>>;
    type Chunk = Vec<HandleEntry>;
    type Ring = Vec<Event>;

    fn with_quick<W: QuickWork>(engine: &PoolRef, work: W) -> Option<W::Output> {
        engine.capabilities().quick.then(|| work.run(&**engine))
    }

    fn chunk(&self, entries: usize) -> Option<Self::Chunk> {
        let mut chunk = Vec::new();
        chunk.try_reserve_exact(entries).ok()?;
        chunk.resize(entries, HandleEntry::VACANT);
        Some(chunk)
    }

    fn event_context() -> EventContext {
        let now = clock_gettime(ClockId::Monotonic);
        let seconds = now.tv_sec as u64;
        EventContext {
            time_ns: seconds * 1_000_000_000 + now.tv_nsec as u64,
            thread: gettid().as_raw_nonzero().get() as u32,
            // The engines of this process have one CPU.
            cpu: 0,
        }
    }

    fn interrupted() -> bool {
        // A fatal signal ends this process at once, so no work has to be abandoned.
        false
    }
}
