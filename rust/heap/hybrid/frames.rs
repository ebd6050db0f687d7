// SPDX-License-Identifier: GPL-2.0

//! The frame table: one record for each page of the pool, outside of it.
//!
//! The pool is cut into blocks of whole pages without a gap. The first page of a block is its
//! head, whose frame says what the block is; the frames of the others say that they are not heads.
//! Whatever becomes of a block, its pages never have to be visited one by one.
//!
//! This is the page metadata of a modern kernel (`struct page`, `struct slab` in Linux), cut down
//! to what an allocator needs.

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
    /// Not a head, but a page of a block whose head is `head` pages before, if that is a slab;
    /// other blocks do not say.
    Tail { head: u8 },
    /// 2^`order` pages that the buddy system has.
    Free { order: u8 },
    /// Pages that were handed out as they are.
    Large { pages: u32 },
    /// A slab, of whose objects `used` are out.
    Slab { class: Class, used: u16 },
}

/// The record of a page.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub(super) kind: Kind,
    /// The neighbours in the list that the block is in.
    links: Links,
}

/// Neighbours in a list.
#[derive(Clone, Copy, Debug, Default)]
struct Links {
    prev: Link,
    next: Link,
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
    /// The frame of a page that is no head.
    pub(super) const TAIL: Self = Self {
        kind: Kind::Tail { head: 0 },
        links: Links {
            prev: Link(0),
            next: Link(0),
        },
    };
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
    frames: &'static mut [Frame],
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
        frames: &'static mut [Frame],
        bits: &'static mut [u64],
    ) {
        debug_assert!(bits.len() == frames.len() * BITMAP_WORDS);
        frames.fill(Frame::TAIL);
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

    /// Returns a page's frame to be changed.
    #[inline]
    fn get_mut(&mut self, page: Page) -> Option<&mut Frame> {
        let table = self.tables.get_mut(page.region())?.as_mut()?;
        table.frames.get_mut(page.index())
    }

    /// Returns what the block is of which this page is the head.
    #[inline]
    pub(super) fn kind(&self, page: Page) -> Kind {
        self.get(page)
            .map_or(Kind::Tail { head: 0 }, |frame| frame.kind)
    }

    /// Says what the block is of which this page is the head.
    #[inline]
    pub(super) fn set_kind(&mut self, page: Page, kind: Kind) {
        if let Some(frame) = self.get_mut(page) {
            frame.kind = kind;
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

    /// Puts a block first in a list.
    #[inline]
    pub(super) fn push(&mut self, list: &mut List, page: Page) {
        let next = list.first;
        if let Some(frame) = self.get_mut(page) {
            frame.links = Links {
                prev: Link::default(),
                next,
            };
        }
        if let Some(next) = Option::from(next).and_then(|next| self.get_mut(next)) {
            next.links.prev = Some(page).into();
        }
        list.first = Some(page).into();
        list.len += 1;
    }

    /// Takes a block, which is in it, out of a list.
    #[inline]
    pub(super) fn unlink(&mut self, list: &mut List, page: Page) {
        let Some(frame) = self.get_mut(page) else {
            return;
        };
        let Links { prev, next } = core::mem::take(&mut frame.links);
        match Option::from(prev).and_then(|prev| self.get_mut(prev)) {
            Some(prev) => prev.links.next = next,
            None => list.first = next,
        }
        if let Some(next) = Option::from(next).and_then(|next| self.get_mut(next)) {
            next.links.prev = prev;
        }
        list.len -= 1;
    }

    /// Returns the block after `page` in its list.
    pub(super) fn next(&self, page: Page) -> Option<Page> {
        self.get(page).and_then(|frame| frame.links.next.into())
    }

    /// Returns the block before `page` in its list.
    pub(super) fn prev(&self, page: Page) -> Option<Page> {
        self.get(page).and_then(|frame| frame.links.prev.into())
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

    /// Lends the links of a page, the one before and the one after, to be damaged.
    #[cfg(test)]
    pub(super) fn damage(&mut self, page: Page) -> (&mut u32, &mut u32) {
        let links = &mut self.get_mut(page).unwrap().links;
        (&mut links.prev.0, &mut links.next.0)
    }
}

impl List {
    /// Returns the first block.
    #[inline]
    pub(super) fn first(&self) -> Option<Page> {
        self.first.into()
    }
}
