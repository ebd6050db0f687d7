// SPDX-License-Identifier: GPL-2.0

//! Page descriptors, a buddy system and a heap without memory, for tests that use only metadata.

use core::{
    alloc::Layout,
    ptr::NonNull, //
};
use std::{
    vec,
    vec::Vec, //
};

use crate::{
    Cost, Offset, Path, Refusal,
    backing_heap::{
        BackingHeap,
        InspectHeap, //
    },
    check::{
        self,
        Progress,
        Walk, //
    },
    engine::BadFree,
    hybrid::{
        buddy::{
            Buddy,
            ORDERS,
            Work, //
        },
        heap::Heap,
        page::{
            Links,
            Page,
            PageMetadata,
            RegionTable, //
        },
    },
    testing::layout,
};

/// Returns the metadata of a region of `pages` pages. The memory of the metadata is leaked.
pub(crate) fn table(pages: usize) -> RegionTable {
    let words = RegionTable::bytes(pages) / 8;
    let memory: &mut [u64] = vec![0; words].leak();
    // SAFETY: The memory has `bytes(pages)` zeroed bytes, is aligned to 8 and never freed,
    // and nobody else uses it.
    unsafe { RegionTable::new(NonNull::from(memory).cast(), pages) }
}

/// Adds the next piece of bitmap memory, which is leaked.
pub(crate) fn add_piece(heap: &mut Heap) {
    let piece = heap.next_piece().unwrap();
    let memory: &mut [u64] = vec![0; piece.bytes / 8].leak();
    // SAFETY: The memory has the bytes of the piece, is zeroed, aligned to 8 and never freed, and nobody else uses it.
    unsafe { heap.add_piece(piece, NonNull::from(memory).cast()) };
}

/// Returns the page descriptors of regions of these numbers of pages.
pub(crate) fn descs(regions: &[usize]) -> PageMetadata {
    let mut descs = PageMetadata::new();
    for (region, pages) in regions.iter().enumerate() {
        descs.add(region, table(*pages));
    }
    descs
}

impl PageMetadata {
    /// Returns the block after `page` in its list.
    pub(crate) fn next(&self, page: Page) -> Option<Page> {
        self.links(page)?.next.into()
    }

    /// Returns the block before `page` in its list.
    pub(crate) fn prev(&self, page: Page) -> Option<Page> {
        self.links(page)?.prev.into()
    }

    /// Damages the links of a page.
    pub(crate) fn damage(&mut self, page: Page, damage: impl FnOnce(&mut Links)) {
        assert!(self.change_links(Some(page).into(), damage));
    }
}

/// Returns a buddy system over one region, of which all pages are free.
pub(crate) fn buddy(pages: usize) -> Buddy {
    let mut buddy = Buddy::new();
    buddy.metadata = descs(&[pages]);
    buddy.free(page(0), pages);
    buddy.work = Work::default();
    buddy
}

/// Returns page `index` of the first region.
pub(crate) fn page(index: usize) -> Page {
    Page::new(0, index)
}

/// A heap without a pool, because the heap reads and writes only metadata.
pub(crate) struct BareHeap(pub(crate) Heap);

impl BareHeap {
    /// Constructs a heap over regions of these numbers of pages, all of them free.
    pub(crate) fn new(regions: &[usize]) -> Self {
        let mut heap = Self::without_bitmaps(regions);
        while heap.0.buddy.metadata.bitmaps.cells() < heap.0.pages {
            add_piece(&mut heap.0);
        }
        heap
    }

    /// Constructs a heap without bitmap memory over regions of these numbers of pages, all of them free.
    pub(crate) fn without_bitmaps(regions: &[usize]) -> Self {
        let mut heap = Heap::new();
        for (region, pages) in regions.iter().enumerate() {
            heap.add(region, *pages, table(*pages), u32::MAX);
        }
        Self(heap)
    }

