// SPDX-License-Identifier: GPL-2.0

//! Examples of page descriptors and lists.

use super::{
    class,
    descs,
    page, //
};
use crate::{
    Offset,
    hybrid::page::{
        Link,
        Links,
        List,
        Page,
        PageKind,
        PageMetadata,
        REGION_PAGES_MAX, //
    },
    size_class::Class,
};
use std::vec::Vec;

/// Returns the indexes of the blocks of a list, from the first to the last. Panics if the links to the
/// previous blocks do not match.
fn blocks(descs: &PageMetadata, list: &List) -> Vec<usize> {
    let forwards: Vec<_> = core::iter::successors(list.first(), |page| descs.next(*page)).collect();
    let last = forwards.last().copied();
    let mut backwards: Vec<_> = core::iter::successors(last, |page| descs.prev(*page)).collect();
    backwards.reverse();
    assert_eq!(forwards, backwards);
    assert_eq!(forwards.len(), list.len as usize);
    forwards.into_iter().map(Page::index).collect()
}

#[test]
fn the_block_pushed_last_is_first_in_its_list() {
    let (mut descs, mut list) = (descs(&[8]), List::default());
    assert_eq!(list.first(), None);
    for index in [0, 3, 7] {
        descs.push(&mut list, page(index));
    }
    assert_eq!(blocks(&descs, &list), [7, 3, 0]);
}

#[test]
fn a_block_is_unlinked_from_any_place_of_its_list() {
    for (unlinked, rest) in [
        (0, [4, 3, 2, 1]),
        (2, [4, 3, 1, 0]),
        (4, [3, 2, 1, 0]), //
    ] {
        let (mut descs, mut list) = (descs(&[8]), List::default());
        (0..5).for_each(|index| descs.push(&mut list, page(index)));
        descs.unlink(&mut list, page(unlinked));
        assert_eq!(blocks(&descs, &list), rest);
        assert_eq!(
            (descs.next(page(unlinked)), descs.prev(page(unlinked))),
            (None, None)
        );
        descs.push(&mut list, page(unlinked));
        assert_eq!(list.first(), Some(page(unlinked)));
        for index in [0, 4, 2, 1, 3] {
            descs.unlink(&mut list, page(index));
        }
        assert_eq!(blocks(&descs, &list), []);
    }
}

#[test]
fn a_list_crosses_regions() {
    let (mut descs, mut list) = (descs(&[1, 2, 1]), List::default());
    for (region, index) in [(0, 0), (1, 1), (2, 0)] {
        descs.push(&mut list, Page::new(region, index));
    }
    descs.unlink(&mut list, Page::new(1, 1));
    assert_eq!(list.first(), Some(Page::new(2, 0)));
    assert_eq!(descs.next(Page::new(2, 0)), Some(Page::new(0, 0)));
}

#[test]
fn a_missing_page_is_interior_and_has_no_bitmap() {
    let mut descs = descs(&[4]);
    let wild = Option::from(Link(u32::MAX)).unwrap();
    for page in [page(4), Page::new(1, 0), page(REGION_PAGES_MAX - 1), wild] {
        descs.set_kind(page, PageKind::Large { pages: 1 });
        assert_eq!(descs.kind(page), PageKind::Interior);
        assert!(descs.get(page).is_none() && descs.bitmap(page, class(64)).is_none());
        assert_eq!((descs.next(page), descs.prev(page)), (None, None));
    }
    assert_eq!((descs.pages(0), descs.pages(1)), (4, 0));
}

#[test]
fn every_page_has_metadata_of_its_own() {
    let mut descs = descs(&[3, 2]);
    let pages = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)].map(|(r, i)| Page::new(r, i));
    let links = |number: u32| Links {
        prev: Link(number),
        next: Link(!number),
    };
    let kind = |number: u32| PageKind::Large { pages: number + 1 };
    for (number, page) in (0..).zip(pages) {
        *descs.word(page).unwrap() = u64::from(number) | 7 << 40;
        descs.damage(page, |of_page| *of_page = links(number));
        descs.set_kind(page, kind(number));
    }
    for (number, page) in (0..).zip(pages) {
        assert_eq!(*descs.word(page).unwrap(), u64::from(number) | 7 << 40);
        let of_page = descs.links(page).unwrap();
        assert_eq!((of_page.prev, of_page.next), (Link(number), Link(!number)));
        assert_eq!(descs.kind(page), kind(number));
    }
}

#[test]
fn a_descriptor_keeps_the_extremes_of_each_use() {
    let mut descs = descs(&[1]);
    let pages = REGION_PAGES_MAX as u32;
    let slabs = Class::all().flat_map(|class| {
        let used = class.objects() as u16;
        let tails = (1..class.pages() as u8).map(move |pages_before| PageKind::SlabTail {
            class,
            pages_before,
        });
        [0, 1, used]
            .map(|used| PageKind::Slab { class, used })
            .into_iter()
            .chain(tails)
    });
    let others = [
        PageKind::Interior,
        PageKind::Free { order: 0 },
        PageKind::Free { order: 20 },
        PageKind::Large { pages: 1 },
        PageKind::Large { pages },
    ];
    for kind in slabs.chain(others) {
        descs.set_kind(page(0), kind);
        assert_eq!(descs.kind(page(0)), kind);
        let large = matches!(kind, PageKind::Large { .. });
        let desc = descs.get(page(0)).unwrap();
        for pages in [1, REGION_PAGES_MAX, 1 << 24, (1 << 24) + 1] {
            let same = kind
                == PageKind::Large {
                    pages: pages as u32,
                };
            assert_eq!(desc.has_pages(pages), large && same);
        }
    }
}

#[test]
fn page_numbers_convert_to_offsets_and_back() {
    for (region, index) in [(0, 0), (3, 17), (15, REGION_PAGES_MAX - 1)] {
        let page = Page::new(region, index);
        for byte in [0, 1, 4095] {
            assert_eq!(Page::of(page.offset(byte)), Some(page));
        }
        assert_eq!(Option::from(Link::from(Some(page))), Some(page));
    }
    assert_eq!(Option::<Page>::from(Link(0)), None);
    assert_eq!(Page::of(Offset::new(16, 0)), None);
    assert_eq!(Page::of(Offset::new(0, 4 << 30)), None);
}

#[test]
fn interior_pages_of_free_blocks_are_free_and_those_of_live_blocks_are_not() {
    let mut descs = descs(&[16]);
    descs.set_kind(page(0), PageKind::Large { pages: 5 });
    descs.set_kind(page(5), PageKind::Free { order: 0 });
    descs.set_kind(page(6), PageKind::Free { order: 1 });
    descs.set_kind(page(8), PageKind::Free { order: 3 });
    let free: Vec<_> = (0..16)
        .filter(|index| descs.is_free(page(*index)))
        .collect();
    assert_eq!(free, [5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
}
