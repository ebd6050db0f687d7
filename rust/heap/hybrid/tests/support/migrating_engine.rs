// SPDX-License-Identifier: GPL-2.0

//! Support for the model checker: an engine on a machine whose threads migrate at every pin, the operations
//! that the threads run, and the checks of their outcomes.

use core::{
    alloc::Layout,
    ptr::NonNull,
    sync::atomic::{
        AtomicBool,
        Ordering::Relaxed, //
    },
};
use std::{
    boxed::Box,
    sync::Mutex,
    vec::Vec, //
};

use shuttle::rand::{
    Rng,
    thread_rng, //
};

use crate::{
    Cost, Engine, PAGE_BYTES, Refusal,
    backing_heap::Piece,
    check::{
        self,
        Progress,
        Walk, //
    },
    lock::Lock,
    magazines::{
        CacheSize,
        CpuCache,
        MagazineEngine,
        State,
        check::MAGAZINES, //
    },
    per_cpu::{
        Exclusive,
        PerCpu, //
    },
    testing::{
        HostMemory,
        HostPieces,
        blocks::{
            ReportedStatistics,
            ShadowMap, //
        },
        heaps::TestHeap,
        host_cache,
        layout,
        prelude::*,
        sound,
        whole_pool::is_whole, //
    },
};

/// The mutex of the model checker as an engine's lock.
pub(crate) struct ModelMutex<T>(shuttle::sync::Mutex<T>);

// SAFETY: At most one closure at a time runs with the mutex locked, and the mutex makes the writes of one
// closure visible to the next closure.
unsafe impl<T> Lock<T> for ModelMutex<T> {
    fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        f(&mut self.0.lock().unwrap())
    }
}

/// CPUs between which a thread migrates at every pin.
pub(crate) struct MigratingCpus {
    /// One mutex for each CPU, held while a closure runs on the CPU.
    turns: Vec<shuttle::sync::Mutex<()>>,
    /// The caches of the first CPUs. The other CPUs have no cache.
    caches: Vec<Box<CpuCache>>,
    /// Whether a closure may wait for another closure on its CPU. If not, two closures at the same time count
    /// as an overlap.
    exclusive: bool,
    /// Whether two closures overlapped on a CPU.
    overlapped: AtomicBool,
    pieces: HostPieces,
}

/// The panic message of a run in which two closures overlapped on a CPU.
pub(crate) const OVERLAP: &str = "two closures overlap on a CPU";

impl MigratingCpus {
    fn with<R>(&self, cpu: usize, f: impl FnOnce(&Exclusive<'_, CpuCache>) -> R) -> Option<R> {
        let cache = self.caches.get(cpu)?;
        let turn = &self.turns[cpu];
        if !self.exclusive && turn.try_lock().is_err() {
            // The overlap is recorded and is not a panic here, because a second thread could panic at the
            // same time, which the model checker cannot handle.
            self.overlapped.store(true, Relaxed);
        }
        let _turn = turn.lock().unwrap();
        // SAFETY: `Exclusive::new` requires that no other `Exclusive` of the cache exists, and that earlier
        // writes are visible. Every closure on the cache holds the mutex of the CPU, which ensures both.
        Some(f(&unsafe { Exclusive::new(&**cache) }))
    }
}

// SAFETY: A closure holds the mutex of the CPU whose cache it gets, so two closures never run on one cache at
// the same time, and the writes of one closure are visible to the next. The cache of a CPU never changes, and
// `World::new` creates the caches for one engine. `pieces` owns the metadata.
unsafe impl PerCpu<CpuCache> for MigratingCpus {
    fn cpus(&self) -> usize {
        self.turns.len()
    }

    fn get(&self, cpu: usize) -> Option<&CpuCache> {
        self.caches.get(cpu).map(|cache| &**cache)
    }

