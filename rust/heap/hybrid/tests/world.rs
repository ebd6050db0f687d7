// SPDX-License-Identifier: GPL-2.0

//! The world of the model checker: an engine on a machine on which threads move whenever they can,
//! what they do with it, and what they must find.

use core::alloc::Layout;
use std::{
    sync::Mutex,
    vec::Vec, //
};

use shuttle::rand::{
    Rng,
    thread_rng, //
};

use super::model::is_whole;
use crate::{
    Cost, Engine, Refusal,
    check::{
        self,
        Progress,
        Walk, //
    },
    class::{
        Class,
        PAGE_BYTES, //
    },
    hybrid::{
        CpuCache,
        HostCpuCache,
        Hybrid,
        State,
        inspect::check_magazines::MAGAZINES, //
    },
    lock::Lock,
    per_cpu::PerCpu,
    testing::{
        Memory,
        blocks::{
            Blocks,
            Figures, //
        },
        layout,
        sound, //
    },
};

/// The model checker's mutex as an engine's lock.
pub(super) struct Switching<T>(shuttle::sync::Mutex<T>);

// SAFETY: The mutex keeps both promises.
unsafe impl<T> Lock<T> for Switching<T> {
    fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        f(&mut self.0.lock().unwrap())
    }
}

/// CPUs among which threads move whenever they can.
pub(super) struct Restless {
    turns: Vec<shuttle::sync::Mutex<()>>,
    /// What the first CPUs have; the others have nothing.
    caches: Vec<HostCpuCache>,
    /// Whether a closure waits for the one that runs on its CPU, or fails.
    waits: bool,
}

/// Why a closure fails that does not wait.
pub(super) const MET: &str = "two closures met on a CPU";

impl Restless {
    fn with<R>(&self, cpu: usize, f: impl FnOnce(&CpuCache) -> R) -> Option<R> {
        let cache = self.caches.get(cpu)?;
        let turn = &self.turns[cpu];
        let _turn = if self.waits {
            turn.lock().unwrap()
        } else {
            turn.try_lock().expect(MET)
        };
        Some(f(cache))
    }
}

// SAFETY: A closure that is given a CPU's cache has that CPU's mutex.
unsafe impl PerCpu<CpuCache> for Restless {
    fn cpus(&self) -> usize {
        self.turns.len()
    }

    fn get(&self, cpu: usize) -> Option<&CpuCache> {
        self.caches.get(cpu).map(|cache| &**cache)
    }

    fn with_local<R>(&self, f: impl FnOnce(&CpuCache) -> R) -> Option<R> {
        self.with(thread_rng().gen_range(0..self.turns.len()), f)
    }

    fn try_with_local<R>(&self, f: impl FnOnce(&CpuCache) -> R) -> Option<R> {
        // Whether it would have to wait or not.
        let refuses = thread_rng().gen_range(0..4) == 0;
        (!refuses).then(|| self.with_local(f))?
    }

    fn with_remote<R: Send>(&self, cpu: usize, f: impl FnOnce(&CpuCache) -> R + Send) -> Option<R> {
        self.with(cpu, f)
    }
}

pub(super) type RestlessHybrid = Hybrid<Switching<State>, Restless>;

/// What is tried.
#[derive(Clone, Copy)]
pub(super) struct Scenario {
    pub(super) threads: usize,
    /// CPUs, and how many of them can keep something.
    pub(super) cpus: usize,
    pub(super) caches: usize,
    pub(super) pages: usize,
    pub(super) sizes: &'static [usize],
    /// Operations of each thread, each of which allocates or frees several blocks.
    pub(super) operations: usize,
    /// Whether another thread checks the engine meanwhile.
    pub(super) checks: bool,
    /// Whether a closure waits for the one that runs on its CPU, or fails.
    pub(super) waits: bool,
}

/// What all threads share.
pub(super) struct World {
    pub(super) engine: RestlessHybrid,
    pub(super) blocks: Mutex<Blocks>,
    /// Calls of the engine that began, and those that have not ended. What is not in flight is in
    /// `blocks`.
    calls: Mutex<(usize, usize)>,
    /// A walk that begins before the threads do.
    walk: Mutex<Walk>,
    memory: Memory,
    scenario: Scenario,
}

// SAFETY: Of the memory, which is not `Sync` for its tables, no thread uses but the bytes.
unsafe impl Sync for World {}

// SAFETY: As above.
unsafe impl Send for World {}

