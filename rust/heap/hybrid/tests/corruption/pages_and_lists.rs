// SPDX-License-Identifier: GPL-2.0

//! Damage to one field at a time. The check must name exactly the rule that the damage breaks.

use super::{
    Places,
    broken,
    class,
    page,
    prepared,
    rule,
    rule_of, //
};
use crate::{
    check::Rule,
    hybrid::page::{
        Link,
        Links,
        List,
        Page,
        PageKind, //
    },
    lock::Lock,
    testing::HostMemory,
};
use std::vec::Vec;

#[test]
fn the_prepared_engine_is_sound_and_has_every_kind_of_block() {
    let memory = HostMemory::new(1 << 20);
    let (engine, places) = prepared(&memory);
    engine.state.with(|state| {
        let kind = |page| state.heap.buddy.metadata.kind(page);
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
        let next = |page: &Page| state.heap.buddy.metadata.next(*page);
        let listed: Vec<_> = core::iter::successors(list.first(), next).collect();
        assert_eq!(listed, places.free);
    });
}

#[test]
fn a_gap_between_blocks_is_found() {
    let tail = PageKind::Interior;
    assert_eq!(rule_of(tail, |at| at.large), Rule::Partition);
    assert_eq!(rule_of(tail, |at| at.single), Rule::Partition);
    assert_eq!(rule_of(tail, |at| at.full), Rule::Partition);
    assert_eq!(rule_of(tail, |at| at.free[1]), Rule::Partition);
    let pages = |pages| rule_of(PageKind::Large { pages }, |at| at.large);
    assert_eq!([0, 1, 4].map(pages), [Rule::Partition; 3]);
    let less = PageKind::Free { order: 0 };
    assert_eq!(rule_of(less, |at| at.free[0]), Rule::Partition);
}

#[test]
fn blocks_that_overlap_are_found() {
    let pages = |pages| rule_of(PageKind::Large { pages }, |at| at.large);
    assert_eq!([6, 100, 257, u32::MAX].map(pages), [Rule::Partition; 4]);
    let inside = PageKind::Large { pages: 1 };
    assert_eq!(rule_of(inside, |at| at.large.after(4)), Rule::Partition);
    let inside = PageKind::Free { order: 0 };
    assert_eq!(rule_of(inside, |at| at.largest.after(7)), Rule::Partition);
    for pages in [257, u32::MAX] {
        let past = rule_of(PageKind::Large { pages }, |at| at.largest);
        assert_eq!(past, Rule::Partition);
    }
    // The last block of the region would end behind the region.
    for pages in [2, 257, u32::MAX] {
        let past = rule_of(PageKind::Large { pages }, |at| at.empty);
        assert_eq!(past, Rule::Partition);
    }
    let (class, used) = (class(3072), 1);
    assert_eq!(
        rule_of(PageKind::Slab { class, used }, |at| at.full),
        Rule::Partition
    );
    assert_eq!(
        rule_of(PageKind::Slab { class, used }, |_| page(255)),
        Rule::Partition
    );
}

#[test]
fn a_slab_page_that_names_a_wrong_first_page_is_found() {
    for (head, page) in [(2, 1), (1, 2), (3, 2), (255, 1)] {
        let class = class(3072);
        let wrong = rule_of(
            PageKind::SlabTail {
                class,
                pages_before: head,
            },
            |at| at.three.after(page),
        );
        assert_eq!(wrong, Rule::Partition);
    }
    assert_eq!(
        rule_of(PageKind::Interior, |at| at.three.after(1)),
        Rule::Partition
    );
    let (class, other) = (class(3072), class(2560));
    let wrong = PageKind::SlabTail {
        class: other,
        pages_before: 1,
    };
    assert_eq!(rule_of(wrong, |at| at.three.after(1)), Rule::Partition);
    let named = PageKind::SlabTail {
        class,
        pages_before: 1,
    };
    assert_eq!(rule_of(named, |at| at.large.after(1)), Rule::Partition);
    assert_eq!(rule_of(named, |at| at.largest.after(1)), Rule::Partition);
    let before_all = PageKind::SlabTail {
        class,
        pages_before: 255,
    };
    assert_eq!(
        rule_of(before_all, |at| at.largest.after(1)),
        Rule::Partition
    );
}

