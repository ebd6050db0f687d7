// SPDX-License-Identifier: GPL-2.0

//! Damaged places and links of bitmaps in bitmap memory.

use super::{
    broken,
    class, //
};
use crate::{
    Cost, Engine,
    check::Rule,
    engine::BadFree,
    hybrid::bitmaps::{
        Place,
        Size, //
    },
    hybrid::page::Page,
    lock::Lock,
    testing::{
        HostHybrid,
        HostMemory,
        TestEngine,
        check,
        layout, //
    },
};

/// The size of the bitmaps of the class of 8 bytes, of which the prepared engine has an empty slab.
fn size() -> Size {
    Size::of(class(8)).unwrap()
}

#[test]
fn a_damaged_place_is_found_in_its_slab() {
    for place in [0, 2, 5, 1 << 20, u64::MAX] {
        let wrong = broken(|state, at| {
            *state.heap.buddy.metadata.word(at.empty).unwrap() = place;
        });
        assert_eq!(wrong.rule, Rule::Bitmap, "place {place}");
        assert_eq!(wrong.class, Some(class(8).number()));
    }
}

#[test]
fn two_slabs_with_one_bitmap_are_found() {
    let memory = HostMemory::new(1 << 20);
    let engine = HostHybrid::over(&memory);
    let allocate = || {
        let block = engine.allocate(layout(2048, 2048), &mut Cost::default());
        Page::of(engine.offset(block.unwrap().start).unwrap()).unwrap()
    };
    allocate();
    // Two full slabs of 32 bytes have the same bits.
    let mut pages: std::vec::Vec<_> = (0..512)
        .map(|_| {
            let block = engine.allocate(layout(32, 8), &mut Cost::default());
            Page::of(engine.offset(block.unwrap().start).unwrap()).unwrap()
        })
        .collect();
    pages.dedup();
    engine.state.with(|state| {
        let metadata = &mut state.heap.buddy.metadata;
        let place = *metadata.word(pages[0]).unwrap();
        *metadata.word(pages[1]).unwrap() = place;
    });
    assert_eq!(check(&engine).unwrap_err().rule, Rule::Bitmap);
}

#[test]
fn a_damaged_list_of_free_bitmaps_is_found() {
    let damages: [fn(&mut crate::hybrid::bitmaps::Bitmaps); 6] = [
        |bitmaps| bitmaps.free[0].first = Place(u64::MAX),
        |bitmaps| bitmaps.free[0].first = Place(0),
        |bitmaps| bitmaps.free[0].len += 1,
        |bitmaps| bitmaps.free[0].len -= 1,
        |bitmaps| bitmaps.used[0] += 1,
        |bitmaps| {
            let first = bitmaps.free[0].first;
            // The list has a cycle.
            bitmaps.get(first, Size::of(class(32)).unwrap()).unwrap()[0] = first.0;
        },
    ];
    for (number, damage) in damages.into_iter().enumerate() {
        let memory = HostMemory::new(1 << 20);
        let engine = HostHybrid::over(&memory);
        engine
            .allocate(layout(32, 8), &mut Cost::default())
            .unwrap();
        assert!(check(&engine).is_ok());
        engine
            .state
            .with(|state| damage(&mut state.heap.buddy.metadata.bitmaps));
        let found = check(&engine).map_err(|broken| broken.rule);
        assert_eq!(found, Err(Rule::Bitmap), "damage {number}");
    }
}

#[test]
fn a_slab_with_a_damaged_place_refuses_frees_and_is_not_followed() {
    let memory = HostMemory::new(1 << 20);
    let engine = crate::testing::LockedHybrid::over(&memory);
    let block = engine.allocate(layout(8, 8), &mut Cost::default()).unwrap();
    let page = Page::of(engine.offset(block.start).unwrap()).unwrap();
    engine.state.with(|state| {
        *state.heap.buddy.metadata.word(page).unwrap() = u64::MAX;
    });
    // SAFETY: The block is live, and the engine refuses the free.
    let freed = unsafe { engine.free(block, layout(8, 8), &mut Cost::default()) };
    assert_eq!(freed, Err(BadFree::Foreign));
    // The list of partial slabs has no other slab, so the request is refused or served by a larger class.
    let _ = engine.allocate(layout(8, 8), &mut Cost::default());
    assert_eq!(check(&engine).unwrap_err().rule, Rule::Bitmap);
}

#[test]
fn a_damaged_list_of_free_bitmaps_loses_no_page() {
    let memory = HostMemory::new(1 << 20);
    let engine = HostHybrid::over(&memory);
    let free_pages = engine.state.with(|state| {
        let bitmaps = &mut state.heap.buddy.metadata.bitmaps;
        bitmaps.free[size().index()].first = Place(u64::MAX);
        bitmaps.free[size().index()].len = 1;
        state.heap.buddy.free_pages
    });
    assert!(engine.allocate(layout(8, 8), &mut Cost::default()).is_err());
    let after = engine.state.with(|state| state.heap.buddy.free_pages);
    assert_eq!(after, free_pages);
}
