// SPDX-License-Identifier: GPL-2.0

//! The heap behind the lock: slabs over the buddy system.
//!
//! ```text
//!  allocate ─▶ a size class serves it? ─ yes ─▶ objects of a slab ─ none ─▶ a new slab ─┐
//!                      │ no                                                             ▼
//!                      └───────────────▶ whole pages ─────────────────────────▶ buddy system
//! ```

use core::{
    alloc::Layout,
    ptr::NonNull, //
};

use super::{
    bitmaps::Bitmaps,
    buddy::{
        Buddy,
        End,
        ORDERS,
        Work,
        order_of, //
    },
    page::{
        Page,
        PageDesc,
        PageKind,
        REGION_PAGES_MAX,
        RegionTable,
        page_count, //
    },
    slab::Slabs,
};
use crate::{
    Cost, Offset, PAGE_BYTES, PAGE_SHIFT, Path, Refusal,
    backing_heap::{
        BackingHeap,
        Piece, //
    },
    engine::BadFree,
    size_class::{
        CLASS_BYTES,
        CLASSES,
        Class,
        MagazineKind, //
    },
};

/// The largest number of slabs from which one call allocates objects.
const REFILL_SLABS: usize = 2;

/// A pool is small for a class if a slab takes more than 1/`SLAB_SHARE` of it. There the cached slabs of other classes
/// and the refills of magazines would take too much of the pool.
const SLAB_SHARE: usize = 256;

/// Slabs over a buddy system.
pub struct Heap {
    pub(super) buddy: Buddy,
    pub(super) classes: [Slabs; CLASSES],
    /// Pages of the allocated blocks of whole pages.
    pub(super) large_pages: usize,
    /// The number of these blocks, by order.
    pub(super) large_blocks: [u32; ORDERS],
    /// Allocated objects and blocks of whole pages.
    pub(super) allocated_blocks: usize,
    /// Pages of all regions.
    pub(super) pages: usize,
    /// Pages of the largest block that the regions can serve.
    pub(super) largest_block: usize,
    /// Blocks with an alignment above this one, as log2 of pages, may be aligned in their region but not in memory.
    pub(super) align_order_max: u32,
    /// Allocated objects that serve requests of a smaller class, by that class: see `refine/fallback`.
    pub(super) borrowed: [usize; CLASSES],
    /// Times that cached empty slabs were returned to the buddy system.
    pub(super) empty_slab_frees: u64,
    /// The cost of the last operation.
    pub(super) cost: Cost,
}

impl Heap {
    /// Returns a heap without memory.
    #[inline(always)]
    pub(super) const fn new() -> Self {
        Self {
            buddy: Buddy::new(),
            classes: Slabs::of_all_classes(),
            large_pages: 0,
            large_blocks: [0; ORDERS],
            allocated_blocks: 0,
            pages: 0,
            largest_block: 0,
            align_order_max: u32::MAX,
            borrowed: [0; CLASSES],
            empty_slab_frees: 0,
            cost: Cost::new(Path::None),
        }
    }

    /// Allocates an object of a class for the caller, and up to `objects.len() - 1` more; returns how many.
    fn allocate_objects(&mut self, class: Class, objects: &mut [Offset]) -> Result<usize, Refusal> {
        if self.is_scarce(class) && !self.classes[class.index()].has_free() {
            // The new slab may get the pages of the cached slabs of other classes. Otherwise cached slabs would lie
            // scattered between the blocks of a small pool.
            self.free_empty_slabs();
        }
        let mut served = self.classes[class.index()].allocate(&mut self.buddy, objects);
        if served.is_none() && self.free_empty_slabs() > 0 {
            served = self.classes[class.index()].allocate(&mut self.buddy, objects);
        }
        let Some((mut allocated, path)) = served else {
            return Err(self.refusal(class.pages(), 0));
        };
        if allocated == 0 {
            // The bitmap of the slab is damaged. A check names the slab.
            return Err(Refusal::Exhausted);
        }
        let order = (path == Path::Growth).then(|| order_of(class.pages()));
        self.set_cost(path, Some(class), order);
        // If memory is scarce, the additional objects need no further slab. The number of slabs bounds the time of a
        // refill.
        for _ in 1..REFILL_SLABS {
            if allocated == objects.len() {
                break;
            }
            let is_scarce = self.is_scarce(class);
            let slabs = &mut self.classes[class.index()];
            if is_scarce && !slabs.has_partial() {
                break;
            }
            match slabs.allocate(&mut self.buddy, &mut objects[allocated..]) {
                None | Some((0, _)) => break,
                Some((more, _)) => allocated += more,
            }
        }
        Ok(allocated)
    }

