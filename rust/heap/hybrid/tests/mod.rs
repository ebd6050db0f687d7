// SPDX-License-Identifier: GPL-2.0

//! Tests of the hybrid: each part by examples, the whole against models, the seed's weaknesses
//! absent, and faults made on purpose.

mod buddy;
mod damage;
mod faults;
mod frames;
mod heap;
mod interleavings;
mod locks;
mod machine;
mod magazine;
mod magazine_faults;
mod map;
mod model;
mod oracle;
mod pressure;
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
        Work, //
    },
    frames::{
        BITMAP_WORDS,
        Frame,
        Frames,
        Page, //
    },
    heap::Heap,
};
use crate::{
    Cost, Offset, Path, Refusal,
    check::{
        self,
        Progress,
        Walk, //
    },
    engine::BadFree,
};

/// Returns the frames and bitmaps of a region. They are never given back.
fn table(pages: usize) -> (&'static [Frame], &'static mut [u64]) {
    (
        (0..pages)
            .map(|_| Frame::default())
            .collect::<Vec<_>>()
            .leak(),
        vec![0; pages * BITMAP_WORDS].leak(),
    )
}

/// Returns the frames of regions of so many pages.
fn frames(regions: &[usize]) -> Frames {
    let mut frames = Frames::new();
    for (region, pages) in regions.iter().enumerate() {
        let (table, bits) = table(*pages);
        frames.add(region, table, bits);
    }
    frames
}

/// Returns a buddy system of one region.
fn buddy(pages: usize) -> (Frames, Buddy) {
    let (mut frames, mut buddy) = (frames(&[pages]), Buddy::default());
    buddy.release(&mut frames, page(0), pages, &mut Work::default());
    (frames, buddy)
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
            let (table, bits) = table(*pages);
            heap.add(region, table, bits, u32::MAX);
        }
        Self(heap)
    }

    /// Allocates a block and returns it with its cost.
    fn allocate(&mut self, layout: Layout) -> Result<(Offset, Cost), Refusal> {
        let (mut cost, mut work) = (Cost::default(), Work::default());
        let mut block = [at(0)];
        if let Err(refusal) = self.0.serve(layout, &mut block, &mut work, &mut cost) {
            self.0
                .last_resort(layout, refusal, &mut block, &mut work, &mut cost)?;
        }
        Ok((block[0], cost))
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
            (cost.path == Path::Slab).then_some(block)
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
