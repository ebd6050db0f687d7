// SPDX-License-Identifier: GPL-2.0

//! Each test damages one field, and expects the check to name exactly the rule that the damage breaks.

use crate::{
    Cost, Engine,
    check::{
        self,
        Progress,
        Rule,
        STEP,
        Walk, //
    },
    lock::Lock,
    seed::State,
    testing::{
        HostMemory,
        HostSeed,
        TestEngine,
        layout,
        prelude::*,
        sound, //
    },
};
use core::ptr;

/// Damages an engine that has live blocks of two classes and of the buddy system, and returns the
/// rule and the class that the check names.
///
/// The arguments of `damage` are the state of the engine, the address of a free block of 64 bytes, and the
/// link of this block.
fn broken_rule(damage: impl FnOnce(&mut State, usize, usize)) -> (Rule, Option<u8>) {
    let memory = HostMemory::new(1 << 20);
    let engine = HostSeed::over(&memory);
    let mut cost = Cost::default();
    for size in [64, 64, 1000, 5000] {
        engine.allocate(layout(size, 8), &mut cost).unwrap();
    }
    sound(&engine);
    engine.state.with(|state| {
        let heap = state.heap.as_ref().unwrap();
        let first = heap.slab_64_bytes.free_blocks().1.unwrap();
        // SAFETY: The block is free memory of the engine, aligned to 64 bytes, so its first word is readable:
        // it is the link.
        let link = unsafe { super::super::free_list::link(first) };
        damage(state, first, link);
    });
    let broken = check::run(&mut Walk::new(), |walk| engine.check(walk)).unwrap_err();
    (broken.rule, broken.class)
}

/// Overwrites the link of a free block.
fn overwrite(block: usize, link: usize) {
    // SAFETY: The block is free memory of the engine of `broken_rule`, aligned to 64 bytes, so its first word
    // is writable.
    unsafe { ptr::with_exposed_provenance_mut::<usize>(block).write(link) };
}

#[test]
fn a_list_that_ends_too_early_is_found() {
    assert_eq!(
        broken_rule(|_, block, _| overwrite(block, 0)),
        (Rule::ListLength, Some(0))
    );
}

#[test]
fn a_list_that_does_not_end_is_found() {
    assert_eq!(
        broken_rule(|_, block, _| overwrite(block, block)),
        (Rule::ListLength, Some(0))
    );
}

#[test]
fn a_link_out_of_the_pool_is_found() {
    assert_eq!(
        broken_rule(|_, block, _| overwrite(block, 0x1000)),
        (Rule::BlockInPool, Some(0))
    );
    assert_eq!(
        broken_rule(|_, block, _| overwrite(block, usize::MAX)),
        (Rule::BlockInPool, Some(0))
    );
}

#[test]
fn a_link_into_a_block_is_found() {
    assert_eq!(
        broken_rule(|_, block, link| overwrite(block, link + 8)),
        (Rule::BlockAligned, Some(0))
    );
}

#[test]
fn a_block_freed_twice_is_found() {
    let rule = broken_rule(|state, block, _| {
        // SAFETY: The test violates the contract on purpose: the block is already free. `deallocate` only
        // writes the link of the block, which is memory of the engine of `broken_rule`.
        unsafe { state.heap.as_mut().unwrap().slab_64_bytes.deallocate(block) };
    });
    assert_eq!(rule, (Rule::ListLength, Some(0)));
}

#[test]
fn more_free_blocks_than_blocks_are_found() {
    let more = HostMemory::new(4096);
    let rule = broken_rule(|state, _, _| {
        let slab = &mut state.heap.as_mut().unwrap().slab_64_bytes;
        for n in 0..3 {
            // SAFETY: The test violates the contract on purpose: the slab has two live blocks, and three
            // other blocks are freed. `deallocate` only writes links into memory that nothing but this test
            // uses, and that outlives the engine.
            unsafe { slab.deallocate(more.addr() + n * 64) };
        }
    });
    assert_eq!(rule, (Rule::ClassCounters, Some(0)));
}

#[test]
fn slab_memory_that_is_not_from_the_buddy_system_is_found() {
    let rule = broken_rule(|state, block, _| {
        // SAFETY: The test violates the contract on purpose: the buddy system did not allocate the memory.
        // `grow` only writes links into the memory, which is free memory of the engine of `broken_rule`.
        unsafe {
            state
                .heap
                .as_mut()
                .unwrap()
                .slab_2048_bytes
                .grow((block | 0x8_0000) & !0x7_ffff, 1 << 18)
        };
    });
    assert_eq!(rule, (Rule::BuddyCounters, None));
}

#[test]
fn a_slab_in_foreign_memory_is_found() {
    let more = HostMemory::new(1 << 20);
    let rule = broken_rule(|state, _, _| {
        // SAFETY: Nothing but this test uses the memory, which outlives the engine.
        unsafe {
            state
                .heap
                .as_mut()
                .unwrap()
                .slab_2048_bytes
                .grow(more.addr(), 1 << 20)
        };
    });
    assert_eq!(rule, (Rule::BlockInPool, Some(5)));
}

#[test]
fn memory_that_is_in_no_region_is_found() {
    let more = HostMemory::new(1 << 20);
    let rule = broken_rule(|state, _, _| {
        // SAFETY: Nothing but this test uses the memory, which outlives the engine.
        unsafe {
            state
                .heap
                .as_mut()
                .unwrap()
                .add_memory(more.addr(), 1 << 20)
        };
    });
    assert_eq!(rule, (Rule::PoolBytes, None));
}

#[test]
fn a_wrong_count_of_frees_is_found() {
    // If two frees too many are counted, the slabs have more live blocks than the engine has counted.
    assert_eq!(
        broken_rule(|state, _, _| state.frees += 2),
        (Rule::LiveBlocks, None)
    );
}

#[test]
fn a_long_list_is_checked_in_steps_and_again_after_a_change() {
    let memory = HostMemory::new(4 << 20);
    let engine = HostSeed::over(&memory);
    let mut cost = Cost::default();
    let small = layout(64, 8);
    let blocks = 3 * STEP;
    let live: std::vec::Vec<_> = (0..blocks)
        .map(|_| engine.allocate(small, &mut cost).unwrap())
        .collect();
    for block in live {
        // SAFETY: The block was allocated above with this layout, and is freed once.
        unsafe { engine.free(block, small, &mut cost) }.unwrap();
    }
    let mut walk = Walk::new();
    assert_eq!(engine.check(&mut walk), Ok(Progress::More));
    assert_eq!(walk.walked(), STEP as u64);
    engine.allocate(small, &mut cost).unwrap();
    assert_eq!(
        check::run(&mut walk, |walk| engine.check(walk)),
        Ok(Progress::Sound)
    );
    assert_eq!(walk.walked(), blocks as u64 - 1);
    // The walk gives up if the engine changes before each step.
    let disturbed = check::run(&mut Walk::new(), |walk| {
        engine.allocate(small, &mut Cost::default()).unwrap();
        engine.check(walk)
    });
    assert_eq!(disturbed, Ok(Progress::Disturbed));
}