    /// Allocates a block of whole pages for the caller, and up to `blocks.len() - 1` more from the same free block;
    /// returns how many. If at most an eighth of the pool is free, there are no additional blocks.
    fn allocate_page_blocks(
        &mut self,
        layout: &Layout,
        blocks: &mut [Offset],
    ) -> Result<usize, Refusal> {
        let pages = page_count(layout);
        let is_scarce = self.buddy.free_pages <= self.pages / 8;
        let found = self.buddy.smallest_order(order_of(pages)).unwrap_or(0);
        // A power of two of pages leaves a free block whole.
        let order = (pages * blocks.len()).ilog2().min(found);
        let count = if is_scarce { 1 } else { (1 << order) / pages };
        if count <= 1 || layout.align() > PAGE_BYTES {
            let page = self.allocate_pages(layout)?;
            if let Some(block) = blocks.first_mut() {
                *block = page.offset(0);
            }
            return Ok(1);
        }
        let Some(first) = self.buddy.allocate(pages * count, 0, End::Front) else {
            return Err(Refusal::Exhausted);
        };
        for (number, block) in blocks.iter_mut().take(count).enumerate() {
            let page = first.after(number * pages);
            self.set_large(page, pages);
            *block = page.offset(0);
        }
        self.set_cost(Path::Buddy, None, Some(order_of(pages)));
        Ok(count)
    }

    /// Returns whether memory is scarce for a class: the pool is small for slabs of this class, or at most an eighth of
    /// the pool is free.
    #[inline]
    fn is_scarce(&self, class: Class) -> bool {
        self.pages < class.pages() * SLAB_SHARE || self.buddy.free_pages <= self.pages / 8
    }

    /// Allocates whole pages.
    pub(super) fn allocate_pages(&mut self, layout: &Layout) -> Result<Page, Refusal> {
        let pages = page_count(layout);
        let align_order = layout.align().ilog2().saturating_sub(PAGE_SHIFT);
        self.ensure_possible(pages, align_order)?;
        let mut page = self.buddy.allocate(pages, align_order, End::Front);
        if page.is_none() && self.free_empty_slabs() > 0 {
            page = self.buddy.allocate(pages, align_order, End::Front);
        }
        let Some(page) = page else {
            return Err(self.refusal(pages, align_order));
        };
        self.set_large(page, pages);
        let order = order_of(pages).max(align_order);
        self.set_cost(Path::Buddy, None, Some(order));
        Ok(page)
    }

    /// Adds the `pages` pages of a region, whose memory is aligned to 2^`align_order` pages.
    pub(super) fn add(
        &mut self,
        region: usize,
        pages: usize,
        table: RegionTable,
        align_order: u32,
    ) {
        self.buddy.metadata.add(region, table);
        self.buddy.free(Page::new(region, 0), pages);
        self.pages += pages;
        // A region begins with a block of the largest power of two of pages.
        let largest = pages.checked_ilog2().unwrap_or(0);
        self.largest_block = self.largest_block.max(1 << largest);
        // Blocks are aligned relative to the region's first page. If the largest block is at most as large as the
        // alignment of that page, every block is aligned in memory, too.
        if largest > align_order {
            self.align_order_max = self.align_order_max.min(align_order);
        }
    }

    /// Marks pages from the buddy system as one allocated block.
    pub(super) fn set_large(&mut self, page: Page, pages: usize) {
        let kind = PageKind::Large {
            pages: pages as u32,
        };
        self.buddy.metadata.set_kind(page, kind);
        self.large_pages += pages;
        self.large_blocks[order_of(pages) as usize] += 1;
    }

    /// Frees the first of `objects`, and those after it in the same slab; returns how many.
    #[inline]
    pub(super) fn free_objects(
        &mut self,
        class: Class,
        objects: &[Offset],
    ) -> Result<usize, BadFree> {
        self.classes[class.index()].free(&mut self.buddy, objects)
    }

    /// Frees the first of `blocks` of `pages` pages each, and those after it as long as each lies beside the ones
    /// before it; returns how many.
    pub(super) fn free_pages(&mut self, blocks: &[Offset], pages: usize) -> Result<usize, BadFree> {
        let (block, rest) = blocks.split_first().ok_or(BadFree::Foreign)?;
        let mut first = self.find_pages(*block, pages)?;
        self.unset_large(first, pages);
        let mut freed = 1;
        for block in rest {
            let Ok(page) = self.find_pages(*block, pages) else {
                break;
            };
            if page.region() != first.region() {
                break;
            } else if page.after(pages) == first {
                first = page;
            } else if page != first.after(freed * pages) {
                break;
            }
            self.unset_large(page, pages);
            freed += 1;
        }
        self.buddy.free(first, freed * pages);
        Ok(freed)
    }

