// SPDX-License-Identifier: GPL-2.0

//! Fallbacks before a request is refused: objects of larger classes, pages in place of slabs, and runs of
//! free pages that are not one block.

use super::{
    BareHeap,
    page, //
};
use crate::{
    Cost, Engine, Path, Refusal,
    backing_heap::{
        BackingHeap,
        InspectHeap, //
    },
    check::Rule,
    engine::BadFree,
    lock::Lock,
    size_class::Class,
    testing::{
        HostMemory,
        LockedHybrid,
        TestEngine,
        layout,
        sound,
        totals, //
    },
};
use std::vec::Vec;

/// Returns the class that serves requests of `bytes` bytes.
fn class(bytes: usize) -> Class {
    Class::of(&layout(bytes, 1)).unwrap()
}

/// Constructs a heap without free pages. The heap has one slab of each of these classes, and the first object
/// of each slab is live.
fn donors(bytes: &[usize]) -> BareHeap {
    let mut heap = BareHeap::new(&[256]);
    for bytes in bytes {
        let (_, cost) = heap.allocate(layout(*bytes, 8)).unwrap();
        assert_eq!(cost.path(), Path::Growth);
    }
    heap.allocate_free_pages();
    heap.sound();
    heap
}

/// Returns the number of borrowed objects of all classes.
fn borrowed(heap: &BareHeap) -> usize {
    heap.0.borrowed.iter().sum()
}

#[test]
fn the_smallest_larger_class_is_the_first_donor() {
    let mut heap = donors(&[256, 80, 128]);
    let (wanted, number) = (layout(100, 4), class(100).index());
    let mut live = Vec::new();
    // There are 31 free objects of 128 bytes and 15 of 256. Objects of 80 bytes are too small.
    for (bytes, objects) in [(128, 31), (256, 15)] {
        for _ in 0..objects {
            let (object, cost) = heap.allocate(wanted).unwrap();
            let expected = (Path::Slab, Some(class(bytes).number()), None);
            assert_eq!((cost.path(), cost.class(), cost.order()), expected);
            live.push(object);
            assert_eq!(heap.0.borrowed[number], live.len());
            heap.sound();
        }
    }
    assert_eq!(heap.refused(wanted).0, Refusal::Exhausted);
    assert_eq!(borrowed(&heap), 46);
    for object in live {
        let donor = heap.free(object, wanted).unwrap().class();
        assert!(donor == Some(class(128).number()) || donor == Some(class(256).number()));
        heap.sound();
    }
    assert_eq!(borrowed(&heap), 0);
}

#[test]
fn a_class_allocates_its_own_free_objects_before_it_borrows() {
    let mut heap = donors(&[112, 128]);
    let wanted = layout(112, 8);
    let mut own = std::vec![];
    let last = loop {
        let (object, cost) = heap.allocate(wanted).unwrap();
        if cost.class() != Some(class(112).number()) {
            break object;
        }
        own.push(object);
    };
    assert_eq!((own.len(), borrowed(&heap)), (35, 1));
    // A freed object of the class is allocated before another one is borrowed.
    heap.free(own[7], wanted).unwrap();
    assert_eq!(heap.allocate(wanted).unwrap().0, own[7]);
    assert_eq!(borrowed(&heap), 1);
    heap.free(last, wanted).unwrap();
    assert_eq!(borrowed(&heap), 0);
    heap.sound();
}

#[test]
fn a_borrowed_object_has_the_alignment_and_the_size_of_its_request() {
    let sizes: Vec<_> = Class::all().map(Class::bytes).collect();
    for align in (0..=12).map(|order| 1 << order) {
        for wanted in Class::all() {
            let wanted = layout(wanted.bytes(), align);
            let promised = Class::of(&wanted).unwrap();
            // Every class except for the requested class has a slab. A slab with a single object has no free
            // object.
            let others: Vec<_> = sizes
                .iter()
                .copied()
                .filter(|bytes| *bytes != promised.bytes())
                .collect();
            let mut heap = donors(&others);
            let donor = Class::all().find(|donor| {
                *donor > promised && donor.objects() > 1 && donor.bytes() % align == 0
            });
            let Some(donor) = donor else {
                assert_eq!(heap.refused(wanted).0, Refusal::Exhausted);
                continue;
            };
            let (object, cost) = heap.allocate(wanted).unwrap();
            assert_eq!(cost.class(), Some(donor.number()));
            assert_eq!(object.byte() as usize % align, 0);
            heap.sound();
            heap.free(object, wanted).unwrap();
            assert_eq!(borrowed(&heap), 0);
        }
    }
}

