// SPDX-License-Identifier: GPL-2.0

//! Memory pressure: magazines are flushed before a request is refused, and the budget is redistributed.

use super::at;
use crate::{
    Cost, Engine, PAGE_BYTES, Path, Refusal,
    hybrid::Heap,
    size_class::MagazineKind,
    testing::{
        checked_machine::{
            Machine,
            kind, //
        },
        heaps::{
            TestHeap,
            on_each_heap, //
        },
        layout,
        prelude::*,
        sound,
        totals, //
    },
};
use core::{
    alloc::Layout,
    sync::atomic::Ordering::Relaxed, //
};

on_each_heap! {
    a_cpu_flushes_its_own_magazines_before_those_of_other_cpus,
    cpus_with_empty_magazines_are_not_reached,
    one_request_flushes_all_other_cpus_at_once,
    a_refused_request_leaves_all_magazines_empty,
    a_request_flushes_magazines_when_free_memory_is_fragmented,
    the_cause_of_a_refusal_is_found_after_all_magazines_were_flushed,
    a_request_that_is_too_big_flushes_no_magazine,
    a_refused_request_reserves_nothing_for_magazines,
    an_empty_pool_behaves_like_a_new_one_after_a_shrink,
    a_shrink_makes_a_cpu_without_capacity_forget_that_a_magazine_could_not_grow,
    a_full_magazine_in_a_pool_without_a_depot_is_no_failure_to_grow,
    a_resize_that_no_region_can_hold_flushes_nothing,
    an_idle_cpu_loses_its_reserve_to_a_cpu_that_cannot_grow_a_magazine,
    a_cpu_that_cannot_be_reached_keeps_its_reserve,
    a_request_is_refused_as_busy_after_ten_pauses_for_an_unreachable_cpu,
}

/// Returns the layout of two pages with an alignment for which there is no magazine.
fn pair() -> Layout {
    layout(2 * PAGE_BYTES, 2 * PAGE_BYTES)
}

/// Returns a machine whose current CPU is the first one. Each CPU in `caching` has two blocks of two pages in
/// its magazine, and the rest of the pool is live.
fn under_pressure<H: TestHeap>(cpus: usize, caching: &[usize]) -> Machine<H> {
    let machine = Machine::<H>::new(cpus, 4 << 20);
    for cpu in caching {
        machine.on(*cpu);
        machine.free_all(machine.allocate_all(8192, 2));
    }
    for _ in 0..512 - 2 * caching.len() {
        machine.serve_unchecked(pair()).unwrap();
    }
    machine.check();
    assert_eq!(machine.magazine_bytes(), caching.len() * 2 * 8192);
    assert_eq!(totals(&machine.engine).free_bytes, 0);
    machine.on(0);
    machine
}

fn a_cpu_flushes_its_own_magazines_before_those_of_other_cpus<H: TestHeap>() {
    let machine = under_pressure::<H>(2, &[0, 1]);
    let held = || [0, 1].map(|cpu| machine.held(cpu, 8192).len());
    assert_eq!(held(), [2, 2]);
    for _ in 0..2 {
        machine.serve(pair()).unwrap();
        assert_eq!(held(), [0, 2]);
    }
    // Only the other CPU has cached blocks now.
    for _ in 0..2 {
        machine.serve(pair()).unwrap();
        assert_eq!(held(), [0, 0]);
    }
    assert_eq!(machine.serve(pair()), Err(Refusal::Exhausted));
}

#[test]
fn an_object_is_served_from_memory_that_another_cpu_cached() {
    let machine = under_pressure::<Heap>(2, &[1]);
    let (_, path) = machine.serve(layout(64, 8)).unwrap();
    assert_eq!((path, machine.magazine_bytes()), (Path::Growth, 0));
}

fn cpus_with_empty_magazines_are_not_reached<H: TestHeap>() {
    let machine = under_pressure::<H>(4, &[2]);
    let (served, reached) = machine.reached(|| machine.serve_unchecked(pair()));
    assert_eq!((served.is_ok(), reached), (true, std::vec![2]));
    let (served, reached) = machine.reached(|| machine.serve_unchecked(pair()));
    assert_eq!((served.is_ok(), reached), (true, std::vec![]));
    let (served, reached) = machine.reached(|| machine.serve_unchecked(pair()));
    assert_eq!((served, reached), (Err(Refusal::Exhausted), std::vec![]));
}

