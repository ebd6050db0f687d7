// SPDX-License-Identifier: GPL-2.0

//! Test support: the conformance test, memory for pools, locks and simulated CPUs on the host, models, and experiments
//! that the tests of several engines share.
//!
//! With the feature `conformance`, other crates can use [`conformance`]. The rest is for the tests of this crate.

#![cfg_attr(
    not(test),
    expect(
        dead_code,
        reason = "without the tests of this crate, only the parts that `conformance` needs are used"
    )
)]

#[cfg(test)]
pub(crate) mod atomic;
pub(crate) mod blocks;
#[cfg(test)]
pub(crate) mod checked_machine;
pub mod conformance;
#[cfg(test)]
pub(crate) mod growth;
#[cfg(test)]
pub(crate) mod heaps;
pub(crate) mod map;
pub(crate) mod model;
#[cfg(test)]
pub(crate) mod numbers;
#[cfg(test)]
pub(crate) mod weaknesses;
#[cfg(test)]
pub(crate) mod whole_pool;
#[cfg(test)]
pub(crate) mod wrong_engine;

/// The traits of [`Interfaces`](crate::engine::Interfaces), for tests that call an engine's methods directly.
#[cfg(test)]
pub(crate) mod prelude {
    pub(crate) use crate::{
        check::Check as _,
        engine::{
            AddRegion as _,
            Shrink as _, //
        },
        map::Map as _, //
    };
}

use core::{
    alloc::Layout,
    ptr::NonNull,
    sync::atomic::{
        AtomicBool,
        Ordering::Relaxed, //
    },
};
use std::{
    alloc::{
        alloc_zeroed,
        dealloc,
        handle_alloc_error, //
    },
    boxed::Box,
    cell::{
        Cell,
        RefCell, //
    },
    sync::Mutex,
    vec::Vec, //
};

use crate::{
    Engine,
    backing_heap::{
        BackingHeap,
        Piece, //
    },
    check::{
        self,
        Broken,
        Progress,
        Walk, //
    },
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
    region::RegionError,
    seed::{
        self,
        Seed, //
    },
    stats::{
        ClassStats,
        Totals, //
    },
};
use blocks::ReportedStatistics;

// SAFETY: At most one closure at a time runs with the mutex locked, and the mutex makes the writes of one
// closure visible to the next closure.
unsafe impl<T> Lock<T> for Mutex<T> {
    fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        f(&mut self.lock().unwrap())
    }
}

/// Simulated CPUs, each with a cache and a mutex. The mutex replaces the disabled preemption of the kernel.
pub(crate) struct Host {
    turns: Vec<Mutex<()>>,
    caches: Vec<Box<CpuCache>>,
    pub(crate) pieces: HostPieces,
}

std::thread_local! {
    /// The CPU on which a thread runs. A test changes this number to migrate its thread.
    pub(crate) static CPU: Cell<usize> = const { Cell::new(0) };
}

/// Returns an empty cache of a CPU.
pub(crate) fn host_cache(size: CacheSize) -> Box<CpuCache> {
    Box::new(CpuCache::<[Slot; CacheSize::FULL_SLOTS]>::new(size))
}

impl Host {
    /// Returns CPUs with caches for the heap `H`.
    pub(crate) fn new<H: BackingHeap>(cpus: usize) -> Self {
        Self {
            turns: (0..cpus).map(|_| Mutex::default()).collect(),
            caches: (0..cpus)
                .map(|_| host_cache(CacheSize::full::<H>()))
                .collect(),
            pieces: HostPieces::default(),
        }
    }

    fn with<R>(&self, cpu: usize, f: impl FnOnce(&Exclusive<'_, CpuCache>) -> R) -> Option<R> {
        let _turn = self.turns.get(cpu)?.lock().unwrap();
        // SAFETY: `Exclusive::new` requires that no other `Exclusive` of the cache exists, and that earlier
        // writes are visible. Every closure on the cache holds the mutex of the CPU, which ensures both.
        Some(f(&unsafe { Exclusive::new(&*self.caches[cpu]) }))
    }
}

// SAFETY: A closure holds the mutex of the CPU whose cache it gets, so two closures never run on one cache at
// the same time, and the writes of one closure are visible to the next. The cache of a CPU never changes, and
// tests create each `Host` for one engine. `pieces` owns the metadata.
unsafe impl PerCpu<CpuCache> for Host {
    fn cpus(&self) -> usize {
        self.caches.len()
    }

