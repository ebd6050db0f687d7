// SPDX-License-Identifier: GPL-2.0

//! What is done before a request is refused: objects of larger classes, pages in place of slabs,
//! pages that no block has.

use super::{
    Bare,
    page, //
};
use crate::{
    Cost, Engine, Path, Refusal,
    check::Rule,
    class::Class,
    engine::BadFree,
    lock::Lock,
    testing::{
        LockedHybrid,
        Memory,
        TestEngine,
        layout,
        sound,
        totals, //
    },
};
use std::vec::Vec;

/// Returns the class that serves so many bytes.
fn class(bytes: usize) -> Class {
    Class::of(&layout(bytes, 1)).unwrap()
}

/// A heap without free pages, with one slab of each of these classes and one object out of it, the
/// first.
fn lenders(bytes: &[usize]) -> Bare {
    let mut heap = Bare::new(&[256]);
    for bytes in bytes {
        let (_, cost) = heap.allocate(layout(*bytes, 8)).unwrap();
        assert_eq!(cost.path(), Path::Growth);
    }
    heap.take_pages();
    heap.sound();
    heap
}

/// Returns how many objects are borrowed.
fn borrowed(heap: &Bare) -> u32 {
    heap.0.borrowed.iter().sum()
}

#[test]
fn the_smallest_larger_class_lends_first() {
    let mut heap = lenders(&[256, 80, 128]);
    let (asked, number) = (layout(100, 4), class(100).index());
    let mut out = Vec::new();
    // 31 objects of 128 bytes, 15 of 256; those of 80 are too small.
    for (bytes, objects) in [(128, 31), (256, 15)] {
        for _ in 0..objects {
            let (object, cost) = heap.allocate(asked).unwrap();
            let expected = (Path::Slab, Some(class(bytes).number()), None);
            assert_eq!((cost.path(), cost.class(), cost.order()), expected);
            out.push(object);
            assert_eq!(heap.0.borrowed[number] as usize, out.len());
            heap.sound();
        }
    }
    assert_eq!(heap.refused(asked).0, Refusal::Exhausted);
    assert_eq!(borrowed(&heap), 46);
    for object in out {
        let donor = heap.release(object, asked).unwrap().class();
        assert!(donor == Some(class(128).number()) || donor == Some(class(256).number()));
        heap.sound();
    }
    assert_eq!(borrowed(&heap), 0);
}

#[test]
fn a_class_of_its_own_is_used_when_there_is_one_again() {
    let mut heap = lenders(&[112, 128]);
    let asked = layout(112, 8);
    let mut own = std::vec![];
    let last = loop {
        let (object, cost) = heap.allocate(asked).unwrap();
        if cost.class() != Some(class(112).number()) {
            break object;
        }
        own.push(object);
    };
    assert_eq!((own.len(), borrowed(&heap)), (35, 1));
    // One comes back: it is handed out before another one is borrowed.
    heap.release(own[7], asked).unwrap();
    assert_eq!(heap.allocate(asked).unwrap().0, own[7]);
    assert_eq!(borrowed(&heap), 1);
    heap.release(last, asked).unwrap();
    assert_eq!(borrowed(&heap), 0);
    heap.sound();
}

#[test]
fn what_is_lent_is_aligned_and_has_the_size_that_was_promised() {
    let sizes: Vec<_> = Class::all().map(Class::bytes).collect();
    for align in (0..=12).map(|order| 1 << order) {
        for asked in Class::all() {
            let asked = layout(asked.bytes(), align);
            let promised = Class::of(&asked).unwrap();
            // All but the class itself have a slab, and those of one object have none left.
            let others: Vec<_> = sizes
                .iter()
                .copied()
                .filter(|bytes| *bytes != promised.bytes())
                .collect();
            let mut heap = lenders(&others);
            let donor = Class::all().find(|donor| {
                *donor > promised && donor.objects() > 1 && donor.bytes() % align == 0
            });
            let Some(donor) = donor else {
                assert_eq!(heap.refused(asked).0, Refusal::Exhausted);
                continue;
            };
            let (lent, cost) = heap.allocate(asked).unwrap();
            assert_eq!(cost.class(), Some(donor.number()));
            assert_eq!(lent.byte() as usize % align, 0);
            heap.sound();
            heap.release(lent, asked).unwrap();
            assert_eq!(borrowed(&heap), 0);
        }
    }
}

