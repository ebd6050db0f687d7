// SPDX-License-Identifier: GPL-2.0

//! Examples of the buddy system.

use super::{
    buddy,
    descs,
    page, //
};
use crate::hybrid::{
    buddy::{
        Buddy,
        End,
        ORDERS,
        Work,
        order_of, //
    },
    page::{
        Page,
        PageKind, //
    },
};
use std::vec::Vec;

/// Allocates pages, and returns the index of the first one and the number of splits.
fn allocate(buddy: &mut Buddy, pages: usize, align_order: u32) -> Option<(usize, u16)> {
    buddy.work = Work::default();
    let page = buddy.allocate(pages, align_order, End::Front)?;
    buddy.metadata.set_kind(
        page,
        PageKind::Large {
            pages: pages as u32,
        },
    );
    assert_eq!(buddy.work.merges, 0);
    Some((page.index(), buddy.work.splits))
}

/// Allocates all `pages` pages, as blocks of one page.
fn fill(buddy: &mut Buddy, pages: usize) {
    for page in 0..pages {
        assert_eq!(allocate(buddy, 1, 0).map(|(page, _)| page), Some(page));
    }
}

/// Frees pages, and returns the number of pairs of buddies that were coalesced.
fn release(buddy: &mut Buddy, index: usize, pages: usize) -> u16 {
    buddy.work = Work::default();
    buddy.metadata.set_kind(page(index), PageKind::Interior);
    buddy.free(page(index), pages);
    assert_eq!(buddy.work.splits, 0);
    buddy.work.merges
}

/// Allocates the pages from `index` on, and returns the number of splits, or `None` if one of the pages is
/// not free.
fn allocate_at(buddy: &mut Buddy, index: usize, pages: usize) -> Option<u16> {
    buddy.work = Work::default();
    let taken = buddy.allocate_at(page(index), pages);
    assert_eq!(buddy.work.merges, 0);
    taken.then_some(buddy.work.splits)
}

/// Returns the first page and the number of pages of each free block, in order.
fn free(buddy: &Buddy) -> Vec<(usize, usize)> {
    let mut blocks = Vec::new();
    for order in 0..ORDERS {
        let first = buddy.lists[order].first();
        let listed = core::iter::successors(first, |page| buddy.metadata.next(*page));
        blocks.extend(listed.map(|page| (page.index(), 1 << order)));
    }
    blocks.sort_unstable();
    let pages = blocks.iter().map(|(_, pages)| pages).sum::<usize>();
    assert_eq!(pages, buddy.free_pages);
    assert!(buddy.agrees_with_lists());
    blocks
}

#[test]
fn order_of_is_the_smallest_order_with_enough_pages() {
    let orders = [1, 2, 3, 4, 5, 8, 9, 1 << 20].map(order_of);
    assert_eq!(orders, [0, 1, 2, 2, 3, 3, 4, 20]);
}

#[test]
fn a_new_region_is_cut_into_the_largest_blocks_that_fit() {
    assert_eq!(free(&buddy(8)), [(0, 8)]);
    assert_eq!(free(&buddy(13)), [(0, 8), (8, 4), (12, 1)]);
    assert_eq!(free(&buddy(1)), [(0, 1)]);
}

#[test]
fn the_smallest_block_that_is_large_enough_is_split() {
    let mut buddy = buddy(13);
    assert_eq!(allocate(&mut buddy, 1, 0), Some((12, 0)));
    assert_eq!(allocate(&mut buddy, 1, 0), Some((8, 2)));
    assert_eq!(free(&buddy), [(0, 8), (9, 1), (10, 2)]);
    assert_eq!(allocate(&mut buddy, 2, 0), Some((10, 0)));
    assert_eq!(allocate(&mut buddy, 4, 0), Some((0, 1)));
    assert_eq!(allocate(&mut buddy, 8, 0), None);
}

#[test]
fn a_new_region_allocates_equal_blocks_from_the_lowest_page_up() {
    let mut buddy = buddy(16);
    let pages: Vec<_> = (0..16)
        .map(|_| allocate(&mut buddy, 1, 0).unwrap().0)
        .collect();
    assert_eq!(pages, (0..16).collect::<Vec<_>>());
    assert_eq!(allocate(&mut buddy, 1, 0), None);
}

#[test]
fn the_block_nearest_to_the_end_is_allocated_first() {
    for (end, expected) in [(End::Front, [4, 8, 12]), (End::Back, [12, 8, 4])] {
        let mut buddy = buddy(16);
        fill(&mut buddy, 16);
        for index in [4, 12, 8] {
            assert_eq!(release(&mut buddy, index, 1), 0);
        }
        let pages = [(); 3].map(|()| buddy.allocate(1, 0, end).unwrap().index());
        assert_eq!(pages, expected);
    }
}

