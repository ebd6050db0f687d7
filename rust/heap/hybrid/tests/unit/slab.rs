// SPDX-License-Identifier: GPL-2.0

//! Examples of slabs.

use super::{
    BareHeap,
    at,
    kind,
    page, //
};
use crate::{
    Offset, PAGE_BYTES, Path,
    backing_heap::BackingHeap,
    hybrid::Heap,
    hybrid::page::PageKind,
    size_class::{
        Class, //
    },
    testing::layout,
};
use std::vec::Vec;

/// Returns the number of slabs and of live objects of the class that serves `size` bytes.
fn slabs(heap: &BareHeap, size: usize) -> (usize, usize) {
    let class = Class::of(&layout(size, 1)).unwrap();
    let slabs = &heap.0.classes[class.index()];
    (slabs.slab_count as usize, slabs.used)
}

#[test]
fn objects_are_allocated_from_the_lowest_up() {
    let mut heap = BareHeap::new(&[8]);
    // Slabs come from the end of the pool.
    let (first, second) = (7 << 12, 6 << 12);
    for n in 0..64 {
        let (block, cost) = heap.allocate(layout(64, 8)).unwrap();
        assert_eq!(block, at(first + n * 64));
        let path = if n == 0 { Path::Growth } else { Path::Slab };
        assert_eq!((cost.path(), cost.class()), (path, Some(7)));
    }
    let (block, cost) = heap.allocate(layout(64, 8)).unwrap();
    assert_eq!((block, cost.path()), (at(second), Path::Growth));
    for n in [5, 63, 17] {
        heap.free(at(first + n * 64), layout(64, 8)).unwrap();
    }
    // The other slab also has free objects, but the first slab became partial later.
    for n in [5, 17, 63] {
        let block = heap.allocate(layout(64, 8)).unwrap().0;
        assert_eq!(block, at(first + n * 64));
    }
}

#[test]
fn a_class_allocates_all_objects_of_a_slab_before_it_grows() {
    for class in Class::all() {
        let mut heap = BareHeap::new(&[8]);
        let layout = layout(class.bytes(), 1);
        let mut blocks = Vec::new();
        // The slab lies in the last block of the pool that is large enough.
        let slab = (8 - class.pages().next_power_of_two()) * PAGE_BYTES;
        for n in 0..class.objects() {
            let (block, cost) = heap.allocate(layout).unwrap();
            assert_eq!(block, at(slab + n * class.bytes()));
            assert_eq!(cost.path() == Path::Growth, n == 0);
            blocks.push(block);
        }
        assert_eq!(slabs(&heap, class.bytes()), (1, class.objects()));
        let (block, cost) = heap.allocate(layout).unwrap();
        assert_eq!(cost.path(), Path::Growth);
        assert!(block.byte() as usize + class.pages() * PAGE_BYTES <= slab);
        blocks.push(block);
        heap.sound();
        for block in blocks {
            heap.free(block, layout).unwrap();
            heap.sound();
        }
        assert_eq!(slabs(&heap, class.bytes()), (1, 0));
    }
}

#[test]
fn the_slab_that_became_partial_last_is_used_first() {
    let mut heap = BareHeap::new(&[8]);
    let small = layout(64, 8);
    let blocks: Vec<_> = (0..4 * 64)
        .map(|_| heap.allocate(small).unwrap().0)
        .collect();
    let slabs = [7, 6, 5, 4];
    for (objects, slab) in blocks.chunks(64).zip(slabs) {
        assert!(objects.iter().all(|object| object.byte() / 4096 == slab));
    }
    // A half, an eighth, three quarters, and a quarter of the objects stay live.
    for (slab, freed) in [(0, 32), (1, 56), (2, 16), (3, 48)] {
        for object in &blocks[slab * 64..][..freed] {
            heap.free(*object, small).unwrap();
        }
    }
    heap.sound();
    let mut order: Vec<_> = heap
        .fill_from_slabs(small)
        .iter()
        .map(|block| block.byte() / 4096)
        .collect();
    assert_eq!(order.len(), 32 + 56 + 16 + 48);
    order.dedup();
    assert_eq!(order, [3, 2, 1, 0].map(|slab: usize| slabs[slab]));
}

#[test]
fn one_empty_slab_of_a_class_is_cached_and_the_others_are_returned() {
    let mut heap = BareHeap::new(&[16]);
    let page_each = layout(4096, 8);
    let blocks: Vec<_> = (0..4)
        .map(|_| heap.allocate(page_each).unwrap().0)
        .collect();
    assert_eq!((slabs(&heap, 4096), heap.0.buddy.free_pages), ((4, 4), 12));
    for (left, block) in (0..4).rev().zip(&blocks) {
        heap.free(*block, page_each).unwrap();
        assert_eq!(slabs(&heap, 4096), (left + 1, left));
        heap.sound();
    }
    assert_eq!(heap.0.buddy.free_pages, 15);
    // The slab that became empty first is cached. Each class caches one empty slab.
    assert_eq!(heap.allocate(page_each).unwrap().0, blocks[0]);
    let block = heap.allocate(layout(8, 8)).unwrap().0;
    heap.free(block, layout(8, 8)).unwrap();
    assert_eq!(heap.0.buddy.free_pages, 14);
    heap.sound();
}

