// SPDX-License-Identifier: GPL-2.0

//! Magazines under the model checker shuttle.
//!
//! There is a scheduling point at every lock, at every pin of a CPU and at every access to a magazine. At a
//! scheduling point the model checker chooses the thread that runs next. A thread migrates to a random CPU at
//! every pin, so slow paths begin on one CPU and end on another.
//!
//! Interleavings are chosen at random from a fixed seed. Half of the interleavings have few preemptions (PCT,
//! Burckhardt et al., 2010). A test that fails prints the schedule, which `shuttle::replay` repeats.

use core::ops::Range;
use std::{
    panic::{
        AssertUnwindSafe,
        catch_unwind, //
    },
    string::String,
    sync::Arc,
    vec::Vec, //
};

use shuttle::{
    Config,
    FailurePersistence,
    Runner,
    scheduler::{
        PctScheduler,
        RandomScheduler,
        Scheduler, //
    },
    thread, //
};

use super::{
    OVERLAP,
    Relay,
    Scenario,
    World, //
};
use crate::{
    Cost, Engine, PAGE_BYTES,
    testing::{
        blocks::ReportedStatistics,
        heaps::{
            TestHeap,
            on_each_heap, //
        },
        layout,
        prelude::*,
        sound, //
    },
};

on_each_heap! {
    two_threads_share_a_pool_that_is_too_small_for_both,
    three_threads_share_a_pool_with_magazines_of_pages,
    three_threads_exchange_blocks_through_the_depot,
    a_walk_during_a_free_that_grows_a_magazine_finds_nothing_broken,
    a_walk_while_an_empty_magazine_loses_its_capacity_finds_nothing_broken,
    a_walk_during_a_flush_finds_nothing_broken,
    a_walk_during_a_refill_finds_nothing_broken,
    no_request_is_refused_while_the_pool_has_room_for_it,
    a_thread_on_a_cpu_without_a_cache_uses_no_other_cpus_cache,
    a_check_during_operations_finds_nothing_broken,
    closures_overlap_on_a_cpu_that_does_not_exclude_them,
}

/// A scenario with a small pool, few threads, and sizes whose slabs have one page.
const SMALL: Scenario = Scenario {
    threads: 2,
    cpus: 2,
    caches: 2,
    pages: 8,
    sizes: &[64, 1024, 4096, 2 * PAGE_BYTES],
    operations: 6,
    small_magazines: false,
    checks: false,
    exclusive: true,
};

