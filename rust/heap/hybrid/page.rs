// SPDX-License-Identifier: GPL-2.0

//! Page descriptors: the metadata of each page of the pool, outside of the pool.
//!
//! The pool is a sequence of blocks of whole pages without gaps. The descriptor of a block's first page
//! says what the block is. The other pages of a slab, which has at most three, are slab tails. The other pages of a
//! free or large block are interior pages, and no operation visits all of them.
//!
//! ```text
//! page        0              1         2         3               4         5         6
//! descriptor │Large, 3 pages│Interior │Interior │Free, order 0  │Slab     │SlabTail │SlabTail│
//! ```
//!
//! The descriptors are `struct page` and `struct slab` of Linux, reduced to what an allocator needs.

use core::{
    alloc::Layout,
    mem,
    ptr::NonNull,
    slice,
    sync::atomic::{
        AtomicU32,
        Ordering::Relaxed, //
    },
};

use super::bitmaps::{
    Bitmaps,
    Place,
    Size, //
};
use crate::{Offset, PAGE_BYTES, PAGE_SHIFT, region::REGIONS_MAX, size_class::Class};

/// log2 of the largest number of pages of a region.
pub(super) const REGION_PAGES_SHIFT: u32 = 20;

/// The largest number of pages of a region: 4 GiB.
pub(super) const REGION_PAGES_MAX: usize = 1 << REGION_PAGES_SHIFT;

/// A page: the number of its region, and its index in the region.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Page(u32);

impl Page {
    /// Returns page `index` of a region.
    #[inline]
    pub(super) const fn new(region: usize, index: usize) -> Self {
        Self((region << REGION_PAGES_SHIFT | index) as u32)
    }

    /// Returns the page that contains an offset, if a pool can have such a page.
    #[inline]
    pub(super) fn of(offset: Offset) -> Option<Self> {
        let (region, index) = (usize::from(offset.region()), offset.byte() >> PAGE_SHIFT);
        let exists = region < REGIONS_MAX && index < REGION_PAGES_MAX as u64;
        exists.then(|| Self::new(region, index as usize))
    }

    #[inline]
    pub(super) const fn region(self) -> usize {
        (self.0 >> REGION_PAGES_SHIFT) as usize
    }

    #[inline]
    pub(super) const fn index(self) -> usize {
        self.0 as usize % REGION_PAGES_MAX
    }

    /// Returns the page that follows `pages` pages later in the region.
    #[inline]
    pub(super) const fn after(self, pages: usize) -> Self {
        Self::new(self.region(), self.index() + pages)
    }

    /// Returns the page `pages` pages before, or the first page of the region if there are fewer pages before.
    #[inline]
    pub(super) const fn before(self, pages: usize) -> Self {
        Self::new(self.region(), self.index().saturating_sub(pages))
    }

    /// Returns the buddy of the block of 2^`order` pages that begins at this page. The buddy may lie past
    /// the end of the region.
    #[inline]
    pub(super) const fn buddy(self, order: u32) -> Self {
        Self(self.0 ^ 1 << order)
    }

    /// Returns the offset of byte `byte` of the page.
    #[inline]
    pub(super) const fn offset(self, byte: usize) -> Offset {
        Offset::new(
            self.region() as u16,
            ((self.index() << PAGE_SHIFT) + byte) as u64,
        )
    }
}

/// Returns the number of whole pages that serve a layout.
#[inline]
pub(super) const fn page_count(layout: &Layout) -> usize {
    // The size of a layout is at most `isize::MAX`, so the sum does not wrap. A request of 0 bytes is served like one
    // of 1 byte.
    let pages = layout.size().wrapping_add(PAGE_BYTES - 1) / PAGE_BYTES;
    if pages == 0 { 1 } else { pages }
}

/// The use of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PageKind {
    /// A page, but not the first, of a block of whole pages or of a free block.
    Interior,
    /// The first of 2^`order` free pages.
    Free { order: u8 },
    /// The first page of an allocated block of `pages` pages.
    Large { pages: u32 },
    /// The first page of a slab with `used` allocated objects.
    Slab { class: Class, used: u16 },
    /// A page of a slab, `pages_before` pages after the first.
    SlabTail { class: Class, pages_before: u8 },
}