    fn with_local<R>(&self, f: impl FnOnce(&Exclusive<'_, CpuCache>) -> R) -> Option<R> {
        self.with(thread_rng().gen_range(0..self.turns.len()), f)
    }

    fn try_with_local<R>(&self, f: impl FnOnce(&Exclusive<'_, CpuCache>) -> R) -> Option<R> {
        // The pin fails at random, whether another closure runs on the CPU or not.
        let refuses = thread_rng().gen_range(0..4) == 0;
        (!refuses).then(|| self.with_local(f))?
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

/// An engine under the model checker.
pub(crate) type MigratingEngine<H> = MagazineEngine<H, ModelMutex<State<H>>, MigratingCpus>;

/// The parameters of a run.
#[derive(Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) threads: usize,
    pub(crate) cpus: usize,
    /// The number of CPUs that have a cache, from the first one on.
    pub(crate) caches: usize,
    pub(crate) pages: usize,
    pub(crate) sizes: &'static [usize],
    /// The number of operations of each thread. An operation allocates or frees up to five blocks.
    pub(crate) operations: usize,
    /// Whether magazines have at most 4 blocks, so that few operations reach the depot.
    pub(crate) small_magazines: bool,
    /// Whether another thread checks the engine at the same time.
    pub(crate) checks: bool,
    /// Whether CPUs exclude a second closure while a closure runs, as [`MigratingCpus`] describes.
    pub(crate) exclusive: bool,
}

/// The state that all threads share.
pub(crate) struct World<H: TestHeap> {
    pub(crate) engine: MigratingEngine<H>,
    pub(crate) blocks: Mutex<ShadowMap>,
    /// The number of calls of the engine that have begun, and the number of calls that have not returned.
    /// When no call runs, `blocks` contains all live blocks.
    calls: Mutex<(usize, usize)>,
    /// A walk that begins before the threads are spawned.
    walk: Mutex<Walk>,
    memory: HostMemory,
    scenario: Scenario,
}

// SAFETY: `memory` is the only field that is not `Sync`, because of its pointers and its list of tables. The
// list changes only in `new`. Threads use the memory only through the engine, which synchronizes them, and
// read its constant size.
unsafe impl<H: TestHeap> Sync for World<H> {}

// SAFETY: `memory` is the only field that is not `Send`, because of its pointers. The pointers point to
// allocations that `memory` owns and that any thread may free.
unsafe impl<H: TestHeap> Send for World<H> {}

impl<H: TestHeap> World<H> {
    /// Constructs an engine with one region.
    pub(crate) fn new(scenario: Scenario) -> Self {
        let turns = (0..scenario.cpus).map(|_| shuttle::sync::Mutex::new(()));
        let size = match scenario.small_magazines {
            true => CacheSize::for_pool::<H>(8 * PAGE_BYTES),
            false => CacheSize::full::<H>(),
        };
        let per_cpu = MigratingCpus {
            turns: turns.collect(),
            caches: (0..scenario.caches).map(|_| host_cache(size)).collect(),
            exclusive: scenario.exclusive,
            overlapped: AtomicBool::new(false),
            pieces: HostPieces::default(),
        };
        let state = ModelMutex(shuttle::sync::Mutex::new(H::state()));
        let engine = MagazineEngine::new(state, per_cpu);
        let memory = HostMemory::new(scenario.pages * PAGE_BYTES);
        memory.lend(&engine).unwrap();
        Self {
            engine,
            blocks: Mutex::default(),
            calls: Mutex::default(),
            walk: Mutex::default(),
            memory,
            scenario,
        }
    }

    /// Runs `call`, and returns its result and whether no other call ran at the same time.
    pub(crate) fn alone<R>(&self, call: impl FnOnce() -> R) -> (R, bool) {
        let (began, others) = {
            let mut calls = self.calls.lock().unwrap();
            calls.0 += 1;
            calls.1 += 1;
            (calls.0, calls.1 - 1)
        };
        let result = call();
        let mut calls = self.calls.lock().unwrap();
        calls.1 -= 1;
        (result, others == 0 && calls.0 == began)
    }

    /// Allocates a block. Panics if the request is refused although it fits and no other call runs.
    pub(crate) fn allocate(&self, layout: Layout) {
        let (refusal, alone) = self.alone(|| {
            let mut cost = Cost::default();
            let block = match self.engine.allocate(layout, &mut cost) {
                Ok(block) => block,
                Err(refusal) => return Some(refusal),
            };
            let fill = thread_rng().r#gen();
            let mut blocks = self.blocks.lock().unwrap();
            blocks.insert(&self.engine, block, layout, cost.class(), fill);
            None
        });
        if let Some(refusal) = refusal {
            assert!(matches!(refusal, Refusal::Exhausted | Refusal::Fragmented));
            // During another call, the block of that call may be allocated but not yet in `blocks`, or
            // removed from `blocks` but not yet freed. Therefore `fits` is exact only if this call is alone.
            assert!(
                !alone || !self.fits(layout),
                "a request that fits was refused"
            );
        }
    }

    /// Returns whether the heap must serve `layout` beside the live blocks after all cached memory is returned.
    fn fits(&self, layout: Layout) -> bool {
        H::must_serve(&self.blocks.lock().unwrap(), self.scenario.pages, layout)
    }

    /// Frees one of the live blocks of all threads, if there is one.
    pub(crate) fn free(&self) {
        self.alone(|| {
            let live = {
                let mut blocks = self.blocks.lock().unwrap();
                let Some(offset) = blocks.pick(thread_rng().r#gen()) else {
                    return;
                };
                blocks.remove(offset)
            };
            let mut cost = Cost::default();
            // SAFETY: The block was live with this layout, and was removed, so it is freed once.
            unsafe { self.engine.free(live.block, live.layout, &mut cost) }.unwrap();
        });
    }

    /// Runs the operations of one thread.
    pub(crate) fn work(&self) {
        for _ in 0..self.scenario.operations {
            let several = thread_rng().gen_range(1..6);
            match thread_rng().gen_range(0..12) {
                0..6 => {
                    let sizes = self.scenario.sizes;
                    let size = sizes[thread_rng().gen_range(0..sizes.len())];
                    (0..several).for_each(|_| self.allocate(layout(size, 8)));
                }
                6 => {
                    self.alone(|| self.engine.shrink());
                }
                _ => (0..several).for_each(|_| self.free()),
            }
        }
    }

    /// Checks the engine twice while other threads use it.
    pub(crate) fn check(&self) {
        for _ in 0..2 {
            let result = check::run(&mut Walk::new(), |walk| self.engine.check(walk));
            assert!(
                matches!(result, Ok(Progress::Sound | Progress::Disturbed)),
                "{result:?}"
            );
            ReportedStatistics::of(&self.engine);
        }
    }

    /// Runs a walk up to the last step of the check of the heap. The check of the magazines has not begun
    /// then.
    pub(crate) fn begin_walk(&self) {
        let step = |walk: &mut Walk| assert_eq!(self.engine.check(walk), Ok(Progress::More));
        let mut whole = Walk::new();
        let mut steps = 0;
        while whole.part != MAGAZINES {
            step(&mut whole);
            steps += 1;
        }
        let mut walk = self.walk.lock().unwrap();
        (1..steps).for_each(|_| step(&mut walk));
    }

    /// Runs the rest of the walk of [`World::begin_walk`].
    pub(crate) fn end_walk(&self) {
        let mut walk = self.walk.lock().unwrap();
        let result = check::run(&mut walk, |walk| self.engine.check(walk));
        assert!(
            matches!(result, Ok(Progress::Sound | Progress::Disturbed)),
            "{result:?}"
        );
    }

    /// Panics unless the engine is sound and its statistics match the live blocks, and unless the whole pool
    /// can be allocated again after all blocks were freed.
    pub(crate) fn end(&self) {
        assert!(!self.engine.per_cpu.overlapped.load(Relaxed), "{OVERLAP}");
        sound(&self.engine);
        ReportedStatistics::of(&self.engine).agree(&self.blocks.lock().unwrap());
        while self.blocks.lock().unwrap().len() > 0 {
            self.free();
        }
        sound(&self.engine);
        ReportedStatistics::of(&self.engine).agree(&ShadowMap::default());
        is_whole(&self.engine, core::slice::from_ref(&self.memory));
    }
}