fn one_request_flushes_all_other_cpus_at_once<H: TestHeap>() {
    let machine = under_pressure::<H>(4, &[0, 1, 2, 3]);
    let four = layout(4 * PAGE_BYTES, 8);
    // The two cached blocks of a CPU are one run of four pages, so each request needs the blocks of another
    // CPU.
    let (served, reached) = machine.reached(|| machine.serve_unchecked(four));
    assert_eq!((served.is_ok(), reached), (true, std::vec![]));
    let (served, reached) = machine.reached(|| machine.serve_unchecked(four));
    assert_eq!((served.is_ok(), reached), (true, std::vec![1, 2, 3]));
    machine.check();
}

fn a_refused_request_leaves_all_magazines_empty<H: TestHeap>() {
    let machine = Machine::<H>::new(3, 256 << 10);
    for cpu in 0..3 {
        machine.on(cpu);
        for size in [8, 64, 1024] {
            let blocks = machine.allocate_all(size, 7);
            machine.free_all(blocks[1..].iter().copied());
        }
    }
    assert!(machine.magazine_bytes() > 0);
    let whole = layout(256 << 10, 8);
    // The request is not too big for the pool, but some of its pages are live.
    assert_eq!(machine.serve(whole), Err(Refusal::Exhausted));
    let cached = (machine.magazine_bytes(), machine.reserved_bytes());
    assert_eq!(cached, (0, 0));
    for cpu in 0..3 {
        let capacities = MagazineKind::all().map(|kind| machine.cache(cpu).capacity(kind));
        assert_eq!(capacities.sum::<usize>(), 0);
    }
    // No empty slab is cached either: every slab has a live object.
    for stats in machine.figures().classes {
        assert!(stats.used_blocks > 0 || stats.total_blocks == 0);
    }
}

fn a_request_flushes_magazines_when_free_memory_is_fragmented<H: TestHeap>() {
    let machine = Machine::<H>::new(2, 1 << 20);
    machine.on(1);
    let blocks = machine.allocate_all(8192, 2);
    machine.free_all(blocks);
    machine.on(0);
    // Only the blocks that the other CPU caches are not free. After a flush of these blocks, the pool is one
    // free block.
    let (block, _) = machine.serve(layout(1 << 20, 8)).unwrap();
    assert_eq!((block, machine.magazine_bytes()), (at(0), 0));
}

fn the_cause_of_a_refusal_is_found_after_all_magazines_were_flushed<H: TestHeap>() {
    // The budget of a full pool has room for two blocks.
    let machine = Machine::<H>::new(1, 4 << 20);
    let blocks = machine.allocate_all(8192, 3);
    for _ in 3..512 {
        machine.serve_unchecked(pair()).unwrap();
    }
    machine.free_all([blocks[0], blocks[2]]);
    // No page is free until the magazine is flushed. After the flush four pages are free, in two blocks.
    let four = layout(4 * PAGE_BYTES, 8);
    assert_eq!(totals(&machine.engine).free_bytes, 0);
    assert_eq!(machine.serve(four), Err(Refusal::Fragmented));
    assert_eq!(totals(&machine.engine).refusals, [0, 0, 1, 0, 0, 0, 0]);
}

fn a_request_that_is_too_big_flushes_no_magazine<H: TestHeap>() {
    let machine = Machine::<H>::new(1, 256 << 10);
    machine.free_all(machine.allocate_all(64, 3));
    let before = machine.magazine_bytes();
    for (size, align) in [((256 << 10) + 1, 8), (8, 512 << 10)] {
        assert_eq!(machine.serve(layout(size, align)), Err(Refusal::TooBig));
    }
    assert_eq!(machine.magazine_bytes(), before);
}

fn a_refused_request_reserves_nothing_for_magazines<H: TestHeap>() {
    let machine = Machine::<H>::new(1, 256 << 10);
    let whole = machine.allocate(256 << 10);
    for size in [64, 3000, 8192] {
        assert_eq!(machine.serve(layout(size, 8)), Err(Refusal::Exhausted));
        assert_eq!(machine.reserved_bytes(), 0);
    }
    assert_eq!(totals(&machine.engine).refusals.iter().sum::<u64>(), 3);
    machine.free(whole);
}

fn an_empty_pool_behaves_like_a_new_one_after_a_shrink<H: TestHeap>() {
    let sizes = [64, 1024, 24, 3000, 8192, 300, 4096, 16, 640, 2000];
    for rounds in [30, 60, 90] {
        let machine = Machine::<H>::new(1, 1 << 20);
        let fill = || {
            let next = |size: &usize| machine.serve_unchecked(layout(*size, 8)).ok();
            let served = sizes
                .iter()
                .cycle()
                .take(rounds * sizes.len())
                .map_while(next);
            served.map(|(block, _)| block).collect::<std::vec::Vec<_>>()
        };
        let first = fill();
        machine.free_all_unchecked(first.iter().copied());
        machine.engine.shrink();
        assert_eq!(fill(), first);
        machine.check();
    }
}