    /// Marks the first page of an allocated block as an interior page.
    fn unset_large(&mut self, page: Page, pages: usize) {
        self.buddy.metadata.set_kind(page, PageKind::Interior);
        self.large_pages -= pages;
        self.large_blocks[order_of(pages) as usize] -= 1;
    }

    /// Counts freed blocks. When nothing is allocated and more than one class caches an empty slab, all cached slabs
    /// are freed. One cached slab alone is kept, because the next request probably uses it.
    #[inline]
    fn count_freed(&mut self, blocks: usize) {
        self.allocated_blocks = self.allocated_blocks.saturating_sub(blocks);
        if self.allocated_blocks == 0
            && self
                .classes
                .iter()
                .filter(|slabs| slabs.empty.is_some())
                .count()
                > 1
        {
            self.free_empty_slabs();
        }
    }

    /// Returns the first page of the allocated block of `pages` pages that begins at `block`.
    ///
    /// # Errors
    ///
    /// The rule that a free of the block would break.
    pub(super) fn find_pages(&self, block: Offset, pages: usize) -> Result<Page, BadFree> {
        let page = Page::of(block).ok_or(BadFree::Foreign)?;
        let desc = self.buddy.metadata.get(page).ok_or(BadFree::Foreign)?;
        if block != page.offset(0) {
            return Err(BadFree::Interior);
        }
        if desc.has_pages(pages) {
            Ok(page)
        } else {
            Err(self.buddy.metadata.bad_free(page))
        }
    }

    /// Frees the cached empty slabs to the buddy system, and returns the number of their pages.
    pub(super) fn free_empty_slabs(&mut self) -> usize {
        let classes = self.classes.iter_mut();
        let pages = classes
            .map(|slabs| slabs.free_empty_slab(&mut self.buddy))
            .sum();
        self.empty_slab_frees += u64::from(pages > 0);
        pages
    }

    /// Begins to measure the cost of an operation.
    pub(super) fn begin_cost(&mut self) {
        self.buddy.work = Work::default();
        self.cost = Cost::default();
    }

    /// Sets the cost of the operation, with the work of the buddy system since it began.
    pub(super) fn set_cost(&mut self, path: Path, class: Option<Class>, order: Option<u32>) {
        self.cost = Cost::new(path)
            .with_class(class.map(Class::number))
            .with_order(order.map(|order| order as u8))
            .with_work(self.buddy.work.splits, self.buddy.work.merges);
    }
}

/// The blocks of a magazine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blocks {
    /// Objects of a class.
    Objects(Class),
    /// Blocks of this number of whole pages.
    Pages(usize),
}

/// Returns the blocks that a magazine of a kind holds.
#[inline(always)]
pub(super) fn blocks(kind: MagazineKind) -> Blocks {
    match Class::new(kind.number() as u8) {
        Some(class) => Blocks::Objects(class),
        // The kinds of classes that do not exist have no magazine.
        None => Blocks::Pages(kind.pages().unwrap_or(1)),
    }
}

// SAFETY: `BackingHeap` requires that a block has the layout's size and alignment, lies in an added region, and
// shares no byte with another allocated block.
// - The buddy system does not allocate a page again before it is freed, and the bitmap of a slab does not allow that
//   for an object. A free that names no allocated block is refused.
// - An object begins at a multiple of its size in a slab, which is page-aligned. `Class::of` returns a class
//   whose size is a multiple of the alignment. A block of pages is aligned within its region, and
//   `ensure_possible` refuses alignments that the memory of the regions does not have.
unsafe impl BackingHeap for Heap {
    type Desc = PageDesc;

    const REGION_PAGES_MAX: usize = REGION_PAGES_MAX;

    // A free block of the buddy system is aligned to its size.
    const LARGE_BLOCKS_LIE_ANYWHERE: bool = false;

    fn metadata_bytes(pages: usize) -> usize {
        RegionTable::bytes(pages)
    }

    const CLASS_BYTES: &'static [u16] = &CLASS_BYTES;

    #[inline(always)]
    fn class(layout: &Layout) -> Option<MagazineKind> {
        Class::of(layout).map(MagazineKind::from)
    }

    #[inline]
    fn whole_pages(layout: &Layout) -> Option<MagazineKind> {
        MagazineKind::of_whole_pages(layout)
    }

    unsafe fn add_region(
        &mut self,
        region: usize,
        address: usize,
        pages: usize,
        metadata: NonNull<u8>,
    ) -> NonNull<PageDesc> {
        // SAFETY: `RegionTable::new` requires zeroed and aligned bytes for each page, which nobody else accesses but
        // readers of the descriptors: that is part of this function's contract.
        let table = unsafe { RegionTable::new(metadata, pages) };
        let descs = table.descs;
        let align_order = (address >> PAGE_SHIFT).trailing_zeros();
        self.add(region, pages, table, align_order);
        descs
    }