#[test]
fn a_free_block_that_is_not_aligned_to_its_size_is_found() {
    let order = |order| rule_of(PageKind::Free { order }, |at| at.free[0].after(1).before(1));
    assert_eq!([20, 21, 31, 32, 255].map(order), [Rule::FreeBlocks; 5]);
    let odd = rule(|heap, at| {
        let odd = [at.single, at.full, at.partial];
        let odd = odd.into_iter().find(|page| page.index() % 2 == 1).unwrap();
        heap.buddy
            .metadata
            .set_kind(odd, PageKind::Free { order: 1 });
    });
    assert_eq!(odd, Rule::FreeBlocks);
}

#[test]
fn buddies_that_are_both_free_are_found() {
    let found = broken(|state, at| {
        let descs = &mut state.heap.buddy.metadata;
        for half in [at.free[0], at.free[0].after(1)] {
            descs.set_kind(half, PageKind::Free { order: 0 });
        }
    });
    assert_eq!(found.rule, Rule::Merged);
    assert!(found.offset.is_some());
}

#[test]
fn a_free_block_that_is_in_no_list_is_found() {
    let lost = |place: fn(&Places) -> Page| {
        let found = rule(|heap, at| {
            let PageKind::Free { order } = heap.buddy.metadata.kind(place(at)) else {
                panic!("the block is not free");
            };
            let mut list = heap.buddy.lists[usize::from(order)];
            heap.buddy.metadata.unlink(&mut list, place(at));
            heap.buddy.lists[usize::from(order)] = list;
        });
        assert!(
            matches!(found, Rule::BuddyCounters | Rule::Lists),
            "{found:?}"
        );
    };
    lost(|at| at.free[0]);
    lost(|at| at.free[2]);
    lost(|at| at.largest);
}

#[test]
fn a_bitmap_and_a_count_that_disagree_are_found() {
    for used in [0, 2, 4, 51, 52, 4095] {
        let class = class(80);
        let wrong = broken(|state, at| {
            let kind = PageKind::Slab { class, used };
            state.heap.buddy.metadata.set_kind(at.partial, kind);
        });
        assert_eq!(
            (wrong.rule, wrong.class),
            (Rule::Bitmap, Some(class.number()))
        );
    }
    for bit in [0, 2, 3, 50, 51, 63] {
        let flipped = rule(|heap, at| {
            heap.buddy.metadata.bitmap(at.partial, class(80)).unwrap()[0] ^= 1 << bit
        });
        assert_eq!(flipped, Rule::Bitmap, "bit {bit}");
    }
}

#[test]
fn a_bit_without_an_object_is_found_even_if_the_count_of_bits_is_right() {
    let moved = rule(|heap, at| {
        heap.buddy.metadata.bitmap(at.partial, class(80)).unwrap()[0] ^= 1 << 51 | 1
    });
    assert_eq!(moved, Rule::Bitmap);
}

#[test]
fn a_slab_in_the_list_of_another_class_is_found() {
    let (class, used) = (class(96), 3);
    let wrong = rule_of(PageKind::Slab { class, used }, |at| at.partial);
    assert_eq!(wrong, Rule::Lists);
}

#[test]
fn an_object_that_was_never_allocated_is_found() {
    let wrong = broken(|state, at| {
        state
            .heap
            .buddy
            .metadata
            .bitmap(at.partial, class(80))
            .unwrap()[0] |= 1 << 3;
        let (class, used) = (class(80), 4);
        state
            .heap
            .buddy
            .metadata
            .set_kind(at.partial, PageKind::Slab { class, used });
    });
    let expected = (Rule::ClassCounters, Some(class(80).number()));
    assert_eq!((wrong.rule, wrong.class), expected);
}

