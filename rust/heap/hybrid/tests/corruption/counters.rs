// SPDX-License-Identifier: GPL-2.0

//! Damage to one counter at a time, and changes of the heap during a walk. For damage, the check must name
//! exactly the rule that the damage breaks. After a change, the walk must begin again.

use super::{
    broken,
    class,
    prepared,
    rule,
    table, //
};
use crate::{
    Block, Cost, Engine, Refusal,
    check::{
        self,
        Progress,
        RESTARTS,
        Rule,
        Walk, //
    },
    hybrid::{
        State,
        slab::Slabs, //
    },
    lock::Lock,
    size_class::Class,
    testing::{
        HostMemory,
        layout,
        prelude::*,
        sound, //
    },
};

#[test]
fn wrong_counters_of_the_buddy_system_are_found() {
    let orders = |bit: u32| rule(|heap, _| heap.buddy.orders ^= 1 << bit);
    assert_eq!([0, 1, 19, 20, 21, 31].map(orders), [Rule::BuddyCounters; 6]);
    let less = rule(|heap, _| heap.buddy.free_pages -= 1);
    let more = rule(|heap, _| heap.buddy.free_pages += 1);
    assert_eq!([less, more], [Rule::BuddyCounters; 2]);
}

#[test]
fn wrong_counters_of_classes_are_found() {
    for class in Class::all() {
        let number = class.index();
        for damage in [
            |slabs: &mut Slabs| slabs.slab_count += 1,
            |slabs: &mut Slabs| slabs.used += 1,
        ] {
            let wrong = broken(|state, _| damage(&mut state.heap.classes[number]));
            let expected = (Rule::ClassCounters, Some(class.number()));
            assert_eq!((wrong.rule, wrong.class), expected);
        }
    }
    let number = class(80).index();
    let less = rule(|heap, _| heap.classes[number].used -= 1);
    assert_eq!(less, Rule::ClassCounters);
}

#[test]
fn an_object_counted_in_the_wrong_class_is_found_though_the_sum_is_right() {
    let moved = rule(|heap, _| {
        heap.classes[class(80).index()].used -= 1;
        heap.classes[class(1024).index()].used += 1;
    });
    assert_eq!(moved, Rule::ClassCounters);
}

#[test]
fn more_borrowed_objects_than_live_ones_are_found() {
    // Each `most` is the number of live objects of larger classes. One object of 4096 bytes, one of 3072
    // bytes, two of 1024 bytes and three of 80 bytes are live.
    for (bytes, most) in [(4096, 0), (3072, 1), (1024, 2), (80, 4), (64, 7)] {
        let number = class(bytes).number();
        let borrow = |state: &mut State, objects| {
            state.heap.borrowed[usize::from(number)] = objects;
        };
        let memory = HostMemory::new(1 << 20);
        let (engine, _) = prepared(&memory);
        engine.state.with(|state| borrow(state, most));
        sound(&engine);
        for objects in [most + 1, usize::MAX] {
            let found = broken(|state, _| borrow(state, objects));
            let expected = (Rule::ClassCounters, Some(number));
            assert_eq!((found.rule, found.class), expected);
        }
    }
    // The classes of 2048 and 1024 bytes cannot have borrowed three objects: only two are larger.
    let found = broken(|state, _| {
        state.heap.borrowed[class(2048).index()] = 2;
        state.heap.borrowed[class(1024).index()] = 1;
    });
    assert_eq!(found.class, Some(class(1024).number()));
}

#[test]
fn wrong_counters_of_blocks_are_found() {
    assert_eq!(rule(|heap, _| heap.large_blocks[3] += 1), Rule::LiveBlocks);
    assert_eq!(rule(|heap, _| heap.large_blocks[3] -= 1), Rule::LiveBlocks);
    assert_eq!(rule(|heap, _| heap.allocated_blocks += 1), Rule::LiveBlocks);
    assert_eq!(rule(|heap, _| heap.allocated_blocks -= 1), Rule::LiveBlocks);
    assert_eq!(rule(|heap, _| heap.large_pages += 1), Rule::LiveBlocks);
    assert_eq!(rule(|heap, _| heap.large_pages -= 1), Rule::LiveBlocks);
    assert_eq!(broken(|state, _| state.frees += 1).rule, Rule::LiveBlocks);
    assert_eq!(broken(|state, _| state.frees -= 1).rule, Rule::LiveBlocks);
}

#[test]
fn a_wrong_size_of_the_pool_is_found() {
    assert_eq!(rule(|heap, _| heap.pages += 1), Rule::PoolBytes);
    // The heap has a region that the engine does not have.
    let more = rule(|heap, _| {
        heap.add(1, 8, table(8), 0);
    });
    assert_eq!(more, Rule::PoolBytes);
}

#[test]
fn every_change_makes_a_walk_begin_again() {
    let memory = HostMemory::new(1 << 20);
    let (engine, _) = prepared(&memory);
    let mut cost = Cost::default();
    // Free pages follow this block, so that it can grow in place.
    let (nine, twelve) = (layout(9 << 12, 8), layout(12 << 12, 8));
    let mut large = engine.allocate(nine, &mut cost).unwrap();
    let mut walk = Walk::new();
    let mut disturbed = |what: &str, change: &mut dyn FnMut(&mut Block)| {
        assert_eq!(engine.check(&mut walk), Ok(Progress::More));
        assert_eq!(engine.check(&mut walk), Ok(Progress::More));
        let (before, epoch) = (walk.restarts, walk.epoch);
        change(&mut large);
        assert_eq!(engine.check(&mut walk), Ok(Progress::More));
        assert!(walk.restarts > before && walk.epoch != epoch, "{what}");
    };
    let mut cost = Cost::default();
    disturbed("allocation", &mut |_| {
        engine.allocate(layout(8, 8), &mut cost).unwrap();
    });
    disturbed("growth in place", &mut |large| {
        // SAFETY: The block is live with this layout, the new layout has the same alignment, and nothing uses
        // the block.
        assert!(unsafe { engine.resize(*large, nine, twelve, &mut Cost::default()) });
    });
    disturbed("free", &mut |large| {
        // SAFETY: The block is live with this layout, and is freed once.
        unsafe { engine.free(*large, twelve, &mut Cost::default()) }.unwrap();
    });
    disturbed("refusal after which empty slabs were returned", &mut |_| {
        let block = engine
            .allocate(layout(32, 8), &mut Cost::default())
            .unwrap();
        // SAFETY: The block was just allocated with this layout, and is freed once.
        unsafe { engine.free(block, layout(32, 8), &mut Cost::default()) }.unwrap();
        let mut walk = Walk::new();
        assert_eq!(engine.check(&mut walk), Ok(Progress::More));
        let refused = engine.allocate(layout(1 << 20, 8), &mut Cost::default());
        assert_eq!(refused, Err(Refusal::Exhausted));
        assert_eq!(engine.check(&mut walk), Ok(Progress::More));
        assert_eq!(walk.restarts, 1);
    });
    let more = HostMemory::new(1 << 16);
    disturbed("region", &mut |_| assert_eq!(more.lend(&engine), Ok(1)));
    let end = check::run(&mut walk, |walk| engine.check(walk));
    assert_eq!(end, Ok(Progress::Sound));
    assert!(walk.restarts < RESTARTS);
}
