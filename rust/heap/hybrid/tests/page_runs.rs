// SPDX-License-Identifier: GPL-2.0

//! Runs of free pages: by example, and against an oracle that knows of each page whether it is
//! free, and no blocks.

use super::{
    Bare,
    at,
    page, //
};
use crate::{
    Offset, Refusal,
    hybrid::{
        buddy::{
            Work,
            order_of, //
        },
        heap::Heap,
        page::Page,
    },
    testing::layout,
};
use core::{
    alloc::Layout,
    ops::Range, //
};
use proptest::{
    collection::vec,
    prelude::*, //
};
use std::vec::Vec;

/// Returns the layout of whole pages.
fn pages(pages: usize) -> Layout {
    layout(pages << 12, 8)
}

/// Returns where the first page is of a block that is allocated.
fn allocate(heap: &mut Bare, wanted: usize) -> usize {
    let block = heap.allocate(pages(wanted)).unwrap().0;
    heap.sound();
    block.byte() as usize >> 12
}

#[test]
fn rests_side_by_side_are_used_before_a_larger_block_is_cut() {
    // 1 and 2 pages that are no buddies, and a block of 16; most pages are out.
    let mut heap = Bare::with_free(&[128], (5..8).chain(16..32));
    assert_eq!(allocate(&mut heap, 3), 5);
    assert_eq!(heap.0.buddy.list(4).len, 1);
    // Without them the block is cut.
    assert_eq!(allocate(&mut heap, 3), 16);
    assert_eq!(heap.0.buddy.list(4).len, 0);
}

#[test]
fn rests_are_left_alone_while_a_quarter_of_the_pages_is_free() {
    for (pages, expected) in [(76, 16), (80, 5)] {
        // 19 pages are free.
        let mut heap = Bare::with_free(&[pages], (5..8).chain(16..32));
        assert_eq!(heap.0.buddy.free_pages(), 19);
        assert_eq!(allocate(&mut heap, 3), expected, "of {pages}");
    }
}

#[test]
fn the_shortest_run_that_is_long_enough_is_used() {
    // Runs of 7, 3 and 5 pages, and a block of 16.
    let runs = [1..8, 13..16, 35..40, 48..64];
    for (wanted, expected) in [(3, 13), (5, 35), (6, 1), (7, 1)] {
        let mut heap = Bare::with_free(&[256], runs.clone().into_iter().flatten());
        assert_eq!(allocate(&mut heap, wanted), expected, "{wanted} pages");
    }
}

#[test]
fn powers_of_two_are_blocks_as_long_as_there_are_any() {
    // Four pages from 2 on, in no block, and a block of eight.
    let mut heap = Bare::with_free(&[32], (2..6).chain(16..24));
    assert_eq!(allocate(&mut heap, 4), 16);
    assert_eq!(allocate(&mut heap, 4), 20);
    // The last resort.
    assert_eq!(allocate(&mut heap, 4), 2);
    assert_eq!(heap.refused(pages(2)).0, Refusal::Exhausted);
}

#[test]
fn a_run_is_cut_inside_of_a_block_and_the_rest_goes_back() {
    // 1 and 2 to 3 and 4 to 7.
    let mut heap = Bare::with_free(&[8], 1..8);
    let (block, cost) = heap.allocate(pages(5)).unwrap();
    assert_eq!((block, cost.splits()), (at(1 << 12), Some(1)));
    assert_eq!(heap.0.buddy.list(1).first(), Some(page(6)));
    heap.release(block, pages(5)).unwrap();
    assert_eq!(allocate(&mut heap, 7), 1);
}

/// A heap of blocks of two pages that lie alone, after a run of three pages that is looked at after
/// all of them, and a block of four that is not where `full`.
fn last_of(lone: usize, full: bool) -> Bare {
    let alone = (4..4 + lone).map(|nth| 4 * nth..4 * nth + 2);
    let mut free: Vec<Range<usize>> = std::vec![2..5];
    if !full {
        free.push(8..12);
    }
    Bare::with_free(&[512], free.into_iter().chain(alone).flatten())
}

#[test]
fn eight_runs_are_looked_at_before_a_block_is_cut() {
    assert_eq!(allocate(&mut last_of(7, false), 3), 2);
    assert_eq!(allocate(&mut last_of(8, false), 3), 8);
}

#[test]
fn sixty_four_runs_are_looked_at_before_a_request_is_refused() {
    assert_eq!(allocate(&mut last_of(63, true), 3), 2);
    let refused = last_of(64, true).refused(pages(3)).0;
    assert_eq!(refused, Refusal::Fragmented);
}

