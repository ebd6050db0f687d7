// SPDX-License-Identifier: GPL-2.0

//! One field damaged at a time: the check must name exactly the rule that this breaks.

use super::{
    damage::{
        Places,
        broken,
        class,
        rule,
        rule_of, //
    },
    page, //
};
use crate::{
    check::Rule,
    hybrid::{
        list::List,
        page::{
            Page, //
            PageKind,
        },
    },
};
use core::sync::atomic::Ordering::Relaxed;

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
    // The last block of the region goes on past its end.
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
fn a_page_that_names_a_wrong_head_is_found() {
    for (head, page) in [(2, 1), (1, 2), (3, 2), (255, 1)] {
        let class = class(3072);
        let wrong = rule_of(PageKind::SlabTail { class, head }, |at| {
            at.three.after(page)
        });
        assert_eq!(wrong, Rule::Partition);
    }
    assert_eq!(
        rule_of(PageKind::Interior, |at| at.three.after(1)),
        Rule::Partition
    );
    let (class, other) = (class(3072), class(2560));
    let wrong = PageKind::SlabTail {
        class: other,
        head: 1,
    };
    assert_eq!(rule_of(wrong, |at| at.three.after(1)), Rule::Partition);
    let named = PageKind::SlabTail { class, head: 1 };
    assert_eq!(rule_of(named, |at| at.large.after(1)), Rule::Partition);
    assert_eq!(rule_of(named, |at| at.largest.after(1)), Rule::Partition);
    let before_all = PageKind::SlabTail { class, head: 255 };
    assert_eq!(
        rule_of(before_all, |at| at.largest.after(1)),
        Rule::Partition
    );
}

#[test]
fn a_page_whose_phase_is_not_its_slabs_is_found() {
    // What frees are compared with without the lock: of a slab's first page, and of its others.
    let places = [
        |at: &Places| at.empty,
        |at: &Places| at.partial,
        |at: &Places| at.full,
        |at: &Places| at.three,
        |at: &Places| at.three.after(1),
        |at: &Places| at.three.after(2),
    ];
    for place in places {
        for wrong in [1, 1 << 12, 1 << 31, u32::MAX] {
            let found = rule(|heap, at| {
                let page = place(at);
                heap.descs.damage_word(page, wrong);
            });
            assert_eq!(found, Rule::Partition);
        }
    }
}

#[test]
fn a_free_block_at_a_wrong_place_is_found() {
    let order = |order| rule_of(PageKind::Free { order }, |at| at.free[0].after(1).before(1));
    assert_eq!([20, 21, 31, 32, 255].map(order), [Rule::FreeBlocks; 5]);
    let odd = rule(|heap, at| {
        let odd = [at.single, at.full, at.partial];
        let odd = odd.into_iter().find(|page| page.index() % 2 == 1).unwrap();
        heap.descs.set_kind(odd, PageKind::Free { order: 1 });
    });
    assert_eq!(odd, Rule::FreeBlocks);
}

#[test]
fn buddies_that_are_both_free_are_found() {
    let found = broken(|state, at| {
        let descs = &mut state.heap.descs;
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
            let PageKind::Free { order } = heap.descs.kind(place(at)) else {
                panic!("the block is not free");
            };
            let mut list = *heap.buddy.list(order.into());
            heap.descs.unlink(&mut list, place(at));
            heap.buddy.damage().0[usize::from(order)] = list;
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
            state.heap.descs.set_kind(at.partial, kind);
        });
        assert_eq!(
            (wrong.rule, wrong.class),
            (Rule::Bitmap, Some(class.number()))
        );
    }
    for bit in [0, 2, 3, 50, 51, 63] {
        let flipped = rule(|heap, at| heap.descs.bits(at.partial, 1)[0] ^= 1 << bit);
        assert_eq!(flipped, Rule::Bitmap, "bit {bit}");
    }
}

#[test]
fn a_bit_that_stands_for_no_object_is_found_whatever_the_count() {
    let moved = rule(|heap, at| heap.descs.bits(at.partial, 1)[0] ^= 1 << 51 | 1);
    assert_eq!(moved, Rule::Bitmap);
}

