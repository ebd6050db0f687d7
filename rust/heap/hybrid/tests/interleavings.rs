// SPDX-License-Identifier: GPL-2.0

//! Magazines under a model checker: shuttle decides which thread goes on at every lock, whenever a
//! CPU is pinned, and at every access to a magazine; and on which CPU a thread is, which changes
//! with every pinning, so that slow paths begin on one CPU and end on another.
//!
//! Interleavings are chosen at random from a fixed seed, some with few switches at bad moments (PCT,
//! Burckhardt et al. 2010). A failure prints the schedule, which `shuttle::replay` repeats.

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
    relay::Relay,
    world::{
        MET,
        Scenario,
        World, //
    }, //
};
use crate::{
    Cost, Engine,
    class::PAGE_BYTES,
    testing::{
        blocks::Figures,
        layout,
        sound, //
    },
};

/// Small pools and few threads, and sizes whose slabs have one page.
const SMALL: Scenario = Scenario {
    threads: 2,
    cpus: 2,
    caches: 2,
    pages: 8,
    sizes: &[64, 1024, 4096, 2 * PAGE_BYTES],
    operations: 6,
    checks: false,
    waits: true,
};

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
    // the operation is stopped after 4 to 14 steps, and the walk after 155 or 255.
    walk_at([2..18, 140..280], before, operation);
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
        // The magazine may hold 64, and holds none.
        allocate(world, 66);
        world.begin_walk();
    };
    // The heap gives the blocks before the walk begins, which it does anew because of that: what
    // must not go wrong does after 9 steps, and 486 or 588.
    walk_at([6..13, 470..600], before, |world| allocate(world, 1));
}

/// Holds up to `most` blocks of 1024 bytes again and again, and expects that none is refused.
fn hold(world: &World, most: usize) {
    let layout = layout(1024, 8);
    let mut held = Vec::new();
    for count in [most, most - 2, most, most - 2, most, most - 2, most, 0] {
        while held.len() < count {
            let block = world.engine.allocate(layout, &mut Cost::default());
            held.push(block.expect("there is room for all blocks of both threads"));
        }
        for block in held.drain(count..) {
            // SAFETY: The block was allocated with this layout, and is freed once.
            unsafe { world.engine.release(block, layout, &mut Cost::default()) }.unwrap();
        }
    }
}

#[test]
fn no_request_is_refused_that_the_pool_has_room_for() {
    // 32 objects are all that there is room for. CPUs keep up to two of them in their magazines.
    let play = || {
        let world = Arc::new(World::new(SMALL));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let world = world.clone();
                thread::spawn(move || hold(&world, 16))
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        world.end();
    };
    explore(RandomScheduler::new_from_seed(SEED, 1500), play);
    explore(PctScheduler::new_from_seed(SEED, 4, 500), play);
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

/// Expects closures to meet on a CPU in an interleaving of the scheduler's, if they do not wait.
fn meet(scheduler: impl Scheduler + 'static) {
    let scenario = Scenario {
        waits: false,
        ..SMALL
    };
    let run = || explore(scheduler, move || play(scenario));
    let failure = catch_unwind(AssertUnwindSafe(run)).unwrap_err();
    let why = failure.downcast_ref::<String>().map_or("", |why| why);
    assert!(why.contains(MET), "{why}");
}

#[test]
fn closures_would_meet_on_a_cpu_that_did_not_keep_them_apart() {
    meet(RandomScheduler::new_from_seed(SEED, 100));
    meet(PctScheduler::new_from_seed(SEED, 4, 100));
}
