// SPDX-License-Identifier: GPL-2.0

//! Tests of `hybrid`.
//!
//! | kind | modules |
//! |---|---|
//! | examples of the buddy system | `page`, `buddy`, `placement`, `page_runs` |
//! | examples of slabs and the heap | `slab`, `heap`, `fallback`, `reasons`, `refusals`, `growth`, `vast` |
//! | examples of magazines | `magazine`, `pressure` |
//! | models and oracles | `model`, `oracle`, `map` |
//! | concurrency | `interleavings` (model checker), `threads` (threads of the host) |
//! | corruption of metadata | `faults`, `counters`, `magazine_faults` |
//! | counts of operations | `locks` |
//! | comparison with the seed | `weaknesses` |
//! | support | this file, `damage`, `machine`, `world`, `relay` |

mod buddy;
mod counters;
mod damage;
mod fallback;
mod faults;
mod growth;
mod heap;
mod interleavings;
mod locks;
mod machine;
mod magazine;
mod magazine_faults;
mod map;
mod model;
mod oracle;
mod page;
mod page_runs;
mod placement;
mod pressure;
mod reasons;
mod refusals;
mod relay;
mod slab;
mod threads;
mod vast;
mod weaknesses;
mod world;

use core::alloc::Layout;
use std::{
    vec,
    vec::Vec, //
};

use super::{
    buddy::{
        Buddy,
        ORDERS,
        Work, //
    },
    heap::Heap,
    page::Links,
    page::{
        BITMAP_WORDS,
        Page,
        PageDesc,
        PageDescs,
        RegionMeta, //
    },
};
use crate::{
    Cost, Offset, Path, Refusal,
    check::{
        self,
        Progress,
        Walk, //
    },
    engine::BadFree,
    testing::layout,
};

/// Returns the metadata of a region of `pages` pages. It is leaked.
fn table(pages: usize) -> RegionMeta {
    let descs: Vec<_> = (0..pages).map(|_| PageDesc::default()).collect();
    let links: Vec<_> = (0..pages).map(|_| Links::default()).collect();
    RegionMeta {
        descs: descs.leak(),
        links: links.leak(),
        bits: vec![0; pages * BITMAP_WORDS].leak(),
    }
}

/// Returns the page descriptors of regions of these numbers of pages.
fn descs(regions: &[usize]) -> PageDescs {
    let mut descs = PageDescs::new();
    for (region, pages) in regions.iter().enumerate() {
        descs.add(region, table(*pages));
    }
    descs
}

/// Returns a buddy system over one region, all of it free.
fn buddy(pages: usize) -> (PageDescs, Buddy) {
    let (mut descs, mut buddy) = (descs(&[pages]), Buddy::default());
    buddy.release(&mut descs, page(0), pages, &mut Work::default());
    (descs, buddy)
}

/// Returns page `index` of the first region.
fn page(index: usize) -> Page {
    Page::new(0, index)
}

/// A heap without memory: only metadata is read and written, so no pool is needed.
struct BareHeap(Heap);

impl BareHeap {
    /// Constructs a heap over regions of these numbers of pages, all of them free.
    fn new(regions: &[usize]) -> Self {
        let mut heap = Heap::new();
        for (region, pages) in regions.iter().enumerate() {
            heap.add(region, table(*pages), u32::MAX);
        }
        Self(heap)
    }

    /// Constructs a heap whose pages are all live blocks of one page, except for the pages `free` of the
    /// first region. These were freed in this order, so the last of them is first in its list.
    fn with_free(regions: &[usize], free: impl IntoIterator<Item = usize>) -> Self {
        let mut heap = Self::new(regions);
        heap.allocate_free_pages();
        for index in free {
            heap.free_page(page(index));
        }
        heap.sound();
        heap
    }

    /// Allocates all free pages, as blocks of one page.
    fn allocate_free_pages(&mut self) {
        for order in 0..ORDERS {
            while let Some(first) = self.0.buddy.list(order).first() {
                let Heap { descs, buddy, .. } = &mut self.0;
                assert!(buddy.allocate_at(descs, first, 1 << order, &mut Work::default()));
                for index in 0..1 << order {
                    self.0.mark_allocated(first.after(index), 1);
                }
            }
        }
    }

    /// Frees a live block of one page.
    fn free_page(&mut self, page: Page) {
        // With this alignment the block is a page of its own, not an object of the class of 4096 bytes.
        self.release(page.offset(0), layout(8, 8192)).unwrap();
    }

    /// Allocates a block and returns it with its cost.
    fn allocate(&mut self, layout: Layout) -> Result<(Offset, Cost), Refusal> {
        let mut cost = Cost::default();
        let block = self.request(layout, &mut cost)?;
        Ok((block, cost))
    }

    /// Makes a request that is refused, and returns the cause and the cost. Panics if a counter changes.
    #[track_caller]
    fn refused(&mut self, layout: Layout) -> (Refusal, Cost) {
        let (before, mut cost) = (self.figures(), Cost::default());
        let refusal = self.request(layout, &mut cost).unwrap_err();
        assert_eq!(self.figures(), before);
        self.sound();
        (refusal, cost)
    }

    /// Allocates a block as an engine with empty magazines does: from the heap, else by the fallbacks.
    fn request(&mut self, layout: Layout, cost: &mut Cost) -> Result<Offset, Refusal> {
        let (mut work, mut block) = (Work::default(), [at(0)]);
        if let Err(refusal) = self.0.serve(layout, &mut block, &mut work, cost) {
            (self.0).allocate_fallback(layout, refusal, &mut block, &mut work, cost)?;
        }
        Ok(block[0])
    }

    /// Allocates blocks until a request is refused.
    fn fill(&mut self, layout: Layout) -> Vec<Offset> {
        let next = || self.allocate(layout).ok().map(|(block, _)| block);
        core::iter::from_fn(next).collect()
    }

    /// Allocates blocks until one needs a new slab. That one is not returned.
    fn fill_from_slabs(&mut self, layout: Layout) -> Vec<Offset> {
        let next = || {
            let (block, cost) = self.allocate(layout).ok()?;
            (cost.path() == Path::Slab).then_some(block)
        };
        core::iter::from_fn(next).collect()
    }

    /// Frees a block.
    fn release(&mut self, block: Offset, layout: Layout) -> Result<Cost, BadFree> {
        let mut cost = Cost::default();
        self.0.release(block, layout, &mut cost)?;
        Ok(cost)
    }

    /// Panics if the check of the heap finds a broken rule.
    fn sound(&mut self) {
        let result = check::run(&mut Walk::new(), |walk| self.0.check(walk));
        assert_eq!(result, Ok(Progress::Sound));
    }

    /// Returns all counters: slabs and live objects by class, free pages, pages of large blocks, and the
    /// number of large blocks.
    fn figures(&self) -> (Vec<(usize, usize)>, usize, usize, usize) {
        let classes = self.0.classes.iter();
        (
            classes.map(|class| (class.slabs, class.used)).collect(),
            self.0.buddy.free_pages(),
            self.0.large_pages,
            self.0.large_count(),
        )
    }
}

/// Returns the offset of a byte in the first region.
fn at(byte: usize) -> Offset {
    Offset::new(0, byte as u64)
}
