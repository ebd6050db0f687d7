// SPDX-License-Identifier: GPL-2.0

//! The frame table: one record for each page of the pool, outside of it.
//!
//! The pool is cut into blocks of whole pages without a gap. The first page of a block is its
//! head, whose frame says what the block is; the frames of the others say that they are not heads.
//! Whatever becomes of a block, its pages never have to be visited one by one.
//!
//! This is the page metadata of a modern kernel (`struct page`, `struct slab` in Linux), cut down
//! to what an allocator needs.

use core::sync::atomic::{
    AtomicU64,
    Ordering::Relaxed, //
};

use super::list::Links;
use crate::{
    class::{
        Class,
        PAGE_BYTES,
        PAGE_SHIFT, //
    },
    region::{
        Offset,
        REGIONS_MAX, //
    },
};

/// log2 of the pages that a region can have.
pub(super) const REGION_PAGES_SHIFT: u32 = 20;

/// The pages that a region can have.
pub(super) const REGION_PAGES_MAX: usize = 1 << REGION_PAGES_SHIFT;

/// Words of a page's bitmap: a bit for each object of the smallest class.
pub(super) const BITMAP_WORDS: usize = PAGE_BYTES / 8 / 64;

/// A page: the number of its region and its index in that.
///
/// # Invariants
///
/// The index is below [`REGION_PAGES_MAX`], and the region's number below [`REGIONS_MAX`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Page(u32);

impl Page {
    /// Returns page `index` of a region.
    pub(super) const fn new(region: usize, index: usize) -> Self {
        debug_assert!(region < REGIONS_MAX && index < REGION_PAGES_MAX);
        Self(((region << REGION_PAGES_SHIFT) | index) as u32)
    }

    /// Returns the page that an offset is in.
    #[inline]
    pub(super) fn of(offset: Offset) -> Option<Self> {
        let (region, index) = (usize::from(offset.region()), offset.byte() >> PAGE_SHIFT);
        let in_range = region < REGIONS_MAX && index < REGION_PAGES_MAX as u64;
        // INVARIANT: Both were compared just above.
        in_range.then_some(Self(
            ((region << REGION_PAGES_SHIFT) | index as usize) as u32,
        ))
    }

    /// Returns the region's number.
    #[inline]
    pub(super) const fn region(self) -> usize {
        (self.0 >> REGION_PAGES_SHIFT) as usize
    }

    /// Returns the index in the region.
    #[inline]
    pub(super) const fn index(self) -> usize {
        self.0 as usize & (REGION_PAGES_MAX - 1)
    }

    /// Returns the page `pages` further on.
    #[inline]
    pub(super) const fn after(self, pages: usize) -> Self {
        Self::new(self.region(), self.index() + pages)
    }

    /// Returns the page `pages` before.
    #[inline]
    pub(super) const fn before(self, pages: usize) -> Self {
        Self::new(self.region(), self.index().saturating_sub(pages))
    }

    /// Returns the buddy of the block of 2^`order` pages that begins with this page. It may lie behind
    /// the region's last page.
    #[inline]
    pub(super) const fn buddy(self, order: u32) -> Self {
        // INVARIANT: One bit of the index was changed, below `REGION_PAGES_SHIFT`.
        Self(self.0 ^ 1 << order)
    }

    /// Returns the page as a number that is not 0.
    #[inline]
    pub(super) const fn to_bits(self) -> usize {
        self.0 as usize + 1
    }

    /// Returns the page of a number, or `None` for 0.
    #[inline]
    pub(super) fn from_bits(bits: usize) -> Option<Self> {
        (bits as u32).checked_sub(1).map(Self)
    }

    /// Returns the offset of byte `byte` from the page's first on.
    #[inline]
    pub(super) const fn offset(self, byte: usize) -> Offset {
        Offset::new(
            self.region() as u16,
            ((self.index() << PAGE_SHIFT) + byte) as u64,
        )
    }
}

/// What a block of pages is, in the frame of its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PageKind {
    /// Not a head.
    Interior,
    /// Not a head, but a page of the slab whose head is `head` pages before.
    SlabTail { class: Class, head: u8 },
    /// 2^`order` pages that the buddy system has.
    Free { order: u8 },
    /// Pages that were handed out as they are.
    Large { pages: u32 },
    /// A slab, of whose objects `used` are out.
    Slab { class: Class, used: u16 },
}

