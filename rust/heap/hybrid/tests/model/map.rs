// SPDX-License-Identifier: GPL-2.0

//! Comparisons of the map with an oracle that only knows the live blocks, reads in chunks of several sizes,
//! and maps of damaged page descriptors.

use super::{
    class,
    prepared, //
};
use crate::{
    Block, Cost, Engine, PAGE_BYTES,
    hybrid::page::{
        Page,
        PageKind, //
    },
    lock::Lock,
    map::{
        Extent,
        Mapped,
        NoMap,
        Use, //
    },
    size_class::{
        CLASSES,
        Class, //
    },
    testing::{
        HostMemory,
        HostSeed,
        LockedHybrid,
        TestEngine,
        layout,
        map::{
            is_partition,
            read, //
        },
        model::{
            ModelOperation,
            operations,
            regions, //
        },
        prelude::*,
        totals, //
    },
};
use core::alloc::Layout;
use proptest::prelude::*;
use std::{
    vec,
    vec::Vec, //
};

/// Panics unless the map of a region agrees with the live blocks. Adds the number of borrowed objects of each
/// class of requests to `borrowed`.
fn agrees(
    engine: &LockedHybrid,
    region: usize,
    extents: &[Extent],
    live: &[(Block, Layout)],
    borrowed: &mut [usize; CLASSES],
) {
    let mut used = vec![0; extents.len()];
    for (block, layout) in live {
        let offset = engine.offset(block.start).unwrap();
        if usize::from(offset.region()) != region {
            continue;
        }
        let page = (offset.byte() as usize / PAGE_BYTES) as u32;
        let at = extents.partition_point(|extent| extent.page <= page) - 1;
        let extent = &extents[at];
        used[at] += 1;
        match (extent.what, Class::of(layout)) {
            (Use::Large, None) => {
                let pages = layout.size().div_ceil(PAGE_BYTES);
                assert_eq!((extent.page, extent.pages as usize), (page, pages));
            }
            // This is a fallback: one page in place of a slab of several pages.
            (Use::Large, Some(class)) => {
                assert!(class.pages() > 1);
                assert_eq!((extent.page, extent.pages), (page, 1));
            }
            // The object may be borrowed from a larger class. The heap counts such objects.
            (Use::Slab { class: own, .. }, Some(class)) => {
                assert!(own >= class.number());
                borrowed[class.index()] += usize::from(own > class.number());
            }
            (what, _) => panic!("{block:?} of {layout:?} is in {what:?}"),
        }
    }
    let mut empty = Vec::new();
    for (extent, live_blocks) in extents.iter().zip(used) {
        match extent.what {
            Use::Large => assert_eq!(live_blocks, 1),
            Use::Slab {
                class,
                objects,
                used,
            } => {
                let known = Class::new(class).unwrap();
                assert_eq!(extent.pages as usize, known.pages());
                assert_eq!(usize::from(objects), known.objects());
                assert_eq!(usize::from(used), live_blocks);
                if used == 0 {
                    assert!(!empty.contains(&class));
                    empty.push(class);
                }
            }
            Use::Free => {
                assert!(extent.pages.is_power_of_two());
                assert_eq!(extent.page % extent.pages, 0);
                assert_eq!(live_blocks, 0);
                let buddy = extent.page ^ extent.pages;
                let same = |other: &Extent| {
                    (other.page, other.pages, other.what) == (buddy, extent.pages, extent.what)
                };
                assert!(!extents.iter().any(same), "two buddies are free");
            }
            Use::Mixed { .. } => panic!("a page with slabs or blocks is not mixed"),
        }
    }
}