#[test]
fn the_empty_slab_is_used_after_the_partial_ones_and_before_new_ones() {
    let mut heap = BareHeap::new(&[8]);
    let small = layout(1024, 8);
    let blocks: Vec<_> = (0..8).map(|_| heap.allocate(small).unwrap().0).collect();
    for block in &blocks[..5] {
        heap.free(*block, small).unwrap();
    }
    // The first slab is empty, and the second one has one free object.
    assert_ne!(blocks[3].byte() / 4096, blocks[4].byte() / 4096);
    for expected in [blocks[4], blocks[0]] {
        let (block, cost) = heap.allocate(small).unwrap();
        assert_eq!((block, cost.path()), (expected, Path::Slab));
    }
    assert_eq!(slabs(&heap, 1024), (2, 5));
}

#[test]
fn a_free_of_an_object_that_crosses_pages_finds_its_slab() {
    let mut heap = BareHeap::new(&[4]);
    let class = Class::of(&layout(3072, 1)).unwrap();
    assert_eq!((class.pages(), class.objects()), (3, 4));
    let blocks: Vec<_> = (0..4)
        .map(|_| heap.allocate(layout(3072, 1)).unwrap().0)
        .collect();
    assert_eq!(blocks, [0, 3072, 6144, 9216].map(at));
    let kinds: Vec<_> = (1..4)
        .map(|index| heap.0.buddy.metadata.kind(page(index)))
        .collect();
    assert_eq!(
        kinds,
        [
            PageKind::SlabTail {
                class,
                pages_before: 1
            },
            PageKind::SlabTail {
                class,
                pages_before: 2
            },
            PageKind::Free { order: 0 }
        ]
    );
    for block in [2, 0, 3, 1] {
        heap.free(blocks[block], layout(3072, 1)).unwrap();
        heap.sound();
    }
}

#[test]
fn a_batch_takes_the_rest_of_a_slab_before_a_new_one() {
    let mut heap = BareHeap::new(&[512]);
    let mut batch = [Offset::new(0, 0); 200];
    for (path, rest) in [(Path::Growth, 200), (Path::Slab, 200), (Path::Slab, 112)] {
        let served = heap.0.allocate(layout(8, 8), &mut batch);
        assert_eq!(served, Ok(200));
        assert_eq!(heap.0.cost.path(), path);
        let apart = |pair: &[Offset]| pair[0].byte() + 8 == pair[1].byte();
        assert!(batch[..rest].windows(2).all(apart));
        assert!(batch[rest..].windows(2).all(apart));
        heap.sound();
    }
    assert_eq!(slabs(&heap, 8), (2, 600));
}

#[test]
fn a_batch_takes_no_second_slab_in_a_small_pool_or_where_an_eighth_is_free() {
    // A slab for 64 bytes has 64 objects in one page, and a slab for 3072 bytes has 4 objects in three pages. The first
    // slab takes pages before the others are counted.
    for (size, pages, free, expected) in [
        (64, 256, 256, 100),
        (64, 255, 255, 64),
        (64, 256, 34, 100),
        (64, 256, 33, 64),
        (3072, 768, 768, 8),
        (3072, 767, 767, 4),
    ] {
        let mut heap = BareHeap::with_free(&[pages], pages - free..pages);
        let mut batch = [Offset::new(0, 0); 100];
        let wanted = if size == 64 { 100 } else { 8 };
        let served = heap.0.allocate(layout(size, 8), &mut batch[..wanted]);
        assert_eq!(served, Ok(expected), "{size} B, {free} of {pages} pages");
        heap.sound();
    }
}

#[test]
fn a_batch_is_freed_up_to_the_first_object_of_another_region() {
    let mut heap = BareHeap::new(&[2, 1]);
    let small = layout(64, 8);
    assert_eq!(heap.fill(small).len(), 3 * 64);
    // The offset of the second object is above the offset of the first object by less than the span of a
    // region, below it, or above it by more than the span.
    let [last, other] = [(0, 4096), (1, 0)].map(|(region, byte)| Offset::new(region, byte));
    for batch in [
        [last, other],
        [other, at(4096 + 64)],
        [at(0), Offset::new(1, 64)],
    ] {
        let count = heap.0.free_flushed(&batch, kind::<Heap>(64));
        assert_eq!(count, Ok(1));
        heap.sound();
    }
}
