// SPDX-License-Identifier: GPL-2.0

//! The heap of `extent` in the tests that run on each heap.

use core::alloc::Layout;
use std::vec::Vec;

use crate::{
    PAGE_BYTES,
    backing_heap::BackingHeap,
    extent::Heap,
    magazines::State,
    testing::{
        blocks::ShadowMap,
        heaps::TestHeap, //
    },
};

impl TestHeap for Heap {
    fn state() -> State<Self> {
        State::<Self>::new()
    }

    /// Returns whether a gap between the live blocks is longer by an eighth than size and alignment need: each run of
    /// the bins behind that of the request is long enough.
    fn must_serve(blocks: &ShadowMap, pages: usize, layout: Layout) -> bool {
        let bytes = Self::usable_size(layout);
        let align = match bytes % PAGE_BYTES {
            0 => PAGE_BYTES,
            _ => layout.align().max(16),
        };
        let mut needed = bytes + align - 16;
        if needed >= 16 * 16 {
            needed += needed / 8 + 16;
        }
        let (mut end, mut gaps) = (0, Vec::new());
        for live in blocks.iter() {
            let start = live.offset().byte() as usize;
            gaps.push(start - end);
            end = start + Self::usable_size(live.layout);
        }
        gaps.push(pages * PAGE_BYTES - end);
        gaps.into_iter().any(|gap| gap >= needed)
    }

    /// A region is one block.
    fn largest_blocks(regions: &[usize]) -> Vec<usize> {
        let mut blocks = regions.to_vec();
        blocks.sort_unstable_by(|first, second| second.cmp(first));
        blocks
    }

    fn is_unused(&self) {}
}