/// The descriptor of a page. Zero is [`PageKind::Interior`].
///
/// ```text
///            31        16 15 14 13    12 11   8 7       0
///  Interior │                   0              │    0    │
///  Free     │                 order            │    1    │
///  Large    │                 pages            │    2    │
///  Slab     │    used    │         0           │3 + class│
///  SlabTail │     0      │ 0 │ pages │    0    │3 + class│   pages: pages_before > 0
/// ```
///
/// The word is atomic because a free reads it without the lock. The block that is being freed stays allocated until the
/// free returns, so its kind, class and pages cannot change meanwhile; only `used` can. Only the holder of the lock
/// changes the word.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct PageDesc(AtomicU32);

impl PageDesc {
    const INTERIOR: u32 = 0;
    const FREE: u32 = 1;
    const LARGE: u32 = 2;
    /// The tag of a slab of class 0. The tags of the other classes follow.
    const SLAB: u8 = 3;

    /// The lowest bit of an order, and of a number of pages.
    const VALUE_SHIFT: u32 = 8;
    /// The lowest bit of `used`.
    const USED_SHIFT: u32 = 16;
    /// The bits of `pages_before`, which are those of the byte at which the page begins in its slab.
    const BYTE_IN_SLAB: u32 = 3 << PAGE_SHIFT;

    /// Returns whether an object of `class` begins at this byte of the page.
    #[inline(always)]
    pub(super) fn has_object(&self, class: Class, byte_in_page: usize) -> bool {
        let bits = self.0.load(Relaxed);
        let page_byte = (bits & Self::BYTE_IN_SLAB) as usize;
        bits as u8 == Self::SLAB + class.number() && class.begins(page_byte | byte_in_page)
    }

    /// Returns whether the page is the first one of an allocated block of `pages` pages.
    #[inline]
    pub(super) fn has_pages(&self, pages: usize) -> bool {
        // A block has at most 2²⁰ pages. A larger number, which fits into no descriptor, is in no descriptor.
        let bits = self.0.load(Relaxed);
        bits as u8 == Self::LARGE as u8 && (bits >> Self::VALUE_SHIFT) as usize == pages
    }

    /// Returns the use of the page.
    #[inline]
    pub(super) fn kind(&self) -> PageKind {
        let bits = self.0.load(Relaxed);
        let (value, tag) = (bits >> Self::VALUE_SHIFT, bits as u8);
        let pages_before = (bits & Self::BYTE_IN_SLAB) >> PAGE_SHIFT;
        match (tag.into(), Class::new(tag.wrapping_sub(Self::SLAB))) {
            (Self::FREE, _) => PageKind::Free { order: value as u8 },
            (Self::LARGE, _) => PageKind::Large { pages: value },
            (_, Some(class)) if pages_before == 0 => PageKind::Slab {
                class,
                used: (bits >> Self::USED_SHIFT) as u16,
            },
            (_, Some(class)) => PageKind::SlabTail {
                class,
                pages_before: pages_before as u8,
            },
            _ => PageKind::Interior,
        }
    }

    /// Sets the use of the page.
    #[inline]
    fn set(&self, kind: PageKind) {
        let slab = |class: Class| u32::from(Self::SLAB + class.number());
        let bits = match kind {
            PageKind::Interior => Self::INTERIOR,
            PageKind::Free { order } => u32::from(order) << Self::VALUE_SHIFT | Self::FREE,
            PageKind::Large { pages } => pages << Self::VALUE_SHIFT | Self::LARGE,
            PageKind::Slab { class, used } => u32::from(used) << Self::USED_SHIFT | slab(class),
            PageKind::SlabTail {
                class,
                pages_before,
            } => u32::from(pages_before) << PAGE_SHIFT | slab(class),
        };
        self.0.store(bits, Relaxed);
    }
}

/// A page or none, in four bytes: one more than the number of the page, or zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Link(pub(super) u32);

impl From<Option<Page>> for Link {
    #[inline]
    fn from(page: Option<Page>) -> Self {
        Self(page.map_or(0, |page| page.0.wrapping_add(1)))
    }
}

impl From<Link> for Option<Page> {
    #[inline]
    fn from(link: Link) -> Self {
        link.0.checked_sub(1).map(Page)
    }
}

/// The neighbours of a block in its list. Zeros are none.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Links {
    pub(super) prev: Link,
    pub(super) next: Link,
}

/// A doubly linked list of blocks, by their first pages.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct List {
    pub(super) first: Link,
    /// The number of blocks.
    pub(super) len: u32,
}

impl List {
    /// A list without blocks.
    pub(super) const EMPTY: Self = Self {
        first: Link(0),
        len: 0,
    };

    /// Returns the first block.
    #[inline]
    pub(super) fn first(&self) -> Option<Page> {
        self.first.into()
    }
}