#[test]
fn a_free_of_a_smaller_size_is_accepted_only_while_such_are_borrowed() {
    let mut heap = lenders(&[256]);
    let (asked, other) = (layout(100, 8), layout(200, 8));
    let (lent, _) = heap.allocate(asked).unwrap();
    let refused = |heap: &mut Bare, block, size| {
        let before = heap.figures();
        let said = heap.release(block, layout(size, 8)).unwrap_err();
        assert_eq!(heap.figures(), before);
        heap.sound();
        said
    };
    // Other classes have borrowed nothing; a larger size was never lent.
    for size in [8, 96, 113, 200, 257, 2560, 3072, 4096] {
        assert_eq!(refused(&mut heap, lent, size), BadFree::WrongSize);
    }
    // A place where no object begins.
    let inside = page(lent.byte() as usize >> 12).offset(8);
    assert_eq!(refused(&mut heap, inside, 100), BadFree::Interior);
    assert_eq!(refused(&mut heap, inside, 96), BadFree::WrongSize);
    let (also, _) = heap.allocate(other).unwrap();
    heap.release(lent, asked).unwrap();
    // Nothing is borrowed for it any more, though another class has.
    assert_eq!(refused(&mut heap, lent, 100), BadFree::WrongSize);
    assert_eq!(refused(&mut heap, also, 100), BadFree::WrongSize);
    heap.release(also, other).unwrap();
    assert_eq!(refused(&mut heap, also, 200), BadFree::WrongSize);
    assert_eq!(borrowed(&heap), 0);
}

#[test]
fn a_second_free_of_what_was_lent_changes_nothing() {
    let mut heap = lenders(&[256]);
    let asked = layout(100, 8);
    let [first, second] = [(); 2].map(|()| heap.allocate(asked).unwrap().0);
    heap.release(first, asked).unwrap();
    let before = heap.figures();
    assert_eq!(heap.release(first, asked), Err(BadFree::NotOut));
    assert_eq!((heap.figures(), borrowed(&heap)), (before, 1));
    heap.release(second, asked).unwrap();
    assert_eq!(borrowed(&heap), 0);
    heap.sound();
}

#[test]
fn what_was_lent_stays_where_it_is_within_its_askers_class() {
    let mut heap = lenders(&[256]);
    let mut cost = Cost::default();
    let (asked, more) = (layout(100, 8), layout(112, 8));
    let (lent, _) = heap.allocate(asked).unwrap();
    assert!(heap.0.resize(lent, asked, more, &mut cost));
    // The donor has more, but not for it: a free would be told a size that was never asked for.
    assert!(!heap.0.resize(lent, more, layout(113, 8), &mut cost));
    heap.release(lent, more).unwrap();
    assert_eq!(borrowed(&heap), 0);
}

#[test]
fn an_object_is_lent_before_a_page_is() {
    let mut heap = lenders(&[3072]);
    let asked = layout(2500, 8);
    heap.free_page(page(200));
    let donor = class(3072);
    assert_eq!((class(2500).pages(), donor.objects()), (2, 4));
    for _ in 1..donor.objects() {
        let (_, cost) = heap.allocate(asked).unwrap();
        assert_eq!(
            (cost.path(), cost.class()),
            (Path::Slab, Some(donor.number()))
        );
    }
    let (own, cost) = heap.allocate(asked).unwrap();
    assert_eq!((own, cost.path()), (page(200).offset(0), Path::Buddy));
    assert_eq!(borrowed(&heap) as usize, donor.objects() - 1);
    // A page is not told from pages that are asked for as such, and is counted like them.
    heap.release(own, asked).unwrap();
    assert_eq!(borrowed(&heap) as usize, donor.objects() - 1);
    heap.sound();
}

