// SPDX-License-Identifier: GPL-2.0

//! Slabs, by example.

use super::{
    Bare,
    Work,
    at,
    page, //
};
use crate::{
    Cost, Offset, Path,
    class::{
        Class,
        PAGE_BYTES, //
    },
    hybrid::page::PageKind,
    testing::layout,
};
use std::vec::Vec;

/// Returns the slabs of the class that serves `size` bytes, and its objects that are out.
fn slabs(heap: &Bare, size: usize) -> (usize, usize) {
    let class = Class::of(&layout(size, 1)).unwrap();
    let slabs = &heap.0.classes[class.index()];
    (slabs.slabs, slabs.used)
}

#[test]
fn objects_are_handed_out_from_the_lowest() {
    let mut heap = Bare::new(&[8]);
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
        heap.release(at(first + n * 64), layout(64, 8)).unwrap();
    }
    // The other slab has objects to give too, but this one has fewer.
    for n in [5, 17, 63] {
        let block = heap.allocate(layout(64, 8)).unwrap().0;
        assert_eq!(block, at(first + n * 64));
    }
}

#[test]
fn a_slab_of_every_class_hands_out_all_of_its_objects_and_then_grows() {
    for class in Class::all() {
        let mut heap = Bare::new(&[8]);
        let layout = layout(class.bytes(), 1);
        let mut out = Vec::new();
        // The last block of the pool that is large enough.
        let slab = (8 - class.pages().next_power_of_two()) * PAGE_BYTES;
        for n in 0..class.objects() {
            let (block, cost) = heap.allocate(layout).unwrap();
            assert_eq!(block, at(slab + n * class.bytes()));
            assert_eq!(cost.path() == Path::Growth, n == 0);
            out.push(block);
        }
        assert_eq!(slabs(&heap, class.bytes()), (1, class.objects()));
        let (block, cost) = heap.allocate(layout).unwrap();
        assert_eq!(cost.path(), Path::Growth);
        assert!(block.byte() as usize + class.pages() * PAGE_BYTES <= slab);
        out.push(block);
        heap.sound();
        for block in out {
            heap.release(block, layout).unwrap();
            heap.sound();
        }
        assert_eq!(slabs(&heap, class.bytes()), (1, 0));
    }
}

#[test]
fn the_fullest_slab_is_used_first() {
    let mut heap = Bare::new(&[8]);
    let small = layout(64, 8);
    let out: Vec<_> = (0..4 * 64)
        .map(|_| heap.allocate(small).unwrap().0)
        .collect();
    let slabs = [7, 6, 5, 4];
    for (objects, slab) in out.chunks(64).zip(slabs) {
        assert!(objects.iter().all(|object| object.byte() / 4096 == slab));
    }
    // A half, an eighth, three quarters, and a quarter are left of them.
    for (slab, freed) in [(0, 32), (1, 56), (2, 16), (3, 48)] {
        for object in &out[slab * 64..][..freed] {
            heap.release(*object, small).unwrap();
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
    assert_eq!(order, [2, 0, 3, 1].map(|slab: usize| slabs[slab]));
}

#[test]
fn one_empty_slab_of_a_class_is_kept_and_the_others_go_back() {
    let mut heap = Bare::new(&[16]);
    let page_each = layout(4096, 8);
    let out: Vec<_> = (0..4)
        .map(|_| heap.allocate(page_each).unwrap().0)
        .collect();
    assert_eq!(
        (slabs(&heap, 4096), heap.0.buddy.free_pages()),
        ((4, 4), 12)
    );
    for (left, block) in (0..4).rev().zip(&out) {
        heap.release(*block, page_each).unwrap();
        assert_eq!(slabs(&heap, 4096), (left + 1, left));
        heap.sound();
    }
    assert_eq!(heap.0.buddy.free_pages(), 15);
    // The one that became empty first is kept; each class keeps its own.
    assert_eq!(heap.allocate(page_each).unwrap().0, out[0]);
    let block = heap.allocate(layout(8, 8)).unwrap().0;
    heap.release(block, layout(8, 8)).unwrap();
    assert_eq!(heap.0.buddy.free_pages(), 14);
    heap.sound();
}

#[test]
fn the_empty_slab_is_used_after_the_partial_ones_and_before_new_ones() {
    let mut heap = Bare::new(&[8]);
    let small = layout(1024, 8);
    let out: Vec<_> = (0..8).map(|_| heap.allocate(small).unwrap().0).collect();
    for block in &out[..5] {
        heap.release(*block, small).unwrap();
    }
    // The first slab is empty, the second has one object to give.
    assert_ne!(out[3].byte() / 4096, out[4].byte() / 4096);
    for expected in [out[4], out[0]] {
        let (block, cost) = heap.allocate(small).unwrap();
        assert_eq!((block, cost.path()), (expected, Path::Slab));
    }
    assert_eq!(slabs(&heap, 1024), (2, 5));
}

#[test]
fn an_object_that_crosses_pages_is_found_by_its_slab() {
    let mut heap = Bare::new(&[4]);
    let class = Class::of(&layout(3072, 1)).unwrap();
    assert_eq!((class.pages(), class.objects()), (3, 4));
    let out: Vec<_> = (0..4)
        .map(|_| heap.allocate(layout(3072, 1)).unwrap().0)
        .collect();
    assert_eq!(out, [0, 3072, 6144, 9216].map(at));
    let kinds: Vec<_> = (1..4).map(|index| heap.0.descs.kind(page(index))).collect();
    assert_eq!(
        kinds,
        [
            PageKind::SlabTail { class, head: 1 },
            PageKind::SlabTail { class, head: 2 },
            PageKind::Free { order: 0 }
        ]
    );
    for block in [2, 0, 3, 1] {
        heap.release(out[block], layout(3072, 1)).unwrap();
        heap.sound();
    }
}

#[test]
fn objects_come_in_batches_of_one_slab() {
    let mut heap = Bare::new(&[8]);
    let mut cost = Cost::default();
    let mut batch = [Offset::new(0, 0); 200];
    for (taken, path) in [
        (200, Path::Growth),
        (200, Path::Slab),
        (112, Path::Slab),
        (200, Path::Growth),
    ] {
        let mut work = Work::default();
        let served = (heap.0).serve(layout(8, 8), &mut batch, &mut work, &mut cost);
        assert_eq!(served, Ok(taken));
        assert_eq!(cost.path(), path);
        let apart = |pair: &[Offset]| pair[0].byte() + 8 == pair[1].byte();
        assert!(batch[..taken].windows(2).all(apart));
        heap.sound();
    }
    assert_eq!(slabs(&heap, 8), (2, 712));
}

#[test]
fn a_batch_goes_back_up_to_the_first_object_of_another_region() {
    let mut heap = Bare::new(&[2, 1]);
    let small = layout(64, 8);
    assert_eq!(heap.fill(small).len(), 3 * 64);
    let class = Class::of(&small).unwrap();
    let mut work = Work::default();
    // The other one is behind it as numbers go, by less than the span of a region or by more, or
    // before it.
    let [last, other] = [(0, 4096), (1, 0)].map(|(region, byte)| Offset::new(region, byte));
    for batch in [
        [last, other],
        [other, at(4096 + 64)],
        [at(0), Offset::new(1, 64)],
    ] {
        let taken = heap.0.release_objects(class, &batch, &mut work);
        assert_eq!(taken, Ok(1));
        heap.sound();
    }
}
