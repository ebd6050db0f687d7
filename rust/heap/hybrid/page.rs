// SPDX-License-Identifier: GPL-2.0

//! Page descriptors: the metadata of each page of the pool, outside of the pool.
//!
//! The pool is cut into blocks of whole pages without a gap. The descriptor of a block's first page,
//! its head, says what the block is. The descriptors of the other pages say that they are interior
//! pages, and no operation ever visits all pages of a block.
//!
//! ```text
//! page        0         1         2        3        4          5        6
//! descriptor │Large 3  │Interior │Interior│Free 0  │Slab 3072 │SlabTail│SlabTail│
//! ```
//!
//! They are cut down from `struct page` and `struct slab` of Linux to what an allocator needs.

use core::{
    alloc::Layout,
    sync::atomic::{
        AtomicU32,
        AtomicU64,
        Ordering::Relaxed, //
    },
};

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

/// Returns the pages of a block of whole pages for a layout.
#[inline]
pub(super) const fn pages_of(layout: &Layout) -> usize {
    // The size of a layout is at most `isize::MAX`.
    layout.size().wrapping_add(PAGE_BYTES - 1) / PAGE_BYTES
}

/// The use of a page, as its descriptor says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PageKind {
    /// A page in a block of whole pages, live or free, that is not the first.
    Interior,
    /// A page of a slab that is not the first. The first one is `head` pages before.
    SlabTail { class: Class, head: u8 },
    /// The first of 2^`order` free pages.
    Free { order: u8 },
    /// The first of the `pages` pages of a live block.
    Large { pages: u32 },
    /// The first page of a slab, with `used` live objects.
    Slab { class: Class, used: u16 },
}

/// The descriptor of a page. Zero is [`PageKind::Interior`].
///
/// ```text
///             63        32 31      16 15        0
///  Interior  │     0     │     0    │     0     │
///  Large     │   pages   │     0    │     1     │
///  Free      │     0     │     0    │ 2 + order │
///  Slab      │   phase   │   used   │ class code│   codes are multiples of 32, from 32 on
///  SlabTail  │   phase   │head << 12│ class code│   phase: Class::phase, by which a free is checked
/// ```
///
/// The word is atomic, and used like a plain one: only the holder of the lock changes it, but any CPU
/// may read what it says of a block that nobody else can free meanwhile.
#[derive(Debug, Default)]
pub(super) struct PageDesc(AtomicU64);

const _: () = assert!(size_of::<PageDesc>() == 8);

// The codes of classes are larger than those of all orders.
const _: () = assert!(PageDesc::FREE as usize + (REGION_PAGES_SHIFT as usize) < Class::STRIDE);

impl PageDesc {
    const STATE_SHIFT: u32 = 16;
    const PAYLOAD_SHIFT: u32 = 32;
    /// The lowest bit of `head` within the 16 bits of the state.
    const HEAD_SHIFT: u32 = 12;
    const INTERIOR: u16 = 0;
    const LARGE: u16 = 1;
    /// The tag of a free block of order 0. The tags of the other orders follow.
    const FREE: u16 = 2;

    /// Says whether the page is the first of a live block of `pages` pages.
    #[inline]
    pub(super) fn is_large(&self, pages: usize) -> bool {
        u32::try_from(pages).is_ok_and(|pages| self.load() == Self::bits(Self::LARGE, 0, pages))
    }

    /// Says whether an object of `class` begins at byte `byte` of the region, which is in this page.
    #[inline]
    pub(super) fn has_object(&self, class: Class, byte: usize) -> bool {
        let bits = self.load();
        Self::tag_in(bits) == class.code() && class.begins(byte, bits)
    }

