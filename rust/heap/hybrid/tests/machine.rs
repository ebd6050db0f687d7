// SPDX-License-Identifier: GPL-2.0

//! A machine with several CPUs, whose every move is watched.

use core::{
    alloc::Layout,
    cell::RefCell,
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
    engine::BadFree,
    hybrid::{
        CpuCache, Hybrid, State,
        cpu_cache::Start,
        magazine::{
            BLOCKS_MAX,
            MagazineKind, //
        },
    },
    lock::Lock,
    per_cpu::PerCpu,
    testing::{
        CPU,
        Host,
        Memory,
        blocks::{
            Blocks,
            Figures, //
        },
        layout,
        sound, //
    },
};

/// A mutex that counts how often it is taken.
#[derive(Default)]
pub(super) struct Counted<T> {
    mutex: Mutex<T>,
    taken: AtomicUsize,
}

// SAFETY: The mutex keeps both promises.
unsafe impl<T> Lock<T> for Counted<T> {
    fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        self.taken.fetch_add(1, Relaxed);
        self.mutex.with(f)
    }
}

/// CPUs that remember which of them were reached from another one.
pub(super) struct Watched {
    host: Host,
    /// How many of the CPUs, from the first one on, have a cache.
    caches: usize,
    reached: Mutex<Vec<usize>>,
    /// CPUs that cannot be reached.
    pub(super) unreachable: Mutex<Vec<usize>>,
    /// Calls of [`PerCpu::pause`].
    pub(super) pauses: AtomicUsize,
}

// SAFETY: The host keeps all promises.
unsafe impl PerCpu<CpuCache> for Watched {
    fn cpus(&self) -> usize {
        self.host.cpus()
    }

    fn get(&self, cpu: usize) -> Option<&CpuCache> {
        (cpu < self.caches).then(|| self.host.get(cpu))?
    }

    fn with_local<R>(&self, f: impl FnOnce(&CpuCache) -> R) -> Option<R> {
        (CPU.get() < self.caches).then(|| self.host.with_local(f))?
    }

    fn try_with_local<R>(&self, f: impl FnOnce(&CpuCache) -> R) -> Option<R> {
        self.with_local(f)
    }

    fn with_remote<R: Send>(&self, cpu: usize, f: impl FnOnce(&CpuCache) -> R + Send) -> Option<R> {
        if self.unreachable.lock().unwrap().contains(&cpu) {
            return None;
        }
        self.reached.lock().unwrap().push(cpu);
        self.host.with_remote(cpu, f)
    }

    fn pause(&self) -> bool {
        self.pauses.fetch_add(1, Relaxed);
        true
    }
}

/// The engine on that machine.
pub(super) type WatchedHybrid = Hybrid<Counted<State>, Watched>;

/// An engine with memory, and the blocks of it that are out.
///
/// After each operation the engine is checked, and its figures are compared with the blocks. What
/// is not said otherwise is aligned to 8.
pub(super) struct Machine {
    pub(super) engine: WatchedHybrid,
    blocks: RefCell<Blocks>,
    memory: Memory,
}

impl Machine {
    /// Makes a machine with so many CPUs and a pool of `bytes` bytes, and stands on its first CPU.
    pub(super) fn new(cpus: usize, bytes: usize) -> Self {
        Self::with_caches(cpus, cpus, bytes)
    }

    /// As [`Machine::new`], but only the first `caches` CPUs can keep anything.
    pub(super) fn with_caches(cpus: usize, caches: usize, bytes: usize) -> Self {
        let per_cpu = Watched {
            host: Host::new(cpus),
            caches,
            reached: Mutex::default(),
            unreachable: Mutex::default(),
            pauses: AtomicUsize::new(0),
        };
        let engine = Hybrid::new(Counted::default(), per_cpu);
        let memory = Memory::new(bytes);
        memory.lend(&engine).unwrap();
        CPU.set(0);
        Self {
            engine,
            blocks: RefCell::default(),
            memory,
        }
    }

    /// Moves to a CPU.
    pub(super) fn on(&self, cpu: usize) -> &Self {
        CPU.set(cpu);
        self
    }

    /// Allocates a block and says by which path it came.
    #[track_caller]
    pub(super) fn serve(&self, layout: Layout) -> Result<(Offset, Path), Refusal> {
        let served = self.serve_unchecked(layout);
        self.balanced();
        served
    }

    /// As [`Machine::serve`], and looks at nothing afterwards.
    pub(super) fn serve_unchecked(&self, layout: Layout) -> Result<(Offset, Path), Refusal> {
        let mut blocks = self.blocks.borrow_mut();
        let (live, cost) = blocks.allocate(&self.engine, layout, layout.size() as u8)?;
        Ok((live.offset(), cost.path()))
    }

    /// Allocates a block of `size` bytes.
    #[track_caller]
    pub(super) fn allocate(&self, size: usize) -> Offset {
        self.serve(layout(size, 8)).unwrap().0
    }

