// SPDX-License-Identifier: GPL-2.0

//! What an engine needs around it: memory, a lock, and CPUs that one thread plays all of.

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

/// A lock of the standard library.
#[derive(Default)]
pub(crate) struct HostLock<T>(Mutex<T>);

impl<T> HostLock<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }
}

// SAFETY: A mutex lets one caller in at a time, and orders them.
unsafe impl<T> Lock<T> for HostLock<T> {
    fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        f(&mut self.0.lock().unwrap())
    }
}

std::thread_local! {
    /// The CPU that the thread is on.
    pub(crate) static CPU: Cell<usize> = const { Cell::new(0) };
}

/// The number of CPUs.
pub(crate) const CPUS: usize = 3;

/// A machine on which each CPU has its own.
pub(crate) struct Machine {
    turns: Vec<Mutex<()>>,
    caches: Vec<HostCpuCache>,
}

impl Machine {
    pub(crate) fn new() -> Self {
        Self {
            turns: (0..CPUS).map(|_| Mutex::default()).collect(),
            caches: (0..CPUS).map(|_| HostCpuCache::default()).collect(),
        }
    }
}

impl Machine {
    fn with<R>(&self, cpu: usize, f: impl FnOnce(&CpuCache) -> R) -> Option<R> {
        let _turn = self.turns.get(cpu)?.lock().unwrap();
        Some(f(&self.caches[cpu]))
    }
}

// SAFETY: A closure that is given a CPU's cache has that CPU's mutex.
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

/// Whose operations all are.
pub(crate) struct Nobody;

impl Caller for Nobody {
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
        // The seed finds its way by addresses.
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
        // SAFETY: Allocated in `new` with this layout.
        unsafe { dealloc(self.start.as_ptr(), self.layout) };
    }
}
