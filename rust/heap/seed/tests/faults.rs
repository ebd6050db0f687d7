// SPDX-License-Identifier: GPL-2.0

//! One field damaged at a time: the check must name exactly the rule that this breaks.

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
        HostSeed,
        Memory,
        TestEngine,
        layout,
        sound, //
    },
};
use core::ptr;

/// Damages an engine that has blocks of two classes and of the buddy system out, and returns the
/// rule and the class that the check names.
///
/// `damage` is given the engine's state, and the address and link of a free 64-byte block.
fn named(damage: impl FnOnce(&mut State, usize, usize)) -> (Rule, Option<u8>) {
    let memory = Memory::new(1 << 20);
    let engine = HostSeed::over(&memory);
    let mut cost = Cost::default();
    for size in [64, 64, 1000, 5000] {
        engine.allocate(layout(size, 8), &mut cost).unwrap();
    }
    sound(&engine);
    engine.state.with(|state| {
        let heap = state.heap.as_ref().unwrap();
        let first = heap.slab_64_bytes.free_blocks().1.unwrap();
        // SAFETY: The block is free, so its first word is its link.
        let link = unsafe { super::super::free_list::link(first) };
        damage(state, first, link);
    });
    let broken = check::run(&mut Walk::new(), |walk| engine.check(walk)).unwrap_err();
    (broken.rule, broken.class)
}

/// Overwrites the link of a free block.
fn overwrite(block: usize, link: usize) {
    // SAFETY: The callers' blocks lie in the memory of `named`.
    unsafe { ptr::with_exposed_provenance_mut::<usize>(block).write(link) };
}

#[test]
fn a_list_that_ends_too_early_is_found() {
    assert_eq!(
        named(|_, block, _| overwrite(block, 0)),
        (Rule::ListLength, Some(0))
    );
}

#[test]
fn a_list_that_does_not_end_is_found() {
    assert_eq!(
        named(|_, block, _| overwrite(block, block)),
        (Rule::ListLength, Some(0))
    );
}

#[test]
fn a_link_out_of_the_pool_is_found() {
    assert_eq!(
        named(|_, block, _| overwrite(block, 0x1000)),
        (Rule::BlockInPool, Some(0))
    );
    assert_eq!(
        named(|_, block, _| overwrite(block, usize::MAX)),
        (Rule::BlockInPool, Some(0))
    );
}

#[test]
fn a_link_into_a_block_is_found() {
    assert_eq!(
        named(|_, block, link| overwrite(block, link + 8)),
        (Rule::BlockAligned, Some(0))
    );
}

#[test]
fn a_block_freed_twice_is_found() {
    let rule = named(|state, block, _| {
        // SAFETY: The block lies in the memory of `named`. That it is free already is the damage.
        unsafe { state.heap.as_mut().unwrap().slab_64_bytes.deallocate(block) };
    });
    assert_eq!(rule, (Rule::ListLength, Some(0)));
}

#[test]
fn more_free_blocks_than_blocks_are_found() {
    let more = Memory::new(4096);
    let rule = named(|state, _, _| {
        let slab = &mut state.heap.as_mut().unwrap().slab_64_bytes;
        for n in 0..3 {
            // SAFETY: The memory is this test's, and outlives the engine. That the slab never had
            // these blocks is the damage: two of its own are out, three come in.
            unsafe { slab.deallocate(more.addr() + n * 64) };
        }
    });
    assert_eq!(rule, (Rule::ClassCounters, Some(0)));
}

#[test]
fn slab_memory_that_the_buddy_system_did_not_give_is_found() {
    let rule = named(|state, block, _| {
        // SAFETY: The memory is that of `named`, far from where the heap has put anything. That
        // the heap has it already is the damage.
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
    let more = Memory::new(1 << 20);
    let rule = named(|state, _, _| {
        // SAFETY: The memory is this test's, and outlives the engine.
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
fn memory_that_is_no_region_is_found() {
    let more = Memory::new(1 << 20);
    let rule = named(|state, _, _| {
        // SAFETY: The memory is this test's, and outlives the engine.
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
fn a_lost_block_is_found() {
    // The count of frees runs ahead: more is out of slabs than was handed out.
    assert_eq!(
        named(|state, _, _| state.frees += 2),
        (Rule::LiveBlocks, None)
    );
}

#[test]
fn long_lists_are_walked_in_steps_and_again_after_a_change() {
    let memory = Memory::new(4 << 20);
    let engine = HostSeed::over(&memory);
    let mut cost = Cost::default();
    let small = layout(64, 8);
    let blocks = 3 * STEP;
    let out: std::vec::Vec<_> = (0..blocks)
        .map(|_| engine.allocate(small, &mut cost).unwrap())
        .collect();
    for block in out {
        // SAFETY: Allocated above with this layout.
        unsafe { engine.release(block, small, &mut cost) }.unwrap();
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
    // Never left in peace, the walk gives up.
    let disturbed = check::run(&mut Walk::new(), |walk| {
        engine.allocate(small, &mut Cost::default()).unwrap();
        engine.check(walk)
    });
    assert_eq!(disturbed, Ok(Progress::Disturbed));
}
