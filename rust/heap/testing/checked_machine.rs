// SPDX-License-Identifier: GPL-2.0

//! A machine with several CPUs that checks the engine after every operation.

use core::{
    alloc::Layout,
    cell::RefCell,
    ops::Range,
    ptr::NonNull,
    sync::atomic::{
        AtomicUsize,
        Ordering::Relaxed, //
    },
};
use std::{
    sync::Mutex,
    vec::Vec, //
};

use crate::{
    Block, Cost, Engine, Offset, Path, Refusal,
    backing_heap::{
        BackingHeap,
        Piece, //
    },
    engine::BadFree,
    lock::Lock,
    magazines::{
        CpuCache,
        MagazineEngine,
        State,
        magazine::BLOCKS_MAX, //
    },
    per_cpu::{
        Exclusive,
        PerCpu, //
    },
    size_class::MagazineKind,
    testing::{
        CPU,
        Host,
        HostMemory,
        blocks::{
            ReportedStatistics,
            ShadowMap, //
        },
        heaps::TestHeap,
        layout,
        sound, //
    },
};

/// A mutex that counts how often it is locked.
pub(crate) struct CountingMutex<T> {
    mutex: Mutex<T>,
    taken: AtomicUsize,
}

// SAFETY: `with` forwards to a mutex, whose implementation of `Lock` meets the contract.
unsafe impl<T> Lock<T> for CountingMutex<T> {
    fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        self.taken.fetch_add(1, Relaxed);
        self.mutex.with(f)
    }
}

/// Simulated CPUs that record which CPUs were reached from another CPU.
pub(crate) struct ObservedCpus {
    pub(crate) host: Host,
    /// The CPUs that have no cache.
    without: Range<usize>,
    reached: Mutex<Vec<usize>>,
    /// CPUs that [`PerCpu::with_remote`] cannot reach.
    pub(crate) unreachable: Mutex<Vec<usize>>,
    /// The number of calls of [`PerCpu::pause`].
    pub(crate) pauses: AtomicUsize,
}

// SAFETY: Every closure runs by a method of `Host`, whose implementation of `PerCpu` meets the contract.
unsafe impl PerCpu<CpuCache> for ObservedCpus {
    fn cpus(&self) -> usize {
        self.host.cpus()
    }

    fn get(&self, cpu: usize) -> Option<&CpuCache> {
        (!self.without.contains(&cpu)).then(|| self.host.get(cpu))?
    }

