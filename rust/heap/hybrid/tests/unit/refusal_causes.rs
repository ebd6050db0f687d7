// SPDX-License-Identifier: GPL-2.0

//! The causes of refused requests, and the fragmentation index.

use super::{
    BareHeap,
    table, //
};
use crate::{
    Cost, Engine, Refusal,
    hybrid::heap::Heap,
    testing::{
        LockedHybrid,
        TestEngine,
        layout,
        sound,
        totals, //
    },
};
use proptest::{
    collection::vec,
    prelude::*, //
};
use std::vec::Vec;

/// Computes Linux's `__fragmentation_index` (`mm/vmstat.c`) for a request that must fail.
fn linux_index(order: u32, free_pages: i64, free_blocks_total: i64) -> i64 {
    let requested = 1_i64 << order;
    if free_blocks_total == 0 {
        return 0;
    }
    1000 - (1000 + free_pages * 1000 / requested) / free_blocks_total
}

/// Returns the number of free blocks of a region. `free` contains, for each page, whether the page is free.
///
/// Two free buddies are always coalesced, so every block is as large as its alignment and the free pages
/// allow.
fn count_blocks(free: &[bool]) -> usize {
    let (mut index, mut blocks) = (0, 0);
    while index < free.len() {
        let is_block = |order: &u32| {
            let pages = free.get(index..index + (1 << order));
            index % (1 << order) == 0 && pages.is_some_and(|pages| !pages.contains(&false))
        };
        let order = (0..=20).rev().find(is_block);
        blocks += usize::from(order.is_some());
        index += order.map_or(1, |order| 1 << order);
    }
    blocks
}

#[test]
fn each_refused_request_names_its_cause() {
    // The region of 13 pages has blocks of 8, 4 and 1 pages.
    let mut heap = BareHeap::new(&[13]);
    for (size, align) in [
        (14 << 12, 8),
        (16 << 12, 8),
        (isize::MAX as usize, 1),
        (4097, 1 << 16),
        (9 << 12, 8),
        (9 << 12, 8192),
        (8, 1 << 16),
        (8, 1 << 33),
        (8, 1 << 62),
    ] {
        let refused = heap.refused(layout(size, align));
        assert_eq!(refused, (Refusal::TooBig, Cost::default()));
    }
    let pages = heap.fill(layout(4096, 8));
    assert_eq!(pages.len(), 13);
    for size in [1, 64, 3072, 4096, 8192, 8 << 12] {
        let refused = heap.refused(layout(size, 8));
        assert_eq!(refused, (Refusal::Exhausted, Cost::default()));
    }
    for block in pages.iter().step_by(2) {
        heap.free(*block, layout(4096, 8)).unwrap();
    }
    // The first freed page is still cached as an empty slab. The next request reclaims the page.
    heap.allocate(layout(8 << 12, 8)).unwrap_err();
    assert_eq!(heap.0.buddy.free_pages, 7);
    for (size, align, refusal) in [
        (8 << 12, 8, Refusal::Exhausted),
        (7 << 12, 8, Refusal::Fragmented),
        (4097, 8, Refusal::Fragmented),
        (8, 8192, Refusal::Fragmented),
    ] {
        let (refused, cost) = heap.refused(layout(size, align));
        assert_eq!(refused, refusal);
        let has_index = cost.fragmentation() != 0;
        assert_eq!(has_index, refusal == Refusal::Fragmented);
    }
    assert_eq!(heap.allocate(layout(3072, 8)).unwrap().1.order(), Some(0));
}

#[test]
fn a_request_is_too_big_if_no_empty_region_has_a_block_that_is_large_enough() {
    // The largest block of a region of 13 pages has 8 pages.
    for regions in [&[13][..], &[1, 13, 4], &[8, 13], &[13, 12]] {
        for pages in 2..=8 {
            let mut heap = BareHeap::new(regions);
            let request = layout(pages << 12, 8);
            let block = heap.allocate(request).unwrap().0;
            heap.sound();
            heap.free(block, request).unwrap();
            heap.sound();
        }
        // The sum of the regions does not matter.
        let mut heap = BareHeap::new(regions);
        for align in [8, 8192] {
            let refused = heap.refused(layout((8 << 12) + 1, align)).0;
            assert_eq!(refused, Refusal::TooBig);
        }
        assert!(heap.allocate(layout(8 << 12, 8 << 12)).is_ok());
    }
}