#[test]
fn a_slab_of_another_class_than_its_lists_is_found() {
    let (class, used) = (class(96), 3);
    let wrong = rule_of(PageKind::Slab { class, used }, |at| at.partial);
    assert_eq!(wrong, Rule::Lists);
}

#[test]
fn an_object_that_was_never_handed_out_is_found() {
    let wrong = broken(|state, at| {
        state.heap.descs.bits(at.partial, 1)[0] |= 1 << 3;
        let (class, used) = (class(80), 4);
        state
            .heap
            .descs
            .set_kind(at.partial, PageKind::Slab { class, used });
    });
    let expected = (Rule::ClassCounters, Some(class(80).number()));
    assert_eq!((wrong.rule, wrong.class), expected);
}

/// Damages the link forwards of a page, then that backwards, and returns both rules.
fn links(to: u32, place: impl Fn(&Places) -> Page) -> [Rule; 2] {
    [
        rule(|heap, at| heap.descs.damage(place(at)).1.store(to, Relaxed)),
        rule(|heap, at| heap.descs.damage(place(at)).0.store(to, Relaxed)),
    ]
}

#[test]
fn a_list_that_ends_too_early_is_found() {
    assert_eq!(links(0, |at| at.free[1]), [Rule::ListLength, Rule::Lists]);
    assert_eq!(
        rule(|heap, at| heap.descs.damage(at.pair[1]).1.store(0, Relaxed)),
        Rule::ListLength
    );
}

#[test]
fn a_link_that_leads_elsewhere_is_found() {
    // Links are numbers of pages and one: here, of one that is not free, of none that there is, of
    // none that there can be.
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
            let link = at.free[to].to_bits() as u32;
            heap.descs.damage(at.free[2]).1.store(link, Relaxed);
        });
        assert_eq!(back, Rule::Lists);
    }
}

#[test]
fn a_list_with_a_wrong_length_is_found() {
    for length in [0, 2, 4, u32::MAX] {
        let wrong = rule(|heap, _| heap.buddy.damage().0[1].len = length);
        assert_eq!(wrong, Rule::ListLength);
    }
    let number = class(1024).number();
    for length in [0, 1, 3, u32::MAX] {
        let wrong = broken(|state, _| {
            state.heap.classes[usize::from(number)].damage().0[1].len = length;
        });
        assert_eq!((wrong.rule, wrong.class), (Rule::ListLength, Some(number)));
    }
}

#[test]
fn blocks_that_no_list_has_are_found() {
    let lost = rule(|heap, _| heap.buddy.damage().0[1] = List::default());
    assert_eq!(lost, Rule::Lists);
    let number = class(1024).index();
    let lost = rule(|heap, _| heap.classes[number].damage().0[1] = List::default());
    assert_eq!(lost, Rule::Lists);
}

#[test]
fn blocks_in_a_list_of_another_order_or_fullness_are_found() {
    assert_eq!(
        rule(|heap, _| heap.buddy.damage().0.swap(1, 2)),
        Rule::Lists
    );
    let number = class(1024).index();
    let moved = broken(|state, _| state.heap.classes[number].damage().0.swap(1, 2));
    assert_eq!((moved.rule, moved.class), (Rule::Lists, Some(number as u8)));
}

#[test]
fn an_empty_slab_that_is_not_the_one_that_is_kept_is_found() {
    let kept = |bytes: usize, keep: fn(&Places) -> Option<Page>| {
        let number = class(bytes).number();
        let wrong = broken(|state, at| {
            *state.heap.classes[usize::from(number)].damage().1 = keep(at);
        });
        assert_eq!((wrong.rule, wrong.class), (Rule::Lists, Some(number)));
    };
    kept(8, |_| None);
    kept(8, |at| Some(at.partial));
    // Where there is none: one of another class, one that is not empty, none at all.
    kept(80, |at| Some(at.empty));
    kept(80, |at| Some(at.partial));
    kept(80, |at| Some(at.largest));
    kept(80, |_| Page::from_bits(u32::MAX as usize));
}
