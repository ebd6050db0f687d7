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
    AtomicU32,
    AtomicU64,
    Ordering::Relaxed, //
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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

    /// Returns the page as a number that is not 0.
    pub(super) const fn to_bits(self) -> usize {
        self.0 as usize + 1
    }

    /// Returns the page of a number, or `None` for 0.
    pub(super) fn from_bits(bits: usize) -> Option<Self> {
        Link(bits as u32).into()
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
pub(super) enum Kind {
    /// Not a head.
    Tail,
    /// Not a head, but a page of the slab whose head is `head` pages before.
    Inner { class: Class, head: u8 },
    /// 2^`order` pages that the buddy system has.
    Free { order: u8 },
    /// Pages that were handed out as they are.
    Large { pages: u32 },
    /// A slab, of whose objects `used` are out.
    Slab { class: Class, used: u16 },
}

/// A [`Kind`] as one word, so that a frame can be read without the lock.
///
/// From the lowest byte on: what it is, class or order, pages to the head, nothing, and in the
/// upper half pages or objects. A tail is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag(u64);

impl Tag {
    const FREE: u64 = 1;
    const LARGE: u64 = 2;
    const SLAB: u64 = 3;

    /// Says whether a block of `pages` pages begins here.
    #[inline]
    pub(super) const fn is_large(self, pages: usize) -> bool {
        self.0 == Self::LARGE | (pages as u64) << 32
    }

    /// Says whether an object of `class` begins at byte `byte` of this page.
    #[inline]
    pub(super) const fn has_object(self, class: Class, byte: usize) -> bool {
        let head = (self.0 >> 16) as u8 as usize;
        self.0 as u16 == (Self::SLAB | (class.number() as u64) << 8) as u16
            && class.object((head << PAGE_SHIFT) + byte).is_some()
    }
}

impl From<Kind> for Tag {
    #[inline]
    fn from(kind: Kind) -> Self {
        Self(match kind {
            Kind::Tail => 0,
            Kind::Inner { class, head } => {
                Self::SLAB | u64::from(class.number()) << 8 | u64::from(head) << 16
            }
            Kind::Free { order } => Self::FREE | u64::from(order) << 8,
            Kind::Large { pages } => Self::LARGE | u64::from(pages) << 32,
            Kind::Slab { class, used } => {
                Self::SLAB | u64::from(class.number()) << 8 | u64::from(used) << 32
            }
        })
    }
}

impl From<Tag> for Kind {
    #[inline]
    fn from(Tag(bits): Tag) -> Self {
        let (second, head, number) = ((bits >> 8) as u8, (bits >> 16) as u8, bits >> 32);
        match (bits & 0xff, Class::new(second), head) {
            (Tag::FREE, ..) => Self::Free { order: second },
            (Tag::LARGE, ..) => Self::Large {
                pages: number as u32,
            },
            (Tag::SLAB, Some(class), 0) => Self::Slab {
                class,
                used: number as u16,
            },
            (Tag::SLAB, Some(class), head) => Self::Inner { class, head },
            _ => Self::Tail,
        }
    }
}

/// The record of a page. Zeros are that of a page that is no head.
///
/// It is made of atomics, which are used like plain words: only who has the lock changes a frame,
/// but any CPU may read what it says of a block that nobody else can free meanwhile.
#[derive(Debug, Default)]
pub(super) struct Frame {
    tag: AtomicU64,
    /// The neighbours in the list that the block is in.
    prev: AtomicU32,
    next: AtomicU32,
}

/// A page or none, in four bytes: the number of the page and one, or zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Link(u32);

impl From<Option<Page>> for Link {
    #[inline]
    fn from(page: Option<Page>) -> Self {
        Self(page.map_or(0, |page| page.0 + 1))
    }
}

impl From<Link> for Option<Page> {
    #[inline]
    fn from(link: Link) -> Self {
        link.0.checked_sub(1).map(Page)
    }
}

const _: () = assert!(size_of::<Frame>() == 16);

impl Frame {
    /// Returns what the frame says.
    #[inline]
    pub(super) fn tag(&self) -> Tag {
        Tag(self.tag.load(Relaxed))
    }

    #[inline]
    fn prev(&self) -> Link {
        Link(self.prev.load(Relaxed))
    }

    #[inline]
    fn next(&self) -> Link {
        Link(self.next.load(Relaxed))
    }
}

/// A list of blocks, by their heads.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct List {
    first: Link,
    /// Blocks in the list.
    pub(super) len: u32,
}

/// One region's frames, and its bitmaps.
struct Table {
    frames: &'static [Frame],
    bits: &'static mut [u64],
}

/// The frames of all pages.
pub(super) struct Frames {
    tables: [Option<Table>; REGIONS_MAX],
}