/// The record of a page. Zeros are that of a page that is no head.
///
/// It is an atomic, which is used like a plain word: only who has the lock changes a frame, but any
/// CPU may read what it says of a block that nobody else can free meanwhile.
///
/// From the lowest bits on, it has:
/// - 16 bits that say *what* it is: the code of the class of whose slab this is a page, or one of the
///   constants, which are no codes; of what is free with its order.
/// - 16 bits of a slab's *state*: how many of its pages are before this one, and in the first how many
///   objects are out.
/// - 32 bits that are the pages of what was handed out, or of a slab's page [`Class::phase`].
///
/// What is not there is 0.
#[derive(Debug, Default)]
pub(super) struct PageDesc(AtomicU64);

const _: () = assert!(size_of::<PageDesc>() == 8);

// The first code is behind all orders.
const _: () = assert!(PageDesc::FREE as usize + (REGION_PAGES_SHIFT as usize) < Class::STRIDE);

impl PageDesc {
    const STATE_SHIFT: u32 = 16;
    const WORD_SHIFT: u32 = 32;
    /// Where in the state of a slab's page the number of pages before it begins.
    const HEAD_SHIFT: u32 = 12;
    const INTERIOR: u16 = 0;
    const LARGE: u16 = 1;
    /// What is free of order 0; the other orders follow.
    const FREE: u16 = 2;

    /// Says whether a block of `pages` pages begins here.
    #[inline]
    pub(super) fn is_large(&self, pages: usize) -> bool {
        u32::try_from(pages).is_ok_and(|pages| self.load() == Self::bits(Self::LARGE, 0, pages))
    }

    /// Says whether an object of `class` begins at byte `byte` of the region, which is in this page.
    #[inline]
    pub(super) fn has_object(&self, class: Class, byte: usize) -> bool {
        let bits = self.load();
        Self::what_in(bits) == class.code() && class.begins(byte, bits)
    }

    /// Returns what the frame says.
    #[inline]
    pub(super) fn kind(&self) -> PageKind {
        let bits = self.load();
        let what = Self::what_in(bits);
        if let Some(class) = Class::of_code(what) {
            let state = (bits >> Self::STATE_SHIFT) as u16;
            return match (state >> Self::HEAD_SHIFT) as u8 {
                0 => PageKind::Slab { class, used: state },
                head => PageKind::SlabTail { class, head },
            };
        }
        match what {
            Self::INTERIOR => PageKind::Interior,
            Self::LARGE => PageKind::Large {
                pages: Self::word_in(bits),
            },
            free => PageKind::Free {
                order: free.wrapping_sub(Self::FREE) as u8,
            },
        }
    }

    /// Returns the upper half of the frame of page `index`.
    #[inline]
    fn word_of(index: usize, kind: PageKind) -> u32 {
        let phase = |class: Class, head| class.phase(index.saturating_sub(head) << PAGE_SHIFT);
        match kind {
            PageKind::Interior | PageKind::Free { .. } => 0,
            PageKind::SlabTail { class, head } => phase(class, usize::from(head)),
            PageKind::Large { pages } => pages,
            PageKind::Slab { class, .. } => phase(class, 0),
        }
    }

    #[inline]
    fn load(&self) -> u64 {
        self.0.load(Relaxed)
    }

    #[inline]
    fn store(&self, bits: u64) {
        self.0.store(bits, Relaxed);
    }

    /// Puts a frame together.
    #[inline]
    const fn bits(what: u16, state: u16, word: u32) -> u64 {
        (word as u64) << Self::WORD_SHIFT | (state as u64) << Self::STATE_SHIFT | what as u64
    }

    /// Returns what it is: a code, or one of the constants.
    #[inline]
    const fn what_in(bits: u64) -> u16 {
        bits as u16
    }

    /// Returns the upper half.
    #[inline]
    const fn word_in(bits: u64) -> u32 {
        (bits >> Self::WORD_SHIFT) as u32
    }

    /// Makes what is free no head.
    #[inline]
    pub(super) fn set_tail(&self) {
        self.store(Self::bits(Self::INTERIOR, 0, 0));
    }

    /// Makes the frame of page `index` say something else.
    #[inline]
    fn set(&self, index: usize, kind: PageKind) {
        let word = Self::word_of(index, kind);
        let (what, state) = match kind {
            PageKind::Interior => (Self::INTERIOR, 0),
            PageKind::SlabTail { class, head } => {
                (class.code(), u16::from(head) << Self::HEAD_SHIFT)
            }
            PageKind::Free { order } => (Self::FREE + u16::from(order), 0),
            PageKind::Large { .. } => (Self::LARGE, 0),
            PageKind::Slab { class, used } => (class.code(), used),
        };
        self.store(Self::bits(what, state, word));
    }
}

