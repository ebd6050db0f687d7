// SPDX-License-Identifier: GPL-2.0

//! Examples of the depot: exchanges with the magazines of CPUs, its limits, and its blocks under pressure.

use super::Machine;
use crate::{
    Offset, PAGE_BYTES, Path,
    lock::Lock,
    magazines::{
        depot::{
            MAGAZINES_MAX,
            STORED_MAX, //
        },
        magazine::BLOCKS_MAX,
    },
    testing::{
        HostMemory,
        layout,
        prelude::*,
        totals, //
    },
};
use std::vec::Vec;

/// Allocates `count` blocks, shrinks, and frees the blocks until the depot has some. Returns the blocks that are live.
fn fill_depot(machine: &Machine, size: usize, count: usize) -> Vec<Offset> {
    let mut blocks = machine.allocate_all(size, count);
    machine.engine.shrink();
    while machine.stored(size).is_empty() {
        machine.free(blocks.remove(0));
    }
    blocks
}

#[test]
fn a_full_magazine_gives_its_newest_blocks_to_the_depot() {
    let machine = Machine::new(1, 1 << 20);
    let mut blocks = machine.allocate_all(64, 300).into_iter();
    machine.engine.shrink();
    for block in blocks.by_ref().take(BLOCKS_MAX) {
        assert_eq!(machine.free(block), Path::Magazine);
    }
    let full = machine.held(0, 64);
    assert_eq!(full.len(), BLOCKS_MAX);
    let last = blocks.next().unwrap();
    assert_eq!(machine.free(last), Path::Depot);
    let (older, newer) = full.split_at(8);
    assert_eq!(machine.held(0, 64), [older, &[last]].concat());
    assert_eq!(machine.stored(64), newer);
    assert_eq!(newer.len(), STORED_MAX);
    // For the heap, the blocks are still allocated.
    assert!(newer.iter().all(|block| machine.is_allocated(*block, 64)));
    // The magazine now has room for 63 more frees without the lock.
    let locks = machine.locks(|| {
        for block in blocks.by_ref().take(63) {
            machine.free_unchecked(block);
        }
    });
    assert_eq!(locks, 0);
}

#[test]
fn an_empty_magazine_gets_the_blocks_of_the_depot_newest_first() {
    let machine = Machine::new(1, 1 << 20);
    fill_depot(&machine, 64, 300);
    let cached = [machine.stored(64), machine.held(0, 64)].concat();
    machine.allocate_all(64, 9);
    let (block, path) = machine.serve(layout(64, 8)).unwrap();
    assert_eq!((block, path), (cached[STORED_MAX - 1], Path::Depot));
    assert_eq!(machine.stored(64), []);
    assert_eq!(machine.held(0, 64), cached[..STORED_MAX - 1]);
}

#[test]
fn a_cpu_that_only_frees_supplies_one_that_only_allocates() {
    for size in [64, 1024, 2 * PAGE_BYTES] {
        let machine = Machine::new(2, 8 << 20);
        let mut live: Vec<_> = machine.on(0).allocate_all(size, 64);
        let mut paths = Vec::new();
        for _ in 0..1000 {
            let (block, path) = machine.on(0).serve_unchecked(layout(size, 8)).unwrap();
            paths.push(path);
            live.push(block);
            machine.on(1).free_unchecked(live.remove(0));
        }
        machine.check();
        let by = |path| paths.iter().filter(|other| **other == path).count();
        assert!(by(Path::Depot) > 10 && by(Path::Magazine) > 800);
        // After the first rounds, the heap serves no more requests.
        let late = &paths[500..];
        assert!(
            late.iter()
                .all(|path| [Path::Depot, Path::Magazine].contains(path))
        );
    }
}

