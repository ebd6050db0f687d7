// SPDX-License-Identifier: GPL-2.0

//! Tests of the hybrid: each part by examples, the whole against models, the seed's weaknesses
//! absent, and faults made on purpose.

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

/// Returns the table of a region. It is never given back.
fn table(pages: usize) -> RegionMeta {
    let descs: Vec<_> = (0..pages).map(|_| PageDesc::default()).collect();
    let links: Vec<_> = (0..pages).map(|_| Links::default()).collect();
    RegionMeta {
        descs: descs.leak(),
        links: links.leak(),
        bits: vec![0; pages * BITMAP_WORDS].leak(),
    }
}

/// Returns the descs of regions of so many pages.
fn descs(regions: &[usize]) -> PageDescs {
    let mut descs = PageDescs::new();
    for (region, pages) in regions.iter().enumerate() {
        descs.add(region, table(*pages));
    }
    descs
}

/// Returns a buddy system of one region.
fn buddy(pages: usize) -> (PageDescs, Buddy) {
    let (mut descs, mut buddy) = (descs(&[pages]), Buddy::default());
    buddy.release(&mut descs, page(0), pages, &mut Work::default());
    (descs, buddy)
}

/// Returns a page of the first region.
fn page(index: usize) -> Page {
    Page::new(0, index)
}

/// A heap without a pool: it touches none, so it needs none.
struct Bare(Heap);

impl Bare {
    fn new(regions: &[usize]) -> Self {
        let mut heap = Heap::new();
        for (region, pages) in regions.iter().enumerate() {
            heap.add(region, table(*pages), u32::MAX);
        }
        Self(heap)
    }

    /// A heap all of whose pages are out, one by one, but those of `free` in the first region: these
    /// were given back in this order, so the last are first in their lists.
    fn with_free(regions: &[usize], free: impl IntoIterator<Item = usize>) -> Self {
        let mut bare = Self::new(regions);
        bare.take_pages();
        for index in free {
            bare.free_page(page(index));
        }
        bare.sound();
        bare
    }

    /// Allocates all pages that are free, one by one.
    fn take_pages(&mut self) {
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

    /// Gives back a page that is out on its own.
    fn free_page(&mut self, page: Page) {
        // A page of which no class can be: with more alignment than one.
        self.release(page.offset(0), layout(8, 8192)).unwrap();
    }

    /// Allocates a block and returns it with its cost.
    fn allocate(&mut self, layout: Layout) -> Result<(Offset, Cost), Refusal> {
        let mut cost = Cost::default();
        let block = self.ask(layout, &mut cost)?;
        Ok((block, cost))
    }

    /// Allocates what is refused, and returns why, with the cost. Nothing that is counted changes.
    #[track_caller]
    fn refused(&mut self, layout: Layout) -> (Refusal, Cost) {
        let (before, mut cost) = (self.figures(), Cost::default());
        let refusal = self.ask(layout, &mut cost).unwrap_err();
        assert_eq!(self.figures(), before);
        self.sound();
        (refusal, cost)
    }

    /// Allocates a block, as an engine whose magazines are empty.
    fn ask(&mut self, layout: Layout, cost: &mut Cost) -> Result<Offset, Refusal> {
        let (mut work, mut block) = (Work::default(), [at(0)]);
        if let Err(refusal) = self.0.serve(layout, &mut block, &mut work, cost) {
            (self.0).allocate_fallback(layout, refusal, &mut block, &mut work, cost)?;
        }
        Ok(block[0])
    }

    /// Allocates blocks until there are no more.
    fn fill(&mut self, layout: Layout) -> Vec<Offset> {
        let next = || self.allocate(layout).ok().map(|(block, _)| block);
        core::iter::from_fn(next).collect()
    }

    /// Allocates blocks as long as no slab has to grow for them.
    fn fill_from_slabs(&mut self, layout: Layout) -> Vec<Offset> {
        let next = || {
            let (block, cost) = self.allocate(layout).ok()?;
            (cost.path() == Path::Slab).then_some(block)
        };
        core::iter::from_fn(next).collect()
    }

    fn release(&mut self, block: Offset, layout: Layout) -> Result<Cost, BadFree> {
        let mut cost = Cost::default();
        self.0.release(block, layout, &mut cost)?;
        Ok(cost)
    }

    fn sound(&mut self) {
        let result = check::run(&mut Walk::new(), |walk| self.0.check(walk));
        assert_eq!(result, Ok(Progress::Sound));
    }

    /// Everything that is counted: slabs and objects by class, free pages, pages and blocks out.
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
