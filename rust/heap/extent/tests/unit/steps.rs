// SPDX-License-Identifier: GPL-2.0

//! The work of an operation does not grow with the pool, with the size of the block, or with the number of fragments.
//!
//! The tests count the accesses to words of page descriptors, in which an operation looks for runs. The counts are the
//! same in every run. Comments contain them, and the bounds are somewhat higher, so that small changes of the code pass.

use std::vec::Vec;

use super::BareHeap;
use crate::{
    Offset,
    PAGE_BYTES,
    extent::Heap,
    testing::{
        atomic::count_accesses,
        checked_machine::Machine,
        layout,
        numbers::Numbers, //
    }, //
};

/// The most accesses of an operation. A page has up to 128 free runs, and the search for one of a bin visits all of them.
const MOST: u64 = 1000;

/// Allocates `size` bytes at the end and in the middle of a pool of so many pages, lets the block grow and shrink by a
/// quarter, frees it, and returns the most accesses of an allocation, a resize and a free.
fn accesses(pages: usize, size: usize) -> [u64; 3] {
    let mut heap = BareHeap::new(&[pages]);
    let mut most = [0; 3];
    for neighbours in [0, 3] {
        for _ in 0..neighbours {
            heap.allocate(layout(48, 8)).unwrap();
            heap.allocate(layout(3000, 8)).unwrap();
        }
        let whole = layout(size, 8);
        let (block, allocate) = count_accesses(|| heap.heap_allocate(whole));
        let less = layout(size - size / 4, 8);
        let ((), shrink) = count_accesses(|| heap.heap_resize(block, whole, less));
        let ((), grow) = count_accesses(|| heap.heap_resize(block, less, whole));
        let ((), free) = count_accesses(|| heap.heap_free(block, whole));
        let counts = [allocate, shrink.max(grow), free];
        most = core::array::from_fn(|nth| most[nth].max(counts[nth]));
    }
    heap.check();
    most
}

#[test]
fn the_work_does_not_grow_with_the_size_of_the_block() {
    // The most accesses of an allocation are 206, for a batch of 32 blocks of 16 bytes; of a resize 71, and of a free 40.
    for size in [16, 64, 3000, 40_000, 1 << 20, 1 << 30] {
        let counts = accesses(1 << 19, size);
        let bounds = [230, 80, 45];
        let is_bounded = counts
            .iter()
            .zip(bounds)
            .all(|(count, bound)| *count <= bound);
        assert!(is_bounded, "{size} bytes: {counts:?}");
    }
}

#[test]
fn the_work_does_not_grow_with_the_pool() {
    for size in [16, 3000, 40_000] {
        let [small, large] = [64, 1 << 20].map(|pages| accesses(pages, size));
        assert_eq!(small, large, "{size} bytes");
    }
}

/// Returns a heap with 100,000 free runs of different lengths between live blocks, the longest run in the middle, and
/// the blocks in a random order.
fn fragmented() -> (BareHeap, Vec<Offset>) {
    let mut heap = BareHeap::new(&[1 << 17]);
    let mut numbers = Numbers(0x5eed);
    let mut blocks = Vec::new();
    for _ in 0..200_000 {
        let size = 16 * (1 + numbers.below(128));
        blocks.push(heap.heap_allocate(layout(size, 8)));
        heap.insert(blocks[blocks.len() - 1], layout(size, 8));
    }
    blocks.sort_unstable();
    for block in blocks.iter().step_by(2) {
        heap.free(*block);
    }
    let mut live: Vec<_> = heap.blocks.keys().copied().collect();
    for nth in (1..live.len()).rev() {
        live.swap(nth, numbers.below(nth + 1));
    }
    (heap, live)
}

#[test]
fn no_operation_looks_at_many_of_100_000_fragments() {
    let (mut heap, live) = fragmented();
    assert!(heap.expected_runs(0).len() > 199_000);
    let mut numbers = Numbers(0x5eed);
    let mut most = 0;
    for block in live.into_iter().take(20_000) {
        let old = heap.blocks.remove(&block).unwrap();
        let ((), free) = count_accesses(|| heap.heap_free(block, old));
        let align = 1 << numbers.below(10);
        let new = layout(1 + numbers.below(3 * PAGE_BYTES), align);
        let (again, allocate) = count_accesses(|| heap.heap_allocate(new));
        heap.insert(again, new);
        most = most.max(free).max(allocate);
    }
    assert!(most <= MOST, "{most}");
}

#[test]
fn frees_without_allocations_do_not_overflow_the_counters_of_work() {
    // Each flush coalesces, and nothing but flushes uses the heap.
    let machine = Machine::<Heap>::new(1, 4 << 20);
    let blocks: Vec<_> = (0..100_000)
        .map(|_| machine.serve_unchecked(layout(16, 8)).unwrap().0)
        .collect();
    machine.free_all_unchecked(blocks);
    machine.check();
}