#[test]
fn a_small_capacity_leaves_blocks_in_the_depot() {
    let machine = Machine::new(2, 1 << 20);
    fill_depot(&machine, 64, 300);
    // The budget has room for one block of the other CPU besides the blocks of the depot.
    let state = &machine.engine.state;
    let taken = state.with(|state| {
        let budget = state.regions.bytes() / 16;
        let taken = budget + (STORED_MAX - 1) * 64 - state.reserved_bytes;
        state.reserved_bytes += taken;
        taken
    });
    let (_, path) = machine.on(1).serve_unchecked(layout(64, 8)).unwrap();
    assert_eq!(path, Path::Depot);
    let cached = (machine.capacity(1, 64), machine.stored(64).len());
    assert_eq!(cached, (1, STORED_MAX - 2));
    state.with(|state| state.reserved_bytes -= taken);
    machine.check();
}

#[test]
fn the_depot_and_the_magazines_hold_a_sixteenth_of_the_pool_together() {
    for (size, pool) in [(2 * PAGE_BYTES, 8 << 20), (1024, 8 << 20), (4096, 1 << 20)] {
        let machine = Machine::new(1, pool);
        let blocks = machine.allocate_all(size, pool / 2 / size);
        for block in blocks {
            machine.free_unchecked(block);
            assert!(machine.reserved_bytes() <= pool / 16);
        }
        machine.check();
        assert!(machine.magazine_bytes() > pool / 32);
    }
}

#[test]
fn a_pool_of_64_mib_has_all_magazines_of_the_depot_and_a_small_one_has_none() {
    let stored = |pool: usize| {
        let machine = Machine::new(1, 32 << 10);
        let memory = HostMemory::new(pool);
        memory.lend(&machine.engine).unwrap();
        machine.engine.state.with(|state| state.depot.count())
    };
    assert_eq!(stored(256 << 10), 0);
    assert_eq!(stored(1 << 20), 2);
    assert_eq!(stored(64 << 20), MAGAZINES_MAX);
    assert_eq!(stored(128 << 20), MAGAZINES_MAX);
}

#[test]
fn a_request_under_pressure_gets_the_blocks_of_the_depot() {
    let machine = Machine::new(2, 1 << 20);
    let live = fill_depot(&machine, 64, 300);
    machine.on(1).free_all_unchecked(live);
    assert!(!machine.stored(64).is_empty());
    // Only the blocks in magazines and in the depot are not free.
    assert!(machine.serve(layout(1 << 20, 8)).is_ok());
    assert_eq!((machine.magazine_bytes(), machine.reserved_bytes()), (0, 0));
}

#[test]
fn a_shrink_empties_the_depot() {
    let machine = Machine::new(1, 1 << 20);
    let live = fill_depot(&machine, 64, 300);
    machine.free_all_unchecked(live);
    let cached = totals(&machine.engine).cached_bytes as usize;
    assert_eq!(machine.engine.shrink(), cached);
    assert_eq!(machine.stored(64), []);
    assert_eq!(totals(&machine.engine).free_bytes, 1 << 20);
    machine.check();
}

#[test]
fn a_reclaiming_caller_keeps_blocks_out_of_the_depot() {
    let machine = Machine::new(1, 1 << 20);
    let blocks = machine.allocate_all(64, 300);
    machine.engine.shrink();
    machine.free_all(blocks[..BLOCKS_MAX].iter().copied());
    machine.engine.state.with(|state| state.reclaimers += 1);
    machine.free(blocks[BLOCKS_MAX]);
    assert_eq!(machine.stored(64), []);
    machine.engine.state.with(|state| state.reclaimers -= 1);
}

#[test]
fn blocks_of_pages_that_the_depot_does_not_take_are_freed_side_by_side() {
    let machine = Machine::new(1, 4 << 20);
    let size = 2 * PAGE_BYTES;
    let blocks = machine.allocate_all(size, 64);
    machine.engine.shrink();
    let locks = machine.locks(|| machine.free_all_unchecked(blocks.iter().rev().copied()));
    machine.check();
    // 24 blocks are cached, because the budget was smaller while the other blocks were live. Those go to the heap eight
    // at a time.
    assert_eq!(machine.magazine_bytes(), 24 * size);
    assert!(locks < 16, "{locks}");
}