/// Runs a scenario once, in one interleaving of the model checker.
fn run_scenario<H: TestHeap>(scenario: Scenario) {
    let world = Arc::new(World::<H>::new(scenario));
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

/// Runs `run` in all interleavings of `scheduler`.
fn explore(scheduler: impl Scheduler + 'static, run: impl Fn() + Send + Sync + 'static) {
    let mut config = Config::new();
    config.stack_size = 1 << 20;
    config.failure_persistence = FailurePersistence::Print;
    config.silence_warnings = true;
    Runner::new(scheduler, config).run(run);
}

/// The seed of the schedulers.
const SEED: u64 = 0x5eed;

/// Runs a scenario in `iterations` interleavings: half of them random, half of them with few preemptions.
fn explore_both<H: TestHeap>(iterations: usize, scenario: Scenario) {
    let random = RandomScheduler::new_from_seed(SEED, iterations / 2);
    explore(random, move || run_scenario::<H>(scenario));
    let few_preemptions = PctScheduler::new_from_seed(SEED, 4, iterations / 2);
    explore(few_preemptions, move || run_scenario::<H>(scenario));
}

fn two_threads_share_a_pool_that_is_too_small_for_both<H: TestHeap>() {
    explore_both::<H>(1600, SMALL);
}

fn three_threads_share_a_pool_with_magazines_of_pages<H: TestHeap>() {
    let scenario = Scenario {
        threads: 3,
        pages: 64,
        sizes: &[64, 64, 1024, 2 * PAGE_BYTES, 16 * PAGE_BYTES],
        ..SMALL
    };
    explore_both::<H>(1600, scenario);
}

fn three_threads_exchange_blocks_through_the_depot<H: TestHeap>() {
    // A depot has two magazines in a pool of 1 MiB. The last size fits only if the other blocks are in the heap.
    let scenario = Scenario {
        threads: 3,
        pages: 256,
        sizes: &[64, 64, 64, 2 * PAGE_BYTES, 2 * PAGE_BYTES, 200 * PAGE_BYTES],
        operations: 12,
        small_magazines: true,
        checks: true,
        ..SMALL
    };
    explore_both::<H>(400, scenario);
}

/// Runs `before`, and then both `threads` under [`Relay`]: the second thread begins in the middle of the
/// first thread. `steps` contains, for each thread, the range of the numbers of steps after which the thread
/// is preempted. All pairs of numbers are tried.
fn explore_relay<H: TestHeap>(
    steps: [Range<usize>; 2],
    scenario: Scenario,
    before: fn(&World<H>),
    threads: [fn(&World<H>); 2],
) {
    explore(Relay::new(steps), move || {
        let world = Arc::new(World::<H>::new(scenario));
        before(&world);
        let threads = threads.map(|run| {
            let world = world.clone();
            thread::spawn(move || run(&world))
        });
        for thread in threads {
            thread.join().unwrap();
        }
        sound(&world.engine);
        ReportedStatistics::of(&world.engine).agree(&world.blocks.lock().unwrap());
    });
}

/// A scenario with one CPU and objects of the first class. A shrink and a check both begin with the magazine
/// of this class.
const ONE_CPU: Scenario = Scenario {
    cpus: 1,
    caches: 1,
    sizes: &[8],
    ..SMALL
};

/// Continues a walk over the magazines in the middle of `operation`, and finishes the operation near the end
/// of the walk. At this point the walk has visited all slots and reads the epochs, which determine whether
/// its result is valid.
fn walk_in_the_middle<H: TestHeap>(before: fn(&World<H>), operation: fn(&World<H>)) {
    // A step is the run of a thread from one scheduling point to the next. The first range stops the
    // operation after each of its first steps, in which it changes the magazine of 8 bytes. The second range
    // stops the walk after each step of its last half, up to the reads of the epochs. A walk over the
    // magazines that nothing disturbs has 269 to 277 steps. If this number changes, the ranges must be
    // changed, too.
    walk_at([2..18, 140..280], before, operation);
}

/// Runs the test of [`walk_in_the_middle`] with these ranges of steps.
fn walk_at<H: TestHeap>(steps: [Range<usize>; 2], before: fn(&World<H>), operation: fn(&World<H>)) {
    explore_relay(steps, ONE_CPU, before, [operation, World::end_walk]);
}

/// Allocates `count` blocks of 8 bytes.
fn allocate<H: TestHeap>(world: &World<H>, count: usize) {
    (0..count).for_each(|_| world.allocate(layout(8, 8)));
}

/// Returns all cached memory to the buddy system.
fn shrink<H: TestHeap>(world: &World<H>) {
    world.alone(|| world.engine.shrink());
}

fn a_walk_during_a_free_that_grows_a_magazine_finds_nothing_broken<H: TestHeap>() {
    let before = |world: &World<H>| {
        allocate(world, 6);
        shrink(world);
        world.begin_walk();
    };
    walk_in_the_middle(before, World::free);
}

fn a_walk_while_an_empty_magazine_loses_its_capacity_finds_nothing_broken<H: TestHeap>() {
    let before = |world: &World<H>| {
        // The magazine has a capacity of 4 and no blocks.
        allocate(world, 3);
        world.begin_walk();
    };
    walk_in_the_middle(before, shrink);
}

fn a_walk_during_a_flush_finds_nothing_broken<H: TestHeap>() {
    let before = |world: &World<H>| {
        allocate(world, 1);
        world.begin_walk();
    };
    walk_in_the_middle(before, shrink);
}

fn a_walk_during_a_refill_finds_nothing_broken<H: TestHeap>() {
    let before = |world: &World<H>| {
        // The magazine has a capacity of 64 and no blocks.
        allocate(world, 66);
        world.begin_walk();
    };
    // The refill takes its blocks from the heap before the walk continues, which raises the epoch of the
    // state, so the walk begins again after its first pass. The second range is the last half of the second
    // pass, which ends after about 600 steps.
    walk_at([6..13, 470..600], before, |world| allocate(world, 1));
}

/// Allocates and frees blocks of 1024 bytes, of which at most `most` are live at the same time. Panics if a
/// request is refused.
fn allocate_up_to<H: TestHeap>(world: &World<H>, most: usize) {
    let layout = layout(1024, 8);
    let mut held = Vec::new();
    for count in [most, most - 2, most, most - 2, most, most - 2, most, 0] {
        while held.len() < count {
            let block = world.engine.allocate(layout, &mut Cost::default());
            held.push(block.expect("there is room for all blocks of both threads"));
        }
        for block in held.drain(count..) {
            // SAFETY: The block was allocated above with this layout, and is freed once.
            unsafe { world.engine.free(block, layout, &mut Cost::default()) }.unwrap();
        }
    }
}

fn no_request_is_refused_while_the_pool_has_room_for_it<H: TestHeap>() {
    // The pool has room for exactly 32 objects, of which magazines cache up to two.
    let run = || {
        let world = Arc::new(World::<H>::new(SMALL));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let world = world.clone();
                thread::spawn(move || allocate_up_to(&world, 16))
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        world.end();
    };
    explore(RandomScheduler::new_from_seed(SEED, 1500), run);
    explore(PctScheduler::new_from_seed(SEED, 4, 500), run);
}

fn a_thread_on_a_cpu_without_a_cache_uses_no_other_cpus_cache<H: TestHeap>() {
    let scenario = Scenario {
        caches: 1,
        sizes: &[8],
        ..SMALL
    };
    let threads = [shrink::<H>, World::work];
    explore_relay([0..20, 0..50], scenario, World::work, threads);
    explore_both::<H>(200, scenario);
}

fn a_check_during_operations_finds_nothing_broken<H: TestHeap>() {
    let scenario = Scenario {
        pages: 32,
        checks: true,
        ..SMALL
    };
    explore_both::<H>(400, scenario);
}

/// Panics unless `scheduler` finds an interleaving in which two closures overlap on one CPU, in a scenario in
/// which CPUs do not exclude the second closure.
fn assert_overlap<H: TestHeap>(scheduler: impl Scheduler + 'static) {
    let scenario = Scenario {
        exclusive: false,
        ..SMALL
    };
    let run = || explore(scheduler, move || run_scenario::<H>(scenario));
    let failure = catch_unwind(AssertUnwindSafe(run)).unwrap_err();
    let why = failure.downcast_ref::<String>().map_or("", |why| why);
    assert!(why.contains(OVERLAP), "{why}");
}

fn closures_overlap_on_a_cpu_that_does_not_exclude_them<H: TestHeap>() {
    assert_overlap::<H>(RandomScheduler::new_from_seed(SEED, 100));
    assert_overlap::<H>(PctScheduler::new_from_seed(SEED, 4, 100));
}