    fn with_local<R>(&self, f: impl FnOnce(&Exclusive<'_, CpuCache>) -> R) -> Option<R> {
        (!self.without.contains(&CPU.get())).then(|| self.host.with_local(f))?
    }

    fn try_with_local<R>(&self, f: impl FnOnce(&Exclusive<'_, CpuCache>) -> R) -> Option<R> {
        self.with_local(f)
    }

    fn with_remote<R: Send>(
        &self,
        cpu: usize,
        f: impl FnOnce(&Exclusive<'_, CpuCache>) -> R + Send,
    ) -> Option<R> {
        if self.unreachable.lock().unwrap().contains(&cpu) {
            return None;
        }
        self.reached.lock().unwrap().push(cpu);
        self.host.with_remote(cpu, f)
    }

    fn metadata(&self, piece: Piece) -> Option<NonNull<u8>> {
        self.host.metadata(piece)
    }

    fn pause(&self) -> bool {
        self.pauses.fetch_add(1, Relaxed);
        true
    }
}

/// An engine on observed CPUs, with a counting mutex.
pub(crate) type ObservedEngine<H> = MagazineEngine<H, CountingMutex<State<H>>, ObservedCpus>;

/// An engine with one region, and the shadow of its live blocks.
///
/// After each operation the engine is checked and its statistics are compared with the shadow, unless the
/// name of the method ends in `unchecked`. Methods without an alignment use an alignment of 8.
pub(crate) struct Machine<H: TestHeap> {
    pub(crate) engine: ObservedEngine<H>,
    blocks: RefCell<ShadowMap>,
    memory: HostMemory,
}

impl<H: TestHeap> Machine<H> {
    /// Constructs a machine with `cpus` CPUs and a pool of `bytes` bytes, and migrates to its first CPU.
    pub(crate) fn new(cpus: usize, bytes: usize) -> Self {
        Self::without_caches(cpus, 0..0, bytes)
    }

    /// Constructs a machine on which the CPUs `without` have no cache.
    pub(crate) fn without_caches(cpus: usize, without: Range<usize>, bytes: usize) -> Self {
        let per_cpu = ObservedCpus {
            host: Host::new::<H>(cpus),
            without,
            reached: Mutex::default(),
            unreachable: Mutex::default(),
            pauses: AtomicUsize::new(0),
        };
        let state = CountingMutex {
            mutex: Mutex::new(H::state()),
            taken: AtomicUsize::new(0),
        };
        let engine = MagazineEngine::new(state, per_cpu);
        let memory = HostMemory::new(bytes);
        memory.lend(&engine).unwrap();
        CPU.set(0);
        Self {
            engine,
            blocks: RefCell::default(),
            memory,
        }
    }

    /// Migrates to a CPU.
    pub(crate) fn on(&self, cpu: usize) -> &Self {
        CPU.set(cpu);
        self
    }

    /// Allocates a block, and returns its offset and the path that served it.
    #[track_caller]
    pub(crate) fn serve(&self, layout: Layout) -> Result<(Offset, Path), Refusal> {
        let served = self.serve_unchecked(layout);
        self.check();
        served
    }

    /// Allocates a block as [`Machine::serve`] does, without a check.
    pub(crate) fn serve_unchecked(&self, layout: Layout) -> Result<(Offset, Path), Refusal> {
        let mut blocks = self.blocks.borrow_mut();
        let (live, cost) = blocks.allocate(&self.engine, layout, layout.size() as u8)?;
        Ok((live.offset(), cost.path()))
    }

    /// Allocates a block of `size` bytes.
    #[track_caller]
    pub(crate) fn allocate(&self, size: usize) -> Offset {
        self.serve(layout(size, 8)).unwrap().0
    }

    /// Allocates `count` blocks of `size` bytes.
    pub(crate) fn allocate_all(&self, size: usize, count: usize) -> Vec<Offset> {
        (0..count).map(|_| self.allocate(size)).collect()
    }

    /// Frees a block, and returns the path of the free.
    #[track_caller]
    pub(crate) fn free(&self, block: Offset) -> Path {
        let path = self.free_unchecked(block);
        self.check();
        path
    }

    /// Frees a block as [`Machine::free`] does, without a check.
    pub(crate) fn free_unchecked(&self, block: Offset) -> Path {
        let mut blocks = self.blocks.borrow_mut();
        blocks.free(&self.engine, block).path()
    }

    /// Frees blocks, one after the other.
    pub(crate) fn free_all(&self, blocks: impl IntoIterator<Item = Offset>) {
        for block in blocks {
            self.free(block);
        }
    }

    /// Frees blocks as [`Machine::free_all`] does, without checks.
    pub(crate) fn free_all_unchecked(&self, blocks: impl IntoIterator<Item = Offset>) {
        for block in blocks {
            self.free_unchecked(block);
        }
    }

    /// Frees a block of `size` bytes, and returns the engine's result. The shadow need not contain the block.
    pub(crate) fn free_unknown(&self, block: Offset, size: usize) -> Result<(), BadFree> {
        let block = self.block(block);
        let mut cost = Cost::default();
        // SAFETY: The tests break the contract on purpose, with blocks that are not live or have another
        // size. The engine's metadata lies outside of the pool, so the only effect of a bad free can be that
        // the engine allocates a block twice. The tests do not use such a block.
        unsafe { self.engine.free(block, layout(size, 8), &mut cost) }
    }

    /// Panics unless the engine is sound, its statistics match the live blocks, and magazines stay within
    /// the budget.
    #[track_caller]
    pub(crate) fn check(&self) {
        sound(&self.engine);
        let figures = self.figures();
        figures.agree(&self.blocks.borrow());
        let reserved = self.reserved_bytes();
        assert!(figures.totals.magazine_bytes as usize <= reserved);
        assert!(reserved <= figures.totals.pool_bytes as usize / 16);
    }

    /// Returns the engine's statistics.
    pub(crate) fn figures(&self) -> ReportedStatistics {
        ReportedStatistics::of(&self.engine)
    }

    /// Returns the bytes in all magazines and in the depot.
    pub(crate) fn magazine_bytes(&self) -> usize {
        self.figures().totals.magazine_bytes as usize
    }

    /// Returns the capacity of all magazines and the blocks in the depot, in bytes.
    pub(crate) fn reserved_bytes(&self) -> usize {
        self.engine.state.with(|state| state.reserved_bytes)
    }

    /// Returns the cache of a CPU.
    pub(crate) fn cache(&self, cpu: usize) -> &CpuCache {
        self.engine.per_cpu.get(cpu).unwrap()
    }

    /// Returns the block at an offset, which may lie outside of the pool.
    pub(crate) fn block(&self, offset: Offset) -> Block {
        let start = self.memory.start().as_ptr();
        Block {
            start: NonNull::new(start.wrapping_add(offset.byte() as usize)).unwrap(),
        }
    }

    /// Returns the blocks in a CPU's magazine of `size` bytes. The block that was freed first is the first
    /// one.
    pub(crate) fn held(&self, cpu: usize, size: usize) -> Vec<Offset> {
        let slots = 0..BLOCKS_MAX;
        let block = |slot| {
            let block = self.cache(cpu).block(kind::<H>(size), slot)?;
            self.engine.offset(block.start)
        };
        slots.map_while(block).collect()
    }

    /// Returns the blocks of `size` bytes in the depot.
    pub(crate) fn stored(&self, size: usize) -> Vec<Offset> {
        self.engine.state.with(|state| {
            let blocks = state.depot.blocks(kind::<H>(size));
            blocks
                .filter_map(|block| self.engine.offset(block.start))
                .collect()
        })
    }

    /// Returns the capacity of a CPU's magazine of `size` bytes.
    pub(crate) fn capacity(&self, cpu: usize, size: usize) -> usize {
        self.cache(cpu).capacity(kind::<H>(size))
    }

    /// Runs `f`, and returns how often it took the heap's lock.
    pub(crate) fn locks(&self, f: impl FnOnce()) -> usize {
        let before = self.engine.state.taken.load(Relaxed);
        f();
        self.engine.state.taken.load(Relaxed) - before
    }

    /// Runs `f`, and returns its result and the CPUs that were reached from another CPU. A CPU that is
    /// reached several times in succession is contained once.
    pub(crate) fn reached<R>(&self, f: impl FnOnce() -> R) -> (R, Vec<usize>) {
        let reached = || core::mem::take(&mut *self.engine.per_cpu.reached.lock().unwrap());
        reached();
        let result = f();
        let mut cpus = reached();
        cpus.dedup();
        (result, cpus)
    }

    /// Returns whether a block of `size` bytes is allocated in the heap, which means that it is live or in a
    /// magazine.
    pub(crate) fn is_allocated(&self, block: Offset, size: usize) -> bool {
        let kind = kind::<H>(size);
        self.engine
            .state
            .with(|state| state.heap.is_allocated(block, kind))
    }
}

/// Returns the kind of magazine of the heap `H` that holds blocks of `size` bytes.
#[track_caller]
pub(crate) fn kind<H: BackingHeap>(size: usize) -> MagazineKind {
    H::kind(&layout(size, 8)).unwrap()
}
