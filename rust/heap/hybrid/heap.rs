// SPDX-License-Identifier: GPL-2.0

//! The heap behind the lock: slabs over the buddy system, in pages and offsets.
//!
//! It has no `unsafe` and touches no byte of the pool.

use core::alloc::Layout;

use super::{
    buddy::{
        Buddy,
        End,
        ORDERS,
        Work,
        order_of, //
    },
    page::{
        Page,
        PageDescs,
        PageKind,
        REGION_PAGES_MAX,
        REGION_PAGES_SHIFT,
        RegionMeta, //
    },
    refine::EmptySlabs,
    slab::{
        self,
        Classes,
        Slabs,
        Source, //
    },
};
use crate::{
    class::{
        CLASSES,
        Class,
        PAGE_BYTES,
        PAGE_SHIFT, //
    },
    cost::{
        Cost,
        Path, //
    },
    engine::Refusal,
    region::Offset,
};

/// Slabs over a buddy system.
pub(super) struct Heap {
    pub(super) frames: PageDescs,
    pub(super) buddy: Buddy,
    pub(super) classes: Classes,
    /// Pages that were handed out as they are.
    pub(super) large_pages: usize,
    /// Blocks of such pages, by order.
    pub(super) large_blocks: [u32; ORDERS],
    /// Pages of all regions.
    pub(super) pages: usize,
    /// Pages of the largest block that the buddy system has when nothing is out.
    pub(super) largest_block: usize,
    /// Pages of the largest region.
    largest_region: usize,
    /// Objects of larger classes that are out, by the class of those who asked.
    pub(super) borrowed: [u32; CLASSES],
    /// log2 of the pages to which every region is aligned, or more than a block can have.
    align_order: u32,
    /// Empty slabs that are kept, and their pages.
    pub(super) kept: EmptySlabs,
    /// Times that empty slabs were given back, because of a request that did not fit or because
    /// nothing was out any more.
    pub(super) reclaims: u64,
}

/// Returns the pages that a layout takes when it is served as pages.
#[inline]
pub(super) const fn pages_of(layout: &Layout) -> usize {
    // A layout's size is far from the end of the numbers.
    layout.size().wrapping_add(PAGE_BYTES - 1) / PAGE_BYTES
}

impl Heap {
    /// Returns a heap without memory.
    pub(super) const fn new() -> Self {
        Self {
            frames: PageDescs::new(),
            buddy: Buddy::new(),
            classes: [const { Slabs::new() }; CLASSES],
            large_pages: 0,
            large_blocks: [0; ORDERS],
            pages: 0,
            largest_block: 0,
            largest_region: 0,
            borrowed: [0; CLASSES],
            align_order: u32::MAX,
            kept: EmptySlabs { slabs: 0, pages: 0 },
            reclaims: 0,
        }
    }

    /// Adds the pages of a region, which has a table as new.
    ///
    /// Blocks are aligned in the region, so in memory as far as its first page is: 2^`align_order`
    /// pages, where that is less than the largest block has.
    pub(super) fn add(&mut self, region: usize, table: RegionMeta, align_order: u32) {
        let pages = table.frames.len();
        debug_assert!(pages <= REGION_PAGES_MAX);
        self.frames.add(region, table);
        self.buddy.release(
            &mut self.frames,
            Page::new(region, 0),
            pages,
            &mut Work::default(),
        );
        self.pages += pages;
        // What is over of a region that is no power of two begins where this block ends.
        let largest = pages.checked_ilog2().map_or(0, |order| 1 << order);
        self.largest_block = self.largest_block.max(largest);
        self.largest_region = self.largest_region.max(pages);
        if largest > 1 << align_order.min(REGION_PAGES_SHIFT) {
            self.align_order = self.align_order.min(align_order);
        }
    }

    /// Allocates blocks for `layout`, and says how many: up to `blocks.len()` objects if a class
    /// serves it, else one.
    ///
    /// `work` is all that was done for the request until now.
    #[inline]
    pub(super) fn serve(
        &mut self,
        layout: Layout,
        blocks: &mut [Offset],
        work: &mut Work,
        cost: &mut Cost,
    ) -> Result<usize, Refusal> {
        match Class::of(&layout) {
            Some(class) => self.objects(class, blocks, work, cost),
            None => self.large(layout, blocks, work, cost),
        }
    }

    /// Allocates more objects for a magazine, and says how many: as [`Heap::serve`], but nobody gives
    /// anything back for them.
    pub(super) fn allocate_more(
        &mut self,
        layout: Layout,
        objects: &mut [Offset],
        work: &mut Work,
        cost: &mut Cost,
    ) -> Option<usize> {
        let class = Class::of(&layout)?;
        let slabs = &self.classes[class.index()];
        let plenty = self.buddy.free_pages() > self.pages / 8;
        if !plenty && !slabs.has_partial() {
            return None;
        }
        self.objects(class, objects, work, cost).ok()
    }