#[test]
fn a_slab_with_a_damaged_bitmap_lends_nothing() {
    let mut heap = lenders(&[128]);
    let slab = heap.0.classes[class(128).index()].partial(0).first();
    heap.0.descs.bits(slab.unwrap(), 1)[0] = u64::MAX;
    assert_eq!(heap.allocate(layout(100, 8)), Err(Refusal::Exhausted));
    assert_eq!(borrowed(&heap), 0);
    let mut walk = crate::check::Walk::new();
    let found = crate::check::run(&mut walk, |walk| heap.0.check(walk));
    assert_eq!(found.unwrap_err().rule, Rule::Bitmap);
}

#[test]
fn a_request_tells_the_work_of_all_that_was_tried_for_it() {
    // An empty slab's page merges up to the whole pool, which is then taken, or cut for five.
    for (align, pages, splits) in [(8, 8, 0), (8192, 5, 3)] {
        let mut heap = Bare::new(&[8]);
        let block = heap.allocate(layout(64, 8)).unwrap().0;
        heap.release(block, layout(64, 8)).unwrap();
        let (_, cost) = heap.allocate(layout(pages << 12, align)).unwrap();
        assert_eq!((cost.splits(), cost.merges()), (Some(splits), Some(3)));
    }
}

/// A heap of one free page on each side of two empty slabs of a page each, which are buddies.
fn two_empty_slabs() -> Bare {
    let mut heap = Bare::with_free(&[8], 2..4);
    let blocks = [64, 80].map(|size| (heap.allocate(layout(size, 8)).unwrap().0, size));
    for (block, size) in blocks {
        heap.release(block, layout(size, 8)).unwrap();
    }
    heap.free_page(page(1));
    heap.free_page(page(4));
    assert_eq!((heap.0.kept.slabs, heap.0.buddy.free_pages()), (2, 2));
    heap
}

#[test]
fn a_last_resort_tells_the_work_of_what_was_tried_before() {
    // Four pages, in no block: of 1, 2 and 1 when the slabs gave their pages back.
    let mut heap = two_empty_slabs();
    let (block, cost) = heap.allocate(layout(4 << 12, 8)).unwrap();
    assert_eq!(block, page(1).offset(0));
    assert_eq!((cost.path(), cost.order()), (Path::Buddy, Some(14)));
    assert_eq!((cost.splits(), cost.merges()), (Some(0), Some(1)));
    // A page in place of a slab of three: there is none of them in one block.
    let mut heap = two_empty_slabs();
    let (_, cost) = heap.allocate(layout(3000, 8)).unwrap();
    assert_eq!((cost.path(), cost.order()), (Path::Buddy, Some(12)));
    assert_eq!((cost.splits(), cost.merges()), (Some(0), Some(1)));
}

#[test]
fn an_engine_lends_when_nothing_else_is_left() {
    let memory = Memory::new(8 << 10);
    let engine = LockedHybrid::over(&memory);
    let mut cost = Cost::default();
    let mut allocate = |size| engine.allocate(layout(size, 8), &mut cost);
    let owners = [128, 256].map(|size| allocate(size).unwrap());
    let lent: Vec<_> = core::iter::from_fn(|| allocate(100).ok()).collect();
    assert_eq!(lent.len(), 31 + 15);
    sound(&engine);
    let out = totals(&engine);
    assert_eq!((out.live_blocks, out.allocations), (48, 48));
    // Only the last was refused.
    assert_eq!(out.refusals, [0, 1, 0, 0, 0, 0]);
    // What is promised does not overlap.
    let promised = engine.usable(layout(100, 8)) as u64;
    let mut places: Vec<_> = lent.iter().chain(&owners).collect();
    places.sort_unstable_by_key(|block| block.offset);
    let starts: Vec<_> = places.iter().map(|block| block.offset.unwrap()).collect();
    let apart = |pair: &[crate::Offset]| pair[1].byte() - pair[0].byte() >= promised;
    assert!(promised >= 100 && starts.windows(2).all(apart));
    for (block, size) in lent.into_iter().map(|block| (block, 100)) {
        // SAFETY: Allocated above with this layout, and freed once.
        unsafe { engine.release(block, layout(size, 8), &mut cost) }.unwrap();
    }
    sound(&engine);
    let borrowed = |state: &mut crate::hybrid::State| state.heap.borrowed.iter().sum::<u32>();
    assert_eq!(engine.state.with(borrowed), 0);
    assert_eq!(totals(&engine).live_blocks, 2);
}
