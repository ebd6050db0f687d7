// SPDX-License-Identifier: GPL-2.0

//! The map of the prepared heap, and bounds of a call.

use super::{
    PAGES,
    empty,
    with_prepared, //
};
use crate::{
    Cost,
    Engine as _,
    backing_heap::InspectHeap as _,
    check::STEP,
    map::{
        Extent,
        Map as _,
        Mapped,
        NoMap,
        Use, //
    },
    testing::{
        HostMemory,
        layout,
        map::read, //
    }, //
};

/// Returns a mixed page, of granules.
fn mixed(page: u32, blocks: u16, used: u16, largest_free: u16) -> Extent {
    Extent {
        page,
        pages: 1,
        what: Use::Mixed {
            blocks,
            used_bytes: used * 16,
            largest_free_bytes: largest_free * 16,
        },
    }
}

#[test]
fn the_map_shows_each_kind_of_page() {
    let extent = |page, pages, what| Extent { page, pages, what };
    let expected = [
        // 5 + 2 + 3 + 200 granules of blocks; the free run of 100 granules has 23 of them in this page.
        mixed(0, 4, 210, 23),
        // 77 granules of the free run, and 179 of the block of 700 granules.
        mixed(1, 1, 179, 77),
        extent(2, 2, Use::Large),
        // 9 granules of the same block, and the block of 247 granules.
        mixed(4, 1, 256, 0),
        extent(5, 1, Use::Large),
        extent(6, 2, Use::Free),
        mixed(8, 1, 16, 240),
        extent(9, 1, Use::Free),
        // 34 granules of a free run, a block of 30, and 192 of the next free run.
        mixed(10, 1, 30, 192),
        extent(11, 1, Use::Free),
        mixed(12, 1, 10, 174),
        extent(13, 1, Use::Free),
        mixed(14, 1, 86, 170),
        extent(15, 1, Use::Large),
        extent(16, 4, Use::Large),
        extent(20, 236, Use::Free),
    ];
    with_prepared(|heap| {
        let mut out = [Extent::default(); 64];
        let mapped = heap.map(0, 0, &mut out).unwrap();
        assert_eq!((mapped.next, mapped.end), (256, 256));
        assert_eq!(out[..mapped.extents], expected);
        let mapped = heap.map(1, 0, &mut out).unwrap();
        let expected = [
            mixed(0, 2, 196, 60),
            extent(1, 66, Use::Large),
            mixed(67, 0, 8, 248),
            extent(68, 2, Use::Free),
        ];
        assert_eq!(out[..mapped.extents], expected);
        assert_eq!(PAGES[1], 70);
    });
}

#[test]
fn a_call_reads_a_bounded_number_of_page_descriptors() {
    let memory = HostMemory::new(8 << 20);
    let engine = empty();
    memory.lend(&engine).unwrap();
    let mut cost = Cost::default();
    engine.allocate(layout(6 << 20, 8), &mut cost).unwrap();
    let mut out = [Extent::default(); 4];
    // Pages that only continue a block.
    let mapped = engine.map(0, 1, &mut out).unwrap();
    let expected = Mapped {
        extents: 0,
        next: 1 + STEP as u32,
        end: 2048,
    };
    assert_eq!(mapped, expected);
    let rest = read(&engine, 0, 1, 4);
    assert_eq!((rest.len(), rest[0].page), (1, 1536));
    // Pages with many blocks: a call reads the blocks of few pages.
    while engine.allocate(layout(16, 8), &mut cost).is_ok() {}
    let mut out = [Extent::default(); 512];
    let mapped = engine.map(0, 1536, &mut out).unwrap();
    assert_eq!(mapped.extents, 2);
    assert_eq!(out[0], mixed(1536, 256, 256, 0));
}

#[test]
fn a_missing_region_has_no_map() {
    let memory = HostMemory::new(1 << 20);
    let engine = empty();
    let mut out = [Extent::default()];
    assert_eq!(engine.map(0, 0, &mut out), Err(NoMap));
    memory.lend(&engine).unwrap();
    for region in [1, 15, 16, 17, usize::MAX] {
        assert_eq!(engine.map(region, 0, &mut out), Err(NoMap));
    }
    for page in [256, 257, 1 << 20, u32::MAX] {
        let expected = Mapped {
            extents: 0,
            next: 256,
            end: 256,
        };
        assert_eq!(engine.map(0, page, &mut out), Ok(expected));
    }
}
