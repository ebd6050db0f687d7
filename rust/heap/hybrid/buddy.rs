// SPDX-License-Identifier: GPL-2.0

//! The buddy system: free pages in blocks of 2⁰ to 2²⁰ pages.
//!
//! ```text
//! order 3  │ 0               │            allocate 1 page: a block of 8 is split three times
//! order 2  │ 0       │ 4     │            free it: it coalesces with its buddies three times
//! order 1  │ 0   │ 2 │       │
//! order 0  │ 0 │ 1 │                      the buddy of block b of order n is b ^ 2ⁿ
//! ```
//!
//! This is Knuth's buddy system (The Art of Computer Programming 1, 2.5), as Linux's page allocator
//! has it: the page descriptor of the buddy says in O(1) whether it is free, and a bitmap of the orders
//! that have free blocks finds the smallest one that is large enough. Two things differ. A block is cut
//! to whole pages, and the rest is free at once (as by Linux's `alloc_pages_exact`). And buddies are
//! told by their place in the region, not by their address, so that what fits does not depend on where
//! the pool lies.

use super::{
    list::List,
    page::{
        Page,
        PageDescs,
        PageKind,
        REGION_PAGES_SHIFT, //
    },
};

/// The number of orders: blocks of 2⁰ to 2²⁰ pages.
pub(super) const ORDERS: usize = REGION_PAGES_SHIFT as usize + 1;

/// The work that an operation did in the buddy system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Work {
    /// Blocks that were split into halves.
    pub(super) splits: u16,
    /// Pairs of buddies that were coalesced.
    pub(super) merges: u16,
}

/// From which end of a larger block pages are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// From the beginning: a block that may grow has free pages behind it.
    Low,
    /// From the end: slabs, which never grow, stay away from blocks that may.
    High,
}

/// The free blocks, by order.
///
/// # Invariants
///
/// - A block is in the list of its order if and only if its page descriptor says that it is free.
/// - No two buddies are both free.
/// - Bit `n` of `orders` is set if and only if list `n` has blocks.
/// - `free_pages` is the number of pages of all blocks.
#[derive(Debug, Default)]
pub(super) struct Buddy {
    lists: [List; ORDERS],
    orders: u32,
    free_pages: usize,
}

/// Returns the smallest order whose blocks have `pages` pages.
#[inline]
pub(super) const fn order_of(pages: usize) -> u32 {
    usize::BITS - pages.saturating_sub(1).leading_zeros()
}

impl Buddy {
    /// Returns a buddy system without pages.
    pub(super) const fn new() -> Self {
        Self {
            lists: [List::EMPTY; ORDERS],
            orders: 0,
            free_pages: 0,
        }
    }

    /// Returns the pages of all free blocks.
    pub(super) fn free_pages(&self) -> usize {
        self.free_pages
    }

    /// Returns the free blocks of an order.
    pub(super) fn list(&self, order: usize) -> &List {
        &self.lists[order]
    }

    /// Lends the lists, the bitmap and the counter, to be damaged.
    #[cfg(test)]
    pub(super) fn damage(&mut self) -> (&mut [List; ORDERS], &mut u32, &mut usize) {
        (&mut self.lists, &mut self.orders, &mut self.free_pages)
    }

    /// Returns how unusable the free pages are for blocks of `order`: near 0 because there are few,
    /// near 1000 because they are in many pieces.
    ///
    /// Linux's fragmentation index (`__fragmentation_index` in `mm/vmstat.c`), which is not below 0
    /// here.
    pub(super) fn fragmentation(&self, order: u32) -> u16 {
        let blocks: u64 = self.lists.iter().map(|list| u64::from(list.len)).sum();
        let whole = (self.free_pages as u64 * 1000) >> order;
        (1000 + whole)
            .checked_div(blocks)
            .map_or(0, |each| 1000_u64.saturating_sub(each) as u16)
    }

    /// Says whether `orders` says what the lists say.
    pub(super) fn bitmap_is_right(&self) -> bool {
        let lists = self.lists.iter().enumerate();
        let bit = |(order, list): (usize, &List)| u32::from(list.first().is_some()) << order;
        self.orders == lists.map(bit).sum()
    }

    /// Puts a block into the list of its order. O(1).
    #[inline]
    fn insert(&mut self, descs: &mut PageDescs, page: Page, order: u32) {
        // INVARIANT: Descriptor, list and bit are all set here.
        descs.set_kind(page, PageKind::Free { order: order as u8 });
        descs.push(&mut self.lists[order as usize], page);
        self.orders |= 1 << order;
    }