#[test]
fn a_free_of_a_smaller_size_is_accepted_only_while_its_class_has_borrowed_objects() {
    let mut heap = donors(&[256]);
    let (wanted, other) = (layout(100, 8), layout(200, 8));
    let (object, _) = heap.allocate(wanted).unwrap();
    let refused = |heap: &mut BareHeap, block, size| {
        let before = heap.figures();
        let error = heap.free(block, layout(size, 8)).unwrap_err();
        assert_eq!(heap.figures(), before);
        heap.sound();
        error
    };
    // Other classes have borrowed nothing, and no class borrows an object that is smaller than the request.
    for size in [8, 96, 113, 200, 257, 2560, 3072, 4096] {
        assert_eq!(refused(&mut heap, object, size), BadFree::WrongSize);
    }
    // No object begins at this byte.
    let inside = page(object.byte() as usize >> 12).offset(8);
    assert_eq!(refused(&mut heap, inside, 100), BadFree::Interior);
    assert_eq!(refused(&mut heap, inside, 96), BadFree::WrongSize);
    let (also, _) = heap.allocate(other).unwrap();
    heap.free(object, wanted).unwrap();
    // The class of 100 bytes has no borrowed object any more, but the class of 200 bytes has one.
    assert_eq!(refused(&mut heap, object, 100), BadFree::WrongSize);
    assert_eq!(refused(&mut heap, also, 100), BadFree::WrongSize);
    heap.free(also, other).unwrap();
    assert_eq!(refused(&mut heap, also, 200), BadFree::WrongSize);
    assert_eq!(borrowed(&heap), 0);
}

#[test]
fn a_second_free_of_a_borrowed_object_changes_nothing() {
    let mut heap = donors(&[256]);
    let wanted = layout(100, 8);
    let [first, second] = [(); 2].map(|()| heap.allocate(wanted).unwrap().0);
    heap.free(first, wanted).unwrap();
    let before = heap.figures();
    assert_eq!(heap.free(first, wanted), Err(BadFree::NotLive));
    assert_eq!((heap.figures(), borrowed(&heap)), (before, 1));
    heap.free(second, wanted).unwrap();
    assert_eq!(borrowed(&heap), 0);
    heap.sound();
}

#[test]
fn a_borrowed_object_is_resized_in_place_only_within_the_class_of_its_request() {
    let mut heap = donors(&[256]);
    let (wanted, more) = (layout(100, 8), layout(112, 8));
    let (object, _) = heap.allocate(wanted).unwrap();
    assert!(heap.0.resize(object, wanted, more));
    // The object has room for more, but its later free would name a class that has borrowed nothing.
    assert!(!heap.0.resize(object, more, layout(113, 8)));
    heap.free(object, more).unwrap();
    assert_eq!(borrowed(&heap), 0);
}

#[test]
fn an_object_of_a_larger_class_is_borrowed_before_a_page_is_allocated() {
    let mut heap = donors(&[3072]);
    let wanted = layout(2500, 8);
    heap.free_page(page(200));
    let donor = class(3072);
    assert_eq!((class(2500).pages(), donor.objects()), (2, 4));
    for _ in 1..donor.objects() {
        let (_, cost) = heap.allocate(wanted).unwrap();
        assert_eq!(
            (cost.path(), cost.class()),
            (Path::Slab, Some(donor.number()))
        );
    }
    let (own, cost) = heap.allocate(wanted).unwrap();
    assert_eq!((own, cost.path()), (page(200).offset(0), Path::Buddy));
    assert_eq!(borrowed(&heap), donor.objects() - 1);
    // A page in place of a slab is counted as a large block, not as a borrowed object.
    heap.free(own, wanted).unwrap();
    assert_eq!(borrowed(&heap), donor.objects() - 1);
    heap.sound();
}

#[test]
fn a_slab_with_a_damaged_bitmap_is_no_donor() {
    let mut heap = donors(&[128]);
    let slab = heap.0.classes[class(128).index()].partial.first();
    let bitmap = heap.0.buddy.metadata.bitmap(slab.unwrap(), class(128));
    bitmap.unwrap()[0] = u64::MAX;
    assert_eq!(heap.allocate(layout(100, 8)), Err(Refusal::Exhausted));
    assert_eq!(borrowed(&heap), 0);
    let mut walk = crate::check::Walk::new();
    let found = crate::check::run(&mut walk, |walk| heap.0.check(walk));
    assert_eq!(found.unwrap_err().rule, Rule::Bitmap);
}

