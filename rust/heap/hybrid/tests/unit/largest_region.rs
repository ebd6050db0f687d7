// SPDX-License-Identifier: GPL-2.0

//! The metadata of the largest possible region, of 4 GiB, without the memory of the region.

use super::BareHeap;
use crate::{
    Offset, PAGE_BYTES, Refusal,
    backing_heap::{
        BackingHeap,
        InspectHeap, //
    },
    check::{
        self,
        Progress,
        STEP,
        Walk, //
    },
    engine::Engine,
    hybrid::page::REGION_PAGES_MAX,
    region::RegionError,
    testing::{
        HostMemory,
        LockedHybrid,
        TestEngine,
        layout,
        numbers::Numbers,
        prelude::*, //
    },
};
use std::{
    collections::BTreeMap,
    vec::Vec, //
};

#[test]
fn four_gibibytes_are_filled_and_freed() {
    let mut heap = BareHeap::new(&[REGION_PAGES_MAX]);
    let whole = layout(4 << 30, 4 << 30);
    assert_eq!(heap.allocate(whole).unwrap().0, Offset::new(0, 0));
    assert_eq!(heap.allocate(layout(1, 1)).unwrap_err(), Refusal::Exhausted);
    heap.free(Offset::new(0, 0), whole).unwrap();

    let mut numbers = Numbers(0x5eed);
    let mut live = BTreeMap::new();
    for _ in 0..20_000 {
        let size = match numbers.below(8) {
            0..4 => 1 + numbers.below(4096),
            4..7 => 1 + numbers.below(1 << 20),
            _ => 1 + numbers.below(64 << 20),
        };
        let layout = layout(size, 1 << numbers.below(22));
        match heap.allocate(layout) {
            Ok((block, _)) => {
                assert_eq!(block.byte() as usize % layout.align(), 0);
                assert!(block.byte() as usize + size <= 4 << 30);
                assert!(live.insert(block, layout).is_none());
            }
            Err(refusal) => assert_ne!(refusal, Refusal::TooBig),
        }
        if numbers.below(3) == 0 {
            let from = Offset::new(0, numbers.below(4 << 30) as u64);
            let picked = live.range(from..).next();
            if let Some((block, layout)) = picked.map(|(block, layout)| (*block, *layout)) {
                live.remove(&block);
                heap.free(block, layout).unwrap();
            }
        }
    }
    // The rest is filled, so that both ends of the region are in use.
    let rest = layout(8192, 8);
    live.extend(heap.fill(rest).into_iter().map(|block| (block, rest)));
    assert!(heap.0.buddy.free_pages < REGION_PAGES_MAX / 100);
    let (first, last) = (
        live.keys().next().unwrap(),
        live.keys().next_back().unwrap(),
    );
    assert!(first.byte() < 16 << 20 && last.byte() > (4 << 30) - (16 << 20));
    heap.sound();
    for (block, layout) in live {
        heap.free(block, layout).unwrap();
    }
    heap.sound();
    assert_eq!(heap.allocate(whole).unwrap().0, Offset::new(0, 0));
}

#[test]
fn a_block_at_the_end_of_the_largest_region_grows_no_further() {
    let mut heap = BareHeap::new(&[REGION_PAGES_MAX]);
    let half = layout(2 << 30, 8);
    let blocks: Vec<_> = (0..2).map(|_| heap.allocate(half).unwrap().0).collect();
    let more = layout((2 << 30) + PAGE_BYTES, 8);
    assert!(!heap.0.resize(blocks[1], half, more));
    let less = layout((2 << 30) - PAGE_BYTES, 8);
    assert!(heap.0.resize(blocks[1], half, less));
    assert!(heap.0.resize(blocks[1], less, half));
    assert!(!heap.0.resize(blocks[1], half, more));

    heap.free(blocks[1], half).unwrap();
    let (whole, past) = (layout(4 << 30, 8), layout((4 << 30) + PAGE_BYTES, 8));
    assert!(!heap.0.resize(blocks[0], half, past));
    assert!(heap.0.resize(blocks[0], half, whole));
    assert_eq!(heap.0.buddy.free_pages, 0);
}

#[test]
fn a_long_walk_runs_in_bounded_steps() {
    let mut heap = BareHeap::new(&[REGION_PAGES_MAX]);
    let mut walk = Walk::new();
    assert_eq!(heap.0.check(&mut walk), Ok(Progress::More));
    assert_eq!(walk.walked(), STEP as u64);
    let mut before = walk.walked();
    let end = check::run(&mut walk, |walk| {
        let progress = heap.0.check(walk);
        assert!(walk.walked() <= before + STEP as u64);
        before = walk.walked();
        progress
    });
    assert_eq!(end, Ok(Progress::Sound));
    // The walk visits each page, and the one block in its list.
    assert_eq!(walk.walked(), REGION_PAGES_MAX as u64 + 1);

    // The list of free blocks is longer than a step.
    let blocks = heap.fill(layout(8192, 8));
    for block in blocks.iter().step_by(2) {
        heap.free(*block, layout(8192, 8)).unwrap();
    }
    let mut walk = Walk::new();
    let end = check::run(&mut walk, |walk| heap.0.check(walk));
    assert_eq!(end, Ok(Progress::Sound));
    assert_eq!(
        walk.walked() as usize,
        REGION_PAGES_MAX + REGION_PAGES_MAX / 4
    );
}

#[test]
fn a_larger_region_is_refused() {
    let engine = LockedHybrid::empty();
    let memory = HostMemory::new(PAGE_BYTES);
    let bytes = (4 << 30) + PAGE_BYTES;
    // SAFETY: The engine refuses the length before it uses the range or the table.
    let refused = unsafe { engine.add_region(memory.start(), bytes, memory.table(8)) };
    assert_eq!(refused, Err(RegionError::BadLength));
    assert_eq!(engine.capacity(), 0);
}
