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
    frames::{
        Frames,
        Kind,
        Page,
        REGION_PAGES_MAX,
        REGION_PAGES_SHIFT,
        Table, //
    },
    magazine::Stock,
    slab::{
        self,
        Classes,
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
    pub(super) frames: Frames,
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
    pub(super) kept: Kept,
    /// Times that empty slabs were given back, because of a request that did not fit or because
    /// nothing was out any more.
    pub(super) reclaims: u64,
}

/// What is kept against a quick return.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) slabs: usize,
    pub(super) pages: usize,
}

/// Returns the pages that a layout takes when it is served as pages.
#[inline]
pub(super) const fn pages_of(layout: &Layout) -> usize {
    // A layout's size is far from the end of the numbers.
    layout.size().wrapping_add(PAGE_BYTES - 1) / PAGE_BYTES
}

impl Heap {
    /// Returns a heap without memory.
    pub(super) fn new() -> Self {
        Self {
            frames: Frames::new(),
            buddy: Buddy::default(),
            classes: Default::default(),
            large_pages: 0,
            large_blocks: [0; ORDERS],
            pages: 0,
            largest_block: 0,
            largest_region: 0,
            borrowed: [0; CLASSES],
            align_order: u32::MAX,
            kept: Kept::default(),
            reclaims: 0,
        }
    }

