// SPDX-License-Identifier: GPL-2.0

//! Magazines under a model checker: shuttle decides which thread goes on at every lock, whenever a
//! CPU is pinned, and at every access to a magazine; and on which CPU a thread is, which changes
//! with every pinning, so that slow paths begin on one CPU and end on another.
//!
//! Interleavings are chosen at random from a fixed seed, some with few switches at bad moments (PCT,
//! Burckhardt et al. 2010). A failure prints the schedule, which `shuttle::replay` repeats.

use core::{
    alloc::Layout,
    ops::Range, //
};
use std::{
    boxed::Box,
    panic::{
        AssertUnwindSafe,
        catch_unwind, //
    },
    sync::{
        Arc,
        Mutex, //
    },
    vec::Vec, //
};

use shuttle::{
    Config,
    FailurePersistence,
    Runner,
    rand::{
        Rng,
        thread_rng, //
    },
    scheduler::{
        PctScheduler,
        RandomScheduler,
        Scheduler, //
    },
    thread, //
};

use super::{
    model::is_whole,
    relay::Relay, //
};
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
        Cache,
        Hybrid,
        State,
        magazine_check::MAGAZINES, //
    },
    lock::Lock,
    platform::{
        Pinning,
        Platform, //
    },
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
struct Switching<T>(shuttle::sync::Mutex<T>);

// SAFETY: The mutex keeps both promises.
unsafe impl<T> Lock<T> for Switching<T> {
    fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        f(&mut self.0.lock().unwrap())
    }
}

/// CPUs among which threads move whenever they can.
struct Restless {
    cpus: Vec<shuttle::sync::Mutex<()>>,
    /// Whether CPUs are kept to one closure at a time.
    exclusive: bool,
}

impl Restless {
    fn keep<R>(&self, cpu: usize, f: impl FnOnce() -> R) -> R {
        let _turn = self.exclusive.then(|| self.cpus[cpu].lock().unwrap());
        f()
    }
}

// SAFETY: A closure that runs for a CPU has that CPU's mutex; but for a machine that is not
// exclusive, which is there to be caught.
unsafe impl Platform for Restless {
    fn cpus(&self) -> usize {
        self.cpus.len()
    }

    fn pinned<R>(&self, f: impl FnOnce(usize) -> R) -> R {
        let cpu = thread_rng().gen_range(0..self.cpus.len());
        self.keep(cpu, || f(cpu))
    }