    /// Constructs a heap whose pages are all live blocks of one page, except for the pages `free` of the
    /// first region. The pages `free` were freed in this order, so the last of them is first in its list.
    pub(crate) fn with_free(regions: &[usize], free: impl IntoIterator<Item = usize>) -> Self {
        let mut heap = Self::new(regions);
        heap.allocate_free_pages();
        for index in free {
            heap.free_page(page(index));
        }
        heap.sound();
        heap
    }

    /// Allocates all free pages, as blocks of one page.
    pub(crate) fn allocate_free_pages(&mut self) {
        for order in 0..ORDERS {
            while let Some(first) = self.0.buddy.lists[order].first() {
                assert!(self.0.buddy.allocate_at(first, 1 << order));
                for index in 0..1 << order {
                    self.0.set_large(first.after(index), 1);
                    self.0.allocated_blocks += 1;
                }
            }
        }
    }

    /// Frees a live block of one page.
    pub(crate) fn free_page(&mut self, page: Page) {
        // With this alignment the block is a block of one page, not an object of the class of 4096 bytes.
        self.free(page.offset(0), layout(8, 8192)).unwrap();
    }

    /// Allocates a block and returns it with its cost.
    pub(crate) fn allocate(&mut self, layout: Layout) -> Result<(Offset, Cost), Refusal> {
        let block = self.request(layout)?;
        Ok((block, self.0.cost))
    }

    /// Makes a request that is refused, and returns the cause and the cost. Panics if a counter changes.
    #[track_caller]
    pub(crate) fn refused(&mut self, layout: Layout) -> (Refusal, Cost) {
        let before = self.figures();
        let refusal = self.request(layout).unwrap_err();
        let cost = self.0.cost;
        assert_eq!(self.figures(), before);
        self.sound();
        (refusal, cost)
    }

    /// Allocates a block as an engine with empty magazines: from the heap or, if the heap refuses, by the
    /// fallbacks.
    pub(crate) fn request(&mut self, layout: Layout) -> Result<Offset, Refusal> {
        let mut block = [at(0)];
        if let Err(refusal) = self.0.allocate(layout, &mut block) {
            return self.0.allocate_fallback(layout).ok_or(refusal);
        }
        Ok(block[0])
    }

    /// Allocates blocks until a request is refused.
    pub(crate) fn fill(&mut self, layout: Layout) -> Vec<Offset> {
        let next = || self.allocate(layout).ok().map(|(block, _)| block);
        core::iter::from_fn(next).collect()
    }

    /// Allocates blocks until a block needs a new slab. Does not return this last block.
    pub(crate) fn fill_from_slabs(&mut self, layout: Layout) -> Vec<Offset> {
        let next = || {
            let (block, cost) = self.allocate(layout).ok()?;
            (cost.path() == Path::Slab).then_some(block)
        };
        core::iter::from_fn(next).collect()
    }

    /// Frees a block.
    pub(crate) fn free(&mut self, block: Offset, layout: Layout) -> Result<Cost, BadFree> {
        self.0.free(block, layout)?;
        Ok(self.0.cost)
    }

    /// Panics if the check of the heap finds a broken rule.
    pub(crate) fn sound(&mut self) {
        let result = check::run(&mut Walk::new(), |walk| self.0.check(walk));
        assert_eq!(result, Ok(Progress::Sound));
    }

    /// Returns all counters: slabs and live objects by class, free pages, pages of large blocks, and the
    /// number of large blocks.
    pub(crate) fn figures(&self) -> (Vec<(usize, usize)>, usize, usize, usize) {
        let classes = self.0.classes.iter();
        (
            classes
                .map(|class| (class.slab_count as usize, class.used))
                .collect(),
            self.0.buddy.free_pages,
            self.0.large_pages,
            self.0.large_blocks.iter().sum::<u32>() as usize,
        )
    }
}

/// Returns the offset of a byte in the first region.
pub(crate) fn at(byte: usize) -> Offset {
    Offset::new(0, byte as u64)
}
