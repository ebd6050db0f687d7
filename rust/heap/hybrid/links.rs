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

impl Frames {
    /// Returns the links of the page that a link names, if it names one.
    #[inline]
    fn linked(&mut self, link: Link) -> Option<&mut Links> {
        self.links(Option::from(link)?)
    }

    /// Puts a block first in a list.
    #[inline]
    pub(super) fn push(&mut self, list: &mut List, page: Page) {
        let (link, next) = (Link::from(Some(page)), list.first);
        if let Some(links) = self.links(page) {
            *links = Links {
                prev: Link::default(),
                next,
            };
        }
        if let Some(next) = self.linked(next) {
            next.prev = link;
        }
        list.first = link;
        list.len += 1;
    }

    /// Takes a block, which is in it, out of a list.
    #[inline]
    pub(super) fn unlink(&mut self, list: &mut List, page: Page) {
        let Some(links) = self.links(page) else {
            return;
        };
        let Links { prev, next } = core::mem::take(links);
        match self.linked(prev) {
            Some(prev) => prev.next = next,
            None => list.first = next,
        }
        if let Some(next) = self.linked(next) {
            next.prev = prev;
        }
        list.len -= 1;
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