fn a_shrink_makes_a_cpu_without_capacity_forget_that_a_magazine_could_not_grow<H: TestHeap>() {
    let machine = Machine::<H>::new(1, 1 << 20);
    let serve = |bytes| machine.serve_unchecked(layout(bytes, 8)).unwrap().0;
    let two = || [serve(16), serve(16)];
    let first = two();
    machine.free_all_unchecked(first);
    machine.engine.shrink();
    // The pool is so full that the budget has no room for a block of two pages.
    let large = serve((1 << 20) - 4 * PAGE_BYTES);
    let pages = serve(2 * PAGE_BYTES);
    machine.free_all_unchecked([pages]);
    assert_eq!(machine.magazine_bytes(), 0);
    assert!(machine.cache(0).grow_failures.load(Relaxed) > 0);
    machine.free_all_unchecked([large]);
    machine.engine.shrink();
    assert_eq!(machine.cache(0).grow_failures.load(Relaxed), 0);
    assert_eq!(two(), first);
    machine.check();
}

fn a_full_magazine_in_a_pool_without_a_depot_is_no_failure_to_grow<H: TestHeap>() {
    let machine = Machine::<H>::new(1, 256 << 10);
    let limit = machine.cache(0).limit(kind::<H>(16));
    // The budget has room for the limit, and the last block finds the magazine full.
    let blocks = machine.allocate_all(16, limit + 1);
    machine.engine.shrink();
    machine.free_all(blocks);
    assert_eq!(machine.capacity(0, 16), limit);
    assert_eq!(machine.cache(0).grow_failures.load(Relaxed), 0);
}

fn a_resize_that_no_region_can_hold_flushes_nothing<H: TestHeap>() {
    let machine = Machine::<H>::new(1, 1 << 20);
    let block = machine.allocate(64);
    let cached = machine.held(0, 64);
    assert!(!cached.is_empty());
    let (small, large) = (layout(64, 8), layout((1 << 20) + 1, 8));
    let mut cost = Cost::default();
    // SAFETY: The block is live with the layout of 64 bytes, the new layout has the same alignment, and nothing uses the
    // block.
    let resized = unsafe { (machine.engine).resize(machine.block(block), small, large, &mut cost) };
    assert!(!resized);
    assert_eq!(machine.held(0, 64), cached);
    machine.check();
}

/// Gives one CPU the whole budget of 64 KiB, as the capacity of a magazine with 16 blocks of one page, and no
/// failures to grow.
fn take_whole_budget<H: TestHeap>(machine: &Machine<H>, owner: usize) {
    // While the blocks are live, the budget has room for 15 of them only. The second round gets the last one.
    for _ in 0..2 {
        let blocks = machine.on(owner).allocate_all(4096, 16);
        machine.free_all(blocks);
        machine.cache(owner).grow_failures.store(0, Relaxed);
    }
    assert_eq!(machine.reserved_bytes(), 64 << 10);
    assert_eq!(machine.held(owner, 4096).len(), 16);
}

/// Returns a machine with two CPUs whose current CPU is the first one. CPU `owner` has the whole budget.
fn budget_owned_by<H: TestHeap>(owner: usize) -> Machine<H> {
    let machine = Machine::<H>::new(2, 1 << 20);
    take_whole_budget(&machine, owner);
    machine.on(0);
    machine
}

/// Allocates and frees 64 bytes until the current CPU's magazine has a capacity, at most once for each kind.
fn grow<H: TestHeap>(machine: &Machine<H>, cpu: usize) {
    for _ in MagazineKind::all() {
        if machine.capacity(cpu, 64) > 0 {
            return;
        }
        machine.free(machine.allocate(64));
    }
}

#[test]
fn a_cpu_that_cannot_grow_a_magazine_returns_the_capacity_of_its_other_ones() {
    let machine = budget_owned_by::<Heap>(0);
    let (block, path) = machine.serve(layout(64, 8)).unwrap();
    assert_ne!(path, Path::Magazine);
    assert_eq!(machine.free(block), Path::Slab);
    grow(&machine, 0);
    assert_eq!(
        (machine.capacity(0, 64), machine.capacity(0, 4096)),
        (4, 15)
    );
    assert_eq!(machine.held(0, 4096).len(), 15);
    assert_eq!(machine.serve(layout(64, 8)).unwrap().1, Path::Magazine);
}

