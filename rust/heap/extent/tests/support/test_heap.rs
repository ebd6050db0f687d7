// SPDX-License-Identifier: GPL-2.0

//! The heap of `extent` in the tests that run on each heap.

use core::{
    alloc::Layout,
    ops::Range, //
};
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

    /// Returns whether the block fits into a gap between the live blocks. If there are few gaps, the fallback examines
    /// all of them.
    fn must_serve(blocks: &ShadowMap, pages: usize, layout: Layout) -> bool {
        let bytes = Self::usable_size(layout);
        let align = match bytes % PAGE_BYTES {
            0 => layout.align().max(PAGE_BYTES),
            _ => layout.align().max(16),
        };
        let (mut end, mut gaps) = (0_usize, Vec::new());
        for live in blocks.iter() {
            let start = live.offset().byte() as usize;
            gaps.push(end..start);
            end = start + Self::usable_size(live.layout);
        }
        gaps.push(end..pages * PAGE_BYTES);
        let fits = |gap: &Range<usize>| gap.start.next_multiple_of(align) + bytes <= gap.end;
        gaps.len() <= 256 && gaps.iter().any(fits)
    }

    /// A region is one block.
    fn largest_blocks(regions: &[usize]) -> Vec<usize> {
        let mut blocks = regions.to_vec();
        blocks.sort_unstable_by(|first, second| second.cmp(first));
        blocks
    }

    fn is_unused(&self) {}
}
