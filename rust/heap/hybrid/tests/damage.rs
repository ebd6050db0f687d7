// SPDX-License-Identifier: GPL-2.0

//! An engine with a block of every kind, for the tests that damage metadata.

use crate::{
    Block, Cost, Engine, PAGE_SHIFT,
    check::{
        self,
        Broken,
        Rule,
        Walk, //
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
    size_class::{
        Class, //
    },
    testing::{
        LockedHybrid,
        Memory,
        TestEngine,
        layout,
        prelude::*,
        sound, //
    },
};
use std::vec::Vec;

/// The first pages of the blocks in the prepared engine.
pub(super) struct Places {
    /// An empty slab of 8 bytes: the last page of the pool.
    pub(super) empty: Page,
    /// A slab of 80 bytes with the first three of its 51 objects live.
    pub(super) partial: Page,
    /// Two slabs of 1024 bytes, each with one of its four objects live.
    pub(super) pair: [Page; 2],
    /// A slab of 4096 bytes with its only object live.
    pub(super) full: Page,
    /// A slab of three pages.
    pub(super) three: Page,
    /// A block of five pages.
    pub(super) large: Page,
    /// A block of one page.
    pub(super) single: Page,
    /// Three free blocks of two pages, in the order of their list.
    pub(super) free: [Page; 3],
    /// The largest free block.
    pub(super) largest: Page,
}

/// Returns the class that serves requests of `bytes` bytes.
pub(super) fn class(bytes: usize) -> Class {
    Class::of(&layout(bytes, 1)).unwrap()
}

/// Constructs an engine with a block of every kind.
pub(super) fn prepared(memory: &Memory) -> (LockedHybrid, Places) {
    let engine = LockedHybrid::over(memory);
    let allocate = |size, align| {
        let mut cost = Cost::default();
        engine.allocate(layout(size, align), &mut cost).unwrap()
    };
    let free = |block: Block, size| {
        let mut cost = Cost::default();
        // SAFETY: The blocks were allocated with this size, and each is freed once below.
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
        let first = |order: usize| state.heap.buddy.lists[order].first();
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

/// Damages a prepared engine, and returns the broken rule that the check reports, and where.
pub(super) fn broken(damage: impl FnOnce(&mut State, &Places)) -> Broken {
    let memory = Memory::new(1 << 20);
    let (engine, places) = prepared(&memory);
    engine.state.with(|state| damage(state, &places));
    check::run(&mut Walk::new(), |walk| engine.check(walk)).unwrap_err()
}

/// Damages the heap of a prepared engine, and returns the rule that the check reports.
pub(super) fn rule(damage: impl FnOnce(&mut Heap, &Places)) -> Rule {
    broken(|state, places| damage(&mut state.heap, places)).rule
}

/// Overwrites one page descriptor of a prepared engine, and returns the rule that the check reports.
pub(super) fn rule_of(kind: PageKind, place: impl FnOnce(&Places) -> Page) -> Rule {
    rule(|heap, places| heap.buddy.descs.set_kind(place(places), kind))
}

#[test]
fn the_prepared_engine_is_sound_and_has_every_kind_of_block() {
    let memory = Memory::new(1 << 20);
    let (engine, places) = prepared(&memory);
    engine.state.with(|state| {
        let kind = |page| state.heap.buddy.descs.kind(page);
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
        let list = state.heap.buddy.lists[1];
        let next = |page: &Page| state.heap.buddy.descs.next(*page);
        let listed: Vec<_> = core::iter::successors(list.first(), next).collect();
        assert_eq!(listed, places.free);
    });
}
