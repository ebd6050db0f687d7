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
            Page,
            PageKind, //
        },
    },
    lock::Lock,
    size_class::{
        Class, //
    },
    testing::{
        HostMemory,
        LockedHybrid,
        TestEngine,
        layout,
        prelude::*,
        sound, //
    },
};

/// The first pages of the blocks in the prepared engine.
pub(crate) struct Places {
    /// An empty slab of 8 bytes: the last page of the pool.
    pub(crate) empty: Page,
    /// A slab of 80 bytes with the first three of its 51 objects live.
    pub(crate) partial: Page,
    /// Two slabs of 1024 bytes, each with one of its four objects live.
    pub(crate) pair: [Page; 2],
    /// A slab of 4096 bytes with its only object live.
    pub(crate) full: Page,
    /// A slab of three pages.
    pub(crate) three: Page,
    /// A block of five pages.
    pub(crate) large: Page,
    /// A block of one page.
    pub(crate) single: Page,
    /// Three free blocks of two pages, in the order of their list.
    pub(crate) free: [Page; 3],
    /// The largest free block.
    pub(crate) largest: Page,
}

/// Returns the class that serves requests of `bytes` bytes.
pub(crate) fn class(bytes: usize) -> Class {
    Class::of(&layout(bytes, 1)).unwrap()
}

/// Constructs an engine with a block of every kind.
pub(crate) fn prepared(memory: &HostMemory) -> (LockedHybrid, Places) {
    let engine = LockedHybrid::over(memory);
    let allocate = |size, align| {
        let mut cost = Cost::default();
        engine.allocate(layout(size, align), &mut cost).unwrap()
    };
    let free = |block: Block, size| {
        let mut cost = Cost::default();
        // SAFETY: The blocks were allocated with this size and alignment, and each block is freed once below.
        unsafe { engine.free(block, layout(size, 8), &mut cost) }.unwrap();
    };
    let page = |block: Block| Page::of(engine.offset(block.start).unwrap()).unwrap();

    let empty = allocate(8, 8);
    let partial = [(); 3].map(|()| allocate(80, 8))[0];
    let thousands = [(); 8].map(|()| allocate(1024, 8));
    let full = allocate(4096, 8);
    let three = allocate(3072, 8);
    let large = allocate(5 << PAGE_SHIFT, 8);
    let single = allocate(8, 8192);
    // The only free block of two pages.
    allocate(8192, 8);
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

/// Damages a prepared engine, and returns the broken rule and the place that the check reports.
pub(crate) fn broken(damage: impl FnOnce(&mut State, &Places)) -> Broken {
    let memory = HostMemory::new(1 << 20);
    let (engine, places) = prepared(&memory);
    engine.state.with(|state| damage(state, &places));
    check::run(&mut Walk::new(), |walk| engine.check(walk)).unwrap_err()
}

/// Damages the heap of a prepared engine, and returns the rule that the check reports.
pub(crate) fn rule(damage: impl FnOnce(&mut Heap, &Places)) -> Rule {
    broken(|state, places| damage(&mut state.heap, places)).rule
}

/// Overwrites one page descriptor of a prepared engine, and returns the rule that the check reports.
pub(crate) fn rule_of(kind: PageKind, place: impl FnOnce(&Places) -> Page) -> Rule {
    rule(|heap, places| heap.buddy.metadata.set_kind(place(places), kind))
}