#[test]
fn a_new_region_makes_larger_requests_possible() {
    let mut heap = BareHeap::new(&[5]);
    assert_eq!(heap.refused(layout(6 << 12, 8)).0, Refusal::TooBig);
    heap.0.add(1, 8, table(8), u32::MAX);
    assert!(heap.allocate(layout(6 << 12, 8)).is_ok());
    // The 5 pages of one region and the rest of the other one are free.
    assert_eq!(heap.refused(layout(6 << 12, 8)).0, Refusal::Fragmented);
}

#[test]
fn an_alignment_above_that_of_the_regions_is_unsupported() {
    let mut heap = Heap::new();
    heap.add(0, 16, table(16), 1);
    let mut heap = BareHeap(heap);
    assert!(heap.allocate(layout(8, 8192)).is_ok());
    let refused = heap.refused(layout(8, 16_384));
    assert_eq!(refused, (Refusal::Unsupported, Cost::default()));
    assert_eq!(heap.refused(layout(8, 1 << 17)).0, Refusal::TooBig);
}

#[test]
fn every_request_is_too_big_for_an_engine_without_regions() {
    let engine = <LockedHybrid as TestEngine>::empty();
    for size in [1, 64, 3072, 8192] {
        let refused = engine.allocate(layout(size, 8), &mut Cost::default());
        assert_eq!(refused, Err(Refusal::TooBig));
    }
    assert_eq!(totals(&engine).refusals, [4, 0, 0, 0, 0, 0, 0]);
    assert_eq!(totals(&engine).pool_bytes, 0);
    sound(&engine);
}

#[test]
fn the_fragmentation_index_is_that_of_linux_and_at_least_0() {
    // Every other page is free: 8 blocks of one page.
    let mut heap = BareHeap::with_free(&[16], (0..16).step_by(2));
    for (wanted, index) in [(2, 375), (4, 625), (8, 750)] {
        let (refusal, cost) = heap.refused(layout(wanted << 12, 8));
        assert_eq!(refusal, Refusal::Fragmented);
        assert_eq!(cost.fragmentation(), index);
        assert_eq!(i64::from(index), linux_index(wanted.ilog2(), 8, 8));
    }
    // One page is free, but misaligned. The index of Linux is negative, which in Linux means a lack of
    // memory.
    let mut heap = BareHeap::with_free(&[4], [1]);
    let (refusal, cost) = heap.refused(layout(8, 8192));
    assert_eq!((refusal, linux_index(1, 1, 1)), (Refusal::Fragmented, -500));
    assert_eq!(cost.fragmentation(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn the_cause_of_a_refusal_follows_from_the_free_pages(
        free in vec(prop::bool::weighted(0.7), 1..100),
        requests in vec((2_usize..40, 0_u32..5), 1..8),
    ) {
        let free_indexes: Vec<_> = (0..free.len()).filter(|index| free[*index]).collect();
        let mut heap = BareHeap::with_free(&[free.len()], free_indexes.iter().copied());
        for (pages, align_order) in requests {
            let request = layout(pages << 12, 4096 << align_order);
            let order = pages.next_power_of_two().ilog2().max(align_order);
            let too_big = order > free.len().ilog2();
            let refusal = match heap.request(request) {
                Ok(block) => {
                    prop_assert!(!too_big && pages <= free_indexes.len());
                    heap.free(block, request).unwrap();
                    continue;
                }
                Err(refusal) => refusal,
            };
            if too_big {
                prop_assert_eq!(refusal, Refusal::TooBig);
            } else if pages > free_indexes.len() {
                prop_assert_eq!(refusal, Refusal::Exhausted);
            } else {
                prop_assert_eq!(refusal, Refusal::Fragmented);
                let blocks = count_blocks(&free) as i64;
                let index = linux_index(order, free_indexes.len() as i64, blocks);
                prop_assert_eq!(i64::from(heap.0.cost.fragmentation()), index.max(0));
                continue;
            }
            prop_assert_eq!(heap.0.cost, Cost::default());
        }
    }
}