/// Allocates and frees 64 bytes, and returns how often this took the lock.
fn locks_of_pair<H: TestHeap>(machine: &Machine<H>) -> usize {
    machine.locks(|| {
        let (block, _) = machine.serve_unchecked(layout(64, 8)).unwrap();
        machine.free_unchecked(block);
    })
}

fn an_idle_cpu_loses_its_reserve_to_a_cpu_that_cannot_grow_a_magazine<H: TestHeap>() {
    let machine = budget_owned_by::<H>(1);
    // The allocation and the free take the lock once each, and the redistribution takes it twice.
    assert_eq!(locks_of_pair(&machine), 4);
    grow(&machine, 0);
    let capacities = (machine.capacity(0, 64), machine.capacity(1, 4096));
    assert_eq!(capacities, (4, 15));
    assert_eq!(locks_of_pair(&machine), 0);
    machine.check();
}

fn a_cpu_that_cannot_be_reached_keeps_its_reserve<H: TestHeap>() {
    let machine = budget_owned_by::<H>(1);
    *machine.engine.per_cpu.unreachable.lock().unwrap() = std::vec![1];
    for _ in 0..200 {
        assert!(locks_of_pair(&machine) <= 4);
    }
    let capacities = (machine.capacity(0, 64), machine.capacity(1, 4096));
    assert_eq!(capacities, (0, 16));
}

#[test]
fn the_least_active_cpu_loses_the_reserve() {
    let machine = Machine::<Heap>::new(3, 1 << 20);
    // Two CPUs have half of the budget each. Only the first of these CPUs continues to allocate and free.
    let blocks = [0, 1].map(|cpu| machine.on(cpu).allocate_all(4096, 4));
    assert_eq!(machine.reserved_bytes(), 64 << 10);
    for (cpu, blocks) in blocks.into_iter().enumerate() {
        machine.on(cpu).free_all(blocks);
    }
    for _ in MagazineKind::all() {
        machine.on(0).free(machine.allocate(4096));
        let block = machine.on(2).allocate(64);
        machine.free(block);
    }
    let capacities = [0, 1].map(|cpu| machine.capacity(cpu, 4096));
    assert_eq!(capacities[0], 8);
    assert!(capacities[1] < 8);
    assert_eq!(machine.capacity(2, 64), 4);
}

fn a_request_is_refused_as_busy_after_ten_pauses_for_an_unreachable_cpu<H: TestHeap>() {
    let machine = under_pressure::<H>(2, &[1]);
    *machine.engine.per_cpu.unreachable.lock().unwrap() = std::vec![1];
    assert_eq!(machine.serve_unchecked(pair()), Err(Refusal::Busy));
    assert_eq!(machine.engine.per_cpu.pauses.load(Relaxed), 10);
    assert_eq!(totals(&machine.engine).refusals, [0, 0, 0, 0, 0, 1, 0]);
    machine.engine.per_cpu.unreachable.lock().unwrap().clear();
    assert!(machine.serve(pair()).is_ok());
}

#[test]
fn a_block_without_room_for_a_copy_grows_into_cached_memory() {
    let pages = |pages: usize| layout(pages * PAGE_BYTES, 8);
    for live in [0, 1] {
        let machine = Machine::<Heap>::new(1, 64 * PAGE_BYTES);
        let (large, small) = (pages(40), layout(64, 8));
        let mut cost = Cost::default();
        let block = machine.engine.allocate(large, &mut cost).unwrap();
        // A slab of one page follows the block. The slab has one live object or none.
        let objects = [(); 2].map(|()| machine.serve_unchecked(small).unwrap().0);
        machine.free_all_unchecked(objects[live..].iter().copied());
        assert!((40..60).contains(&(objects[0].byte() as usize / PAGE_BYTES)));
        assert!(machine.magazine_bytes() > 0);
        let mut resize = |from: usize, to: usize| {
            // SAFETY: The block is live with the layout of `from` pages, the new layout has the same
            // alignment, and nothing uses the block.
            unsafe { (machine.engine).resize(block, pages(from), pages(to), &mut cost) }
        };
        // While the pool has room for a copy, no cached memory is returned, because the caller can move the
        // block.
        assert!(resize(40, 8));
        assert!(!resize(8, 50));
        assert!(machine.magazine_bytes() > 0);
        assert!(resize(8, 40));
        assert_eq!(resize(40, 60), live == 0);
        assert_eq!(machine.magazine_bytes(), 0);
        assert_eq!(
            totals(&machine.engine).live_bytes as usize,
            match live {
                0 => 60 * PAGE_BYTES,
                _ => 40 * PAGE_BYTES + small.size(),
            }
        );
        sound(&machine.engine);
    }
}