    #[inline(always)]
    fn begins_block(desc: &PageDesc, byte: usize, kind: MagazineKind) -> bool {
        let byte_in_page = byte % PAGE_BYTES;
        match blocks(kind) {
            Blocks::Objects(class) => desc.has_object(class, byte_in_page),
            Blocks::Pages(pages) => byte_in_page == 0 && desc.has_pages(pages),
        }
    }

    #[inline(always)]
    fn usable_size(layout: Layout) -> usize {
        match Class::of(&layout) {
            Some(class) => class.bytes(),
            None => page_count(&layout) * PAGE_BYTES,
        }
    }

    /// Allocates the caller's block and up to `blocks.len() - 1` blocks more to refill a magazine; returns
    /// how many blocks. O(1) for objects of slabs that exist, else O(log n).
    #[inline]
    fn allocate(&mut self, layout: Layout, blocks: &mut [Offset]) -> Result<usize, Refusal> {
        self.begin_cost();
        let allocated = match Class::of(&layout) {
            Some(class) => self.allocate_objects(class, blocks)?,
            None => self.allocate_page_blocks(&layout, blocks)?,
        };
        self.allocated_blocks += allocated;
        Ok(allocated)
    }

    fn allocate_fallback(&mut self, layout: Layout) -> Option<Offset> {
        self.buddy.work = Work::default();
        let block = self.allocate_larger(layout)?;
        self.allocated_blocks += 1;
        Some(block)
    }

    fn would_grow(&self, layout: Layout) -> bool {
        Class::of(&layout).is_some_and(|class| !self.classes[class.index()].has_free())
    }

    #[inline]
    fn lacks_memory(&self, layout: Layout) -> bool {
        Class::of(&layout).is_some_and(|class| {
            !self.classes[class.index()].has_free() && !self.buddy.metadata.has_bitmap(class)
        })
    }

    fn pieces_bytes_max(pages: usize) -> usize {
        Bitmaps::bytes_max(pages)
    }

    fn next_piece(&self) -> Option<Piece> {
        self.buddy.metadata.bitmaps.next_piece()
    }

    unsafe fn add_piece(&mut self, piece: Piece, memory: NonNull<u8>) {
        // SAFETY: The contract of `Bitmaps::add` is that of this function.
        unsafe { self.buddy.metadata.bitmaps.add(piece, memory) };
    }

    /// Frees a block. O(1) for an object whose slab stays, else O(log n).
    #[inline]
    fn free(&mut self, block: Offset, layout: Layout) -> Result<(), BadFree> {
        self.begin_cost();
        let pages = page_count(&layout);
        let class = match Class::of(&layout) {
            Some(class) => match self.free_objects(class, &[block]) {
                Err(BadFree::WrongSize) => self.free_larger(class, block)?,
                freed => freed.map(|_| Some(class))?,
            },
            None => self.free_pages(&[block], pages).map(|_| None)?,
        };
        self.count_freed(1);
        match class {
            Some(_) => self.set_cost(Path::Slab, class, None),
            None => self.set_cost(Path::Buddy, None, Some(order_of(pages))),
        }
        Ok(())
    }

    /// Frees the first of `blocks`, and the objects after it in the same slab or the blocks of pages beside it; returns
    /// how many blocks. O(1) for objects whose slab stays, else O(log n).
    #[inline]
    fn free_flushed(&mut self, blocks: &[Offset], kind: MagazineKind) -> Result<usize, BadFree> {
        self.buddy.work = Work::default();
        let freed = match (self::blocks(kind), blocks) {
            (_, []) => 0,
            (Blocks::Objects(class), _) => self.free_objects(class, blocks)?,
            (Blocks::Pages(pages), _) => self.free_pages(blocks, pages)?,
        };
        self.count_freed(freed);
        Ok(freed)
    }

    fn fits_in_place(layout: Layout, new: Layout) -> bool {
        match (Class::of(&layout), Class::of(&new)) {
            (Some(old), Some(new)) => old == new,
            (None, None) => page_count(&new) <= page_count(&layout),
            _ => false,
        }
    }

    fn resize(&mut self, block: Offset, layout: Layout, new: Layout) -> bool {
        self.resize_in_place(block, layout, new)
    }

    fn cost(&mut self) -> &mut Cost {
        &mut self.cost
    }

    fn shrink(&mut self) -> usize {
        self.free_empty_slabs() * PAGE_BYTES
    }

    fn free_bytes(&self) -> usize {
        self.buddy.free_pages * PAGE_BYTES
    }
}