/// The metadata of a region: three arrays with an element for each page, one after the other. The table has only the
/// address of the last array, so that the state of an engine is small.
///
/// ```text
/// words of bitmaps: 8 bytes a page │ links: 8 bytes a page │ descriptors: 4 bytes a page
///                                                          ╰─ descs
/// ```
///
/// # Invariants
///
/// `descs` points to `pages` page descriptors, which follow `pages` links, which follow `pages` words. Nobody else
/// accesses the three arrays for as long as this value exists, except that other CPUs may read the descriptors, which
/// are atomic.
pub(super) struct RegionTable {
    pages: usize,
    pub(super) descs: NonNull<PageDesc>,
}

// SAFETY: By the type invariant only this value gives access to its memory, except for reads of atomic descriptors.
unsafe impl Send for RegionTable {}

impl RegionTable {
    /// Returns the bytes of metadata of `pages` pages, a multiple of 8.
    pub(super) const fn bytes(pages: usize) -> usize {
        let page_bytes = size_of::<u64>() + size_of::<Links>() + size_of::<PageDesc>();
        (pages * page_bytes).next_multiple_of(8)
    }

    /// The metadata of a region that does not exist.
    // INVARIANT: There are no pages.
    const NONE: Self = Self {
        pages: 0,
        descs: NonNull::dangling(),
    };

    /// Places the metadata of `pages` pages in `memory`.
    ///
    /// # Safety
    ///
    /// `memory` points to `bytes(pages)` bytes, which are zero and aligned to 8, and which nobody else accesses as long
    /// as the result is used, except for readers of the descriptors.
    pub(super) unsafe fn new(memory: NonNull<u8>, pages: usize) -> Self {
        let words = memory.cast::<u64>();
        // SAFETY: `add` requires that the result is in the same allocation: the memory has 8 bytes for the word of each
        // page, by this function's contract.
        let links = unsafe { words.add(pages) }.cast::<Links>();
        // SAFETY: As for the words: the memory has room for the links after the words.
        let descs = unsafe { links.add(pages) }.cast();
        // INVARIANT: The memory has room for the three arrays. The words are aligned to 8, and the other arrays follow a
        // multiple of 8 bytes. Zeros are valid elements. Nobody else accesses them, by this function's contract.
        Self { pages, descs }
    }

    /// Returns the links of the pages.
    #[inline]
    fn links(&self) -> NonNull<Links> {
        // SAFETY: `sub` requires that the result is in the same allocation: by the type invariant the `pages` links lie
        // before the descriptors in the same memory.
        unsafe { self.descs.cast::<Links>().sub(self.pages) }
    }

    /// Returns the words of the pages.
    #[inline]
    fn words(&self) -> NonNull<u64> {
        // SAFETY: `sub` requires that the result is in the same allocation: by the type invariant the `pages` words lie
        // before the links in the same memory.
        unsafe { self.links().cast::<u64>().sub(self.pages) }
    }
}

/// The metadata of all pages: descriptors, links, and bitmaps. A bitmap is the word of a slab's first page, or lies in
/// bitmap memory.
///
/// The methods tolerate pages that do not exist, because a damaged link may name one, and the check must not panic.
/// The buddy system trusts the metadata, and overflow checks stop the kernel if it is damaged. Slabs and heap refuse a
/// request or a free where a damaged descriptor or bitmap is visible.
pub(super) struct PageMetadata {
    tables: [RegionTable; REGIONS_MAX],
    pub(super) bitmaps: Bitmaps,
}

impl PageMetadata {
    /// Returns the metadata of no pages.
    pub(super) const fn new() -> Self {
        Self {
            tables: [RegionTable::NONE; REGIONS_MAX],
            bitmaps: Bitmaps::new(),
        }
    }

    /// Adds a region's metadata, which is all zeros.
    pub(super) fn add(&mut self, region: usize, table: RegionTable) {
        self.tables[region] = table;
    }

    /// Returns the number of pages of a region.
    #[inline]
    pub(super) fn pages(&self, region: usize) -> usize {
        self.tables.get(region).map_or(0, |table| table.pages)
    }

    /// Returns the table of the region of a page, if there is such a page.
    #[inline]
    fn table(&self, page: Page) -> Option<&RegionTable> {
        let table = self.tables.get(page.region())?;
        (page.index() < table.pages).then_some(table)
    }

