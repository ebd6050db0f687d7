// SPDX-License-Identifier: GPL-2.0

//! What magazines hold is taken back before memory is said to be short.

use super::{at, machine::Machine};
use crate::{
    Cost, Engine, Path, Refusal,
    class::PAGE_BYTES,
    testing::{
        layout,
        sound,
        totals, //
    },
};
use core::{
    alloc::Layout,
    sync::atomic::Ordering::Relaxed, //
};

/// Two pages that no magazine keeps.
fn pair() -> Layout {
    layout(2 * PAGE_BYTES, 2 * PAGE_BYTES)
}

/// Returns a machine, on its first CPU, where each of `keepers` keeps two blocks of two pages. The
/// rest of the pool is out.
fn pressed(cpus: usize, keepers: &[usize]) -> Machine {
    let machine = Machine::new(cpus, 4 << 20);
    for cpu in keepers {
        machine.on(*cpu);
        machine.release_all(machine.allocate_all(8192, 2));
    }
    for _ in 0..512 - 2 * keepers.len() {
        machine.serve_unchecked(pair()).unwrap();
    }
    machine.balanced();
    assert_eq!(machine.magazine_bytes(), keepers.len() * 2 * 8192);
    assert_eq!(totals(&machine.engine).free_bytes, 0);
    machine.on(0);
    machine
}

#[test]
fn the_cpus_own_magazines_are_emptied_before_those_of_others() {
    let machine = pressed(2, &[0, 1]);
    let held = || [0, 1].map(|cpu| machine.held(cpu, 8192).len());
    assert_eq!(held(), [2, 2]);
    for _ in 0..2 {
        machine.serve(pair()).unwrap();
        assert_eq!(held(), [0, 2]);
    }
    // Only what the other CPU keeps is left.
    for _ in 0..2 {
        machine.serve(pair()).unwrap();
        assert_eq!(held(), [0, 0]);
    }
    assert_eq!(machine.serve(pair()), Err(Refusal::Exhausted));
}

#[test]
fn objects_are_served_by_what_another_cpu_gives_up() {
    let machine = pressed(2, &[1]);
    let (_, path) = machine.serve(layout(64, 8)).unwrap();
    assert_eq!((path, machine.magazine_bytes()), (Path::Growth, 0));
}

#[test]
fn cpus_that_keep_nothing_are_left_alone() {
    let machine = pressed(4, &[2]);
    let (served, reached) = machine.reached(|| machine.serve_unchecked(pair()));
    assert_eq!((served.is_ok(), reached), (true, std::vec![2]));
    let (served, reached) = machine.reached(|| machine.serve_unchecked(pair()));
    assert_eq!((served.is_ok(), reached), (true, std::vec![]));
    let (served, reached) = machine.reached(|| machine.serve_unchecked(pair()));
    assert_eq!((served, reached), (Err(Refusal::Exhausted), std::vec![]));
}

#[test]
fn all_is_emptied_once_where_much_is_kept() {
    let machine = pressed(4, &[0, 1, 2, 3]);
    let four = layout(4 * PAGE_BYTES, 8);
    // What the first CPU keeps is four pages in one piece, and more than one CPU keeps.
    let (served, reached) = machine.reached(|| machine.serve_unchecked(four));
    assert_eq!((served.is_ok(), reached), (true, std::vec![]));
    let (served, reached) = machine.reached(|| machine.serve_unchecked(four));
    assert_eq!((served.is_ok(), reached), (true, std::vec![1, 2, 3]));
    machine.balanced();
}

#[test]
fn after_a_refusal_nothing_is_in_magazines() {
    let machine = Machine::new(3, 256 << 10);
    for cpu in 0..3 {
        machine.on(cpu);
        for size in [8, 64, 1024] {
            let blocks = machine.allocate_all(size, 7);
            machine.release_all(blocks[1..].iter().copied());
        }
    }
    assert!(machine.magazine_bytes() > 0);
    let whole = layout(256 << 10, 8);
    // Too large for the pool it is not; the pages are there, but not in one piece.
    assert_eq!(machine.serve(whole), Err(Refusal::Exhausted));
    let kept = (machine.magazine_bytes(), machine.reserved_bytes());
    assert_eq!(kept, (0, 0));
    for cpu in 0..3 {
        assert_eq!(machine.cache(cpu).next_enabled(0), None);
    }
    // Nor is an empty slab kept: what is cached is in slabs with objects out.
    for stats in machine.figures().classes {
        assert!(stats.used_blocks > 0 || stats.total_blocks == 0);
    }
}