    /// Returns the use of the page.
    #[inline]
    pub(super) fn kind(&self) -> PageKind {
        let bits = self.load();
        let tag = Self::tag_in(bits);
        if let Some(class) = Class::of_code(tag) {
            let state = (bits >> Self::STATE_SHIFT) as u16;
            return match (state >> Self::HEAD_SHIFT) as u8 {
                0 => PageKind::Slab { class, used: state },
                head => PageKind::SlabTail { class, head },
            };
        }
        match tag {
            Self::INTERIOR => PageKind::Interior,
            Self::LARGE => PageKind::Large {
                pages: Self::payload_in(bits),
            },
            free => PageKind::Free {
                order: free.wrapping_sub(Self::FREE) as u8,
            },
        }
    }

    /// Returns the upper half of the descriptor of page `index`.
    #[inline]
    fn payload_of(index: usize, kind: PageKind) -> u32 {
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

    /// Returns a descriptor's word.
    #[inline]
    const fn bits(tag: u16, state: u16, word: u32) -> u64 {
        (word as u64) << Self::PAYLOAD_SHIFT | (state as u64) << Self::STATE_SHIFT | tag as u64
    }

    /// Returns the tag: the code of a class, or one of the constants.
    #[inline]
    const fn tag_in(bits: u64) -> u16 {
        bits as u16
    }

    /// Returns the upper half.
    #[inline]
    const fn payload_in(bits: u64) -> u32 {
        (bits >> Self::PAYLOAD_SHIFT) as u32
    }

    /// Makes the page an interior one.
    #[inline]
    pub(super) fn set_interior(&self) {
        self.store(Self::bits(Self::INTERIOR, 0, 0));
    }

    /// Sets the use of page `index`, whose descriptor this is.
    #[inline]
    fn set(&self, index: usize, kind: PageKind) {
        let word = Self::payload_of(index, kind);
        let (tag, state) = match kind {
            PageKind::Interior => (Self::INTERIOR, 0),
            PageKind::SlabTail { class, head } => {
                (class.code(), u16::from(head) << Self::HEAD_SHIFT)
            }
            PageKind::Free { order } => (Self::FREE + u16::from(order), 0),
            PageKind::Large { .. } => (Self::LARGE, 0),
            PageKind::Slab { class, used } => (class.code(), used),
        };
        self.store(Self::bits(tag, state, word));
    }
}

/// The neighbours of a block in its list. Zeros are none.
///
/// As with a [`PageDesc`], only the holder of the lock changes them, and they are used like plain words.
#[derive(Debug, Default)]
pub(super) struct Links {
    prev: AtomicU32,
    next: AtomicU32,
}

impl Links {
    #[inline]
    pub(super) fn prev(&self) -> Link {
        Link(self.prev.load(Relaxed))
    }

    #[inline]
    pub(super) fn next(&self) -> Link {
        Link(self.next.load(Relaxed))
    }

    #[inline]
    pub(super) fn set_prev(&self, prev: Link) {
        self.prev.store(prev.0, Relaxed);
    }

    #[inline]
    pub(super) fn set_next(&self, next: Link) {
        self.next.store(next.0, Relaxed);
    }
}

/// A page or none, in four bytes: one more than the number of the page, or zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Link(u32);

impl Link {
    /// No page.
    pub(super) const NONE: Self = Self(0);
}

impl From<Option<Page>> for Link {
    #[inline]
    fn from(page: Option<Page>) -> Self {
        Self(page.map_or(0, |page| page.to_bits() as u32))
    }
}

impl From<Link> for Option<Page> {
    #[inline]
    fn from(link: Link) -> Self {
        Page::from_bits(link.0 as usize)
    }
}

/// The metadata of one region's pages.
pub(super) struct RegionMeta {
    pub(super) descs: &'static [PageDesc],
    /// For each page that is the first of a block, the neighbours of that block in its list.
    pub(super) links: &'static [Links],
    /// [`BITMAP_WORDS`] for each page. A slab's bitmap begins with those of its first page.
    pub(super) bits: &'static mut [u64],
}

impl RegionMeta {
    /// The bytes of metadata for a page.
    pub(super) const PAGE_BYTES: usize =
        size_of::<PageDesc>() + size_of::<Links>() + BITMAP_WORDS * size_of::<u64>();

