// SPDX-License-Identifier: GPL-2.0

//! Examples of the heap: slabs and the buddy system together.

use super::{
    BareHeap,
    at, //
};
use crate::{
    Cost, Engine, Offset, Path, Refusal,
    backing_heap::BackingHeap,
    region::RegionError,
    size_class::Class,
    testing::{
        HostMemory,
        LockedHybrid,
        TestEngine,
        classes,
        layout,
        sound,
        totals, //
    },
};

#[test]
fn the_cost_names_path_class_and_order() {
    let mut heap = BareHeap::new(&[256]);
    let mut cost_of = |size, align| {
        let (_, cost) = heap.allocate(layout(size, align)).unwrap();
        (cost.path(), cost.class(), cost.order(), cost.splits())
    };
    let class = |bytes| Class::of(&layout(bytes, 1)).map(Class::number);
    assert_eq!(
        cost_of(1000, 8),
        (Path::Growth, class(1024), Some(0), Some(8))
    );
    assert_eq!(cost_of(1000, 8), (Path::Slab, class(1024), None, Some(0)));
    // The pages in front of the first slab are one run. The slab takes its first three pages, from a block of 128.
    assert_eq!(
        cost_of(3000, 8),
        (Path::Growth, class(3072), Some(2), Some(7))
    );
    assert_eq!(cost_of(5000, 8), (Path::Buddy, None, Some(1), Some(0)));
    // The run from page 5 on begins with free blocks of 1, 2 and 8 pages, of which the last one is split.
    assert_eq!(cost_of(9 * 4096, 8), (Path::Buddy, None, Some(4), Some(1)));
    assert_eq!(cost_of(8, 1 << 16).0, Path::Buddy);
}

#[test]
fn a_large_request_reclaims_the_pages_of_empty_slabs() {
    let mut heap = BareHeap::new(&[16]);
    heap.allocate(layout(8 << 12, 8)).unwrap();
    let sizes = [8, 64, 1024, 3072];
    let blocks = sizes.map(|size| heap.allocate(layout(size, 8)).unwrap().0);
    for (block, size) in blocks.into_iter().zip(sizes) {
        heap.free(block, layout(size, 8)).unwrap();
    }
    assert_eq!(heap.0.buddy.free_pages, 2);
    let (block, cost) = heap.allocate(layout(8 << 12, 8)).unwrap();
    assert_eq!((block, cost.path()), (at(8 << 12), Path::Buddy));
    assert!(cost.merges().is_some_and(|merges| merges >= 3));
    assert_eq!(heap.figures(), (std::vec![(0, 0); 32], 0, 16, 2));
    heap.sound();
}

#[test]
fn an_emptied_heap_allocates_the_same_blocks_again() {
    // The last free empties a slab of a class that already has an empty slab cached.
    let sizes = [4096, 8, 5000, 64, 1024, 3072, 100_000, 4096];
    let mut heap = BareHeap::new(&[64]);
    let mut fill = || {
        let blocks = sizes.map(|size| heap.allocate(layout(size, 8)).unwrap().0);
        for (block, size) in blocks.into_iter().zip(sizes) {
            heap.free(block, layout(size, 8)).unwrap();
            heap.sound();
        }
        assert_eq!(heap.0.buddy.free_pages, 64);
        blocks
    };
    assert_eq!(fill(), fill());
}

#[test]
fn a_shrink_returns_all_empty_slabs() {
    let mut heap = BareHeap::new(&[64]);
    heap.allocate(layout(4096, 8)).unwrap();
    let blocks = [8, 3072].map(|size| (heap.allocate(layout(size, 8)).unwrap().0, size));
    for (block, size) in blocks {
        heap.free(block, layout(size, 8)).unwrap();
    }
    assert_eq!(heap.0.free_empty_slabs(), 4);
    assert_eq!(
        (heap.0.buddy.free_pages, heap.0.free_empty_slabs()),
        (63, 0)
    );
    heap.sound();
}