#[test]
fn a_run_does_not_leave_its_region() {
    // Twelve pages in a row, were there no ends.
    let mut heap = Bare::new(&[3, 5, 4]);
    assert_eq!(heap.allocate(pages(5)).unwrap().0, Offset::new(1, 0));
    assert_eq!(heap.refused(pages(5)).0, Refusal::Fragmented);
    assert_eq!(heap.allocate(pages(4)).unwrap().0, Offset::new(2, 0));
    assert_eq!(heap.allocate(pages(3)).unwrap().0, Offset::new(0, 0));
    heap.sound();
}

/// Of each region's pages, whether they are free.
type Free = Vec<Vec<bool>>;

/// Returns regions in which a few pages that are out and more that are free take turns.
fn any_free() -> impl Strategy<Value = Free> {
    let turns = vec((0_usize..6, 0_usize..24), 1..10);
    let region = turns.prop_map(|turns| {
        let mut free = std::vec![false];
        for (taken, given) in turns {
            free.extend(core::iter::repeat_n(false, taken));
            free.extend(core::iter::repeat_n(true, given));
        }
        free
    });
    vec(region, 1..4)
}

/// Returns a heap with these pages free.
fn heap(free: &Free) -> Bare {
    let sizes: Vec<_> = free.iter().map(Vec::len).collect();
    let mut heap = Bare::with_free(&sizes, []);
    for (region, free) in free.iter().enumerate() {
        for index in (0..free.len()).filter(|index| free[*index]) {
            heap.free_page(Page::new(region, index));
        }
    }
    heap
}

/// Returns the first page and the length of the run that a page is in.
fn run_of(free: &Free, page: Page) -> (Page, usize) {
    let (region, index) = (&free[page.region()], page.index());
    assert!(region[index]);
    let before = region[..index].iter().rev().take_while(|free| **free);
    let after = region[index..].iter().take_while(|free| **free);
    let before = before.count();
    (page.before(before), before + after.count())
}

/// Returns the runs of free pages.
fn runs(free: &Free) -> Vec<(Page, usize)> {
    let pages = |region: usize| (0..free[region].len()).map(move |index| (region, index));
    let free_pages = (0..free.len())
        .flat_map(pages)
        .filter(|(region, index)| free[*region][*index])
        .map(|(region, index)| Page::new(region, index));
    let mut runs: Vec<_> = free_pages.map(|page| run_of(free, page)).collect();
    runs.dedup();
    runs
}

/// Returns the free blocks of an order, as they are listed.
fn listed(Heap { descs, buddy, .. }: &Heap, order: u32) -> Vec<Page> {
    let first = buddy.list(order as usize).first();
    core::iter::successors(first, |page| descs.next(*page)).collect()
}

/// Expects that pages that were taken are a run's first, and that all else is as it was.
fn taken_from(free: &Free, heap: &mut Bare, page: Page, pages: usize) {
    let (first, length) = run_of(free, page);
    assert!(first == page && length >= pages);
    let given: usize = free.iter().flatten().filter(|free| **free).count();
    assert_eq!(heap.0.buddy.free_pages(), given - pages);
    heap.0.mark_allocated(page, pages);
    heap.sound();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_run_is_found_if_and_only_if_there_is_one(free in any_free(), wanted in 1_usize..40) {
        let mut heap = heap(&free);
        let runs = runs(&free);
        // Blocks with fewer pages than a quarter are not looked around; of others, 64 are.
        let orders = (0..=20).filter(|order| 4 << order >= wanted);
        let looked_at: usize = orders.map(|order| listed(&heap.0, order).len()).sum();
        let expected = runs.iter().any(|(_, pages)| *pages >= wanted);
        let Heap { descs, buddy, .. } = &mut heap.0;
        let found = buddy.allocate_any_run(descs, wanted, &mut Work::default());
        if looked_at <= 64 {
            prop_assert_eq!(found.is_some(), expected);
        }
        if let Some(page) = found {
            taken_from(&free, &mut heap, page, wanted);
        }
    }

    #[test]
    fn the_shortest_run_around_eight_halves_is_found(free in any_free(), wanted in 3_usize..24) {
        let mut heap = heap(&free);
        let order = order_of(wanted);
        let halves = listed(&heap.0, order - 1).into_iter().take(8);
        let enough = halves
            .map(|half| run_of(&free, half))
            .filter(|(_, pages)| *pages >= wanted);
        let expected = enough.min_by_key(|(_, pages)| *pages).map(|(first, _)| first);
        let Heap { descs, buddy, .. } = &mut heap.0;
        let found = buddy.allocate_best_fit_run(descs, wanted, order, &mut Work::default());
        prop_assert_eq!(found, expected);
        if let Some(page) = found {
            taken_from(&free, &mut heap, page, wanted);
        }
    }
}
