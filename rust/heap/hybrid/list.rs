// SPDX-License-Identifier: GPL-2.0

//! Lists of blocks, by the links of their heads in the [`PageDescs`]: beside the pool, like all else.

use core::sync::atomic::{
    AtomicU32,
    Ordering::Relaxed, //
};

use super::page::{
    Page, //
    PageDescs,
};

/// Neighbours in a list. Zeros are none.
///
/// As with a [`PageDesc`], only who has the lock changes them, and they are used like plain words.
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

impl PageDescs {
    /// Changes the links of the page that a link names, and says whether the link names one.
    #[inline]
    fn with_links(&self, link: Link, change: impl FnOnce(&Links)) -> bool {
        let links = Option::from(link).and_then(|page| self.links(page));
        links.map(change).is_some()
    }

    /// Puts a block first in a list. O(1).
    #[inline]
    pub(super) fn push(&mut self, list: &mut List, page: Page) {
        let link = Link::from(Some(page));
        let next = list.first;
        self.with_links(link, |links| {
            links.set_prev(Link::default());
            links.set_next(next);
        });
        self.with_links(next, |next| next.set_prev(link));
        list.first = link;
        list.len = list.len.wrapping_add(1);
    }

    /// Removes a block from a list that it is in. O(1).
    #[inline]
    pub(super) fn unlink(&mut self, list: &mut List, page: Page) {
        let Some(links) = self.links(page) else {
            return;
        };
        let (prev, next) = (links.prev(), links.next());
        links.set_prev(Link::default());
        links.set_next(Link::default());
        if !self.with_links(prev, |before| before.set_next(next)) {
            list.first = next;
        }
        self.with_links(next, |behind| behind.set_prev(prev));
        list.len = list.len.wrapping_sub(1);
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