/// The records of one region's pages.
pub(super) struct RegionMeta {
    pub(super) frames: &'static [PageDesc],
    /// Of each page, the neighbours in the list that the block is in of which it is the head.
    pub(super) links: &'static [Links],
    /// Of each page, [`BITMAP_WORDS`]: a slab's are used together.
    pub(super) bits: &'static mut [u64],
}

impl RegionMeta {
    /// The bytes that a page takes of it.
    pub(super) const PAGE_BYTES: usize =
        size_of::<PageDesc>() + size_of::<Links>() + BITMAP_WORDS * size_of::<u64>();
}

impl RegionMeta {
    /// The table of a region that is not there.
    const fn none() -> Self {
        Self {
            frames: &[],
            links: &[],
            bits: &mut [],
        }
    }
}

/// The frames of all pages.
pub(super) struct PageDescs {
    tables: [RegionMeta; REGIONS_MAX],
}

impl PageDescs {
    /// Returns the frames of no pages.
    pub(super) const fn new() -> Self {
        Self {
            tables: [const { RegionMeta::none() }; REGIONS_MAX],
        }
    }

    /// Adds a region's table, which is as new.
    pub(super) fn add(&mut self, region: usize, table: RegionMeta) {
        debug_assert!(table.links.len() == table.frames.len());
        debug_assert!(table.bits.len() == table.frames.len() * BITMAP_WORDS);
        self.tables[region] = table;
    }

    /// Returns a region's table. A link that was overwritten may name a region that cannot be.
    #[inline]
    fn table(&self, region: usize) -> Option<&RegionMeta> {
        self.tables.get(region)
    }

    /// Returns how many pages a region has.
    #[inline]
    pub(super) fn pages(&self, region: usize) -> usize {
        self.table(region).map_or(0, |table| table.frames.len())
    }

    /// Returns a page's frame, if there is such a page.
    #[inline]
    pub(super) fn get(&self, page: Page) -> Option<&PageDesc> {
        self.table(page.region())?.frames.get(page.index())
    }

    /// Returns what the block is of which this page is the head.
    #[inline]
    pub(super) fn kind(&self, page: Page) -> PageKind {
        self.get(page).map_or(PageKind::Interior, PageDesc::kind)
    }

    /// Says what the block is of which this page is the head.
    #[inline]
    pub(super) fn set_kind(&mut self, page: Page, kind: PageKind) {
        if let Some(frame) = self.get(page) {
            frame.set(page.index(), kind);
        }
    }

    /// Says whether a page's frame is in all what it is said to be: of a slab's page, also in what
    /// frees are compared with.
    pub(super) fn is(&self, page: Page, kind: PageKind) -> bool {
        let word = PageDesc::word_of(page.index(), kind);
        self.get(page)
            .is_some_and(|frame| frame.kind() == kind && PageDesc::word_in(frame.load()) == word)
    }

    /// Says how many objects are out of the slab that begins at `page`.
    #[inline]
    pub(super) fn set_used(&mut self, page: Page, used: u16) {
        if let Some(frame) = self.get(page) {
            let others = frame.load() & !PageDesc::bits(0, u16::MAX, 0);
            frame.store(others | PageDesc::bits(0, used, 0));
        }
    }

    /// Returns the first word of the bitmap of the slab that begins at `page`, and the rest.
    #[inline]
    pub(super) fn bits(&mut self, page: Page, words: usize) -> &mut [u64] {
        let start = page.index() * BITMAP_WORDS;
        let table = self.tables.get_mut(page.region());
        let bits = table.and_then(|table| table.bits.get_mut(start..start + words));
        bits.unwrap_or_default()
    }

    /// Returns a page's links, if there is such a page.
    #[inline]
    pub(super) fn links(&self, page: Page) -> Option<&Links> {
        self.table(page.region())?.links.get(page.index())
    }

    /// Says whether a page, which is no head, is in a free block.
    ///
    /// Tries every head that such a block could have: for refusals, not for the fast path.
    #[cold]
    pub(super) fn is_free(&self, page: Page) -> bool {
        (0..=REGION_PAGES_SHIFT).any(|order| {
            let head = Page::new(page.region(), page.index() >> order << order);
            self.kind(head) == (PageKind::Free { order: order as u8 })
        })
    }

    /// Turns bits of the upper half of a page's frame.
    #[cfg(test)]
    pub(super) fn damage_word(&mut self, page: Page, wrong: u32) {
        let frame = self.get(page).unwrap();
        frame.store(frame.load() ^ PageDesc::bits(0, 0, wrong));
    }
}
