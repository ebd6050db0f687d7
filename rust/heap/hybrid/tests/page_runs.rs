// SPDX-License-Identifier: GPL-2.0

//! Runs of free pages: examples, and an oracle that only knows which pages are free.

use super::{
    BareHeap,
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

/// Returns the layout of `pages` pages.
fn pages(pages: usize) -> Layout {
    layout(pages << 12, 8)
}

/// Allocates `wanted` pages, and returns the index of the first one.
fn allocate(heap: &mut BareHeap, wanted: usize) -> usize {
    let block = heap.allocate(pages(wanted)).unwrap().0;
    heap.sound();
    block.byte() as usize >> 12
}

#[test]
fn a_run_of_small_free_blocks_is_used_before_a_larger_block_is_split() {
    // There are free blocks of 1 and 2 pages, which are not buddies, and of 16 pages. All other pages are
    // live.
    let mut heap = BareHeap::with_free(&[128], (5..8).chain(16..32));
    assert_eq!(allocate(&mut heap, 3), 5);
    assert_eq!(heap.0.buddy.list(4).len, 1);
    // Without the run, the block of 16 pages is split.
    assert_eq!(allocate(&mut heap, 3), 16);
    assert_eq!(heap.0.buddy.list(4).len, 0);
}

#[test]
fn runs_are_not_searched_while_a_quarter_of_the_pages_is_free() {
    for (pages, expected) in [(76, 16), (80, 5)] {
        // 19 pages are free.
        let mut heap = BareHeap::with_free(&[pages], (5..8).chain(16..32));
        assert_eq!(heap.0.buddy.free_pages(), 19);
        assert_eq!(allocate(&mut heap, 3), expected, "of {pages}");
    }
}

#[test]
fn the_shortest_run_that_is_long_enough_is_used() {
    // There are runs of 7, 3 and 5 pages, and a block of 16 pages.
    let runs = [1..8, 13..16, 35..40, 48..64];
    for (wanted, expected) in [(3, 13), (5, 35), (6, 1), (7, 1)] {
        let mut heap = BareHeap::with_free(&[256], runs.clone().into_iter().flatten());
        assert_eq!(allocate(&mut heap, wanted), expected, "{wanted} pages");
    }
}

#[test]
fn a_power_of_two_is_allocated_from_a_block_before_a_run() {
    // Pages 2 to 5 are a run that is not one block. Pages 16 to 23 are a block.
    let mut heap = BareHeap::with_free(&[32], (2..6).chain(16..24));
    assert_eq!(allocate(&mut heap, 4), 16);
    assert_eq!(allocate(&mut heap, 4), 20);
    // The run is used as the fallback.
    assert_eq!(allocate(&mut heap, 4), 2);
    assert_eq!(heap.refused(pages(2)).0, Refusal::Exhausted);
}

#[test]
fn a_run_may_end_inside_of_a_block_whose_rest_stays_free() {
    // The free blocks are page 1, pages 2 to 3, and pages 4 to 7.
    let mut heap = BareHeap::with_free(&[8], 1..8);
    let (block, cost) = heap.allocate(pages(5)).unwrap();
    assert_eq!((block, cost.splits()), (at(1 << 12), Some(1)));
    assert_eq!(heap.0.buddy.list(1).first(), Some(page(6)));
    heap.release(block, pages(5)).unwrap();
    assert_eq!(allocate(&mut heap, 7), 1);
}

/// Constructs a heap with `lone` free blocks of two pages, each between live pages, and a run of three pages
/// that the search visits after all of them. Unless `full`, there is also a free block of four pages.
fn run_behind(lone: usize, full: bool) -> BareHeap {
    let alone = (4..4 + lone).map(|nth| 4 * nth..4 * nth + 2);
    let mut free: Vec<Range<usize>> = std::vec![2..5];
    if !full {
        free.push(8..12);
    }
    BareHeap::with_free(&[512], free.into_iter().chain(alone).flatten())
}

#[test]
fn eight_runs_are_visited_before_a_larger_block_is_split() {
    assert_eq!(allocate(&mut run_behind(7, false), 3), 2);
    assert_eq!(allocate(&mut run_behind(8, false), 3), 8);
}

#[test]
fn sixty_four_runs_are_visited_before_a_request_is_refused() {
    assert_eq!(allocate(&mut run_behind(63, true), 3), 2);
    let refused = run_behind(64, true).refused(pages(3)).0;
    assert_eq!(refused, Refusal::Fragmented);
}

#[test]
fn a_run_does_not_cross_regions() {
    // The regions have twelve pages together, but no region has more than five.
    let mut heap = BareHeap::new(&[3, 5, 4]);
    assert_eq!(heap.allocate(pages(5)).unwrap().0, Offset::new(1, 0));
    assert_eq!(heap.refused(pages(5)).0, Refusal::Fragmented);
    assert_eq!(heap.allocate(pages(4)).unwrap().0, Offset::new(2, 0));
    assert_eq!(heap.allocate(pages(3)).unwrap().0, Offset::new(0, 0));
    heap.sound();
}

/// For each page of each region, whether it is free.
type Free = Vec<Vec<bool>>;

/// Returns a strategy for regions in which short runs of live pages alternate with longer runs of free pages.
fn any_free() -> impl Strategy<Value = Free> {
    let turns = vec((0_usize..6, 0_usize..24), 1..10);
    let region = turns.prop_map(|turns| {
        let mut free = std::vec![false];
        for (live, free_pages) in turns {
            free.extend(core::iter::repeat_n(false, live));
            free.extend(core::iter::repeat_n(true, free_pages));
        }
        free
    });
    vec(region, 1..4)
}

/// Constructs a heap with these pages free and all others live.
fn heap(free: &Free) -> BareHeap {
    let sizes: Vec<_> = free.iter().map(Vec::len).collect();
    let mut heap = BareHeap::with_free(&sizes, []);
    for (region, free) in free.iter().enumerate() {
        for index in (0..free.len()).filter(|index| free[*index]) {
            heap.free_page(Page::new(region, index));
        }
    }
    heap
}

/// Returns the first page and the length of the run of free pages around `page`.
fn run_of(free: &Free, page: Page) -> (Page, usize) {
    let (region, index) = (&free[page.region()], page.index());
    assert!(region[index]);
    let before = region[..index].iter().rev().take_while(|free| **free);
    let after = region[index..].iter().take_while(|free| **free);
    let before = before.count();
    (page.before(before), before + after.count())
}

/// Returns the first page and the length of each run of free pages.
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

/// Returns the free blocks of an order, in the order of their list.
fn listed(Heap { descs, buddy, .. }: &Heap, order: u32) -> Vec<Page> {
    let first = buddy.list(order as usize).first();
    core::iter::successors(first, |page| descs.next(*page)).collect()
}

/// Panics unless the allocated pages are the first ones of a run, and all other pages are unchanged.
fn taken_from(free: &Free, heap: &mut BareHeap, page: Page, pages: usize) {
    let (first, length) = run_of(free, page);
    assert!(first == page && length >= pages);
    let free_before: usize = free.iter().flatten().filter(|free| **free).count();
    assert_eq!(heap.0.buddy.free_pages(), free_before - pages);
    heap.0.mark_allocated(page, pages);
    heap.sound();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_run_is_found_if_and_only_if_there_is_one(free in any_free(), wanted in 1_usize..40) {
        let mut heap = heap(&free);
        let runs = runs(&free);
        // The search visits up to 64 blocks that have at least a quarter of the wanted pages.
        let orders = (0..=20).filter(|order| 4 << order >= wanted);
        let visited: usize = orders.map(|order| listed(&heap.0, order).len()).sum();
        let expected = runs.iter().any(|(_, pages)| *pages >= wanted);
        let Heap { descs, buddy, .. } = &mut heap.0;
        let found = buddy.allocate_any_run(descs, wanted, &mut Work::default());
        if visited <= 64 {
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
