// SPDX-License-Identifier: GPL-2.0

//! Random operations on the heap, compared with a shadow of its blocks after each operation.

use super::BareHeap;
use crate::{
    PAGE_BYTES,
    Refusal,
    testing::{
        layout,
        numbers::Numbers, //
    }, //
};

/// Returns a size from 1 byte to `most` bytes. Small sizes are as frequent as large ones, and every second large size
/// is a multiple of a page.
fn size(numbers: &mut Numbers, most: usize) -> usize {
    let bits = 1 + numbers.below(most.ilog2() as usize + 1);
    let size = 1 + numbers.below(1 << bits).min(most - 1);
    if size > PAGE_BYTES && numbers.below(2) == 0 {
        return size / PAGE_BYTES * PAGE_BYTES;
    }
    size
}

/// Returns whether the heap must serve a request: each run of the bins behind that of the request is long enough, and
/// bins are an eighth of a doubling wide.
fn must_be_served(heap: &BareHeap, layout: core::alloc::Layout) -> bool {
    let bytes = super::usable(layout);
    let align = match bytes % PAGE_BYTES {
        0 => layout.align().max(PAGE_BYTES),
        _ => layout.align().max(super::GRANULE),
    };
    let needed = bytes + align - super::GRANULE;
    heap.longest_gap() >= needed + needed / 8 + super::GRANULE
}

/// Runs random operations in a pool of these regions, of which the first exists from the beginning.
fn run(seed: u64, regions: &[usize], operations: usize) {
    let mut numbers = Numbers(0x5eed + seed);
    let mut heap = BareHeap::new(&regions[..1]);
    let mut added = 1;
    for step in 0..operations {
        let largest = regions[..added].iter().max().unwrap() * PAGE_BYTES;
        let pick = |numbers: &mut Numbers, heap: &BareHeap| {
            let nth = numbers.below(usize::MAX).checked_rem(heap.blocks.len())?;
            heap.blocks.keys().nth(nth).copied()
        };
        match numbers.below(16) {
            0..6 => {
                let align = match numbers.below(4) {
                    0 => 1 << numbers.below(largest.ilog2() as usize + 1),
                    _ => 1 << numbers.below(6),
                };
                let layout = layout(size(&mut numbers, largest), align);
                let must = must_be_served(&heap, layout);
                match heap.allocate(layout) {
                    Ok(_) => {}
                    Err(Refusal::Exhausted) => {
                        let free = heap.pool_bytes() - heap.used_bytes();
                        assert!(super::usable(layout) > free);
                    }
                    Err(Refusal::Fragmented) => {
                        assert!(!must, "{layout:?} is refused in step {step} of seed {seed}");
                    }
                    Err(refusal) => panic!("{layout:?} is refused as {refusal:?}"),
                }
            }
            6 => {
                let layout = layout(size(&mut numbers, PAGE_BYTES), 1 << numbers.below(5));
                // The pool may be full.
                let _ = heap.allocate_batch(layout, 1 + numbers.below(32));
            }
            7..10 => {
                if let Some(block) = pick(&mut numbers, &heap) {
                    let old = heap.blocks[&block];
                    let new = match numbers.below(3) {
                        // A size near the old one.
                        0 => old.size() + old.size() / 4 - numbers.below(old.size() / 2 + 1),
                        _ => size(&mut numbers, largest),
                    };
                    heap.resize(block, layout(new.max(1), old.align()));
                }
            }
            10 if numbers.below(operations / 20) == 0 => {
                // Half of the blocks are freed, so that the pool is not full for long.
                let blocks: std::vec::Vec<_> = heap.blocks.keys().copied().step_by(2).collect();
                blocks.into_iter().for_each(|block| {
                    heap.free(block);
                });
            }
            11 if added < regions.len() && numbers.below(operations / 40) == 0 => {
                heap.add_region(regions[added]);
                added += 1;
            }
            _ => {
                if let Some(block) = pick(&mut numbers, &heap) {
                    heap.free(block);
                }
            }
        }
        heap.check();
    }
    heap.end();
}

#[test]
fn a_heap_of_few_pages_agrees_with_its_shadow() {
    for seed in 0..20 {
        run(seed, &[1 + seed as usize % 5], 1500);
    }
}

#[test]
fn a_heap_that_gets_regions_agrees_with_its_shadow() {
    for seed in 20..32 {
        run(seed, &[3, 1, 70, 2, 16, 130, 1], 1500);
    }
}

#[test]
fn a_heap_with_a_matrix_of_several_levels_agrees_with_its_shadow() {
    for seed in 32..36 {
        run(seed, &[64 * 64 + 3, 600], 1500);
    }
}