#[test]
fn the_only_slab_of_an_empty_heap_stays_cached() {
    let mut heap = BareHeap::new(&[64]);
    for path in [Path::Growth, Path::Slab, Path::Slab] {
        let (block, cost) = heap.allocate(layout(64, 8)).unwrap();
        assert_eq!(cost.path(), path);
        heap.free(block, layout(64, 8)).unwrap();
    }
}

#[test]
fn a_new_slab_reclaims_the_pages_of_empty_slabs_of_other_classes() {
    let mut heap = BareHeap::new(&[2]);
    for size in [8, 64] {
        let block = heap.allocate(layout(size, 8)).unwrap().0;
        heap.free(block, layout(size, 8)).unwrap();
    }
    let (_, cost) = heap.allocate(layout(512, 8)).unwrap();
    assert_eq!((cost.path(), heap.0.buddy.free_pages), (Path::Growth, 1));
    heap.sound();
}

#[test]
fn a_refused_request_leaves_no_empty_slab_cached() {
    let mut heap = BareHeap::new(&[8]);
    heap.allocate(layout(4096, 8)).unwrap();
    let block = heap.allocate(layout(64, 8)).unwrap().0;
    heap.free(block, layout(64, 8)).unwrap();
    assert_eq!(heap.0.buddy.free_pages, 6);
    let refused = heap.allocate(layout(8 << 12, 8)).unwrap_err();
    assert_eq!((refused, heap.0.buddy.free_pages), (Refusal::Exhausted, 7));
    heap.sound();
}

#[test]
fn one_page_serves_an_object_when_no_slab_of_three_pages_fits() {
    let mut heap = BareHeap::new(&[5]);
    let (three, small) = (layout(3000, 8), layout(64, 8));
    for n in 0..4 {
        assert_eq!(heap.allocate(three).unwrap().0, at(n * 3072));
    }
    // The fourth and the fifth page are free. These pages are two blocks, so no slab of three pages fits.
    let (fourth, cost) = heap.allocate(three).unwrap();
    assert_eq!(
        (cost.path(), cost.class(), cost.order()),
        (Path::Buddy, None, Some(0))
    );
    let fifth = heap.allocate(three).unwrap().0;
    assert_eq!([fourth, fifth], [at(3 << 12), at(4 << 12)]);
    assert_eq!(heap.allocate(three).unwrap_err(), Refusal::Exhausted);
    heap.sound();

    assert!(heap.0.resize(fourth, three, layout(3072, 8)));
    assert!(!heap.0.resize(fourth, three, layout(4096, 8)));
    assert_eq!(
        heap.free(fourth, layout(3072, 8)).unwrap().path(),
        Path::Buddy
    );
    assert_eq!(heap.allocate(small).unwrap().0, fourth);
    heap.free(fifth, three).unwrap();
    heap.sound();
}

#[test]
fn a_large_block_grows_and_shrinks_in_place() {
    let mut heap = BareHeap::new(&[16]);
    let pages = |pages: usize| layout(pages << 12, 8);
    // The smallest large block has two pages, because a class serves requests of up to one page.
    let block = heap.allocate(pages(2)).unwrap().0;
    for (old, new, free) in [(2, 5, 11), (5, 16, 0), (16, 3, 13), (3, 3, 13)] {
        assert!(heap.0.resize(block, pages(old), pages(new)));
        assert_eq!(heap.0.buddy.free_pages, free);
        assert_eq!(
            (heap.0.cost.path(), heap.0.large_pages),
            (Path::InPlace, new)
        );
        heap.sound();
    }
    let next = heap.allocate(layout(64, 8)).unwrap().0;
    assert_eq!(next, at(3 << 12));
    let before = heap.figures();
    for new in [4, 17, 1 << 40] {
        assert!(!heap.0.resize(block, pages(3), pages(new)));
        assert_eq!(heap.figures(), before);
        heap.sound();
    }
    // A large block does not become an object in place, and an object does not become a large block.
    assert!(!heap.0.resize(block, pages(3), layout(64, 8)));
    assert!(!heap.0.resize(next, layout(64, 8), pages(3)));
    assert!(!heap.0.resize(next, layout(64, 8), layout(65, 8)));
    assert!(heap.0.resize(next, layout(64, 8), layout(57, 8)));
    heap.free(block, pages(3)).unwrap();
    heap.free(next, layout(57, 8)).unwrap();
    heap.sound();
}

