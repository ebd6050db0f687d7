// SPDX-License-Identifier: GPL-2.0

//! The number of times that operations take the heap's lock. The counts are the same in every run. Comments
//! contain the counts, and the bounds are about a tenth higher, so that small changes of the code pass.

use super::Machine;
use crate::{
    Offset,
    magazines::magazine::BLOCKS_MAX,
    testing::{
        layout,
        numbers::Numbers, //
    },
};
use std::{
    collections::VecDeque,
    vec::Vec, //
};

/// The number of measured operations of each pattern.
const OPERATIONS: usize = 20_000;

/// Runs a pattern to warm up, then for [`OPERATIONS`] operations, and returns how often these operations took
/// the lock.
fn locks(mut operation: impl FnMut(&Machine)) -> usize {
    let machine = Machine::new(1, 16 << 20);
    for _ in 0..2_000 {
        operation(&machine);
    }
    let locks = machine.locks(|| (0..OPERATIONS).for_each(|_| operation(&machine)));
    machine.check();
    locks
}

/// Allocates `size` bytes.
fn allocate(machine: &Machine, size: usize) -> Offset {
    machine.serve_unchecked(layout(size, 8)).unwrap().0
}

/// Measures a pattern that repeatedly allocates `depth` blocks and frees them, the last block first.
fn stack(size: usize, depth: usize) -> usize {
    let (mut blocks, mut frees) = (Vec::new(), false);
    locks(|machine| {
        if frees {
            machine.free_unchecked(blocks.pop().unwrap());
            frees = !blocks.is_empty();
        } else {
            blocks.push(allocate(machine, size));
            frees = blocks.len() == depth;
        }
    })
}

/// Measures a pattern that alternately frees the oldest of `depth` blocks and allocates a new block.
fn queue(size: usize, depth: usize) -> usize {
    let mut blocks = VecDeque::new();
    locks(|machine| {
        if blocks.len() < depth {
            blocks.push_back(allocate(machine, size));
        } else {
            machine.free_unchecked(blocks.pop_front().unwrap());
        }
    })
}

/// Measures a pattern that repeatedly allocates `depth` blocks and frees them, the first block first.
fn waves(size: usize, depth: usize) -> usize {
    let (mut blocks, mut frees) = (VecDeque::new(), false);
    locks(|machine| {
        if frees {
            machine.free_unchecked(blocks.pop_front().unwrap());
            frees = !blocks.is_empty();
        } else {
            blocks.push_back(allocate(machine, size));
            frees = blocks.len() == depth;
        }
    })
}

/// Measures a pattern that randomly allocates or frees one of at most `depth` blocks of these sizes.
fn random(sizes: &[usize], depth: usize) -> usize {
    let mut numbers = Numbers(0x5eed);
    let mut blocks = Vec::new();
    locks(|machine| {
        if numbers.below(depth) < blocks.len() {
            let block = blocks.swap_remove(numbers.below(blocks.len()));
            machine.free_unchecked(block);
        } else {
            blocks.push(allocate(machine, sizes[numbers.below(sizes.len())]));
        }
    })
}

/// Panics if `locks` is more than `most` for each thousand operations.
#[track_caller]
fn at_most(most: usize, locks: usize) {
    assert!(locks * 1000 <= most * OPERATIONS, "{locks} in {OPERATIONS}");
}

#[test]
fn alternating_allocations_and_frees_take_no_lock() {
    for size in [8, 64, 3000, 4096, 8192, 65_536] {
        assert_eq!(queue(size, 1), 0, "{size}");
    }
}

#[test]
fn queues_of_any_length_take_no_lock() {
    for (size, depth) in [(64, 30), (64, 300), (4096, 63), (8192, 100), (65_536, 10)] {
        assert_eq!(queue(size, depth), 0, "{size}");
    }
}

#[test]
fn blocks_that_fill_half_a_magazine_take_no_lock_in_any_order() {
    for (size, depth) in [(8, 31), (64, 31), (1024, 31), (4096, 16), (8192, 8)] {
        assert_eq!(stack(size, depth), 0, "{size}");
        assert_eq!(waves(size, depth), 0, "{size}");
    }
}

#[test]
fn blocks_that_an_exchange_moves_take_no_lock_after_some_rounds() {
    for size in [8, 64, 1024] {
        for depth in [32, 33, 48, 63, 64] {
            assert_eq!(stack(size, depth), 0, "{size}");
            assert_eq!(waves(size, depth), 0, "{size}");
        }
        // A round needs two exchanges with the depot. The highest count is 14.3 in 1000.
        for depth in [70, BLOCKS_MAX] {
            at_most(16, stack(size, depth));
            at_most(16, waves(size, depth));
        }
    }
}

#[test]
fn deep_stacks_and_waves_of_small_objects_take_the_lock_once_in_60_operations() {
    // The highest count is 15 in 1000, because 64 blocks move at a time.
    for depth in [64, 65, 100, 133, 193, 1000] {
        for size in [8, 64] {
            at_most(16, stack(size, depth));
            at_most(16, waves(size, depth));
        }
    }
}

#[test]
fn deep_waves_of_large_objects_take_the_lock_more_often_the_smaller_the_magazine() {
    // The counts are 15, 13.3, 16.6 and 26.7 in 1000. The capacity of a magazine is 42 for blocks of 3000 bytes.
    at_most(17, waves(512, 1000));
    at_most(15, waves(1024, 300));
    at_most(18, waves(2048, 300));
    at_most(30, waves(3000, 300));
    // The counts are 121 and 167 in 1000. The blocks do not fit into the budget. The heap takes and returns at most two
    // objects of 4096 bytes at a time, because each is a slab, and eight blocks of two pages.
    at_most(133, waves(4096, 300));
    at_most(184, waves(8192, 300));
}

#[test]
fn random_operations_take_the_lock_once_in_hundreds() {
    // With one size and at most 300 blocks, the counts are 0 in 1000 for 64 bytes, 1.6 for 3000 bytes, 4.3
    // for 4096 bytes, and 10.4 for two pages.
    at_most(1, random(&[64], 300));
    at_most(2, random(&[3000], 300));
    at_most(5, random(&[4096], 300));
    at_most(12, random(&[8192], 300));
    // With several sizes and at most 1000 blocks, the counts are 0.3 and 1.9 in 1000.
    at_most(1, random(&[8, 64, 200, 512], 1000));
    at_most(2, random(&[64, 1024, 4096], 1000));
}

#[test]
fn adjacent_blocks_of_pages_are_flushed_together_behind_scattered_ones() {
    let machine = Machine::new(1, 16 << 20);
    let blocks: Vec<_> = (0..1000).map(|_| allocate(&machine, 8192)).collect();
    // The magazine and the depot fill with blocks that do not lie side by side.
    for block in blocks[..600].iter().step_by(2) {
        machine.free_unchecked(*block);
    }
    let locks = machine.locks(|| {
        for block in &blocks[600..900] {
            machine.free_unchecked(*block);
        }
    });
    machine.check();
    // 45: a few scattered blocks are flushed one by one, then eight blocks at a time.
    assert!(locks <= 50, "{locks}");
}