#[test]
fn fragmented_memory_is_looked_for_in_magazines_too() {
    let machine = Machine::new(2, 1 << 20);
    machine.on(1);
    let blocks = machine.allocate_all(8192, 2);
    machine.release_all(blocks);
    machine.on(0);
    // All but what the other CPU keeps is free: the whole is one piece if that is taken back.
    let (block, _) = machine.serve(layout(1 << 20, 8)).unwrap();
    assert_eq!((block, machine.magazine_bytes()), (at(0), 0));
}

#[test]
fn the_reason_of_a_refusal_is_that_after_all_was_taken_back() {
    let machine = Machine::new(1, 1 << 20);
    let blocks = machine.allocate_all(8192, 3);
    for _ in 3..128 {
        machine.serve_unchecked(pair()).unwrap();
    }
    machine.release_all([blocks[0], blocks[2]]);
    // Nothing is free until the magazine is emptied; then four pages are, in two pieces.
    let four = layout(4 * PAGE_BYTES, 8);
    assert_eq!(totals(&machine.engine).free_bytes, 0);
    assert_eq!(machine.serve(four), Err(Refusal::Fragmented));
    assert_eq!(totals(&machine.engine).refusals, [0, 0, 1, 0, 0, 0]);
}

#[test]
fn a_request_that_can_never_be_served_empties_no_magazine() {
    let machine = Machine::new(1, 256 << 10);
    machine.release_all(machine.allocate_all(64, 3));
    let before = machine.magazine_bytes();
    for (size, align) in [((256 << 10) + 1, 8), (8, 512 << 10)] {
        assert_eq!(machine.serve(layout(size, align)), Err(Refusal::TooBig));
    }
    assert_eq!(machine.magazine_bytes(), before);
}

#[test]
fn a_refused_request_sets_nothing_aside() {
    let machine = Machine::new(1, 256 << 10);
    let whole = machine.allocate(256 << 10);
    for size in [64, 3000, 8192] {
        assert_eq!(machine.serve(layout(size, 8)), Err(Refusal::Exhausted));
        assert_eq!(machine.reserved_bytes(), 0);
    }
    assert_eq!(totals(&machine.engine).refusals.iter().sum::<u64>(), 3);
    machine.release(whole);
}

/// Makes the whole share of 64 KiB one CPU's, as blocks of a page that it keeps, without a denial.
fn hold_all(machine: &Machine, keeper: usize) {
    let blocks = machine.on(keeper).allocate_all(4096, 16);
    // Who gives up all that he has begins to count anew.
    machine.engine.drain();
    machine.release_all(blocks);
    assert_eq!(machine.reserved_bytes(), 64 << 10);
    assert_eq!(machine.held(keeper, 4096).len(), 16);
}

/// Returns a machine with two CPUs, on the first one, of which `keeper` has the whole share.
fn all_held_by(keeper: usize) -> Machine {
    let machine = Machine::new(2, 1 << 20);
    hold_all(&machine, keeper);
    machine.on(0);
    machine
}

#[test]
fn a_cpu_gives_up_its_old_sizes_when_its_magazines_could_not_grow_64_times() {
    let machine = all_held_by(0);
    for _ in 0..32 {
        assert_eq!(machine.held(0, 4096).len(), 16);
        let (block, path) = machine.serve(layout(64, 8)).unwrap();
        assert_ne!(path, Path::Magazine);
        assert_eq!(machine.release(block), Path::Slab);
        assert_eq!(machine.capacity(0, 64), 0);
    }
    // Those were 64 failures: the next allocation gives everything up.
    assert_eq!(machine.held(0, 4096).len(), 16);
    machine.allocate(64);
    assert_eq!((machine.magazine_bytes(), machine.reserved_bytes()), (0, 0));
    machine.allocate(64);
    assert_eq!(machine.capacity(0, 64), 4);
    assert_eq!(machine.serve(layout(64, 8)).unwrap().1, Path::Magazine);
}

#[test]
fn failures_to_grow_are_counted_from_the_last_time_that_the_cpu_gave_everything_up() {
    let machine = all_held_by(0);
    for _ in 0..20 {
        machine.release(machine.allocate(64));
    }
    hold_all(&machine, 0);
    for _ in 0..32 {
        machine.release(machine.allocate(64));
        assert_eq!(machine.held(0, 4096).len(), 16);
    }
    machine.allocate(64);
    assert_eq!(machine.capacity(0, 4096), 0);
}

/// Allocates and frees 64 bytes, and returns how often the lock was taken for that.
fn locks_of_pair(machine: &Machine) -> usize {
    machine.locks(|| {
        let (block, _) = machine.serve_unchecked(layout(64, 8)).unwrap();
        machine.release_unchecked(block);
    })
}