impl World {
    pub(super) fn new(scenario: Scenario) -> Self {
        let turns = (0..scenario.cpus).map(|_| shuttle::sync::Mutex::new(()));
        let per_cpu = Restless {
            turns: turns.collect(),
            caches: (0..scenario.caches)
                .map(|_| HostCpuCache::default())
                .collect(),
            waits: scenario.waits,
        };
        let state = Switching(shuttle::sync::Mutex::new(State::new()));
        let engine = Hybrid::new(state, per_cpu);
        let memory = Memory::new(scenario.pages * PAGE_BYTES);
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

    /// Runs `call`, and says whether no other call was in flight meanwhile.
    pub(super) fn alone<R>(&self, call: impl FnOnce() -> R) -> (R, bool) {
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

    pub(super) fn allocate(&self, layout: Layout) {
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
            // With others about, what they have in hand is nobody's for a moment.
            assert!(!alone || !self.fits(layout), "refused what fits");
        }
    }

    /// Says whether there is room for `layout` besides the blocks that are out, whatever magazines
    /// and empty slabs keep. Slabs have one page.
    fn fits(&self, layout: Layout) -> bool {
        let blocks = self.blocks.lock().unwrap();
        let mut pages = std::vec![(None, 0); self.scenario.pages];
        for live in blocks.iter() {
            let first = live.offset().byte() as usize / PAGE_BYTES;
            let count = live.layout.size().div_ceil(PAGE_BYTES);
            for page in &mut pages[first..first + count] {
                *page = (live.class, page.1 + 1);
            }
        }
        let class = Class::of(&layout);
        let order = layout.size().div_ceil(PAGE_BYTES).next_power_of_two();
        let runs = pages.chunks_exact(order);
        let mut runs = runs.map(|run| run.iter().all(|(_, out)| *out == 0));
        runs.any(|free| free)
            || class.is_some_and(|class| {
                let own = |page: &&(Option<u8>, usize)| page.0 == Some(class.number());
                pages
                    .iter()
                    .filter(own)
                    .any(|page| page.1 < class.objects())
            })
    }

    /// Takes back one of the blocks that are out, whoever allocated it.
    pub(super) fn release(&self) {
        self.alone(|| {
            let live = {
                let mut blocks = self.blocks.lock().unwrap();
                let Some(offset) = blocks.pick(thread_rng().r#gen()) else {
                    return;
                };
                blocks.remove(offset)
            };
            let mut cost = Cost::default();
            // SAFETY: The block was out with this layout, and has just been forgotten.
            unsafe { self.engine.release(live.block, live.layout, &mut cost) }.unwrap();
        });
    }

    /// Does what one of the threads does.
    pub(super) fn work(&self) {
        for _ in 0..self.scenario.operations {
            let several = thread_rng().gen_range(1..6);
            match thread_rng().gen_range(0..12) {
                0..6 => {
                    let sizes = self.scenario.sizes;
                    let size = sizes[thread_rng().gen_range(0..sizes.len())];
                    (0..several).for_each(|_| self.allocate(layout(size, 8)));
                }
                6 => {
                    self.alone(|| self.engine.drain());
                }
                _ => (0..several).for_each(|_| self.release()),
            }
        }
    }

    /// Checks the engine while others use it.
    pub(super) fn check(&self) {
        for _ in 0..2 {
            let result = check::run(&mut Walk::new(), |walk| self.engine.check(walk));
            assert!(
                matches!(result, Ok(Progress::Sound | Progress::Disturbed)),
                "{result:?}"
            );
            Figures::of(&self.engine);
        }
    }

    /// Walks over the heap up to its last step, but not over the magazines.
    pub(super) fn begin_walk(&self) {
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

    /// Goes on with that walk.
    pub(super) fn end_walk(&self) {
        let mut walk = self.walk.lock().unwrap();
        let result = check::run(&mut walk, |walk| self.engine.check(walk));
        assert!(
            matches!(result, Ok(Progress::Sound | Progress::Disturbed)),
            "{result:?}"
        );
    }

    /// Expects all to be accounted for, and the whole pool to be there once all is given back.
    pub(super) fn end(&self) {
        sound(&self.engine);
        Figures::of(&self.engine).agree(&self.blocks.lock().unwrap());
        while self.blocks.lock().unwrap().len() > 0 {
            self.release();
        }
        sound(&self.engine);
        Figures::of(&self.engine).agree(&Blocks::default());
        is_whole(&self.engine, core::slice::from_ref(&self.memory));
    }
}
