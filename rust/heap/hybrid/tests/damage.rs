// SPDX-License-Identifier: GPL-2.0

//! An engine with something of everything in it, to be damaged by the tests of `faults`.

use crate::{
    Block, Cost, Engine,
    check::{
        self,
        Broken,
        Rule,
        Walk, //
    },
    class::{
        Class,
        PAGE_SHIFT, //
    },
    hybrid::{
        State,
        buddy::ORDERS,
        heap::Heap,
        page::{
            Page, //
            PageKind,
        },
    },
    lock::Lock,
    testing::{
        LockedHybrid,
        Memory,
        TestEngine,
        layout,
        sound, //
    },
};
use std::vec::Vec;

/// Where there is what in the engine that is damaged.
pub(super) struct Places {
    /// An empty slab of the class of 8 bytes: the last page.
    pub(super) empty: Page,
    /// A slab of 80 bytes with three of its 51 objects out: the first three.
    pub(super) partial: Page,
    /// Two slabs of 1024 bytes with one of four objects out.
    pub(super) pair: [Page; 2],
    /// A slab of 4096 bytes with its only object out.
    pub(super) full: Page,
    /// A slab of three pages.
    pub(super) three: Page,
    /// A block of five pages.
    pub(super) large: Page,
    /// A block of one page.
    pub(super) single: Page,
    /// Three free blocks of two pages: first, second and last in their list.
    pub(super) free: [Page; 3],
    /// The largest free block.
    pub(super) largest: Page,
}

/// Returns the class that serves so many bytes.
pub(super) fn class(bytes: usize) -> Class {
    Class::of(&layout(bytes, 1)).unwrap()
}

/// Makes an engine with something of everything in it.
pub(super) fn furnished(memory: &Memory) -> (LockedHybrid, Places) {
    let engine = LockedHybrid::over(memory);
    let allocate = |size, align| {
        let mut cost = Cost::default();
        engine.allocate(layout(size, align), &mut cost).unwrap()
    };
    let free = |block: Block, size| {
        let mut cost = Cost::default();
        // SAFETY: The blocks below were allocated with this size, and are freed once.
        unsafe { engine.release(block, layout(size, 8), &mut cost) }.unwrap();
    };
    let page = |block: Block| Page::of(block.offset.unwrap()).unwrap();

    let empty = allocate(8, 8);
    let partial = [(); 3].map(|()| allocate(80, 8))[0];
    let thousands = [(); 8].map(|()| allocate(1024, 8));
    let full = allocate(4096, 8);
    let three = allocate(3072, 8);
    let large = allocate(5 << PAGE_SHIFT, 8);
    let single = allocate(8, 8192);
    let pairs = [(); 7].map(|()| allocate(8192, 8));
    free(empty, 8);
    for block in [1, 2, 3, 5, 6, 7] {
        free(thousands[block], 1024);
    }
    for block in [4, 2, 0] {
        free(pairs[block], 8192);
    }
    sound(&engine);
    let largest = engine.state.with(|state| {
        let first = |order| state.heap.buddy.list(order).first();
        (0..ORDERS).rev().find_map(first).unwrap()
    });
    let places = Places {
        empty: page(empty),
        partial: page(partial),
        pair: [page(thousands[0]), page(thousands[4])],
        full: page(full),
        three: page(three),
        large: page(large),
        single: page(single),
        free: [0, 2, 4].map(|block| page(pairs[block])),
        largest,
    };
    (engine, places)
}

/// Damages an engine and returns what the check finds broken.
pub(super) fn broken(damage: impl FnOnce(&mut State, &Places)) -> Broken {
    let memory = Memory::new(1 << 20);
    let (engine, places) = furnished(&memory);
    engine.state.with(|state| damage(state, &places));
    check::run(&mut Walk::new(), |walk| engine.check(walk)).unwrap_err()
}

/// As [`broken`], the rule only.
pub(super) fn rule(damage: impl FnOnce(&mut Heap, &Places)) -> Rule {
    broken(|state, places| damage(&mut state.heap, places)).rule
}

/// As [`rule`], for a frame that says something else.
pub(super) fn rule_of(kind: PageKind, place: impl FnOnce(&Places) -> Page) -> Rule {
    rule(|heap, places| heap.descs.set_kind(place(places), kind))
}

#[test]
fn the_engine_that_is_damaged_is_sound_and_has_everything() {
    let memory = Memory::new(1 << 20);
    let (engine, places) = furnished(&memory);
    engine.state.with(|state| {
        let kind = |page| state.heap.descs.kind(page);
        let slab = |bytes, used| PageKind::Slab {
            class: class(bytes),
            used,
        };
        assert_eq!(
            (places.empty.index(), kind(places.empty)),
            (255, slab(8, 0))
        );
        assert_eq!(kind(places.partial), slab(80, 3));
        assert_eq!(places.pair.map(kind), [slab(1024, 1), slab(1024, 1)]);
        assert_eq!(kind(places.full), slab(4096, 1));
        assert_eq!(kind(places.three), slab(3072, 1));
        assert_eq!(kind(places.large), PageKind::Large { pages: 5 });
        assert_eq!(kind(places.single), PageKind::Large { pages: 1 });
        assert_eq!(places.free.map(kind), [PageKind::Free { order: 1 }; 3]);
        let PageKind::Free { order } = kind(places.largest) else {
            panic!("no block is free");
        };
        assert!(order > 4);
        let list = state.heap.buddy.list(1);
        let next = |page: &Page| state.heap.descs.next(*page);
        let listed: Vec<_> = core::iter::successors(list.first(), next).collect();
        assert_eq!(listed, places.free);
    });
}