    /// Removes a block from the list of its order. O(1).
    #[inline]
    fn remove(&mut self, descs: &mut PageDescs, page: Page, order: u32) {
        // INVARIANT: Descriptor, list and bit are all cleared here.
        descs.set_kind(page, PageKind::Interior);
        let list = &mut self.lists[order as usize];
        descs.unlink(list, page);
        if list.len == 0 {
            self.orders &= !(1 << order);
        }
    }

    /// Allocates `pages` pages in one piece, aligned to 2^`align_order` pages, and returns the first.
    ///
    /// Their descriptors say that they are interior pages; the caller sets that of the first. O(log n).
    #[inline]
    pub(super) fn allocate(
        &mut self,
        descs: &mut PageDescs,
        pages: usize,
        align_order: u32,
        end: End,
        work: &mut Work,
    ) -> Option<Page> {
        let order = order_of(pages).max(align_order);
        if order > REGION_PAGES_SHIFT {
            return None;
        }
        let candidates = self.orders >> order;
        if candidates == 0 {
            return None;
        }
        let mut found = order + candidates.trailing_zeros();
        let mut page = self.lists[found as usize].first()?;
        self.remove(descs, page, found);
        while found > order {
            found -= 1;
            work.splits += 1;
            let upper = page.after(1 << found);
            match end {
                End::Low => self.insert(descs, upper, found),
                End::High => {
                    self.insert(descs, page, found);
                    page = upper;
                }
            }
        }
        self.free_pages -= pages;
        // The rest of the block is free, in blocks as large as their place allows. None of them can
        // coalesce: the buddy of each has allocated pages. The end of the allocated pages lies in one
        // block of each order down to the order of which it is a multiple.
        work.splits += (order - pages.trailing_zeros()) as u16;
        let mut rest = pages;
        while rest < 1 << order {
            let order = rest.trailing_zeros();
            self.insert(descs, page.after(rest), order);
            rest += 1 << order;
        }
        Some(page)
    }

    /// Frees `pages` pages from `page` on: allocated ones, or those of a new region.
    ///
    /// The pages are cut into blocks as large as their place allows, and each block coalesces with its
    /// buddy as long as that is free. O(log n) for each of these blocks, of which there are O(log n).
    #[inline]
    pub(super) fn release(
        &mut self,
        descs: &mut PageDescs,
        page: Page,
        pages: usize,
        work: &mut Work,
    ) {
        self.free_pages += pages;
        let (mut index, end) = (page.index(), page.index() + pages);
        while index < end {
            let fits = (end - index).ilog2();
            let order = fits.min((index | 1 << REGION_PAGES_SHIFT).trailing_zeros());
            self.coalesce(descs, Page::new(page.region(), index), order, work);
            index += 1 << order;
        }
    }

    /// Coalesces a block, which is in no list, with its buddy as long as that is free, and puts the
    /// result into a list.
    fn coalesce(&mut self, descs: &mut PageDescs, mut page: Page, mut order: u32, work: &mut Work) {
        while order < REGION_PAGES_SHIFT {
            let buddy = page.buddy(order);
            if descs.kind(buddy) != (PageKind::Free { order: order as u8 }) {
                break;
            }
            self.remove(descs, buddy, order);
            work.merges += 1;
            page = page.min(buddy);
            order += 1;
        }
        self.insert(descs, page, order);
    }

    /// Allocates the `pages` pages from `page` on, if they are free, whatever blocks they are in, and
    /// says whether they were.
    ///
    /// `page` follows an allocated block. O(log n) blocks are looked at, each in O(log n).
    pub(super) fn allocate_at(
        &mut self,
        descs: &mut PageDescs,
        page: Page,
        pages: usize,
        work: &mut Work,
    ) -> bool {
        let end = page.index() + pages;
        if end > descs.pages(page.region()) {
            return false;
        }
        // A free page behind an allocated block is the first of a free block, and so is a free page
        // behind that one.
        let mut past = page.index();
        while past < end {
            let block = Page::new(page.region(), past);
            let PageKind::Free { order } = descs.kind(block) else {
                return false;
            };
            past += 1 << order;
        }
        self.free_pages -= past - page.index();
        let mut index = page.index();
        while index < end {
            let block = Page::new(page.region(), index);
            let PageKind::Free { order } = descs.kind(block) else {
                return false;
            };
            self.remove(descs, block, order.into());
            index += 1 << order;
            if index > end {
                // As in `allocate`: the last block is split down to where the allocated pages end.
                work.splits += (u32::from(order) - (index - end).trailing_zeros()) as u16;
            }
        }
        if past > end {
            self.release(descs, Page::new(page.region(), end), past - end, work);
        }
        true
    }
}