    /// Adds the pages of a region, which has a table as new.
    ///
    /// Blocks are aligned in the region, so in memory as far as its first page is: 2^`align_order`
    /// pages, where that is less than the largest block has.
    pub(super) fn add(&mut self, region: usize, table: Table, align_order: u32) {
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
    pub(super) fn serve_more(
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
            let Self {
                frames,
                buddy,
                classes,
                ..
            } = self;
            let slabs = &mut classes[class.index()];
            let kept = slabs.empty().is_some();
            if let Some((taken, source)) = slabs.allocate(frames, buddy, class, objects, work) {
                if kept && slabs.empty().is_none() {
                    self.kept.slabs -= 1;
                    self.kept.pages -= class.pages();
                }
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
                self.hand_out(page, pages);
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
            if let Some(page) = buddy.allocate_near(frames, pages, order_of(pages), work) {
                return Some(page);
            }
        }
        buddy.allocate(frames, pages, align_order, End::Low, work)
    }

    /// Notes that pages which the buddy system gave are handed out as they are.
    pub(super) fn hand_out(&mut self, page: Page, pages: usize) {
        let kind = Kind::Large {
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

    /// Gives the empty slabs that are kept back, and says whether there were any.
    fn reclaim(&mut self, work: &mut Work) -> bool {
        let Self {
            frames,
            buddy,
            classes,
            ..
        } = self;
        let mut any = false;
        for class in Class::all() {
            let slabs = &mut classes[class.index()];
            any |= slabs.reclaim(frames, buddy, class, work);
        }
        self.kept = Kept::default();
        self.reclaims += u64::from(any);
        any
    }

    /// Gives the empty slabs that are kept back, and says how many pages that were.
    pub(super) fn drain(&mut self) -> usize {
        let pages = self.kept.pages;
        self.reclaim(&mut Work::default());
        pages
    }

    /// Has all free pages merge as far as they can.
    pub(super) fn settle(&mut self) {
        self.buddy.settle(&mut self.frames, &mut Work::default());
    }

    /// Gives the empty slabs that are kept back when nothing else is left, so that an empty heap is
    /// as a new one. A single slab stays: it is most likely wanted again at once.
    #[inline(always)]
    fn reclaim_if_empty(&mut self, work: &mut Work) {
        if self.kept.pages + self.buddy.free_pages() == self.pages {
            self.reclaim_when_empty(work);
        }
    }

    /// Does the work of [`Heap::reclaim_if_empty`].
    #[cold]
    #[inline(never)]
    fn reclaim_when_empty(&mut self, work: &mut Work) {
        if self.kept.slabs > 1 {
            self.reclaim(work);
        }
        self.buddy.settle(&mut self.frames, work);
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

    /// Takes a block back.
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
                // It may be one that was served as a last resort, by a larger class or by a page.
                Err(BadFree::WrongSize) if slab::class_at(&self.frames, block).is_some() => {
                    let lender = self.release_borrowed(class, block, &mut work)?;
                    *cost = served(Path::Slab, Some(lender), None, work);
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

    /// Takes objects back, as [`Slabs::release`](slab::Slabs::release) does.
    #[inline]
    pub(super) fn release_objects(
        &mut self,
        class: Class,
        objects: &[Offset],
        work: &mut Work,
    ) -> Result<usize, BadFree> {
        let Self {
            frames,
            buddy,
            classes,
            ..
        } = self;
        let slabs = &mut classes[class.index()];
        let kept = slabs.empty().is_some();
        let released = slabs.release(frames, buddy, class, objects, work)?;
        if !kept && slabs.empty().is_some() {
            self.kept.slabs += 1;
            self.kept.pages += class.pages();
        }
        self.reclaim_if_empty(work);
        Ok(released)
    }

    /// Takes a block of `pages` pages back.
    fn release_pages(
        &mut self,
        block: Offset,
        pages: usize,
        work: &mut Work,
    ) -> Result<(), BadFree> {
        let page = self.find_large(block, pages)?;
        self.release_large(page, pages, work)
    }

    /// Takes the block of `pages` pages back that begins at `page`.
    #[inline]
    pub(super) fn release_large(
        &mut self,
        page: Page,
        pages: usize,
        work: &mut Work,
    ) -> Result<(), BadFree> {
        match self.frames.get(page) {
            Some(frame) if frame.is_large(pages) => frame.set_tail(),
            _ => return Err(self.not_large(page, pages)),
        }
        self.buddy.release(&mut self.frames, page, pages, work);
        self.large_pages -= pages;
        self.large_blocks[order_of(pages) as usize] -= 1;
        self.reclaim_if_empty(work);
        Ok(())
    }

    /// Says why the block of `pages` pages cannot be released that does not begin at `page`.
    #[cold]
    fn not_large(&self, page: Page, pages: usize) -> BadFree {
        let found = self.find_large(page.offset(0), pages);
        found.err().unwrap_or(BadFree::NotOut)
    }

    /// Returns the first page of the block of `pages` pages that begins at `block`.
    fn find_large(&self, block: Offset, pages: usize) -> Result<Page, BadFree> {
        let page = Page::of(block).ok_or(BadFree::Foreign)?;
        let frame = self.frames.get(page).ok_or(BadFree::Foreign)?;
        if block != page.offset(0) {
            return Err(BadFree::Interior);
        }
        match frame.kind() {
            Kind::Large { pages: own } if own as usize == pages => Ok(page),
            Kind::Large { .. } | Kind::Slab { .. } => Err(BadFree::WrongSize),
            Kind::Tail if self.frames.is_free(page) => Err(BadFree::NotOut),
            Kind::Tail | Kind::Inner { .. } => Err(BadFree::Interior),
            Kind::Free { .. } => Err(BadFree::NotOut),
        }
    }

    /// Makes a block serve `new` where it is, if it can.
    pub(super) fn resize(
        &mut self,
        block: Offset,
        layout: Layout,
        new: Layout,
        cost: &mut Cost,
    ) -> bool {
        let mut work = Work::default();
        match (Class::of(&layout), Class::of(&new)) {
            (Some(old), Some(new)) if old == new => {
                *cost = served(Path::InPlace, Some(old), None, work);
                true
            }
            (None, None) => {
                let pages = pages_of(&layout);
                let Ok(page) = self.find_large(block, pages) else {
                    return false;
                };
                let wanted = pages_of(&new);
                let Self {
                    frames,
                    buddy,
                    large_pages,
                    large_blocks,
                    ..
                } = self;
                if wanted > pages {
                    let more = page.index() + pages;
                    if more >= frames.pages(page.region())
                        || !buddy.take(frames, page.after(pages), wanted - pages, &mut work)
                    {
                        return false;
                    }
                } else if wanted < pages {
                    buddy.release(frames, page.after(wanted), pages - wanted, &mut work);
                }
                frames.set_kind(
                    page,
                    Kind::Large {
                        pages: wanted as u32,
                    },
                );
                *large_pages = *large_pages + wanted - pages;
                large_blocks[order_of(pages) as usize] -= 1;
                large_blocks[order_of(wanted) as usize] += 1;
                *cost = served(Path::InPlace, None, Some(order_of(wanted)), work);
                true
            }
            _ => false,
        }
    }

    /// Returns the blocks of pages that are out.
    pub(super) fn large_count(&self) -> usize {
        self.large_blocks
            .iter()
            .map(|blocks| *blocks as usize)
            .sum()
    }

    /// Says whether a block of this size begins here and is out.
    pub(super) fn is_out(&mut self, stock: Stock, block: Offset) -> bool {
        match stock {
            Stock::Class(class) => {
                slab::find(&self.frames, class, block).is_ok_and(|(slab, number, _)| {
                    let word = self.frames.bits(slab, slab::words(class)).get(number / 64);
                    word.is_some_and(|word| word >> (number % 64) & 1 != 0)
                })
            }
            Stock::Pages(pages) => Page::of(block).is_some_and(|page| {
                let pages = pages.count() as u32;
                page.offset(0) == block && self.frames.kind(page) == Kind::Large { pages }
            }),
        }
    }

    /// Takes back the first of blocks that were in a magazine, and as many more as go with it, and
    /// says how many.
    ///
    /// # Errors
    ///
    /// [`BadFree::NotOut`] when the first was freed twice: in magazines that is not seen.
    pub(super) fn take_back(
        &mut self,
        stock: Stock,
        blocks: &[Offset],
        work: &mut Work,
    ) -> Result<usize, BadFree> {
        match (stock, blocks) {
            (_, []) => Ok(0),
            (Stock::Class(class), _) => self.release_objects(class, blocks, work),
            (Stock::Pages(pages), [block, ..]) => {
                self.release_pages(*block, pages.count(), work)?;
                Ok(1)
            }
        }
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