/// Overwrites the link from a page to the next page in one engine, and the link to the previous page in
/// another engine. Returns the two rules that the checks report.
fn links(to: u32, place: impl Fn(&Places) -> Page) -> [Rule; 2] {
    let damaged = |damage: &dyn Fn(&mut Links)| {
        rule(|heap, at| heap.buddy.metadata.damage(place(at), damage))
    };
    [
        damaged(&|links| links.next.0 = to),
        damaged(&|links| links.prev.0 = to),
    ]
}

#[test]
fn a_list_that_ends_too_early_is_found() {
    assert_eq!(links(0, |at| at.free[1]), [Rule::ListLength, Rule::Lists]);
    assert_eq!(
        rule(|heap, at| heap
            .buddy
            .metadata
            .damage(at.pair[1], |links| links.next.0 = 0)),
        Rule::ListLength
    );
}

#[test]
fn a_link_to_a_wrong_page_is_found() {
    // A link is the number of a page plus one. These links name a page that is not free, pages after the end
    // of the region, and pages that cannot exist.
    for wild in [1, 255, 256, 257, 1 << 20, 1 << 25, u32::MAX - 1, u32::MAX] {
        for place in 0..3 {
            assert_eq!(links(wild, |at| at.free[place]), [Rule::Lists; 2]);
        }
        assert_eq!(links(wild, |at| at.pair[0]), [Rule::Lists; 2]);
    }
}

#[test]
fn a_list_that_does_not_end_is_found() {
    for to in 0..3 {
        let back = rule(|heap, at| {
            let link = Link::from(Some(at.free[to])).0;
            heap.buddy
                .metadata
                .damage(at.free[2], |links| links.next.0 = link);
        });
        assert_eq!(back, Rule::Lists);
    }
}

#[test]
fn a_list_with_a_wrong_length_is_found() {
    for length in [0, 2, 4, u32::MAX] {
        let wrong = rule(|heap, _| heap.buddy.lists[1].len = length);
        assert_eq!(wrong, Rule::ListLength);
    }
    let number = class(1024).number();
    for length in [0, 1, 3, u32::MAX] {
        let wrong = broken(|state, _| {
            state.heap.classes[usize::from(number)].partial.len = length;
        });
        assert_eq!((wrong.rule, wrong.class), (Rule::ListLength, Some(number)));
    }
}

#[test]
fn blocks_that_are_in_no_list_are_found() {
    let lost = rule(|heap, _| heap.buddy.lists[1] = List::default());
    assert_eq!(lost, Rule::Lists);
    let number = class(1024).index();
    let lost = rule(|heap, _| heap.classes[number].partial = List::default());
    assert_eq!(lost, Rule::Lists);
}

#[test]
fn blocks_in_a_list_of_another_order_or_class_are_found() {
    assert_eq!(rule(|heap, _| heap.buddy.lists.swap(1, 2)), Rule::Lists);
    let (smaller, larger) = (class(80).index(), class(1024).index());
    let moved = broken(|state, _| {
        let classes = &mut state.heap.classes;
        let list = core::mem::take(&mut classes[smaller].partial);
        classes[smaller].partial = core::mem::replace(&mut classes[larger].partial, list);
    });
    assert_eq!(
        (moved.rule, moved.class),
        (Rule::Lists, Some(smaller as u8))
    );
}

#[test]
fn an_empty_slab_that_is_not_the_cached_one_is_found() {
    let cached = |bytes: usize, cache: fn(&Places) -> Option<Page>| {
        let number = class(bytes).number();
        let wrong = broken(|state, at| {
            state.heap.classes[usize::from(number)].empty = cache(at);
        });
        assert_eq!((wrong.rule, wrong.class), (Rule::Lists, Some(number)));
    };
    cached(8, |_| None);
    cached(8, |at| Some(at.partial));
    // The class has no empty slab. The field names an empty slab of another class, a slab with live objects,
    // a page that is in no slab, and a page that does not exist.
    cached(80, |at| Some(at.empty));
    cached(80, |at| Some(at.partial));
    cached(80, |at| Some(at.largest));
    cached(80, |_| Link(u32::MAX).into());
}