#[test]
fn the_cost_of_a_request_includes_the_work_of_all_its_attempts() {
    // The page of the empty slab coalesces with its buddies up to the whole pool. The whole pool is then
    // allocated, or split for five pages.
    for (align, pages, splits) in [(8, 8, 0), (8 << 12, 5, 3)] {
        let mut heap = BareHeap::new(&[8]);
        let block = heap.allocate(layout(64, 8)).unwrap().0;
        heap.free(block, layout(64, 8)).unwrap();
        let (_, cost) = heap.allocate(layout(pages << 12, align)).unwrap();
        assert_eq!((cost.splits(), cost.merges()), (Some(splits), Some(3)));
    }
}

#[test]
fn the_cost_of_a_fallback_is_that_of_the_attempt_that_served() {
    // One page is allocated in place of a slab of three pages, because no three adjacent pages are free. The two
    // empty slabs, which are buddies, are returned first.
    let mut heap = BareHeap::with_free(&[8], 2..4);
    let blocks = [64, 80].map(|size| (heap.allocate(layout(size, 8)).unwrap().0, size));
    for (block, size) in blocks {
        heap.free(block, layout(size, 8)).unwrap();
    }
    heap.free_page(page(5));
    heap.free_page(page(7));
    assert_eq!(heap.0.buddy.free_pages, 2);
    let (_, cost) = heap.allocate(layout(3000, 8)).unwrap();
    assert_eq!((cost.path(), cost.order()), (Path::Buddy, Some(0)));
    assert_eq!(cost.splits(), Some(0));
    assert_eq!(heap.0.buddy.free_pages, 3);
}

#[test]
fn an_engine_borrows_from_larger_classes_when_no_page_is_free() {
    let memory = HostMemory::new(8 << 10);
    let engine = LockedHybrid::over(&memory);
    let mut cost = Cost::default();
    let mut allocate = |size| engine.allocate(layout(size, 8), &mut cost);
    let owners = [128, 256].map(|size| allocate(size).unwrap());
    let objects: Vec<_> = core::iter::from_fn(|| allocate(100).ok()).collect();
    assert_eq!(objects.len(), 31 + 15);
    sound(&engine);
    let figures = totals(&engine);
    assert_eq!((figures.live_blocks, figures.allocations), (48, 48));
    // Only the last request was refused.
    assert_eq!(figures.refusals, [0, 1, 0, 0, 0, 0, 0]);
    // The usable sizes that the engine promised do not overlap.
    let promised = engine.usable_size(layout(100, 8)) as u64;
    let mut places: Vec<_> = objects.iter().chain(&owners).collect();
    places.sort_unstable_by_key(|block| block.start);
    let starts = places
        .iter()
        .map(|block| engine.offset(block.start).unwrap());
    let starts: Vec<_> = starts.collect();
    let apart = |pair: &[crate::Offset]| pair[1].byte() - pair[0].byte() >= promised;
    assert!(promised >= 100 && starts.windows(2).all(apart));
    for (block, size) in objects.into_iter().map(|block| (block, 100)) {
        // SAFETY: The block was allocated above with this layout, and is freed once.
        unsafe { engine.free(block, layout(size, 8), &mut cost) }.unwrap();
    }
    sound(&engine);
    let borrowed = |state: &mut crate::hybrid::State| state.heap.borrowed.iter().sum::<usize>();
    assert_eq!(engine.state.with(borrowed), 0);
    assert_eq!(totals(&engine).live_blocks, 2);
}

#[test]
fn adjacent_free_blocks_serve_a_power_of_two_of_pages_as_a_fallback() {
    let mut heap = BareHeap::with_free(&[8], [1, 2, 5]);
    let wanted = layout(8192, 8);
    let (block, cost) = heap.allocate(wanted).unwrap();
    assert_eq!((block, cost.path()), (page(1).offset(0), Path::Buddy));
    assert_eq!(cost.order(), Some(1));
    heap.sound();
    heap.free(block, wanted).unwrap();
    heap.sound();
    assert_eq!(heap.0.buddy.free_pages, 3);
    // The pages 1 and 2 are not aligned to two pages.
    let (refusal, _) = heap.refused(layout(8192, 8192));
    assert_eq!(refusal, Refusal::Fragmented);
}
