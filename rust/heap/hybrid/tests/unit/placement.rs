// SPDX-License-Identifier: GPL-2.0

//! The placement of blocks: slabs at the high end of free memory and large blocks at the low end, so that
//! large blocks can grow in place.

use super::{
    BareHeap,
    at,
    buddy,
    page, //
};
use crate::{
    backing_heap::BackingHeap,
    hybrid::{
        buddy::{
            End,
            ORDERS, //
        },
        page::PageKind,
    },
    testing::layout,
};
use core::alloc::Layout;
use std::vec::Vec;

/// Returns the layout of `pages` pages.
fn pages(pages: usize) -> Layout {
    layout(pages << 12, 8)
}

#[test]
fn pages_are_allocated_from_either_end_of_the_block_that_is_split() {
    for (wanted, align_order, low, high) in [
        (1, 0, 0, 15),
        (2, 0, 0, 14),
        (3, 0, 0, 12),
        (4, 0, 0, 12),
        (5, 0, 0, 8),
        (1, 2, 0, 12),
        (9, 0, 0, 0),
        (16, 0, 0, 0),
    ] {
        for (end, expected) in [(End::Front, low), (End::Back, high)] {
            let mut buddy = buddy(16);
            let found = buddy.allocate(wanted, align_order, end);
            assert_eq!(found, Some(page(expected)), "{wanted} pages, {end:?}");
            assert_eq!(buddy.free_pages, 16 - wanted);
            // A free coalesces as often as the allocation of the block has split.
            let splits = buddy.work.splits;
            buddy.free(page(expected), wanted);
            assert_eq!((buddy.work.merges, buddy.lists[4].len), (splits, 1));
            assert!((0..ORDERS).all(|order| order == 4 || buddy.lists[order].len == 0));
        }
    }
}

#[test]
fn slabs_and_large_blocks_meet_in_the_middle() {
    let mut heap = BareHeap::new(&[64]);
    let large = heap.allocate(pages(32)).unwrap().0;
    assert_eq!(large, at(0));
    // Each object of 4096 bytes is a slab of one page. Slabs are allocated from the last page down.
    for expected in (32..64).rev() {
        let slab = heap.allocate(layout(4096, 8)).unwrap().0;
        assert_eq!(slab, at(expected << 12));
    }
    assert_eq!(heap.0.buddy.free_pages, 0);
    heap.sound();
}

#[test]
fn a_large_block_grows_in_place_up_to_the_slabs() {
    let mut heap = BareHeap::new(&[64]);
    let large = heap.allocate(pages(16)).unwrap().0;
    let slab = heap.allocate(layout(64, 8)).unwrap().0;
    // The slab is split off the high end of the free block behind the large block.
    assert_eq!((large, slab), (at(0), at(31 << 12)));
    assert!(heap.0.resize(large, pages(16), pages(31)));
    assert!(!heap.0.resize(large, pages(31), pages(32)));
    heap.sound();
    heap.free(slab, layout(64, 8)).unwrap();
    // The empty slab stays cached, so it would stop the growth until a shrink returns it.
    assert_eq!(heap.0.free_empty_slabs(), 1);
    assert!(heap.0.resize(large, pages(31), pages(64)));
    heap.sound();
}

#[test]
fn a_large_block_grows_in_place_past_former_neighbours() {
    let mut heap = BareHeap::new(&[64]);
    let blocks: Vec<_> = (0..4).map(|_| heap.allocate(pages(4)).unwrap().0).collect();
    assert_eq!(blocks, [0, 4, 8, 12].map(|page| at(page << 12)));
    let slab = heap.allocate(layout(64, 8)).unwrap().0;
    assert_eq!(slab, at(31 << 12));
    for (freed, now) in [(1, 8), (2, 12), (3, 31)] {
        let before = heap.0.large_pages;
        assert!(!heap.0.resize(blocks[0], pages(4), pages(now)));
        assert_eq!(heap.0.large_pages, before);
        heap.free(blocks[freed], pages(4)).unwrap();
    }
    assert!(heap.0.resize(blocks[0], pages(4), pages(31)));
    let kind = heap.0.buddy.metadata.kind(page(0));
    assert_eq!(
        (kind, heap.0.large_pages),
        (PageKind::Large { pages: 31 }, 31)
    );
    heap.sound();
    heap.free(slab, layout(64, 8)).unwrap();
    heap.free(blocks[0], pages(31)).unwrap();
    heap.sound();
}