    fn on(&self, cpu: usize, work: &mut (dyn FnMut(Pinning<'_>) + Send)) {
        work(&|f| self.keep(cpu, f));
    }
}

type RestlessHybrid = Hybrid<Switching<State>, Restless, Box<[Cache]>>;

/// What is tried.
#[derive(Clone, Copy)]
struct Scenario {
    threads: usize,
    /// CPUs, and how many of them can keep something.
    cpus: usize,
    caches: usize,
    pages: usize,
    sizes: &'static [usize],
    /// Operations of each thread, each of which allocates or frees several blocks.
    operations: usize,
    /// Whether another thread checks the engine meanwhile.
    checks: bool,
    exclusive: bool,
}

/// Small pools and few threads, and sizes whose slabs have one page.
const SMALL: Scenario = Scenario {
    threads: 2,
    cpus: 2,
    caches: 2,
    pages: 8,
    sizes: &[64, 1024, 4096, 2 * PAGE_BYTES],
    operations: 6,
    checks: false,
    exclusive: true,
};

/// What all threads share.
struct World {
    engine: RestlessHybrid,
    blocks: Mutex<Blocks>,
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
    fn new(scenario: Scenario) -> Self {
        let cpus = (0..scenario.cpus).map(|_| shuttle::sync::Mutex::new(()));
        let platform = Restless {
            cpus: cpus.collect(),
            exclusive: scenario.exclusive,
        };
        let caches = (0..scenario.caches).map(|_| Cache::new()).collect();
        let state = Switching(shuttle::sync::Mutex::new(State::new()));
        let engine = Hybrid::new(state, platform, caches);
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
    fn alone<R>(&self, call: impl FnOnce() -> R) -> (R, bool) {
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

    fn allocate(&self, layout: Layout) {
        let (refusal, alone) = self.alone(|| {
            let mut cost = Cost::default();
            let block = match self.engine.allocate(layout, &mut cost) {
                Ok(block) => block,
                Err(refusal) => return Some(refusal),
            };
            let fill = thread_rng().r#gen();
            let mut blocks = self.blocks.lock().unwrap();
            blocks.insert(&self.engine, block, layout, cost.class, fill);
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
    fn release(&self) {
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
    fn work(&self) {
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
    fn check(&self) {
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
    fn begin_walk(&self) {
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
    fn end_walk(&self) {
        let mut walk = self.walk.lock().unwrap();
        let result = check::run(&mut walk, |walk| self.engine.check(walk));
        assert!(
            matches!(result, Ok(Progress::Sound | Progress::Disturbed)),
            "{result:?}"
        );
    }

    /// Expects all to be accounted for, and the whole pool to be there once all is given back.
    fn end(&self) {
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

/// Plays a scenario once, in an interleaving of the model checker's.
fn play(scenario: Scenario) {
    let world = Arc::new(World::new(scenario));
    let mut threads: Vec<_> = (0..scenario.threads)
        .map(|_| {
            let world = world.clone();
            thread::spawn(move || world.work())
        })
        .collect();
    if scenario.checks {
        let world = world.clone();
        threads.push(thread::spawn(move || world.check()));
    }
    for thread in threads {
        thread.join().unwrap();
    }
    world.end();
}

/// Plays as often as the scheduler says.
fn explore(scheduler: impl Scheduler + 'static, play: impl Fn() + Send + Sync + 'static) {
    let mut config = Config::new();
    config.stack_size = 1 << 20;
    config.failure_persistence = FailurePersistence::Print;
    config.silence_warnings = true;
    Runner::new(scheduler, config).run(play);
}

/// The seed of all interleavings.
const SEED: u64 = 0x5eed;

/// Plays a scenario in so many interleavings, half of them of either kind.
fn explore_both(iterations: usize, scenario: Scenario) {
    let random = RandomScheduler::new_from_seed(SEED, iterations / 2);
    explore(random, move || play(scenario));
    let few_switches = PctScheduler::new_from_seed(SEED, 4, iterations / 2);
    explore(few_switches, move || play(scenario));
}

#[test]
fn two_threads_share_a_pool_that_is_too_small_for_both() {
    explore_both(1600, SMALL);
}

#[test]
fn three_threads_share_a_pool_with_magazines_of_pages() {
    let scenario = Scenario {
        threads: 3,
        pages: 64,
        sizes: &[64, 64, 1024, 2 * PAGE_BYTES, 16 * PAGE_BYTES],
        ..SMALL
    };
    explore_both(1600, scenario);
}

/// Has `threads` run, the second one in the middle of the first, after `before`.
fn explore_relay(
    steps: [Range<usize>; 2],
    scenario: Scenario,
    before: fn(&World),
    threads: [fn(&World); 2],
) {
    explore(Relay::new(steps), move || {
        let world = Arc::new(World::new(scenario));
        before(&world);
        let threads = threads.map(|run| {
            let world = world.clone();
            thread::spawn(move || run(&world))
        });
        for thread in threads {
            thread.join().unwrap();
        }
        sound(&world.engine);
        Figures::of(&world.engine).agree(&world.blocks.lock().unwrap());
    });
}

/// One CPU, and objects whose magazine is the first.
const ONE_CPU: Scenario = Scenario {
    cpus: 1,
    caches: 1,
    sizes: &[8],
    ..SMALL
};

/// Has a walk over magazines go on in the middle of an operation, and the operation near the end of
/// the walk, when that has seen all and asks whether it counts.
fn walk_in_the_middle(before: fn(&World), operation: fn(&World)) {
    // What must not go wrong does, without the hands' order or one of what the walk asks, where
    // the operation is stopped after 6 to 10 steps, and the walk after 155 or 255.
    walk_at([4..14, 140..280], before, operation);
}

/// As [`walk_in_the_middle`], after other steps.
fn walk_at(steps: [Range<usize>; 2], before: fn(&World), operation: fn(&World)) {
    explore_relay(steps, ONE_CPU, before, [operation, World::end_walk]);
}

/// Allocates some blocks of 8 bytes.
fn allocate(world: &World, count: usize) {
    (0..count).for_each(|_| world.allocate(layout(8, 8)));
}

/// Drains the engine.
fn drain(world: &World) {
    world.alone(|| world.engine.drain());
}

#[test]
fn a_walk_in_the_middle_of_a_free_that_makes_a_magazine_grow_finds_nothing_broken() {
    let before = |world: &World| {
        allocate(world, 6);
        drain(world);
        world.begin_walk();
    };
    walk_in_the_middle(before, World::release);
}

#[test]
fn a_walk_in_the_middle_of_closing_a_magazine_finds_nothing_broken() {
    let before = |world: &World| {
        // The magazine may hold four, and holds none.
        allocate(world, 3);
        world.begin_walk();
    };
    walk_in_the_middle(before, drain);
}

#[test]
fn a_walk_in_the_middle_of_emptying_a_magazine_finds_nothing_broken() {
    let before = |world: &World| {
        allocate(world, 1);
        world.begin_walk();
    };
    walk_in_the_middle(before, drain);
}

#[test]
fn a_walk_in_the_middle_of_filling_a_magazine_finds_nothing_broken() {
    let before = |world: &World| {
        // The magazine may hold 63, which is the most, and holds none.
        allocate(world, 66);
        world.begin_walk();
    };
    // The heap gives the blocks before the walk begins, which it does anew because of that.
    walk_at([6..13, 440..540], before, |world| allocate(world, 1));
}

#[test]
fn a_thread_that_moves_to_a_cpu_without_magazines_touches_no_others() {
    let scenario = Scenario {
        caches: 1,
        sizes: &[8],
        ..SMALL
    };
    let threads = [drain, World::work];
    explore_relay([0..20, 0..50], scenario, World::work, threads);
    explore_both(200, scenario);
}

#[test]
fn a_check_meanwhile_finds_nothing_broken() {
    let scenario = Scenario {
        pages: 32,
        checks: true,
        ..SMALL
    };
    explore_both(400, scenario);
}

#[test]
fn a_machine_that_runs_two_closures_on_a_cpu_at_once_is_caught() {
    let broken = Scenario {
        exclusive: false,
        ..SMALL
    };
    let random = RandomScheduler::new_from_seed(SEED, 100);
    let caught = catch_unwind(AssertUnwindSafe(|| explore(random, move || play(broken))));
    assert!(caught.is_err());
    let few_switches = PctScheduler::new_from_seed(SEED, 4, 100);
    let caught = catch_unwind(AssertUnwindSafe(|| {
        explore(few_switches, move || play(broken))
    }));
    assert!(caught.is_err());
}