impl Frames {
    /// Returns the frames of no pages.
    pub(super) const fn new() -> Self {
        Self {
            tables: [const { None }; REGIONS_MAX],
        }
    }

    /// Adds a region's frames, and [`BITMAP_WORDS`] for each of them.
    pub(super) fn add(
        &mut self,
        region: usize,
        frames: &'static [Frame],
        bits: &'static mut [u64],
    ) {
        debug_assert!(bits.len() == frames.len() * BITMAP_WORDS);
        self.tables[region] = Some(Table { frames, bits });
    }

    /// Returns a region's table. A link that was overwritten may name a region that cannot be.
    #[inline]
    fn table(&self, region: usize) -> Option<&Table> {
        self.tables.get(region)?.as_ref()
    }

    /// Returns how many pages a region has.
    #[inline]
    pub(super) fn pages(&self, region: usize) -> usize {
        self.table(region).map_or(0, |table| table.frames.len())
    }

    /// Returns a page's frame, if there is such a page.
    #[inline]
    pub(super) fn get(&self, page: Page) -> Option<&Frame> {
        self.table(page.region())?.frames.get(page.index())
    }

    /// Returns what the block is of which this page is the head.
    #[inline]
    pub(super) fn kind(&self, page: Page) -> Kind {
        self.get(page)
            .map_or(Kind::Tail, |frame| frame.tag().into())
    }

    /// Says what the block is of which this page is the head.
    #[inline]
    pub(super) fn set_kind(&mut self, page: Page, kind: Kind) {
        if let Some(frame) = self.get(page) {
            frame.tag.store(Tag::from(kind).0, Relaxed);
        }
    }

    /// Returns the first word of the bitmap of the slab that begins at `page`, and the rest.
    #[inline]
    pub(super) fn bits(&mut self, page: Page, words: usize) -> &mut [u64] {
        let start = page.index() * BITMAP_WORDS;
        match self.tables.get_mut(page.region()) {
            Some(Some(table)) => table.bits.get_mut(start..start + words).unwrap_or_default(),
            _ => &mut [],
        }
    }

    /// Returns the frame that a link names, if it names one.
    #[inline]
    fn linked(&self, link: Link) -> Option<&Frame> {
        self.get(Option::from(link)?)
    }

    /// Puts a block first in a list.
    #[inline]
    pub(super) fn push(&mut self, list: &mut List, page: Page) {
        let next = list.first;
        let link = Link::from(Some(page));
        if let Some(frame) = self.get(page) {
            frame.prev.store(0, Relaxed);
            frame.next.store(next.0, Relaxed);
        }
        if let Some(next) = self.linked(next) {
            next.prev.store(link.0, Relaxed);
        }
        list.first = link;
        list.len += 1;
    }

    /// Takes a block, which is in it, out of a list.
    #[inline]
    pub(super) fn unlink(&mut self, list: &mut List, page: Page) {
        let Some(frame) = self.get(page) else {
            return;
        };
        let (prev, next) = (frame.prev(), frame.next());
        frame.prev.store(0, Relaxed);
        frame.next.store(0, Relaxed);
        match self.linked(prev) {
            Some(prev) => prev.next.store(next.0, Relaxed),
            None => list.first = next,
        }
        if let Some(next) = self.linked(next) {
            next.prev.store(prev.0, Relaxed);
        }
        list.len -= 1;
    }

    /// Returns the block after `page` in its list.
    pub(super) fn next(&self, page: Page) -> Option<Page> {
        self.get(page).and_then(|frame| frame.next().into())
    }

    /// Returns the block before `page` in its list.
    pub(super) fn prev(&self, page: Page) -> Option<Page> {
        self.get(page).and_then(|frame| frame.prev().into())
    }

    /// Says whether a page, which is no head, is in a free block.
    ///
    /// Tries every head that such a block could have: for refusals, not for the fast path.
    #[cold]
    pub(super) fn is_free(&self, page: Page) -> bool {
        (0..=REGION_PAGES_SHIFT).any(|order| {
            let head = Page::new(page.region(), page.index() >> order << order);
            self.kind(head) == (Kind::Free { order: order as u8 })
        })
    }

    /// Sets the links of a page, the one before and the one after, where they are given.
    #[cfg(test)]
    pub(super) fn damage(&mut self, page: Page, prev: Option<u32>, next: Option<u32>) {
        let frame = self.get(page).unwrap();
        prev.inspect(|prev| frame.prev.store(*prev, Relaxed));
        next.inspect(|next| frame.next.store(*next, Relaxed));
    }
}

impl List {
    /// Returns the first block.
    #[inline]
    pub(super) fn first(&self) -> Option<Page> {
        self.first.into()
    }
}
