// SPDX-License-Identifier: GPL-2.0

//! Doubly linked lists of blocks, by the links of their first pages in [`PageDescs`].

use super::page::{
    Link,
    Links,
    Page, //
    PageDescs,
};

/// A list of blocks, by their first pages.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct List {
    first: Link,
    /// Blocks in the list.
    pub(super) len: u32,
}

impl List {
    /// A list without blocks.
    pub(super) const EMPTY: Self = Self {
        first: Link::NONE,
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
}
