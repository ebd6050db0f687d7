// SPDX-License-Identifier: GPL-2.0

//! The metadata of the largest possible region, without the memory of the region.

use super::BareHeap;
use crate::{
    Offset,
    PAGE_BYTES,
    Refusal,
    engine::Engine,
    extent::place::REGION_PAGES_MAX,
    region::RegionError,
    testing::{
        HostMemory,
        LockedExtent,
        TestEngine,
        layout,
        numbers::Numbers,
        prelude::*, //
    }, //
};

/// The bytes of the largest region.
const BYTES: usize = REGION_PAGES_MAX * PAGE_BYTES;

#[test]
fn the_largest_region_is_filled_and_freed() {
    let mut heap = BareHeap::new(&[REGION_PAGES_MAX, 3]);
    let whole = layout(BYTES, PAGE_BYTES);
    assert_eq!(heap.allocate(whole), Ok(Offset::new(0, 0)));
    heap.check();
    heap.free(Offset::new(0, 0));
    heap.check();

    let mut numbers = Numbers(0x5eed);
    for _ in 0..5_000 {
        let size = match numbers.below(8) {
            0..4 => 1 + numbers.below(4096),
            4..7 => 1 + numbers.below(1 << 20),
            _ => 1 + numbers.below(64 << 20),
        };
        if let Err(refusal) = heap.allocate(layout(size, 1 << numbers.below(22))) {
            assert_ne!(refusal, Refusal::TooBig);
        }
        if numbers.below(3) == 0 {
            let from = Offset::new(0, numbers.below(BYTES) as u64);
            if let Some((block, _)) = heap.blocks.range(from..).next() {
                heap.free(*block);
            }
        }
    }
    // The rest is filled with long blocks, so that both ends of the region are in use.
    for size in [16 << 20, 1 << 20, 64 << 10, 4096] {
        while heap.allocate(layout(size, 8)).is_ok() {}
    }
    assert!(heap.blocks.contains_key(&Offset::new(0, 0)));
    heap.check();
    heap.end();
}

#[test]
fn runs_of_two_regions_do_not_coalesce() {
    let mut heap = BareHeap::new(&[REGION_PAGES_MAX, 3]);
    let half = layout(BYTES / 2, 8);
    let blocks = [(); 2].map(|()| heap.allocate(half).unwrap());
    assert!(!heap.resize(blocks[1], layout(BYTES / 2 + PAGE_BYTES, 8)));
    assert!(heap.resize(blocks[1], layout(BYTES / 2 - PAGE_BYTES, 8)));
    heap.check();
    assert!(heap.resize(blocks[1], half));
    heap.free(blocks[1]);
    heap.check();
    assert!(!heap.resize(blocks[0], layout(BYTES + PAGE_BYTES, 8)));
    assert!(heap.resize(blocks[0], layout(BYTES, 8)));
    heap.check();
    heap.end();
}

#[test]
fn a_larger_region_is_refused() {
    let engine = LockedExtent::empty();
    let memory = HostMemory::new(PAGE_BYTES);
    let bytes = BYTES + PAGE_BYTES;
    // SAFETY: The engine refuses the length before it uses the range or the table.
    let refused = unsafe { engine.add_region(memory.start(), bytes, memory.table(8)) };
    assert_eq!(refused, Err(RegionError::BadLength));
    assert_eq!(engine.capacity(), 0);
}
