// SPDX-License-Identifier: GPL-2.0

//! Lists of blocks, by the links of their heads in the [`Frames`]: beside the pool, like all else.

use core::sync::atomic::{
    AtomicU32,
    Ordering::Relaxed, //
};

use super::frames::{
    Frame,
    Frames,
    Page, //
};

/// Neighbours in a list. Zeros are none.
///
/// As with a [`Frame`], only who has the lock changes them, and they are used like plain words.
#[derive(Debug, Default)]
pub(super) struct Links {
    prev: AtomicU32,
    next: AtomicU32,
}

impl Links {
    #[inline]
    fn prev(&self) -> Link {
        Link(self.prev.load(Relaxed))
    }

    #[inline]
    fn next(&self) -> Link {
        Link(self.next.load(Relaxed))
    }

    #[inline]
    fn set_prev(&self, prev: Link) {
        self.prev.store(prev.0, Relaxed);
    }

    #[inline]
    fn set_next(&self, next: Link) {
        self.next.store(next.0, Relaxed);
    }
}

/// A page or none, in four bytes: the number of the page and one, or zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Link(u32);

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

/// A list of blocks, by their heads.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct List {
    first: Link,
    /// Blocks in the list.
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

/// Changes lists, with the table of one region at hand: most neighbours are in the same one.
pub(super) struct Linker<'a> {
    frames: &'a Frames,
    region: usize,
    /// The frames of the region.
    pub(super) heads: &'static [Frame],
    /// The links of the region: as many, so that one comparison does for both.
    links: &'static [Links],
}

impl<'a> Linker<'a> {
    /// Takes the table of a region at hand.
    #[inline]
    pub(super) fn new(frames: &'a Frames, region: usize) -> Self {
        let (heads, links) = frames.of(region);
        Self {
            frames,
            region,
            heads,
            links,
        }
    }

    /// Changes the links of the page that a link names, and says whether it names one.
    #[inline(always)]
    fn at(&self, link: Link, change: impl Fn(&Links)) -> bool {
        // The number of the region's first page and one.
        let first = Page::new(self.region, 0).to_bits() as u32;
        let index = link.0.wrapping_sub(first) as usize;
        if let Some(links) = self.links.get(index) {
            change(links);
            return true;
        }
        if link == Link::default() {
            return false;
        }
        self.far(link).map(change).is_some()
    }

    /// Returns the links of a page of another region.
    #[cold]
    fn far(&self, link: Link) -> Option<&Links> {
        self.frames.links(Option::from(link)?)
    }

    /// Puts the block that begins with page `index` of the region first in a list.
    #[inline]
    pub(super) fn push(&self, list: &mut List, index: usize) {
        let link = Link::from(Some(Page::new(self.region, index)));
        let next = list.first;
        if let Some(links) = self.links.get(index) {
            links.set_prev(Link::default());
            links.set_next(next);
        }
        self.at(next, |next| next.set_prev(link));
        list.first = link;
        list.len = list.len.wrapping_add(1);
    }

    /// Takes the block that begins with page `index` of the region, which is in it, out of a list.
    #[inline]
    pub(super) fn unlink(&self, list: &mut List, index: usize) {
        let Some(links) = self.links.get(index) else {
            return;
        };
        let (prev, next) = (links.prev(), links.next());
        links.set_prev(Link::default());
        links.set_next(Link::default());
        if !self.at(prev, |before| before.set_next(next)) {
            list.first = next;
        }
        self.at(next, |behind| behind.set_prev(prev));
        list.len = list.len.wrapping_sub(1);
    }
}

impl Frames {
    /// Puts a block first in a list.
    #[inline]
    pub(super) fn push(&mut self, list: &mut List, page: Page) {
        Linker::new(self, page.region()).push(list, page.index());
    }

    /// Takes a block, which is in it, out of a list.
    #[inline]
    pub(super) fn unlink(&mut self, list: &mut List, page: Page) {
        Linker::new(self, page.region()).unlink(list, page.index());
    }

    /// Returns the block after `page` in its list.
    pub(super) fn next(&self, page: Page) -> Option<Page> {
        self.links(page)?.next().into()
    }

    /// Returns the block before `page` in its list.
    pub(super) fn prev(&self, page: Page) -> Option<Page> {
        self.links(page)?.prev().into()
    }

    /// Lends the links of a page, the one before and the one after, to be damaged.
    #[cfg(test)]
    pub(super) fn damage(&self, page: Page) -> (&AtomicU32, &AtomicU32) {
        let links = self.links(page).unwrap();
        (&links.prev, &links.next)
    }
}