    /// Allocates up to `objects.len()` objects of a class and says how many.
    #[inline]
    fn objects(
        &mut self,
        class: Class,
        objects: &mut [Offset],
        work: &mut Work,
        cost: &mut Cost,
    ) -> Result<usize, Refusal> {
        loop {
            let allocated = self.with_class(class, |slabs, frames, buddy| {
                slabs.allocate(frames, buddy, class, objects, work)
            });
            if let Some((taken, source)) = allocated {
                if taken == 0 {
                    // A slab whose bitmap is damaged. The check will say so.
                    return Err(Refusal::Exhausted);
                }
                let (path, order) = match source {
                    Source::Slabs => (Path::Slab, None),
                    Source::Growth => (Path::Growth, Some(order_of(class.pages()))),
                };
                *cost = served(path, Some(class), order, *work);
                return Ok(taken);
            }
            if !self.reclaim(work) {
                return Err(self.refusal(class.pages(), 0, cost));
            }
        }
    }

    /// Allocates whole pages.
    pub(super) fn large(
        &mut self,
        layout: Layout,
        blocks: &mut [Offset],
        work: &mut Work,
        cost: &mut Cost,
    ) -> Result<usize, Refusal> {
        let pages = pages_of(&layout);
        let align_order = layout.align().ilog2().saturating_sub(PAGE_SHIFT);
        if self.is_too_big(pages, align_order) {
            return Err(Refusal::TooBig);
        }
        if align_order > self.align_order {
            return Err(Refusal::Unsupported);
        }
        let Some(block) = blocks.first_mut() else {
            return Ok(0);
        };
        loop {
            if let Some(page) = self.pages(pages, align_order, work) {
                self.mark_allocated(page, pages);
                let order = order_of(pages).max(align_order);
                *cost = served(Path::Buddy, None, Some(order), *work);
                *block = page.offset(0);
                return Ok(1);
            }
            if !self.reclaim(work) {
                return Err(self.refusal(pages, align_order, cost));
            }
        }
    }

    /// Takes pages where the least is lost: when less than a quarter of all is free, rests that lie
    /// side by side, before a larger block is cut.
    #[inline]
    fn pages(&mut self, pages: usize, align_order: u32, work: &mut Work) -> Option<Page> {
        let Self { frames, buddy, .. } = self;
        // While there is plenty, to look for rests costs more than they are worth.
        let scarce = buddy.free_pages() < self.pages / 4;
        if scarce && align_order == 0 && !pages.is_power_of_two() {
            if let Some(page) = buddy.allocate_best_fit_run(frames, pages, order_of(pages), work) {
                return Some(page);
            }
        }
        buddy.allocate(frames, pages, align_order, End::Low, work)
    }

    /// Notes that pages which the buddy system gave are handed out as they are.
    pub(super) fn mark_allocated(&mut self, page: Page, pages: usize) {
        let kind = PageKind::Large {
            pages: pages as u32,
        };
        self.frames.set_kind(page, kind);
        self.large_pages += pages;
        self.large_blocks[order_of(pages) as usize] += 1;
    }

    /// Says whether no region could hold so many pages if it were empty.
    fn is_too_big(&self, pages: usize, align_order: u32) -> bool {
        if align_order == 0 {
            pages > self.largest_region
        } else {
            1 << order_of(pages).max(align_order) > self.largest_block
        }
    }

    /// Says why there are no `pages` pages in one piece.
    #[cold]
    fn refusal(&self, pages: usize, align_order: u32, cost: &mut Cost) -> Refusal {
        let order = order_of(pages).max(align_order);
        *cost = Cost::default();
        if self.is_too_big(pages, align_order) {
            Refusal::TooBig
        } else if pages > self.buddy.free_pages() {
            Refusal::Exhausted
        } else {
            *cost = cost.with_fragmentation(self.buddy.fragmentation(order));
            Refusal::Fragmented
        }
    }

    /// Returns the blocks of pages that are out.
    pub(super) fn large_count(&self) -> usize {
        self.large_blocks
            .iter()
            .map(|blocks| *blocks as usize)
            .sum()
    }

    /// Returns the objects that are out, their bytes, and the bytes of all slabs.
    pub(super) fn slab_bytes(&self) -> (usize, usize, usize) {
        let mut sums = (0, 0, 0);
        for class in Class::all() {
            let slabs = &self.classes[class.index()];
            sums.0 += slabs.used;
            sums.1 += slabs.used * class.bytes();
            sums.2 += slabs.slabs * class.pages() * PAGE_BYTES;
        }
        sums
    }

    /// Returns the words and mask of a class's bitmap, for checks.
    pub(super) fn popcount(&mut self, class: Class, slab: Page) -> Option<usize> {
        let bits = self.frames.bits(slab, slab::words(class));
        let mut out = 0;
        for (word, bits) in bits.iter().enumerate() {
            if bits & !slab::mask(class, word) != 0 {
                return None;
            }
            out += bits.count_ones() as usize;
        }
        Some(out)
    }
}

/// Puts together what a served request cost.
pub(super) fn served(path: Path, class: Option<Class>, order: Option<u32>, work: Work) -> Cost {
    Cost::new(path)
        .with_class(class.map(Class::number))
        .with_order(order.map(|order| (order + PAGE_SHIFT) as u8))
        .with_work(work.splits, work.merges)
}
