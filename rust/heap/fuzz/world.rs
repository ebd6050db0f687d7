// SPDX-License-Identifier: GPL-2.0

//! The environment of an engine under test: memory, a lock, and several CPUs simulated by one thread.

use std::{
    alloc::{
        Layout,
        alloc_zeroed,
        dealloc,
        handle_alloc_error, //
    },
    cell::Cell,
    ptr::NonNull,
    sync::Mutex, //
};

use slab_heap::{
    guard::Caller,
    hybrid::{
        CpuCache,
        HostCpuCache, //
    },
    lock::Lock,
    per_cpu::PerCpu,
};

/// A mutex of the standard library as an engine's lock.
#[derive(Default)]
pub(crate) struct HostLock<T>(Mutex<T>);

impl<T> HostLock<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }
}

// SAFETY: A mutex gives access to one caller at a time, and orders the accesses.
unsafe impl<T> Lock<T> for HostLock<T> {
    fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        f(&mut self.0.lock().unwrap())
    }
}

std::thread_local! {
    /// The simulated CPU on which the thread runs.
    pub(crate) static CPU: Cell<usize> = const { Cell::new(0) };
}

/// The number of simulated CPUs.
pub(crate) const CPUS: usize = 3;

/// The simulated CPUs, each with a cache and a mutex.
pub(crate) struct Machine {
    locks: Vec<Mutex<()>>,
    caches: Vec<HostCpuCache>,
}

impl Machine {
    pub(crate) fn new() -> Self {
        Self {
            locks: (0..CPUS).map(|_| Mutex::default()).collect(),
            caches: (0..CPUS).map(|_| HostCpuCache::default()).collect(),
        }
    }
}

impl Machine {
    fn with<R>(&self, cpu: usize, f: impl FnOnce(&CpuCache) -> R) -> Option<R> {
        let _lock = self.locks.get(cpu)?.lock().unwrap();
        Some(f(&self.caches[cpu]))
    }
}

// SAFETY: `with` holds the mutex of a CPU while a closure uses the cache of this CPU.
unsafe impl PerCpu<CpuCache> for Machine {
    fn cpus(&self) -> usize {
        self.caches.len()
    }

    fn get(&self, cpu: usize) -> Option<&CpuCache> {
        self.caches.get(cpu).map(|cache| &**cache)
    }

    fn with_local<R>(&self, f: impl FnOnce(&CpuCache) -> R) -> Option<R> {
        self.with(CPU.get(), f)
    }

    fn try_with_local<R>(&self, f: impl FnOnce(&CpuCache) -> R) -> Option<R> {
        self.with_local(f)
    }

    fn with_remote<R: Send>(&self, cpu: usize, f: impl FnOnce(&CpuCache) -> R + Send) -> Option<R> {
        self.with(cpu, f)
    }
}

/// The task that owns all blocks in debug mode.
pub(crate) struct FuzzTask;

impl Caller for FuzzTask {
    fn pid(&self) -> u32 {
        1
    }
}

/// Zeroed memory, aligned to its size rounded up to a power of two.
pub(crate) struct Memory {
    start: NonNull<u8>,
    layout: Layout,
}

impl Memory {
    pub(crate) fn new(bytes: usize) -> Self {
        let align = bytes.next_power_of_two().max(4096);
        let layout = Layout::from_size_align(bytes.max(8), align).unwrap();
        // SAFETY: The size is not 0.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) });
        let start = start.unwrap_or_else(|| handle_alloc_error(layout));
        // The seed converts addresses back to pointers.
        start.as_ptr().expose_provenance();
        Self { start, layout }
    }

    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }

    pub(crate) fn bytes(&self) -> usize {
        self.layout.size()
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: `new` allocated the memory with this layout, and the memory is freed once.
        unsafe { dealloc(self.start.as_ptr(), self.layout) };
    }
}
