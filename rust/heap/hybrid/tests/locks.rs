// SPDX-License-Identifier: GPL-2.0

//! How often the heap's lock is taken: counts, the same in every run. Each is named; the bounds leave
//! about a tenth for changes that do not matter.

use super::machine::Machine;
use crate::{
    Offset,
    hybrid::magazine::BLOCKS_MAX,
    testing::{
        layout,
        numbers::Numbers, //
    },
};
use std::{
    collections::VecDeque,
    vec::Vec, //
};

/// Operations of each pattern.
const OPERATIONS: usize = 20_000;

/// Has a pattern begin, then do [`OPERATIONS`], and returns how often the lock was taken for those.
fn locks(mut operation: impl FnMut(&Machine)) -> usize {
    let machine = Machine::new(1, 16 << 20);
    for _ in 0..2_000 {
        operation(&machine);
    }
    let locks = machine.locks(|| (0..OPERATIONS).for_each(|_| operation(&machine)));
    machine.balanced();
    locks
}

/// Allocates `size` bytes.
fn take(machine: &Machine, size: usize) -> Offset {
    machine.serve_unchecked(layout(size, 8)).unwrap().0
}

/// Allocates `depth` blocks, then frees them, the last one first, and so on.
fn stack(size: usize, depth: usize) -> usize {
    let (mut blocks, mut frees) = (Vec::new(), false);
    locks(|machine| {
        if frees {
            machine.release_unchecked(blocks.pop().unwrap());
            frees = !blocks.is_empty();
        } else {
            blocks.push(take(machine, size));
            frees = blocks.len() == depth;
        }
    })
}

/// Frees the oldest of `depth` blocks and allocates one in turn.
fn queue(size: usize, depth: usize) -> usize {
    let mut blocks = VecDeque::new();
    locks(|machine| {
        if blocks.len() < depth {
            blocks.push_back(take(machine, size));
        } else {
            machine.release_unchecked(blocks.pop_front().unwrap());
        }
    })
}

/// Allocates `depth` blocks, then frees them, the first one first, and so on.
fn waves(size: usize, depth: usize) -> usize {
    let (mut blocks, mut frees) = (VecDeque::new(), false);
    locks(|machine| {
        if frees {
            machine.release_unchecked(blocks.pop_front().unwrap());
            frees = !blocks.is_empty();
        } else {
            blocks.push_back(take(machine, size));
            frees = blocks.len() == depth;
        }
    })
}

/// Allocates or frees one of at most `depth` blocks of these sizes, as it happens.
fn random(sizes: &[usize], depth: usize) -> usize {
    let mut numbers = Numbers(0x5eed);
    let mut blocks = Vec::new();
    locks(|machine| {
        if numbers.below(depth) < blocks.len() {
            let block = blocks.swap_remove(numbers.below(blocks.len()));
            machine.release_unchecked(block);
        } else {
            blocks.push(take(machine, sizes[numbers.below(sizes.len())]));
        }
    })
}

/// Fails if the lock is taken more than `most` times in a thousand operations.
#[track_caller]
fn at_most(most: usize, locks: usize) {
    assert!(locks * 1000 <= most * OPERATIONS, "{locks} in {OPERATIONS}");
}

#[test]
fn what_is_allocated_and_freed_in_turn_takes_no_lock() {
    for size in [8, 64, 3000, 4096, 8192, 65_536] {
        assert_eq!(queue(size, 1), 0, "{size}");
    }
}

#[test]
fn queues_take_no_lock_however_long_they_are() {
    for (size, depth) in [(64, 30), (64, 300), (4096, 63), (8192, 100), (65_536, 10)] {
        assert_eq!(queue(size, depth), 0, "{size}");
    }
}

#[test]
fn what_half_a_magazine_holds_takes_no_lock_in_any_order() {
    for (size, depth) in [(8, 31), (64, 31), (1024, 31), (4096, 16), (8192, 8)] {
        assert_eq!(stack(size, depth), 0, "{size}");
        assert_eq!(waves(size, depth), 0, "{size}");
    }
}

#[test]
fn what_a_whole_magazine_holds_takes_no_lock_in_the_end() {
    // Some periods pass until what is left in the magazine fits.
    for depth in [32, 33, 48, 63, 64, 70, BLOCKS_MAX] {
        for size in [8, 64, 1024] {
            at_most(6, stack(size, depth));
            at_most(6, waves(size, depth));
        }
    }
}

#[test]
fn deep_stacks_and_waves_of_small_objects_take_the_lock_once_in_28_operations() {
    // The worst are 31.5 in 1000, as 32 move at once.
    for depth in [64, 65, 100, 133, 193, 1000] {
        for size in [8, 64] {
            at_most(35, stack(size, depth));
            at_most(35, waves(size, depth));
        }
    }
}

#[test]
fn deep_waves_of_large_objects_take_the_lock_as_often_as_magazines_are_small() {
    // A magazine is filled from several slabs: 32, 28, 28, 43 and 56 in 1000. It may hold 42 blocks
    // of 3000 bytes, and 32 of 4096.
    at_most(35, waves(512, 1000));
    at_most(31, waves(1024, 300));
    at_most(31, waves(2048, 300));
    at_most(48, waves(3000, 300));
    at_most(62, waves(4096, 300));
    // Pages are kept when they were freed only, and what finds no room goes to the heap one by one:
    // 946 in 1000.
    at_most(1041, waves(8192, 300));
}

#[test]
fn random_operations_take_the_lock_once_in_hundreds() {
    // Of one size, 300 blocks deep: 0.6 in 1000, 0.9 of 3000 bytes, 3 of 4096, 41 of two pages.
    at_most(1, random(&[64], 300));
    at_most(1, random(&[3000], 300));
    at_most(3, random(&[4096], 300));
    at_most(45, random(&[8192], 300));
    // Of several sizes, 1000 blocks deep: 0.4 and 1.
    at_most(1, random(&[8, 64, 200, 512], 1000));
    at_most(2, random(&[64, 1024, 4096], 1000));
}