    /// Allocates as many blocks of `size` bytes.
    pub(super) fn allocate_all(&self, size: usize, count: usize) -> Vec<Offset> {
        (0..count).map(|_| self.allocate(size)).collect()
    }

    /// Takes a block back and says by which path it went.
    #[track_caller]
    pub(super) fn release(&self, block: Offset) -> Path {
        let path = self.release_unchecked(block);
        self.balanced();
        path
    }

    /// As [`Machine::release`], and looks at nothing afterwards.
    pub(super) fn release_unchecked(&self, block: Offset) -> Path {
        let mut blocks = self.blocks.borrow_mut();
        blocks.release(&self.engine, block).path()
    }

    /// Takes blocks back, one after the other.
    pub(super) fn release_all(&self, blocks: impl IntoIterator<Item = Offset>) {
        for block in blocks {
            self.release(block);
        }
    }

    /// As [`Machine::release_all`], and looks at nothing.
    pub(super) fn release_all_unchecked(&self, blocks: impl IntoIterator<Item = Offset>) {
        for block in blocks {
            self.release_unchecked(block);
        }
    }

    /// Takes back a block of `size` bytes of which nobody knows that it is out, and says what the
    /// engine says to that.
    pub(super) fn free_blindly(&self, block: Offset, size: usize) -> Result<(), BadFree> {
        let block = Block {
            start: self.start(block),
            offset: Some(block),
        };
        let mut cost = Cost::default();
        // SAFETY: What is wrong with the free is what the tests are about. They use no block that
        // is handed out twice because of it.
        unsafe { self.engine.release(block, layout(size, 8), &mut cost) }
    }

    /// Fails unless the engine is sound and its figures say just what is out.
    #[track_caller]
    pub(super) fn balanced(&self) {
        sound(&self.engine);
        let figures = self.figures();
        figures.agree(&self.blocks.borrow());
        let reserved = self.reserved_bytes();
        assert!(figures.totals.magazine_bytes as usize <= reserved);
        assert!(reserved <= figures.totals.pool_bytes as usize / 16);
    }

    /// Returns what the engine tells of itself.
    pub(super) fn figures(&self) -> Figures {
        Figures::of(&self.engine)
    }

    /// Returns the bytes in all magazines.
    pub(super) fn magazine_bytes(&self) -> usize {
        self.figures().totals.magazine_bytes as usize
    }

    /// Returns the bytes that are set aside for magazines.
    pub(super) fn reserved_bytes(&self) -> usize {
        self.engine.state.with(|state| state.reserved_bytes)
    }

    /// Returns the cache of a CPU.
    pub(super) fn cache(&self, cpu: usize) -> &CpuCache {
        self.engine.per_cpu.get(cpu).unwrap()
    }

    /// Returns the address of a byte, whether it is in the pool or not.
    pub(super) fn start(&self, offset: Offset) -> Start {
        let start = self.memory.start().as_ptr();
        Start::new(start.wrapping_add(offset.byte() as usize)).unwrap()
    }

    /// Returns the blocks of `size` bytes that a CPU keeps, that which came in first in front.
    pub(super) fn held(&self, cpu: usize, size: usize) -> Vec<Offset> {
        let slots = 0..BLOCKS_MAX;
        let block = |slot| {
            let start = self.cache(cpu).block(kind(size), slot)?;
            self.engine.addresses.block_at(start).offset
        };
        slots.map_while(block).collect()
    }

    /// Returns how many blocks of `size` bytes a CPU may keep.
    pub(super) fn capacity(&self, cpu: usize, size: usize) -> usize {
        self.cache(cpu).capacity(kind(size))
    }

    /// Returns how often the heap's lock is taken while `f` runs.
    pub(super) fn locks(&self, f: impl FnOnce()) -> usize {
        let before = self.engine.state.taken.load(Relaxed);
        f();
        self.engine.state.taken.load(Relaxed) - before
    }

    /// Returns which CPUs are reached from another one while `f` runs, each once.
    pub(super) fn reached<R>(&self, f: impl FnOnce() -> R) -> (R, Vec<usize>) {
        let reached = || core::mem::take(&mut *self.engine.per_cpu.reached.lock().unwrap());
        reached();
        let result = f();
        let mut cpus = reached();
        cpus.dedup();
        (result, cpus)
    }

    /// Says whether the heap, seen without the magazines, has handed a block of `size` bytes out.
    pub(super) fn is_live(&self, block: Offset, size: usize) -> bool {
        let kind = kind(size);
        self.engine
            .state
            .with(|state| state.heap.is_live(kind, block))
    }
}

/// Returns the kind of magazine that holds blocks of `size` bytes.
#[track_caller]
pub(super) fn kind(size: usize) -> MagazineKind {
    MagazineKind::of(&layout(size, 8)).unwrap()
}