#[test]
fn a_block_is_chosen_among_the_eight_that_were_freed_last() {
    let mut buddy = buddy(32);
    fill(&mut buddy, 32);
    for index in (0..20).step_by(2) {
        assert_eq!(release(&mut buddy, index, 1), 0);
    }
    // Pages 0 and 2 were freed first.
    assert_eq!(allocate(&mut buddy, 1, 0), Some((4, 0)));
    assert_eq!(allocate(&mut buddy, 1, 0), Some((2, 0)));
}

#[test]
fn the_unused_rest_of_a_split_block_is_free_at_once() {
    for (pages, splits, rest) in [
        (1, 4, &[(1, 1), (2, 2), (4, 4), (8, 8)][..]),
        (5, 4, &[(5, 1), (6, 2), (8, 8)]),
        (8, 1, &[(8, 8)]),
        (9, 4, &[(9, 1), (10, 2), (12, 4)]),
        (12, 2, &[(12, 4)]),
        (15, 4, &[(15, 1)]),
        (16, 0, &[]),
    ] {
        let mut buddy = buddy(16);
        assert_eq!(allocate(&mut buddy, pages, 0), Some((0, splits)));
        assert_eq!(free(&buddy), rest, "{pages} pages");
        // A free coalesces as often as the allocation of the block has split.
        assert_eq!(release(&mut buddy, 0, pages), splits);
        assert_eq!(free(&buddy), [(0, 16)]);
    }
}

#[test]
fn a_free_coalesces_as_far_as_it_can() {
    const PAGES: usize = 1 << 10;
    let mut buddy = buddy(PAGES);
    fill(&mut buddy, PAGES);
    for index in (0..PAGES).step_by(2) {
        assert_eq!(release(&mut buddy, index, 1), 0);
    }
    for index in (1..PAGES).step_by(2) {
        // The free of page 1 creates a block of 2 pages, the free of page 3 a block of 4 pages, the free of
        // page 7 a block of 8 pages, and so on.
        assert_eq!(
            u32::from(release(&mut buddy, index, 1)),
            (index + 1).trailing_zeros()
        );
    }
    assert_eq!(free(&buddy), [(0, PAGES)]);
}

#[test]
fn freed_pages_coalesce_with_both_neighbours() {
    let mut buddy = buddy(8);
    fill(&mut buddy, 8);
    assert_eq!(release(&mut buddy, 2, 1), 0);
    assert_eq!(release(&mut buddy, 0, 1), 0);
    assert_eq!(free(&buddy), [(0, 1), (2, 1)]);
    assert_eq!(release(&mut buddy, 3, 1), 1);
    assert_eq!(release(&mut buddy, 1, 1), 2);
    assert_eq!(free(&buddy), [(0, 4)]);
}

#[test]
fn neighbours_that_are_not_buddies_do_not_coalesce() {
    let mut buddy = buddy(8);
    fill(&mut buddy, 8);
    for index in [1, 2, 5, 6] {
        assert_eq!(release(&mut buddy, index, 1), 0);
    }
    assert_eq!(free(&buddy), [(1, 1), (2, 1), (5, 1), (6, 1)]);
    assert_eq!(allocate(&mut buddy, 2, 0), None);
    // As a fallback they serve a request together. Neither pair is aligned to two pages.
    assert_eq!(buddy.allocate_joined(2, 1), None);
    assert_eq!(buddy.allocate_joined(2, 0), Some(page(5)));
    assert_eq!(buddy.allocate_joined(2, 0), Some(page(1)));
    assert_eq!(free(&buddy), []);
}

#[test]
fn a_request_takes_the_shortest_run_and_splits_no_larger_block() {
    let mut buddy = buddy(32);
    fill(&mut buddy, 32);
    // Runs of 5, 3 and 4 pages, of which only the last one is a block.
    for index in [3, 4, 5, 6, 7, 13, 14, 15, 20, 21, 22, 23] {
        release(&mut buddy, index, 1);
    }
    assert_eq!(free(&buddy), [(3, 1), (4, 4), (13, 1), (14, 2), (20, 4)]);
    assert_eq!(allocate(&mut buddy, 3, 0), Some((13, 0)));
    assert_eq!(allocate(&mut buddy, 5, 0), Some((3, 0)));
    assert_eq!(allocate(&mut buddy, 3, 0), Some((20, 2)));
    assert_eq!(free(&buddy), [(23, 1)]);
}

