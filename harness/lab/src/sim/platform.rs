// SPDX-License-Identifier: GPL-2.0

//! The host's side of engines and sessions: locks, one CPU, and memory for session tables.

use std::sync::{
    Mutex,
    PoisonError, //
};

use rustix::{
    thread::gettid,
    time::{
        ClockId,
        clock_gettime, //
    },
};
use slab_heap::{
    guard::Caller,
    hybrid::{
        CacheSize,
        CpuCache,
        HostCpuCache, //
    },
    lock::Lock,
    per_cpu::PerCpu,
};
use slab_session::{
    Event,
    EventContext,
    Slot,
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

/// One CPU, at which threads take turns.
pub(super) struct OneCpu {
    turn: Mutex<()>,
    cache: HostCpuCache,
}

impl OneCpu {
    /// Makes the cache for a pool whose first region has `bytes` bytes.
    pub(super) fn new(bytes: usize) -> Self {
        Self {
            turn: Mutex::default(),
            cache: HostCpuCache::new(CacheSize::for_pool(bytes)),
        }
    }
}

// SAFETY: A closure that is given the cache has the mutex.
unsafe impl PerCpu<CpuCache> for OneCpu {
    fn cpus(&self) -> usize {
        1
    }

    fn get(&self, cpu: usize) -> Option<&CpuCache> {
        (cpu == 0).then(|| &*self.cache)
    }

    fn with_local<R>(&self, f: impl FnOnce(&CpuCache) -> R) -> Option<R> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        Some(f(&self.cache))
    }

    fn try_with_local<R>(&self, f: impl FnOnce(&CpuCache) -> R) -> Option<R> {
        self.with_local(f)
    }

    fn with_remote<R: Send>(&self, cpu: usize, f: impl FnOnce(&CpuCache) -> R + Send) -> Option<R> {
        (cpu == 0).then(|| self.with_local(f))?
    }
}

/// This process.
pub(super) struct Process;

impl Caller for Process {
    fn pid(&self) -> u32 {
        std::process::id()
    }
}

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
