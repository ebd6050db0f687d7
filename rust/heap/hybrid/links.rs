// SPDX-License-Identifier: GPL-2.0

//! Lists of blocks, by the links of their heads in the [`Frames`]: beside the pool, like all else.

use super::frames::{
    Frames,
    Page, //
};

/// Neighbours in a list.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Links {
    prev: Link,
    next: Link,
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
    /// Returns the first block.
    #[inline]
    pub(super) fn first(&self) -> Option<Page> {
        self.first.into()
    }
}

/// Changes lists, with the links of one region at hand: most neighbours are in the same one.
///
/// # Invariants
///
/// `links` are those of `region`, which `frames` does not have meanwhile.
pub(super) struct Linker<'a> {
    frames: &'a mut Frames,
    region: usize,
    links: &'static mut [Links],
}

impl<'a> Linker<'a> {
    /// Takes the links of a region at hand.
    #[inline]
    pub(super) fn new(frames: &'a mut Frames, region: usize) -> Self {
        // INVARIANT: Taken here, and given back when this is dropped.
        let links = frames.lend_links(region);
        Self {
            frames,
            region,
            links,
        }
    }

    /// Returns the links of the page that a link names, if it names one.
    #[inline]
    fn at(&mut self, link: Link) -> Option<&mut Links> {
        // The number of the region's first page and one.
        let first = Page::new(self.region, 0).to_bits() as u32;
        let index = link.0.wrapping_sub(first) as usize;
        if index < self.links.len() {
            return self.links.get_mut(index);
        }
        match link {
            Link(0) => None,
            _ => self.far(link),
        }
    }

    /// As [`Linker::at`], in another region.
    #[cold]
    fn far(&mut self, link: Link) -> Option<&mut Links> {
        self.frames.links(Option::from(link)?)
    }

    /// Puts a block of the region first in a list.
    #[inline]
    pub(super) fn push(&mut self, list: &mut List, page: Page) {
        let (link, next) = (Link::from(Some(page)), list.first);
        if let Some(links) = self.links.get_mut(page.index()) {
            *links = Links {
                prev: Link::default(),
                next,
            };
        }
        if let Some(next) = self.at(next) {
            next.prev = link;
        }
        list.first = link;
        list.len = list.len.wrapping_add(1);
    }

    /// Takes a block of the region, which is in it, out of a list.
    #[inline]
    pub(super) fn unlink(&mut self, list: &mut List, page: Page) {
        let Some(links) = self.links.get_mut(page.index()) else {
            return;
        };
        let Links { prev, next } = core::mem::take(links);
        match self.at(prev) {
            Some(prev) => prev.next = next,
            None => list.first = next,
        }
        if let Some(next) = self.at(next) {
            next.prev = prev;
        }
        list.len = list.len.wrapping_sub(1);
    }
}

impl Drop for Linker<'_> {
    #[inline]
    fn drop(&mut self) {
        let links = core::mem::take(&mut self.links);
        self.frames.return_links(self.region, links);
    }
}

impl Frames {
    /// Puts a block first in a list.
    #[inline]
    pub(super) fn push(&mut self, list: &mut List, page: Page) {
        Linker::new(self, page.region()).push(list, page);
    }

    /// Takes a block, which is in it, out of a list.
    #[inline]
    pub(super) fn unlink(&mut self, list: &mut List, page: Page) {
        Linker::new(self, page.region()).unlink(list, page);
    }

    /// Returns the block after `page` in its list.
    pub(super) fn next(&self, page: Page) -> Option<Page> {
        self.peek(page).next.into()
    }

    /// Returns the block before `page` in its list.
    pub(super) fn prev(&self, page: Page) -> Option<Page> {
        self.peek(page).prev.into()
    }

    /// Lends the links of a page, the one before and the one after, to be damaged.
    #[cfg(test)]
    pub(super) fn damage(&mut self, page: Page) -> (&mut u32, &mut u32) {
        let links = self.links(page).unwrap();
        (&mut links.prev.0, &mut links.next.0)
    }
}
