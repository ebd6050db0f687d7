// SPDX-License-Identifier: GPL-2.0

//! The platform of the engines of `slab_heap` in a process: a lock, CPUs, and a caller.
//!
//! `sim`, the tests of `slab_session` and the fuzz target use it. The tests of `slab_heap` cannot, because
//! for them this crate would depend on another copy of `slab_heap`; see `rust/heap/testing/`.

mod pieces;

pub use pieces::HostPieces;

use std::{
    cell::Cell,
    ptr::NonNull,
    sync::{
        Mutex,
        PoisonError, //
    },
};

use slab_heap::{
    backing_heap::Piece,
    debug::Caller,
    lock::Lock,
    magazines::{
        CacheSize,
        CpuCache,
        Slot, //
    },
    per_cpu::{
        Exclusive,
        PerCpu, //
    },
};

/// A mutex of the standard library as a lock of an engine or a session.
#[derive(Debug, Default)]
pub struct HostLock<T>(Mutex<T>);

impl<T> HostLock<T> {
    /// Returns an unlocked lock that protects `value`.
    pub const fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }
}

// SAFETY: A mutex runs one closure at a time, and what one closure wrote is visible to the next.
unsafe impl<T> Lock<T> for HostLock<T> {
    fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

std::thread_local! {
    /// The simulated CPU on which the thread runs.
    static CPU: Cell<usize> = const { Cell::new(0) };
}

/// Moves this thread to a simulated CPU.
pub fn run_on(cpu: usize) {
    CPU.set(cpu);
}

/// Returns the simulated CPU on which this thread runs: CPU 0 at first.
pub fn current_cpu() -> usize {
    CPU.get()
}

/// Simulated CPUs, each with a cache, and with a mutex that stands for disabled preemption.
pub struct HostCpus {
    turns: Vec<Mutex<()>>,
    caches: Vec<Box<CpuCache>>,
    pieces: HostPieces,
}

/// Returns an empty cache.
fn cache(size: CacheSize) -> Box<CpuCache> {
    Box::new(CpuCache::<[Slot; CacheSize::FULL_SLOTS]>::new(size))
}

impl HostCpus {
    /// Returns `cpus` CPUs, each with an empty cache of `size`.
    pub fn new(cpus: usize, size: CacheSize) -> Self {
        Self {
            turns: (0..cpus).map(|_| Mutex::default()).collect(),
            caches: (0..cpus).map(|_| cache(size)).collect(),
            pieces: HostPieces::default(),
        }
    }

    /// Runs a closure with the cache of a CPU.
    fn with<R>(&self, cpu: usize, f: impl FnOnce(&Exclusive<'_, CpuCache>) -> R) -> Option<R> {
        let turn = self.turns.get(cpu)?;
        let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: `Exclusive::new` requires that no other `Exclusive` for the cache exists and that the
        // effects of earlier ones are visible. The mutex of the CPU is held as long as this one exists, which
        // ensures both.
        Some(f(&unsafe { Exclusive::new(&*self.caches[cpu]) }))
    }
}

// SAFETY: A closure holds the mutex of the CPU whose cache it receives, so the closures on one cache
// exclude each other, and each sees the effects of the earlier ones. Caches never move. `pieces` owns the metadata, which
// is zeroed and aligned for words.
unsafe impl PerCpu<CpuCache> for HostCpus {
    fn cpus(&self) -> usize {
        self.caches.len()
    }

    fn get(&self, cpu: usize) -> Option<&CpuCache> {
        self.caches.get(cpu).map(|cache| &**cache)
    }

    fn with_local<R>(&self, f: impl FnOnce(&Exclusive<'_, CpuCache>) -> R) -> Option<R> {
        self.with(current_cpu() % self.caches.len(), f)
    }

    fn try_with_local<R>(&self, f: impl FnOnce(&Exclusive<'_, CpuCache>) -> R) -> Option<R> {
        self.with_local(f)
    }

    fn with_remote<R: Send>(
        &self,
        cpu: usize,
        f: impl FnOnce(&Exclusive<'_, CpuCache>) -> R + Send,
    ) -> Option<R> {
        self.with(cpu, f)
    }

    fn metadata(&self, piece: Piece) -> Option<NonNull<u8>> {
        self.pieces.get(piece)
    }
}

/// This process, as the owner of blocks in debug mode.
pub struct Process;

impl Caller for Process {
    fn pid(&self) -> u32 {
        std::process::id()
    }
}