#[test]
fn the_place_in_a_run_has_the_alignment_of_the_request() {
    let mut buddy = buddy(16);
    fill(&mut buddy, 16);
    for index in 5..12 {
        release(&mut buddy, index, 1);
    }
    assert_eq!(free(&buddy), [(5, 1), (6, 2), (8, 4)]);
    // The run begins at page 5. An alignment of as much as the block is not joined.
    assert_eq!(allocate(&mut buddy, 5, 3), None);
    assert_eq!(allocate(&mut buddy, 5, 1), Some((6, 2)));
    assert_eq!(free(&buddy), [(5, 1), (11, 1)]);
}

#[test]
fn a_run_ends_at_the_end_of_its_region() {
    // The next region begins with free pages, too.
    let mut buddy = Buddy::new();
    buddy.metadata = descs(&[3, 3]);
    for region in 0..2 {
        buddy.free(Page::new(region, 0), 3);
    }
    assert_eq!(buddy.allocate_joined(4, 0), None);
    assert_eq!(buddy.allocate(3, 0, End::Front), Some(Page::new(1, 0)));
}

#[test]
fn a_block_whose_buddy_would_lie_past_the_region_does_not_coalesce() {
    let mut buddy = buddy(5);
    assert_eq!(allocate(&mut buddy, 1, 0), Some((4, 0)));
    assert_eq!(release(&mut buddy, 4, 1), 0);
    assert_eq!(free(&buddy), [(0, 4), (4, 1)]);
}

#[test]
fn an_aligned_block_leaves_the_pages_around_it_free() {
    let mut buddy = buddy(64);
    assert_eq!(allocate(&mut buddy, 1, 0), Some((0, 6)));
    assert_eq!(allocate(&mut buddy, 1, 4), Some((16, 4)));
    assert_eq!(
        free(&buddy),
        [
            (1, 1),
            (2, 2),
            (4, 4),
            (8, 8),
            (17, 1),
            (18, 2),
            (20, 4),
            (24, 8),
            (32, 32)
        ]
    );
    assert_eq!(allocate(&mut buddy, 3, 5), Some((32, 5)));
    assert_eq!(allocate(&mut buddy, 1, 5), None);
}

#[test]
fn a_request_above_the_largest_free_order_is_refused() {
    let mut buddy = buddy(64);
    for align_order in [7, 20, 31, 32, 51] {
        assert_eq!(allocate(&mut buddy, 1, align_order), None);
    }
    assert_eq!(allocate(&mut buddy, usize::MAX >> 13, 0), None);
    assert_eq!(free(&buddy), [(0, 64)]);
}

#[test]
fn a_block_grows_over_several_free_blocks() {
    let mut buddy = buddy(16);
    assert_eq!(allocate(&mut buddy, 1, 0), Some((0, 4)));
    // The growth takes the blocks of page 1 and of pages 2 to 3, and page 4 of the block of pages 4 to 7,
    // which is split twice.
    assert_eq!(allocate_at(&mut buddy, 1, 4), Some(2));
    assert_eq!(free(&buddy), [(5, 1), (6, 2), (8, 8)]);
    assert_eq!(allocate_at(&mut buddy, 5, 11), Some(0));
    assert_eq!(free(&buddy), []);
    assert_eq!(release(&mut buddy, 0, 16), 0);
    assert_eq!(free(&buddy), [(0, 16)]);
}

#[test]
fn a_block_does_not_grow_into_live_blocks_or_past_the_region() {
    let mut buddy = buddy(13);
    for expected in [12, 8, 9] {
        assert_eq!(allocate(&mut buddy, 1, 0).unwrap().0, expected);
    }
    let before = free(&buddy);
    assert_eq!(before, [(0, 8), (10, 2)]);
    // (9, 1): the page is live. (10, 3): page 12 is live. (12, 2) and (13, 1): past the region's end.
    for (index, pages) in [(9, 1), (10, 3), (12, 2), (13, 1)] {
        assert_eq!(allocate_at(&mut buddy, index, pages), None);
        assert_eq!(free(&buddy), before);
    }
    release(&mut buddy, 12, 1);
    assert_eq!(allocate_at(&mut buddy, 10, 4), None);
    assert_eq!(allocate_at(&mut buddy, 10, 3), Some(0));
    assert_eq!(free(&buddy), [(0, 8)]);
}

#[test]
fn pages_inside_a_free_block_are_not_mistaken_for_its_first_page() {
    // A block grows into the pages behind it, so a free block there begins at the first of these pages. Page
    // 1 is inside a free block instead, so the request is refused.
    let mut buddy = buddy(8);
    assert_eq!(allocate_at(&mut buddy, 1, 1), None);
    assert_eq!(free(&buddy), [(0, 8)]);
}