#[test]
fn a_request_is_served_by_any_region_that_has_room() {
    let mut heap = BareHeap::new(&[1, 8, 2]);
    assert_eq!(
        heap.allocate(layout(8 << 12, 8)).unwrap().0,
        Offset::new(1, 0)
    );
    assert_eq!(
        heap.allocate(layout(2 << 12, 8)).unwrap().0,
        Offset::new(2, 0)
    );
    assert_eq!(heap.allocate(layout(64, 8)).unwrap().0, Offset::new(0, 0));
    assert_eq!(
        heap.allocate(layout(4096, 8)).unwrap_err(),
        Refusal::Exhausted
    );
    // A block does not grow into the next region.
    let (old, new) = (layout(8 << 12, 8), layout(9 << 12, 8));
    assert!(!heap.0.resize(Offset::new(1, 0), old, new));
    heap.sound();
}

#[test]
fn totals_are_used_cached_and_free_per_class() {
    let memory = HostMemory::new(1 << 20);
    let engine = LockedHybrid::over(&memory);
    let mut cost = Cost::default();
    for size in [64, 64, 100, 3072, 5000, 8] {
        engine.allocate(layout(size, 8), &mut cost).unwrap();
    }
    let totals = totals(&engine);
    let live = 2 * 64 + 112 + 3072 + 8192 + 8;
    let slabs = (1 + 1 + 3 + 1) * 4096;
    assert_eq!(totals.total_bytes, 1 << 20);
    assert_eq!((totals.used_bytes, totals.live_bytes), (live, live));
    assert_eq!(totals.available_bytes, (1 << 20) - live);
    assert_eq!(totals.cached_bytes, slabs - (live - 8192));
    assert_eq!(totals.free_bytes, (1 << 20) - slabs - 8192);
    assert_eq!(totals.requested_bytes, 64 + 64 + 100 + 3072 + 5000 + 8);
    let figures: std::vec::Vec<_> = classes(&engine)
        .iter()
        .filter(|class| class.total_blocks > 0)
        .map(|class| (class.block_bytes, class.total_blocks, class.used_blocks))
        .collect();
    let expected = [(8, 512, 1), (64, 64, 2), (112, 36, 1), (3072, 4, 1)];
    assert_eq!(figures, expected);
    sound(&engine);
}

#[test]
fn a_refused_region_changes_nothing() {
    let (memory, more) = (HostMemory::new(1 << 20), HostMemory::new(1 << 20));
    let engine = LockedHybrid::over(&memory);
    let add = |skip, bytes| more.lend_part(&engine, skip, bytes);
    assert_eq!(
        memory.lend_part(&engine, 4096, 4096),
        Err(RegionError::Overlap)
    );
    assert_eq!(add(8, 4096), Err(RegionError::Misaligned));
    assert_eq!(add(0, 0), Err(RegionError::BadLength));
    assert_eq!(add(0, 100), Err(RegionError::BadLength));
    assert_eq!(totals(&engine).pool_bytes, 1 << 20);
    assert_eq!(add(1 << 19, 4096), Ok(1));
    assert_eq!(add(0, 1 << 19), Ok(2));
    let bytes = (1 << 20) + (1 << 19) + 4096;
    assert_eq!(totals(&engine).pool_bytes, bytes as u64);
    assert_eq!(engine.capacity(), bytes);
    sound(&engine);
}

#[test]
fn a_request_of_no_bytes_is_served_like_one_of_a_byte() {
    for align in (0..=16).map(|order| 1 << order) {
        let mut heap = BareHeap::new(&[32]);
        let (block, cost) = heap.allocate(layout(0, align)).unwrap();
        assert_eq!(block.byte() % align as u64, 0);
        heap.sound();
        assert_eq!(
            (block, cost),
            BareHeap::new(&[32]).allocate(layout(1, align)).unwrap()
        );
        heap.free(block, layout(0, align)).unwrap();
        heap.sound();
    }
}