    /// The metadata of a region that does not exist.
    const fn none() -> Self {
        Self {
            descs: &[],
            links: &[],
            bits: &mut [],
        }
    }
}

/// The descriptors of all pages, and their links and bitmaps.
pub(super) struct PageDescs {
    regions: [RegionMeta; REGIONS_MAX],
}

impl PageDescs {
    /// Returns the descriptors of no pages.
    pub(super) const fn new() -> Self {
        Self {
            regions: [const { RegionMeta::none() }; REGIONS_MAX],
        }
    }

    /// Adds a region's metadata, which is all zeros.
    pub(super) fn add(&mut self, region: usize, meta: RegionMeta) {
        debug_assert!(meta.links.len() == meta.descs.len());
        debug_assert!(meta.bits.len() == meta.descs.len() * BITMAP_WORDS);
        self.regions[region] = meta;
    }

    /// Returns a region's metadata. A damaged link may name a region that does not exist.
    #[inline]
    fn region(&self, region: usize) -> Option<&RegionMeta> {
        self.regions.get(region)
    }

    /// Returns how many pages a region has.
    #[inline]
    pub(super) fn pages(&self, region: usize) -> usize {
        self.region(region).map_or(0, |meta| meta.descs.len())
    }

    /// Returns a page's descriptor, if there is such a page.
    #[inline]
    pub(super) fn get(&self, page: Page) -> Option<&PageDesc> {
        self.region(page.region())?.descs.get(page.index())
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
            desc.set(page.index(), kind);
        }
    }

    /// Says whether a page's descriptor is exactly that of `kind`, the upper half included.
    pub(super) fn is(&self, page: Page, kind: PageKind) -> bool {
        let word = PageDesc::payload_of(page.index(), kind);
        self.get(page)
            .is_some_and(|desc| desc.kind() == kind && PageDesc::payload_in(desc.load()) == word)
    }

    /// Sets the number of live objects of the slab that begins at `page`.
    #[inline]
    pub(super) fn set_used(&mut self, page: Page, used: u16) {
        if let Some(desc) = self.get(page) {
            let others = desc.load() & !PageDesc::bits(0, u16::MAX, 0);
            desc.store(others | PageDesc::bits(0, used, 0));
        }
    }

    /// Returns the first `words` words of the bitmap of the slab that begins at `page`.
    #[inline]
    pub(super) fn bits(&mut self, page: Page, words: usize) -> &mut [u64] {
        let start = page.index() * BITMAP_WORDS;
        let meta = self.regions.get_mut(page.region());
        let bits = meta.and_then(|meta| meta.bits.get_mut(start..start + words));
        bits.unwrap_or_default()
    }

    /// Returns a page's links, if there is such a page.
    #[inline]
    pub(super) fn links(&self, page: Page) -> Option<&Links> {
        self.region(page.region())?.links.get(page.index())
    }

    /// Says whether an interior page is in a free block.
    ///
    /// O(log n), which is for frees that are refused: tries every first page that such a block could
    /// have.
    #[cold]
    pub(super) fn is_free(&self, page: Page) -> bool {
        (0..=REGION_PAGES_SHIFT).any(|order| {
            let head = Page::new(page.region(), page.index() >> order << order);
            self.kind(head) == (PageKind::Free { order: order as u8 })
        })
    }

    /// Lends the links of a page, the one before and the one after, to be damaged.
    #[cfg(test)]
    pub(super) fn damage(&self, page: Page) -> (&AtomicU32, &AtomicU32) {
        let links = self.links(page).unwrap();
        (&links.prev, &links.next)
    }

    /// Flips bits of the upper half of a page's descriptor.
    #[cfg(test)]
    pub(super) fn damage_word(&mut self, page: Page, wrong: u32) {
        let desc = self.get(page).unwrap();
        desc.store(desc.load() ^ PageDesc::bits(0, 0, wrong));
    }
}
