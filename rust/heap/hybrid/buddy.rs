// SPDX-License-Identifier: GPL-2.0

//! The buddy system.
//!
//! Knuth's (The Art of Computer Programming 1, 2.5), with what Linux's page allocator adds: the
//! state of a buddy is read off its frame instead of looked for in a list, so a free costs one step
//! for each order that it merges; a bitmap of the orders that have blocks finds the smallest that
//! is large enough at once. Two changes: blocks are cut to whole pages and what is over goes back
//! (as in Linux's `alloc_pages_exact`), and is used again by [`runs`](super::runs); and buddies are
//! told by their place in the region, not by address, so what fits does not depend on where the
//! pool lies.

use super::{
    frames::{
        Frames,
        Kind,
        Page,
        REGION_PAGES_SHIFT, //
    },
    links::List,
};

/// The number of orders: blocks of 2⁰ to 2²⁰ pages.
pub(super) const ORDERS: usize = REGION_PAGES_SHIFT as usize + 1;

/// What an operation did on its way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Work {
    /// Blocks that were split into halves.
    pub(super) splits: u16,
    /// Pairs of halves that became a block.
    pub(super) merges: u16,
}

/// From which end of a larger block pages are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// From the beginning: what may grow has what is free behind it.
    Low,
    /// From the end: what does not grow is out of its way.
    High,
}

/// The free blocks, by order.
///
/// # Invariants
///
/// - A block is in the list of its order if and only if its frame says `Free`.
/// - No two buddies are both free: they would have merged.
/// - Bit `n` of `orders` is set if and only if list `n` has blocks.
/// - `free_pages` is what all of them have together.
#[derive(Debug, Default)]
pub(super) struct Buddy {
    lists: [List; ORDERS],
    orders: u32,
    free_pages: usize,
}

/// Returns the smallest order whose blocks have `pages` pages.
#[inline]
pub(super) const fn order_of(pages: usize) -> u32 {
    pages.next_power_of_two().ilog2()
}

impl Buddy {
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

    #[inline]
    fn insert(&mut self, frames: &mut Frames, page: Page, order: u32) {
        // INVARIANT: Frame, list, bit and count are all set here.
        frames.set_kind(page, Kind::Free { order: order as u8 });
        frames.push(&mut self.lists[order as usize], page);
        self.orders |= 1 << order;
        self.free_pages += 1 << order;
    }

    #[inline]
    fn remove(&mut self, frames: &mut Frames, page: Page, order: u32) {
        // INVARIANT: As in `insert`, the other way.
        frames.set_kind(page, Kind::Tail);
        let list = &mut self.lists[order as usize];
        frames.unlink(list, page);
        if list.first().is_none() {
            self.orders &= !(1 << order);
        }
        self.free_pages -= 1 << order;
    }

    /// Takes `pages` pages in one piece, aligned to 2^`align_order` pages, and says where.
    ///
    /// The caller says what becomes of them: until then their head is none.
    #[inline]
    pub(super) fn allocate(
        &mut self,
        frames: &mut Frames,
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
        self.remove(frames, page, found);
        while found > order {
            found -= 1;
            work.splits += 1;
            let upper = page.after(1 << found);
            match end {
                End::Low => self.insert(frames, upper, found),
                End::High => {
                    self.insert(frames, page, found);
                    page = upper;
                }
            }
        }
        // What is over goes back in blocks as large as their place allows. None of them can merge:
        // the buddy of each has the pages that are kept, or is split. The end of what is kept lies
        // in one block of each order down to that of which it is a multiple.
        work.splits += (order - pages.trailing_zeros()) as u16;
        let mut rest = pages;
        while rest < 1 << order {
            let order = rest.trailing_zeros();
            self.insert(frames, page.after(rest), order);
            rest += 1 << order;
        }
        Some(page)
    }

    /// Gives `pages` pages from `page` on back, or gives them for the first time.
    #[inline]
    pub(super) fn release(
        &mut self,
        frames: &mut Frames,
        page: Page,
        pages: usize,
        work: &mut Work,
    ) {
        let (mut index, end) = (page.index(), page.index() + pages);
        while index < end {
            let fits = (end - index).ilog2();
            let order = fits.min((index | 1 << REGION_PAGES_SHIFT).trailing_zeros());
            self.merge(frames, Page::new(page.region(), index), order, work);
            index += 1 << order;
        }
    }

    /// Gives one block back and merges it with its buddy as long as that is free.
    #[inline]
    fn merge(&mut self, frames: &mut Frames, page: Page, order: u32, work: &mut Work) {
        let (region, mut index, mut order) = (page.region(), page.index(), order);
        while order < REGION_PAGES_SHIFT {
            let buddy = Page::new(region, index ^ 1 << order);
            if frames.kind(buddy) != (Kind::Free { order: order as u8 }) {
                break;
            }
            self.remove(frames, buddy, order);
            work.merges += 1;
            index &= !(1 << order);
            order += 1;
        }
        self.insert(frames, Page::new(region, index), order);
    }

    /// Takes the `pages` pages from `page` on, if they are free, whatever blocks they are in.
    pub(super) fn take(
        &mut self,
        frames: &mut Frames,
        page: Page,
        pages: usize,
        work: &mut Work,
    ) -> bool {
        let end = page.index() + pages;
        if end > frames.pages(page.region()) {
            return false;
        }
        // The pages after a block begin free blocks, one after the other, or they are not free.
        let mut past = page.index();
        while past < end {
            let block = Page::new(page.region(), past);
            let Kind::Free { order } = frames.kind(block) else {
                return false;
            };
            past += 1 << order;
        }
        let mut index = page.index();
        while index < end {
            let block = Page::new(page.region(), index);
            let Kind::Free { order } = frames.kind(block) else {
                return false;
            };
            self.remove(frames, block, order.into());
            index += 1 << order;
            if index > end {
                // As in `allocate`: the last block is split down to where its end is kept.
                work.splits += (u32::from(order) - (index - end).trailing_zeros()) as u16;
            }
        }
        if past > end {
            self.release(frames, Page::new(page.region(), end), past - end, work);
        }
        true
    }
}
