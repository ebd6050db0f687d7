// SPDX-License-Identifier: GPL-2.0

//! The heap behind the lock: slabs over the buddy system.
//!
//! ```text
//!  allocate ─▶ a size class serves it? ─ yes ─▶ objects of a slab ─ none ─▶ a new slab ─┐
//!                      │ no                                                             ▼
//!                      └───────────────▶ whole pages ─────────────────────────▶ buddy system
//! ```
//!
//! This file works with pages and offsets, has no `unsafe`, and never touches a byte of the pool.

use core::alloc::Layout;

use super::{
    buddy::{
        Buddy,
        End,
        ORDERS,
        Work,
        order_of, //
    },
    magazine::MagazineKind,
    page::{
        Page,
        PageDescs,
        PageKind,
        REGION_PAGES_MAX,
        REGION_PAGES_SHIFT,
        RegionMeta,
        pages_of, //
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
    engine::{
        BadFree,
        Refusal, //
    },
    region::Offset,
};

/// Slabs over a buddy system.
pub(super) struct Heap {
    pub(super) descs: PageDescs,
    pub(super) buddy: Buddy,
    pub(super) classes: Classes,
    /// Pages of the live blocks of whole pages.
    pub(super) large_pages: usize,
    /// The number of these blocks, by order.
    pub(super) large_blocks: [u32; ORDERS],
    /// Pages of all regions.
    pub(super) pages: usize,
    /// Pages of the largest block that an empty buddy system has.
    pub(super) largest_block: usize,
    /// Pages of the largest region.
    largest_region: usize,
    /// Live objects of larger classes than the one that was asked for, by the latter: see
    /// [`fallback`](super::refine).
    pub(super) borrowed: [u32; CLASSES],
    /// log2 of the pages to which every region is aligned, or more than the order of any block.
    align_order: u32,
    /// The cached empty slabs.
    pub(super) kept: EmptySlabs,
    /// Times that cached empty slabs were returned to the buddy system because a request needed the
    /// pages, or because nothing was live any more.
    pub(super) reclaims: u64,
}

impl Heap {
    /// Returns a heap without memory.
    pub(super) const fn new() -> Self {
        Self {
            descs: PageDescs::new(),
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

    /// Adds the pages of a region, whose metadata is all zeros.
    ///
    /// Blocks are aligned in the region. In memory they are aligned to the region's own alignment at
    /// most, which is 2^`align_order` pages.
    pub(super) fn add(&mut self, region: usize, table: RegionMeta, align_order: u32) {
        let pages = table.descs.len();
        debug_assert!(pages <= REGION_PAGES_MAX);
        self.descs.add(region, table);
        self.buddy.release(
            &mut self.descs,
            Page::new(region, 0),
            pages,
            &mut Work::default(),
        );
        self.pages += pages;
        // A region whose size is no power of two begins with a block of the largest power below.
        let largest = pages.checked_ilog2().map_or(0, |order| 1 << order);
        self.largest_block = self.largest_block.max(largest);
        self.largest_region = self.largest_region.max(pages);
        if largest > 1 << align_order.min(REGION_PAGES_SHIFT) {
            self.align_order = self.align_order.min(align_order);
        }
    }

    /// Allocates up to `blocks.len()` objects if a class serves the layout, else one block of whole
    /// pages, and returns how many blocks these are.
    ///
    /// O(1) for objects of slabs that exist, else O(log n). `work` counts everything that was done for
    /// the request until now, also by earlier calls.
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

    /// Allocates more objects to refill a magazine, and returns how many. Unlike [`Heap::serve`], it
    /// returns no empty slab to the buddy system for them, and takes no pages where an eighth of the
    /// pool or less is free.
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

    /// Allocates up to `objects.len()` objects of a class, and returns how many.
    #[inline]
    fn objects(
        &mut self,
        class: Class,
        objects: &mut [Offset],
        work: &mut Work,
        cost: &mut Cost,
    ) -> Result<usize, Refusal> {
        loop {
            let allocated = self.with_class(class, |slabs, descs, buddy| {
                slabs.allocate(descs, buddy, class, objects, work)
            });
            if let Some((taken, source)) = allocated {
                if taken == 0 {
                    // The slab's bitmap is damaged, and the check names that.
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

    /// Allocates pages from a block of the buddy system, or from a run of several blocks where less
    /// than a quarter of the pool is free: see [`page_runs`](super::refine).
    #[inline]
    fn pages(&mut self, pages: usize, align_order: u32, work: &mut Work) -> Option<Page> {
        let Self { descs, buddy, .. } = self;
        // A search for runs would cost more than it saves while memory is plenty.
        let scarce = buddy.free_pages() < self.pages / 4;
        if scarce && align_order == 0 && !pages.is_power_of_two() {
            if let Some(page) = buddy.allocate_best_fit_run(descs, pages, order_of(pages), work) {
                return Some(page);
            }
        }
        buddy.allocate(descs, pages, align_order, End::Low, work)
    }

    /// Marks pages of the buddy system as a live block.
    pub(super) fn mark_allocated(&mut self, page: Page, pages: usize) {
        let kind = PageKind::Large {
            pages: pages as u32,
        };
        self.descs.set_kind(page, kind);
        self.large_pages += pages;
        self.large_blocks[order_of(pages) as usize] += 1;
    }

    /// Says whether no region could hold so many pages even if it were empty.
    fn is_too_big(&self, pages: usize, align_order: u32) -> bool {
        if align_order == 0 {
            pages > self.largest_region
        } else {
            1 << order_of(pages).max(align_order) > self.largest_block
        }
    }

    /// Returns the cause for which `pages` pages in one piece are refused.
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

    /// Returns the number of live blocks of whole pages.
    pub(super) fn large_count(&self) -> usize {
        self.large_blocks
            .iter()
            .map(|blocks| *blocks as usize)
            .sum()
    }

    /// Returns the number of live objects, their bytes, and the bytes of all slabs.
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

    /// Returns how many bits of a slab's bitmap are set, or `None` where a bit is set for which there is
    /// no object.
    pub(super) fn popcount(&mut self, class: Class, slab: Page) -> Option<usize> {
        let bits = self.descs.bits(slab, slab::words(class));
        let mut out = 0;
        for (word, bits) in bits.iter().enumerate() {
            if bits & !slab::mask(class, word) != 0 {
                return None;
            }
            out += bits.count_ones() as usize;
        }
        Some(out)
    }

    /// Frees a block. O(1) for an object whose slab stays, else O(log n).
    ///
    /// # Errors
    ///
    /// The rule that the free breaks. Nothing has changed then.
    #[inline]
    pub(super) fn release(
        &mut self,
        block: Offset,
        layout: Layout,
        cost: &mut Cost,
    ) -> Result<(), BadFree> {
        let mut work = Work::default();
        if let Some(class) = Class::of(&layout) {
            match self.release_objects(class, &[block], &mut work) {
                // The request may have been served by a larger class: see `fallback`.
                Err(BadFree::WrongSize) if slab::class_at(&self.descs, block).is_some() => {
                    let donor = self.release_borrowed(class, block, &mut work)?;
                    *cost = served(Path::Slab, Some(donor), None, work);
                    return Ok(());
                }
                Err(BadFree::WrongSize) if class.pages() > 1 => {}
                result => {
                    *cost = served(Path::Slab, Some(class), None, work);
                    return result.map(|_| ());
                }
            }
        }
        let pages = pages_of(&layout);
        self.release_pages(block, pages, &mut work)?;
        *cost = served(Path::Buddy, None, Some(order_of(pages)), work);
        Ok(())
    }

    /// Frees the first of `objects` and those behind it in the same slab, and returns how many.
    ///
    /// # Errors
    ///
    /// As for [`Slabs::release`](slab::Slabs::release).
    #[inline]
    pub(super) fn release_objects(
        &mut self,
        class: Class,
        objects: &[Offset],
        work: &mut Work,
    ) -> Result<usize, BadFree> {
        let released = self.with_class(class, |slabs, descs, buddy| {
            slabs.release(descs, buddy, class, objects, work)
        })?;
        self.reclaim_if_empty(work);
        Ok(released)
    }

    /// Frees a block of `pages` pages.
    fn release_pages(
        &mut self,
        block: Offset,
        pages: usize,
        work: &mut Work,
    ) -> Result<(), BadFree> {
        let page = self.find_large(block, pages)?;
        self.release_large(page, pages, work)
    }

    /// Frees the block of `pages` pages that begins at `page`.
    #[inline]
    pub(super) fn release_large(
        &mut self,
        page: Page,
        pages: usize,
        work: &mut Work,
    ) -> Result<(), BadFree> {
        match self.descs.get(page) {
            Some(desc) if desc.is_large(pages) => desc.set_interior(),
            _ => return Err(self.not_large(page, pages)),
        }
        self.buddy.release(&mut self.descs, page, pages, work);
        self.large_pages -= pages;
        self.large_blocks[order_of(pages) as usize] -= 1;
        self.reclaim_if_empty(work);
        Ok(())
    }

    /// Returns the rule that the free of `pages` pages at `page` breaks, where no such block begins.
    #[cold]
    fn not_large(&self, page: Page, pages: usize) -> BadFree {
        let found = self.find_large(page.offset(0), pages);
        found.err().unwrap_or(BadFree::NotOut)
    }

    /// Returns the first page of the live block of `pages` pages that begins at `block`.
    ///
    /// # Errors
    ///
    /// The rule that a free of that block would break.
    pub(super) fn find_large(&self, block: Offset, pages: usize) -> Result<Page, BadFree> {
        let page = Page::of(block).ok_or(BadFree::Foreign)?;
        let frame = self.descs.get(page).ok_or(BadFree::Foreign)?;
        if block != page.offset(0) {
            return Err(BadFree::Interior);
        }
        match frame.kind() {
            PageKind::Large { pages: own } if own as usize == pages => Ok(page),
            PageKind::Large { .. } | PageKind::Slab { .. } => Err(BadFree::WrongSize),
            PageKind::Interior if self.descs.is_free(page) => Err(BadFree::NotOut),
            PageKind::Interior | PageKind::SlabTail { .. } => Err(BadFree::Interior),
            PageKind::Free { .. } => Err(BadFree::NotOut),
        }
    }

    /// Says whether a live block of this kind begins here, counting blocks in magazines as live.
    pub(super) fn is_live(&mut self, kind: MagazineKind, block: Offset) -> bool {
        match kind {
            MagazineKind::Class(class) => {
                slab::find(&self.descs, class, block).is_ok_and(|(slab, number, _)| {
                    let word = self.descs.bits(slab, slab::words(class)).get(number / 64);
                    word.is_some_and(|word| word >> (number % 64) & 1 != 0)
                })
            }
            MagazineKind::Pages(pages) => Page::of(block).is_some_and(|page| {
                let pages = pages.get() as u32;
                page.offset(0) == block && self.descs.kind(page) == PageKind::Large { pages }
            }),
        }
    }

    /// Frees the first of `blocks`, which were in a magazine, and those behind it in the same slab, and
    /// returns how many.
    ///
    /// # Errors
    ///
    /// [`BadFree::NotOut`] when the first was freed twice: magazines do not notice that.
    pub(super) fn free_run(
        &mut self,
        kind: MagazineKind,
        blocks: &[Offset],
        work: &mut Work,
    ) -> Result<usize, BadFree> {
        match (kind, blocks) {
            (_, []) => Ok(0),
            (MagazineKind::Class(class), _) => self.release_objects(class, blocks, work),
            (MagazineKind::Pages(pages), [block, ..]) => {
                self.release_pages(*block, pages.get(), work)?;
                Ok(1)
            }
        }
    }
}

/// Returns the cost of an allocation or a free.
pub(super) fn served(path: Path, class: Option<Class>, order: Option<u32>, work: Work) -> Cost {
    Cost::new(path)
        .with_class(class.map(Class::number))
        .with_order(order.map(|order| (order + PAGE_SHIFT) as u8))
        .with_work(work.splits, work.merges)
}
