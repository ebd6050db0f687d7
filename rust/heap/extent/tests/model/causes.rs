// SPDX-License-Identifier: GPL-2.0

//! The causes of refused requests and frees, for any size, alignment and offset.
//!
//! The pools have several regions. Some are at addresses that are multiples of less than their size, so that the
//! largest alignments are not supported.

use core::alloc::Layout;
use std::vec::Vec;

use super::{
    BareHeap,
    GRANULE,
    usable, //
};
use crate::{
    Offset,
    PAGE_BYTES,
    Refusal,
    backing_heap::BackingHeap,
    engine::BadFree,
    testing::numbers::Numbers, //
};

/// Returns a layout of any size and alignment that a layout may have. Most of them are short.
fn any_layout(numbers: &mut Numbers, largest: usize) -> Layout {
    loop {
        let size = match numbers.below(10) {
            0..3 => numbers.below(300),
            3 | 4 => numbers.below(9000),
            5 => PAGE_BYTES * numbers.below(20),
            6 => (1_usize << numbers.below(63)).saturating_sub(numbers.below(20)),
            7 => largest + 20 - numbers.below(40),
            8 => isize::MAX as usize - numbers.below(1 << 20),
            _ => numbers.below(largest / 2 + 1),
        };
        let order = match numbers.below(8) {
            0 => numbers.below(63),
            1 | 2 => numbers.below(16),
            _ => numbers.below(5),
        };
        if let Ok(layout) = Layout::from_size_align(size, 1 << order) {
            return layout;
        }
    }
}

/// Returns the bytes and the alignment of the block for a layout: the size rounded up to a class or to granules, and at
/// least a granule or, for whole pages, a page.
fn demand(layout: Layout) -> (usize, usize) {
    let bytes = match layout.size() {
        // `usable` checks the rounding of sizes that a region may have.
        0..=0xffff_ffff => usable(layout),
        size => size.next_multiple_of(GRANULE),
    };
    let least = if bytes % PAGE_BYTES == 0 {
        PAGE_BYTES
    } else {
        GRANULE
    };
    (bytes, layout.align().max(least))
}

/// Returns the cause for which a request must be refused if no free run fits.
fn expected_refusal(heap: &BareHeap, layout: Layout) -> Refusal {
    let (bytes, align) = demand(layout);
    let largest = heap
        .regions()
        .iter()
        .map(|(_, bytes)| *bytes)
        .max()
        .unwrap();
    // A region guarantees the largest power of two that divides its address, up to its own size.
    let guaranteed = |address: usize| 1 << address.trailing_zeros();
    let limited = heap.regions().iter();
    let mut limited = limited.filter(|(address, bytes)| guaranteed(*address) < *bytes);
    if bytes > largest || align > largest {
        Refusal::TooBig
    } else if limited.any(|(address, _)| guaranteed(*address) < align) {
        Refusal::Unsupported
    } else if bytes > heap.pool_bytes() - heap.used_bytes() {
        Refusal::Exhausted
    } else {
        Refusal::Fragmented
    }
}

/// Returns the rule that a free breaks.
fn expected_rule(heap: &BareHeap, block: Offset, layout: Layout) -> Result<(), BadFree> {
    let (region, byte) = (usize::from(block.region()), block.byte() as usize);
    let exists = (heap.regions().get(region)).is_some_and(|(_, bytes)| byte < *bytes);
    if !exists {
        return Err(BadFree::Foreign);
    }
    let before = heap.blocks.range(..=block).next_back();
    let Some((first, live)) = before.filter(|(first, live)| {
        (block.after(**first)).is_some_and(|inside| inside < usable(**live))
    }) else {
        return Err(BadFree::NotLive);
    };
    let (bytes, align) = demand(layout);
    if *first != block {
        Err(BadFree::Interior)
    } else if bytes != usable(*live) || byte % align != 0 {
        Err(BadFree::WrongSize)
    } else {
        Ok(())
    }
}

/// Makes a random free, most of which are bad.
fn free_at_random(numbers: &mut Numbers, heap: &mut BareHeap, largest: usize) {
    let region = numbers.below(heap.regions().len() + 1) as u16;
    let bytes = (heap.regions().get(usize::from(region))).map_or(largest, |(_, bytes)| *bytes);
    let nth = numbers.below(usize::MAX).checked_rem(heap.blocks.len());
    let live = nth.and_then(|nth| heap.blocks.iter().nth(nth));
    let live = live.map(|(block, layout)| (*block, *layout));
    let (block, layout) = match (numbers.below(8), live) {
        (0, _) => (
            Offset::new([15, 16, u16::MAX][numbers.below(3)], 64),
            any_layout(numbers, largest),
        ),
        (1, _) => (
            Offset::new(region, numbers.below(1 << 48) as u64),
            any_layout(numbers, largest),
        ),
        (2, _) => (
            Offset::new(region, (bytes + 32 - numbers.below(64)) as u64),
            any_layout(numbers, largest),
        ),
        (3, Some((block, _))) => (block, any_layout(numbers, largest)),
        (4, Some((block, layout))) => (block.plus(numbers.below(usable(layout))), layout),
        _ => (
            Offset::new(region, (numbers.below(bytes) / GRANULE * GRANULE) as u64),
            any_layout(numbers, largest),
        ),
    };
    match expected_rule(heap, block, layout) {
        Ok(()) => assert_eq!(heap.free_as(block, layout), Ok(())),
        rule => assert_eq!(
            heap.heap.free(block, layout),
            rule,
            "{layout:?} at {block:?}"
        ),
    }
}

/// Runs random operations in a pool of these regions: the pages, and the pages by which the address differs from a
/// multiple of the size.
fn run(seed: u64, regions: &[(usize, usize)]) {
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed));
    let mut heap = BareHeap::new(&[]);
    for (pages, skew) in regions {
        heap.add_region_at(*pages, *skew);
    }
    let largest = regions.iter().map(|(pages, _)| *pages).max().unwrap() * PAGE_BYTES;
    for _ in 0..1500 {
        match numbers.below(8) {
            0..4 => {
                let layout = any_layout(&mut numbers, largest);
                let expected = expected_refusal(&heap, layout);
                if let Err(refusal) = heap.allocate(layout) {
                    assert_eq!(refusal, expected, "{layout:?} of seed {seed}");
                }
            }
            4 | 5 => free_at_random(&mut numbers, &mut heap, largest),
            _ => {
                let nth = numbers.below(usize::MAX).checked_rem(heap.blocks.len());
                if let Some(block) = nth.and_then(|nth| heap.blocks.keys().nth(nth).copied()) {
                    heap.free(block);
                }
            }
        }
    }
    heap.check();
    let blocks: Vec<_> = heap.blocks.keys().copied().collect();
    blocks.into_iter().for_each(|block| {
        heap.free(block);
    });
    heap.check();
}

#[test]
fn every_refused_request_and_free_has_the_right_cause() {
    for seed in 1..=12 {
        run(seed, &[(1, 0)]);
        run(seed, &[(3, 1), (1, 0)]);
        run(seed, &[(64, 0), (5, 0), (200, 0)]);
        run(seed, &[(64, 0), (70, 2), (1, 3), (2, 0)]);
    }
}