    fn get(&self, cpu: usize) -> Option<&CpuCache> {
        self.caches.get(cpu).map(|cache| &**cache)
    }

    fn with_local<R>(&self, f: impl FnOnce(&Exclusive<'_, CpuCache>) -> R) -> Option<R> {
        self.with(CPU.get() % self.caches.len(), f)
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

/// The further metadata of an engine, by the number of the piece.
#[derive(Default)]
pub(crate) struct HostPieces {
    pieces: Mutex<Vec<Zeros>>,
    /// Whether the platform has no memory for further pieces.
    pub(crate) refuses: AtomicBool,
}

impl HostPieces {
    /// Returns the memory of a piece, which is allocated at the first call.
    pub(crate) fn get(&self, piece: Piece) -> Option<NonNull<u8>> {
        let mut pieces = self.pieces.lock().unwrap();
        if piece.number == pieces.len() && !self.refuses.load(Relaxed) {
            pieces.push(Zeros::new(piece.bytes, 8));
        }
        pieces.get(piece.number).map(|zeros| zeros.start)
    }

    /// Returns the bytes of all pieces.
    pub(crate) fn bytes(&self) -> usize {
        let pieces = self.pieces.lock().unwrap();
        pieces.iter().map(|zeros| zeros.layout.size()).sum()
    }
}

/// No CPUs: every request takes the lock. Unlike [`NoPerCpu`](crate::per_cpu::NoPerCpu), this platform has memory for
/// metadata.
#[derive(Default)]
pub(crate) struct NoCpus {
    pub(crate) pieces: HostPieces,
}

// SAFETY: No CPU has a value, so no closure ever runs. `pieces` owns the metadata.
unsafe impl PerCpu<CpuCache> for NoCpus {
    fn cpus(&self) -> usize {
        0
    }

    fn get(&self, _cpu: usize) -> Option<&CpuCache> {
        None
    }

    fn with_local<R>(&self, _f: impl FnOnce(&Exclusive<'_, CpuCache>) -> R) -> Option<R> {
        None
    }

    fn try_with_local<R>(&self, _f: impl FnOnce(&Exclusive<'_, CpuCache>) -> R) -> Option<R> {
        None
    }

    fn with_remote<R: Send>(
        &self,
        _cpu: usize,
        _f: impl FnOnce(&Exclusive<'_, CpuCache>) -> R + Send,
    ) -> Option<R> {
        None
    }

    fn metadata(&self, piece: Piece) -> Option<NonNull<u8>> {
        self.pieces.get(piece)
    }
}

/// `seed` behind a mutex of the host.
pub(crate) type HostSeed = Seed<Mutex<seed::State>>;

/// `hybrid` on simulated CPUs, with magazines.
#[cfg(test)]
pub(crate) type HostHybrid = heaps::OnHost<crate::hybrid::Heap>;

/// `hybrid` without magazines: every request takes the lock.
#[cfg(test)]
pub(crate) type LockedHybrid = heaps::Locked<crate::hybrid::Heap>;

/// `extent` on simulated CPUs, with magazines.
#[cfg(test)]
pub(crate) type HostExtent = heaps::OnHost<crate::extent::Heap>;

/// `extent` without magazines: every request takes the lock.
#[cfg(test)]
pub(crate) type LockedExtent = heaps::Locked<crate::extent::Heap>;

/// An engine that tests can construct.
pub(crate) trait TestEngine: Engine + Sized {
    /// Constructs an engine without regions.
    fn empty() -> Self;

    /// Constructs an engine over `memory`, as one region.
    fn over(memory: &HostMemory) -> Self {
        let engine = Self::empty();
        memory.lend(&engine).unwrap();
        engine
    }
}

impl TestEngine for HostSeed {
    fn empty() -> Self {
        Seed::new(Mutex::new(seed::State::new()))
    }
}

/// Constructs `hybrid` without regions, on `cpus` simulated CPUs.
#[cfg(test)]
pub(crate) fn with_cpus(cpus: usize) -> HostHybrid {
    heaps::on_cpus(cpus)
}

/// Zeroed memory of the host, which is freed on drop.
struct Zeros {
    start: NonNull<u8>,
    layout: Layout,
}

impl Zeros {
    fn new(bytes: usize, align: usize) -> Self {
        let layout = Layout::from_size_align(bytes.max(1), align).unwrap();
        // SAFETY: The layout's size is not zero.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) });
        let start = start.unwrap_or_else(|| handle_alloc_error(layout));
        start.as_ptr().expose_provenance();
        Self { start, layout }
    }
}

// SAFETY: The value owns the allocation, which any thread may free.
unsafe impl Send for Zeros {}

impl Drop for Zeros {
    fn drop(&mut self) {
        // SAFETY: `new` allocated the memory with this layout, and the memory is freed once.
        unsafe { dealloc(self.start.as_ptr(), self.layout) };
    }
}

/// Zeroed memory for a region. The memory begins `skew` bytes after a multiple of its size rounded up to a
/// power of two. The value also owns the metadata tables of the engines to which the memory was added.
pub(crate) struct HostMemory {
    zeros: Zeros,
    skew: usize,
    tables: RefCell<Vec<Zeros>>,
}

impl HostMemory {
    pub(crate) fn new(bytes: usize) -> Self {
        Self::skewed(bytes, 0)
    }

    pub(crate) fn skewed(bytes: usize, skew: usize) -> Self {
        Self {
            zeros: Zeros::new(bytes + skew, bytes.next_power_of_two().max(4096)),
            skew,
            tables: RefCell::default(),
        }
    }

    pub(crate) fn start(&self) -> NonNull<u8> {
        // SAFETY: The allocation has `bytes + skew` bytes, so the result of the addition lies within it.
        unsafe { self.zeros.start.add(self.skew) }
    }

    pub(crate) fn addr(&self) -> usize {
        self.start().addr().get()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.zeros.layout.size() - self.skew
    }

    /// Allocates zeroed bytes for metadata, which are freed with the memory.
    pub(crate) fn table(&self, bytes: usize) -> NonNull<u8> {
        let table = Zeros::new(bytes, 8);
        let start = table.start;
        self.tables.borrow_mut().push(table);
        start
    }

    /// Adds the memory to `engine`, as one region.
    pub(crate) fn lend(&self, engine: &impl Engine) -> Result<u16, RegionError> {
        self.lend_part(engine, 0, self.bytes())
    }

    /// Adds the `bytes` bytes of the memory from `skip` on to `engine`, as one region.
    pub(crate) fn lend_part(
        &self,
        engine: &impl Engine,
        skip: usize,
        bytes: usize,
    ) -> Result<u16, RegionError> {
        assert!(skip <= self.bytes() && bytes <= self.bytes() - skip);
        let engine = engine.interfaces().add_region.unwrap();
        let table = self.table(engine.table_bytes(bytes));
        // SAFETY: The range lies in the memory, as asserted above. The table is zeroed, aligned to 8, and has
        // the length that the engine requires. Tests drop their engines before the memory, and do not use a
        // range for two engines at the same time. Each pointer comes from the allocation of its range.
        unsafe { engine.add_region(self.start().add(skip), bytes, table) }
    }
}

/// Returns the layout of `size` bytes, aligned to `align`.
pub(crate) fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).unwrap()
}

/// Returns the totals of an engine's statistics.
pub(crate) fn totals(engine: &impl Engine) -> Totals {
    ReportedStatistics::of(engine).totals
}

/// Returns the statistics of an engine's classes.
pub(crate) fn classes(engine: &impl Engine) -> Vec<ClassStats> {
    ReportedStatistics::of(engine).classes
}

/// Frees the cached memory of an engine, if the engine caches memory.
pub(crate) fn shrink(engine: &impl Engine) {
    if let Some(engine) = engine.interfaces().shrink {
        engine.shrink();
    }
}

/// Runs a check of an engine.
///
/// # Errors
///
/// The first broken rule.
pub(crate) fn check(engine: &impl Engine) -> Result<Progress, Broken> {
    let checked = engine.interfaces().check.unwrap();
    check::run(&mut Walk::new(), |walk| checked.check(walk))
}

/// Panics unless the engine's check completes and finds no broken rule.
#[track_caller]
pub(crate) fn sound(engine: &impl Engine) {
    let result = check(engine);
    assert_eq!(result, Ok(Progress::Sound));
}
