// SPDX-License-Identifier: GPL-2.0

//! The heap of `hybrid` in the tests that run on each heap.

use core::alloc::Layout;
use std::{
    vec,
    vec::Vec, //
};

use crate::{
    PAGE_BYTES,
    hybrid::heap::Heap,
    magazines::State,
    size_class::{
        CLASSES,
        Class, //
    },
    testing::{
        blocks::ShadowMap,
        heaps::TestHeap, //
    },
};

impl TestHeap for Heap {
    fn state() -> State<Self> {
        State::<Self>::new()
    }

    /// Returns whether free pages or an object of the same class serve the layout. All slabs of the live objects have
    /// one page.
    fn must_serve(blocks: &ShadowMap, pages: usize, layout: Layout) -> bool {
        let mut pages = vec![(None, 0); pages];
        for live in blocks.iter() {
            let first = live.offset().byte() as usize / PAGE_BYTES;
            let count = live.layout.size().div_ceil(PAGE_BYTES);
            for page in &mut pages[first..first + count] {
                *page = (live.class, page.1 + 1);
            }
        }
        let class = Class::of(&layout);
        let order = layout.size().div_ceil(PAGE_BYTES).next_power_of_two();
        let runs = pages.chunks_exact(order);
        let mut runs = runs.map(|run| run.iter().all(|(_, live)| *live == 0));
        runs.any(|free| free)
            || class.is_some_and(|class| {
                let own = |page: &&(Option<u8>, usize)| page.0 == Some(class.number());
                pages
                    .iter()
                    .filter(own)
                    .any(|page| page.1 < class.objects())
            })
    }

    /// A region of n pages is one block for each bit of n.
    fn largest_blocks(regions: &[usize]) -> Vec<usize> {
        let orders = (0..=20).rev();
        let blocks = orders.flat_map(|order| {
            let has_block = regions
                .iter()
                .filter(move |pages| **pages >> order & 1 != 0);
            has_block.map(move |_| 1 << order)
        });
        blocks.collect()
    }

    fn is_unused(&self) {
        assert_eq!(self.borrowed, [0; CLASSES]);
    }
}
