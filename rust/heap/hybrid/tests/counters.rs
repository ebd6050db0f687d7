// SPDX-License-Identifier: GPL-2.0

//! One counter damaged at a time: the check must name exactly the rule that this breaks. And
//! changes, which make it begin again.

use super::{
    damage::{
        broken,
        class,
        furnished,
        rule, //
    },
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
    class::Class,
    hybrid::{
        State,
        slab::Slabs, //
    },
    lock::Lock,
    testing::{
        Memory,
        layout,
        sound, //
    },
};

#[test]
fn the_buddys_counters_are_compared() {
    let orders = |bit: u32| rule(|heap, _| *heap.buddy.damage().1 ^= 1 << bit);
    assert_eq!([0, 1, 19, 20, 21, 31].map(orders), [Rule::BuddyCounters; 6]);
    let less = rule(|heap, _| *heap.buddy.damage().2 -= 1);
    let more = rule(|heap, _| *heap.buddy.damage().2 += 1);
    assert_eq!([less, more], [Rule::BuddyCounters; 2]);
}

#[test]
fn the_classes_counters_are_compared() {
    for class in Class::all() {
        let number = class.index();
        for damage in [
            |slabs: &mut Slabs| slabs.slabs += 1,
            |slabs: &mut Slabs| slabs.used += 1,
        ] {
            let wrong = broken(|state, _| damage(&mut state.heap.classes[number]));
            let expected = (Rule::ClassCounters, Some(class.number()));
            assert_eq!((wrong.rule, wrong.class), expected);
        }
    }
    let kept = rule(|heap, _| heap.kept.slabs += 1);
    let kept_pages = rule(|heap, _| heap.kept.pages += 1);
    assert_eq!([kept, kept_pages], [Rule::ClassCounters; 2]);
    let number = class(80).index();
    let less = rule(|heap, _| heap.classes[number].used -= 1);
    assert_eq!(less, Rule::ClassCounters);
}

#[test]
fn a_slab_that_lost_its_class_an_object_is_found_though_the_sum_is_right() {
    let moved = rule(|heap, _| {
        heap.classes[class(80).index()].used -= 1;
        heap.classes[class(1024).index()].used += 1;
    });
    assert_eq!(moved, Rule::ClassCounters);
}

#[test]
fn more_that_was_borrowed_than_is_out_is_found() {
    // Larger than 1024 bytes are an object of 3072 and one of 4096, than 80 these and two of 1024.
    for (bytes, most) in [(4096, 0), (3072, 1), (1024, 2), (80, 4), (64, 7)] {
        let number = class(bytes).number();
        let borrow = |state: &mut State, objects| {
            state.heap.borrowed[usize::from(number)] = objects;
        };
        let memory = Memory::new(1 << 20);
        let (engine, _) = furnished(&memory);
        engine.state.with(|state| borrow(state, most));
        sound(&engine);
        for objects in [most + 1, u32::MAX] {
            let found = broken(|state, _| borrow(state, objects));
            let expected = (Rule::ClassCounters, Some(number));
            assert_eq!((found.rule, found.class), expected);
        }
    }
    // What two classes borrowed is not out twice.
    let found = broken(|state, _| {
        state.heap.borrowed[class(2048).index()] = 2;
        state.heap.borrowed[class(1024).index()] = 1;
    });
    assert_eq!(found.class, Some(class(1024).number()));
}

#[test]
fn the_counters_of_blocks_are_compared() {
    assert_eq!(rule(|heap, _| heap.large_blocks[3] += 1), Rule::LiveBlocks);
    assert_eq!(rule(|heap, _| heap.large_blocks[3] -= 1), Rule::LiveBlocks);
    assert_eq!(rule(|heap, _| heap.large_pages += 1), Rule::LiveBlocks);
    assert_eq!(rule(|heap, _| heap.large_pages -= 1), Rule::LiveBlocks);
    assert_eq!(
        broken(|state, _| state.counts.frees += 1).rule,
        Rule::LiveBlocks
    );
    assert_eq!(
        broken(|state, _| state.counts.frees -= 1).rule,
        Rule::LiveBlocks
    );
}

#[test]
fn the_pools_size_is_compared() {
    assert_eq!(rule(|heap, _| heap.pages += 1), Rule::PoolBytes);
    // A region that the engine was not given.
    let more = rule(|heap, _| {
        heap.add(1, table(8), 0);
    });
    assert_eq!(more, Rule::PoolBytes);
}

#[test]
fn every_change_makes_a_walk_begin_again() {
    let memory = Memory::new(1 << 20);
    let (engine, _) = furnished(&memory);
    let mut cost = Cost::default();
    // With free pages behind it.
    let (nine, twelve) = (layout(9 << 12, 8), layout(12 << 12, 8));
    let mut out = engine.allocate(nine, &mut cost).unwrap();
    let mut walk = Walk::new();
    let mut disturbed = |what: &str, change: &mut dyn FnMut(&mut Block)| {
        assert_eq!(engine.check(&mut walk), Ok(Progress::More));
        assert_eq!(engine.check(&mut walk), Ok(Progress::More));
        let (before, epoch) = (walk.restarts, walk.epoch);
        change(&mut out);
        assert_eq!(engine.check(&mut walk), Ok(Progress::More));
        assert!(walk.restarts > before && walk.epoch != epoch, "{what}");
    };
    let mut cost = Cost::default();
    disturbed("allocation", &mut |_| {
        engine.allocate(layout(8, 8), &mut cost).unwrap();
    });
    disturbed("growth in place", &mut |out| {
        // SAFETY: The block is out, with this layout.
        assert!(unsafe { engine.resize(*out, nine, twelve, &mut Cost::default()) });
    });
    disturbed("free", &mut |out| {
        // SAFETY: The block is out, with this layout, and freed once.
        unsafe { engine.release(*out, twelve, &mut Cost::default()) }.unwrap();
    });
    disturbed("refusal for which slabs gave their pages back", &mut |_| {
        let block = engine
            .allocate(layout(32, 8), &mut Cost::default())
            .unwrap();
        // SAFETY: Allocated just above with this layout, and freed once.
        unsafe { engine.release(block, layout(32, 8), &mut Cost::default()) }.unwrap();
        let mut walk = Walk::new();
        assert_eq!(engine.check(&mut walk), Ok(Progress::More));
        let refused = engine.allocate(layout(1 << 20, 8), &mut Cost::default());
        assert_eq!(refused, Err(Refusal::Exhausted));
        assert_eq!(engine.check(&mut walk), Ok(Progress::More));
        assert_eq!(walk.restarts, 1);
    });
    let more = Memory::new(1 << 16);
    disturbed("region", &mut |_| assert_eq!(more.lend(&engine), Ok(1)));
    let end = check::run(&mut walk, |walk| engine.check(walk));
    assert_eq!(end, Ok(Progress::Sound));
    assert!(walk.restarts < RESTARTS);
}