#[test]
fn an_idle_cpu_loses_the_reserve_to_a_cpu_whose_magazines_could_not_grow_64_times() {
    let machine = all_held_by(1);
    let capacities = || (machine.capacity(0, 64), machine.capacity(1, 4096));
    for _ in 0..32 {
        // One for the allocation, one for the free.
        assert_eq!(locks_of_pair(&machine), 2);
        assert_eq!(capacities(), (0, 16));
    }
    // The allocation takes the reserve, and the free has room.
    locks_of_pair(&machine);
    assert_eq!(capacities(), (4, 0));
    assert_eq!(locks_of_pair(&machine), 0);
    machine.balanced();
}

#[test]
fn failures_to_grow_are_forgotten_when_there_was_no_reserve_to_redistribute() {
    let machine = all_held_by(1);
    *machine.engine.per_cpu.unreachable.lock().unwrap() = std::vec![1];
    let locks: usize = (0..650).map(|_| locks_of_pair(&machine)).sum();
    // Every 65th of the 1300 failures also looks at the CPU's own part of the reserve, and tries to
    // take the other CPU's.
    assert_eq!(locks, 1300 + 2 * 1300 / 65);
    let capacities = (machine.capacity(0, 64), machine.capacity(1, 4096));
    assert_eq!(capacities, (0, 16));
}

#[test]
fn the_least_active_cpu_loses_the_reserve() {
    let machine = Machine::new(3, 1 << 20);
    // Two CPUs have half of the reserve each; the first one goes on to use it.
    let blocks = [0, 1].map(|cpu| machine.on(cpu).allocate_all(4096, 5));
    assert_eq!(machine.reserved_bytes(), 64 << 10);
    for (cpu, blocks) in blocks.into_iter().enumerate() {
        machine.on(cpu).release_all(blocks);
    }
    for _ in 0..32 {
        machine.on(0).release(machine.allocate(4096));
        let block = machine.on(2).allocate(64);
        machine.release(block);
    }
    machine.allocate(64);
    let capacities = [0, 1].map(|cpu| machine.capacity(cpu, 4096));
    assert_eq!(capacities, [8, 0]);
    machine.allocate(64);
    assert_eq!(machine.capacity(2, 64), 4);
}

#[test]
fn a_cpu_that_cannot_be_reached_is_tried_again_and_then_the_request_is_refused_as_busy() {
    let machine = pressed(2, &[1]);
    *machine.engine.per_cpu.unreachable.lock().unwrap() = std::vec![1];
    assert_eq!(machine.serve_unchecked(pair()), Err(Refusal::Busy));
    assert_eq!(machine.engine.per_cpu.pauses.load(Relaxed), 10);
    assert_eq!(totals(&machine.engine).refusals, [0, 0, 0, 0, 0, 1]);
    machine.engine.per_cpu.unreachable.lock().unwrap().clear();
    assert!(machine.serve(pair()).is_ok());
}

#[test]
fn a_block_that_cannot_be_copied_grows_into_what_is_kept() {
    let pages = |pages: usize| layout(pages * PAGE_BYTES, 8);
    for out in [0, 1] {
        let machine = Machine::new(1, 64 * PAGE_BYTES);
        let (large, small) = (pages(40), layout(64, 8));
        let mut cost = Cost::default();
        let block = machine.engine.allocate(large, &mut cost).unwrap();
        // A slab of one page behind it, whose objects are free, or all but one.
        let objects = [(); 2].map(|()| machine.serve_unchecked(small).unwrap().0);
        machine.release_all_unchecked(objects[out..].iter().copied());
        assert!((40..60).contains(&(objects[0].byte() as usize / PAGE_BYTES)));
        assert!(machine.magazine_bytes() > 0);
        let mut resize = |from: usize, to: usize| {
            // SAFETY: The block is out, and has so many pages.
            unsafe { (machine.engine).resize(block, pages(from), pages(to), &mut cost) }
        };
        // As long as there is room for a copy, nothing is given up: the caller may move it.
        assert!(resize(40, 8));
        assert!(!resize(8, 50));
        assert!(machine.magazine_bytes() > 0);
        assert!(resize(8, 40));
        assert_eq!(resize(40, 60), out == 0);
        assert_eq!(machine.magazine_bytes(), 0);
        assert_eq!(
            totals(&machine.engine).live_bytes as usize,
            match out {
                0 => 60 * PAGE_BYTES,
                _ => 40 * PAGE_BYTES + small.size(),
            }
        );
        sound(&machine.engine);
    }
}
