// SPDX-License-Identifier: GPL-2.0

//! The search before a request is refused: it finds a free run that the ordinary search did not examine, and it ends.

use core::alloc::Layout;
use std::{
    iter::repeat_n,
    vec::Vec, //
};

use super::BareHeap;
use crate::{
    PAGE_BYTES, Refusal,
    backing_heap::BackingHeap,
    testing::{
        atomic::count_accesses,
        layout, //
    },
};

/// A block of 280 granules. Its bin has the runs of 256 to 287 granules.
const BLOCK: usize = 280 * 16;

/// A block of 260 granules, which leaves a run of the same bin that is too short.
const SHORT: usize = 260 * 16;

/// A live block between two runs. Like the two others it lies at the beginning of the free run from which it is taken.
const BETWEEN: usize = 72 * 16;

/// Returns a heap whose free runs are `short_runs` runs of [`SHORT`] bytes and, behind them, one run of [`BLOCK`] bytes.
fn one_run_behind(short_runs: usize) -> BareHeap {
    let bytes = short_runs * (SHORT + BETWEEN) + BLOCK + BETWEEN;
    let mut heap = BareHeap::new(&[bytes.div_ceil(PAGE_BYTES)]);
    let mut free = Vec::new();
    for size in repeat_n(SHORT, short_runs).chain([BLOCK]) {
        free.push(heap.allocate(layout(size, 8)).unwrap());
        heap.allocate(layout(BETWEEN, 8)).unwrap();
    }
    while heap.allocate(layout(16, 8)).is_ok() {}
    for block in free {
        heap.free(block);
    }
    heap.check();
    heap
}

#[test]
fn the_fallback_serves_a_request_that_the_ordinary_search_refuses() {
    let mut heap = one_run_behind(40);
    let request = layout(BLOCK, 8);
    assert_eq!(heap.allocate(request), Err(Refusal::Fragmented));
    let block = heap.heap.allocate_fallback(request).unwrap();
    heap.insert(block, request);
    heap.check();
    assert_eq!(heap.heap.allocate_fallback(request), None);
    heap.end();
}

#[test]
fn the_fallback_examines_a_bounded_number_of_pages() {
    let request = layout(BLOCK, 8);
    let fallback = |short_runs| {
        let mut heap = one_run_behind(short_runs);
        count_accesses(|| heap.heap.allocate_fallback(request))
    };
    // The runs begin in pages of their own. The first page and 256 more are examined.
    assert!(fallback(256).0.is_some());
    let (block, accesses) = fallback(257);
    assert_eq!(block, None);
    assert_eq!(fallback(6000), (None, accesses));
}

#[test]
fn a_request_of_an_impossible_alignment_is_refused_by_the_fallback_too() {
    let mut heap = BareHeap::new(&[64]);
    for align in [PAGE_BYTES << 7, 1 << 41, 1 << 62] {
        let request = Layout::from_size_align(64, align).unwrap();
        assert!(heap.allocate(request).is_err());
        assert_eq!(heap.heap.allocate_fallback(request), None);
    }
}