/// Runs an operation, and updates the live blocks.
fn apply(engine: &LockedHybrid, live: &mut Vec<(Block, Layout)>, operation: ModelOperation) {
    let mut cost = Cost::default();
    let nth = |pick: usize, live: &[_]| pick.checked_rem(live.len());
    match operation {
        ModelOperation::Allocate(size, align_order) => {
            let layout = layout(size, 1 << align_order);
            let block = engine.allocate(layout, &mut cost);
            live.extend(block.ok().map(|block| (block, layout)));
        }
        ModelOperation::Release(pick) => {
            let Some(nth) = nth(pick, live) else {
                return;
            };
            let (block, layout) = live.swap_remove(nth);
            // SAFETY: The block was live with this layout, and was removed, so it is freed once.
            unsafe { engine.free(block, layout, &mut cost) }.unwrap();
        }
        ModelOperation::Resize(pick, size) => {
            let Some(nth) = nth(pick, live) else {
                return;
            };
            let (block, old) = live[nth];
            let new = layout(size, old.align());
            // SAFETY: The block is live with this layout, `new` has the same alignment, and nothing uses the
            // block during the call.
            if unsafe { engine.resize(block, old, new, &mut cost) } {
                live[nth].1 = new;
            }
        }
        ModelOperation::Move(_) | ModelOperation::Shrink => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn the_map_agrees_with_the_live_blocks(
        bytes in prop_oneof![
            Just(&[32 << 10][..]),
            Just(&[1 << 20][..]),
            Just(&[333 * PAGE_BYTES][..]),
            Just(&[12 << 10, 64 << 10, 1 << 18, PAGE_BYTES][..]),
        ],
        operations in operations(200, 15),
    ) {
        let memories = regions(bytes, 0);
        let engine = LockedHybrid::empty();
        for memory in &memories {
            memory.lend(&engine).unwrap();
        }
        let mut live = Vec::new();
        for operation in operations {
            apply(&engine, &mut live, operation);
            let (mut free, mut borrowed) = (0, [0; CLASSES]);
            for (region, memory) in memories.iter().enumerate() {
                let extents = read(&engine, region, 0, 1 << 12);
                is_partition(&extents, memory.bytes() / PAGE_BYTES);
                agrees(&engine, region, &extents, &live, &mut borrowed);
                let is_free = |extent: &&Extent| matches!(extent.what, Use::Free);
                free += extents.iter().filter(is_free).map(|extent| extent.pages).sum::<u32>();
            }
            prop_assert_eq!(free as usize * PAGE_BYTES, totals(&engine).free_bytes as usize);
            prop_assert_eq!(borrowed, engine.state.with(|state| state.heap.borrowed));
        }
        for (region, memory) in memories.iter().enumerate() {
            let whole = read(&engine, region, 0, 1 << 12);
            for room in [1, 2, 7] {
                prop_assert_eq!(&read(&engine, region, 0, room), &whole);
            }
            // A map from any page on has the extents that begin at this page or after it.
            for page in 0..=(memory.bytes() / PAGE_BYTES) as u32 {
                let rest = whole.iter().copied().filter(|extent| extent.page >= page);
                prop_assert_eq!(read(&engine, region, page, 3), rest.collect::<Vec<_>>());
            }
        }
    }
}

#[test]
fn the_map_shows_each_kind_of_block() {
    let memory = HostMemory::new(1 << 20);
    let (engine, places) = prepared(&memory);
    let extents = read(&engine, 0, 0, 64);
    is_partition(&extents, 256);
    let what = |page: Page| {
        let at = extents
            .iter()
            .find(|extent| extent.page as usize == page.index());
        at.map(|extent| (extent.pages, extent.what)).unwrap()
    };
    let slab = |bytes, used| {
        let class = class(bytes);
        let what = Use::Slab {
            class: class.number(),
            objects: class.objects() as u16,
            used,
        };
        (class.pages() as u32, what)
    };
    assert_eq!(what(places.empty), slab(8, 0));
    assert_eq!(what(places.partial), slab(80, 3));
    assert_eq!(what(places.full), slab(4096, 1));
    assert_eq!(what(places.three), slab(3072, 1));
    assert_eq!(what(places.large), (5, Use::Large));
    assert_eq!(what(places.single), (1, Use::Large));
    assert_eq!(what(places.free[0]), (2, Use::Free));
}

#[test]
fn a_call_reads_a_bounded_number_of_page_descriptors() {
    // Several calls are needed to visit the interior of a large block. These calls return no extents.
    let memory = HostMemory::new(8 << 20);
    let engine = LockedHybrid::over(&memory);
    let mut cost = Cost::default();
    let block = engine.allocate(layout(6 << 20, 8), &mut cost).unwrap();
    assert_eq!(engine.offset(block.start).unwrap().byte(), 0);
    let mut out = [Extent::default(); 4];
    let mapped = engine.map(0, 1, &mut out).unwrap();
    let expected = Mapped {
        extents: 0,
        next: 1 + crate::check::STEP as u32,
        end: 2048,
    };
    assert_eq!(mapped, expected);
    let rest = read(&engine, 0, 1, 4);
    assert_eq!((rest.len(), rest[0].page), (1, 1536));
}

#[test]
fn a_missing_region_has_no_map() {
    let memory = HostMemory::new(1 << 20);
    let engine = LockedHybrid::over(&memory);
    let mut out = [Extent::default()];
    for region in [1, 15, 16, 17, usize::MAX] {
        let mapped = engine.map(region, 0, &mut out);
        assert_eq!(mapped, Err(NoMap));
    }
    for page in [256, 257, 1 << 20, u32::MAX] {
        let expected = Mapped {
            extents: 0,
            next: 256,
            end: 256,
        };
        assert_eq!(engine.map(0, page, &mut out), Ok(expected));
    }
    assert_eq!(LockedHybrid::empty().map(0, 0, &mut out), Err(NoMap));
    let seed = HostSeed::over(&memory);
    assert!(seed.interfaces().map.is_none() && engine.interfaces().map.is_some());
}

#[test]
fn damaged_page_descriptors_make_a_wrong_map_and_do_no_other_harm() {
    let class = class(3072);
    let kinds = [
        PageKind::Interior,
        PageKind::SlabTail {
            class,
            pages_before: 200,
        },
        PageKind::Free { order: 0 },
        PageKind::Free { order: 63 },
        PageKind::Free { order: 64 },
        PageKind::Free { order: 255 },
        PageKind::Large { pages: 0 },
        PageKind::Large { pages: u32::MAX },
        PageKind::Slab {
            class,
            used: u16::MAX,
        },
    ];
    for kind in kinds {
        for index in 0..256 {
            let memory = HostMemory::new(1 << 20);
            let (engine, _) = prepared(&memory);
            engine.state.with(|state| {
                state
                    .heap
                    .buddy
                    .metadata
                    .set_kind(Page::new(0, index), kind);
            });
            let extents = read(&engine, 0, 0, 64);
            assert_eq!(extents, read(&engine, 0, 0, 1));
            let mut next = 0;
            for extent in extents {
                assert!(extent.pages > 0 && extent.page >= next);
                next = extent.page + extent.pages;
            }
            assert!(next <= 256);
        }
    }
}