    /// Returns the descriptor of a page, if there is such a page.
    #[inline]
    pub(super) fn get(&self, page: Page) -> Option<&PageDesc> {
        let table = self.table(page)?;
        // SAFETY: `table` returned the region's table only if the index is below `pages`, so by the type
        // invariant the element exists. It is atomic, and only shared references to it exist.
        Some(unsafe { table.descs.add(page.index()).as_ref() })
    }

    /// Returns the use of a page. A page that does not exist is an interior one.
    #[inline]
    pub(super) fn kind(&self, page: Page) -> PageKind {
        self.get(page).map_or(PageKind::Interior, PageDesc::kind)
    }

    /// Sets the use of a page.
    #[inline]
    pub(super) fn set_kind(&mut self, page: Page, kind: PageKind) {
        if let Some(desc) = self.get(page) {
            desc.set(kind);
        }
    }

    /// Returns the word of a page, if there is such a page.
    #[inline]
    pub(super) fn word(&mut self, page: Page) -> Option<&mut u64> {
        let table = self.table(page)?;
        // SAFETY: `table` returned the region's table only if the index is below `pages`, so by the type
        // invariant the element exists, and nobody else accesses it. The result borrows `self` mutably.
        Some(unsafe { table.words().add(page.index()).as_mut() })
    }

    /// Returns the bitmap of the slab of `class` that begins at a page, or `None` if there is no such page or its word
    /// is damaged.
    #[inline]
    pub(super) fn bitmap(&mut self, page: Page, class: Class) -> Option<&mut [u64]> {
        match Size::of(class) {
            None => Some(slice::from_mut(self.word(page)?)),
            Some(size) => {
                let place = Place(*self.word(page)?);
                self.bitmaps.get(place, size)
            }
        }
    }

    /// Returns whether a new slab of `class` can have a bitmap.
    #[inline]
    pub(super) fn has_bitmap(&self, class: Class) -> bool {
        Size::of(class).is_none_or(|size| self.bitmaps.has(size))
    }

    /// Gives the slab of `class` that begins at a page a bitmap whose bits are clear. O(1).
    pub(super) fn allocate_bitmap(&mut self, page: Page, class: Class) -> Option<()> {
        let place = match Size::of(class) {
            None => Place::NONE,
            Some(size) => self.bitmaps.allocate(size)?,
        };
        *self.word(page)? = place.0;
        Some(())
    }

    /// Frees the bitmap of the slab of `class` that begins at a page. O(1).
    pub(super) fn free_bitmap(&mut self, page: Page, class: Class) {
        let Some(word) = self.word(page) else {
            return;
        };
        let place = Place(mem::take(word));
        if let Some(size) = Size::of(class) {
            self.bitmaps.free(place, size);
        }
    }

    /// Returns the neighbours of a block in its list, if there is such a page.
    #[inline]
    pub(super) fn links(&self, page: Page) -> Option<Links> {
        let table = self.table(page)?;
        // SAFETY: `table` returned the region's table only if the index is below `pages`, so by the type
        // invariant the element exists, and nobody else accesses it.
        Some(unsafe { table.links().add(page.index()).read() })
    }

    /// Changes the links of the page that a link names, and returns whether there is such a page.
    #[inline]
    pub(super) fn change_links(&mut self, link: Link, change: impl FnOnce(&mut Links)) -> bool {
        let Some(page) = Option::<Page>::from(link) else {
            return false;
        };
        let Some(table) = self.table(page) else {
            return false;
        };
        // SAFETY: `table` returned the region's table only if the index is below `pages`, so by the type
        // invariant the element exists, and nobody else accesses it. `self` is borrowed mutably.
        change(unsafe { table.links().add(page.index()).as_mut() });
        true
    }

    /// Puts a block first in a list. O(1).
    #[inline]
    pub(super) fn push(&mut self, list: &mut List, page: Page) {
        let (link, next) = (Link::from(Some(page)), list.first);
        self.change_links(link, |links| {
            *links = Links {
                prev: Link(0),
                next,
            }
        });
        self.change_links(next, |links| links.prev = link);
        list.first = link;
        list.len = list.len.wrapping_add(1);
    }

    /// Removes a block from the list that it is in. O(1).
    #[inline]
    pub(super) fn unlink(&mut self, list: &mut List, page: Page) {
        let Some(Links { prev, next }) = self.links(page) else {
            return;
        };
        self.change_links(Some(page).into(), |links| *links = Links::default());
        if !self.change_links(prev, |links| links.next = next) {
            list.first = next;
        }
        self.change_links(next, |links| links.prev = prev);
        list.len = list.len.wrapping_sub(1);
    }
}
