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
//! This is Knuth's buddy system (The Art of Computer Programming 1, 2.5) as Linux's page allocator
//! implements it: the page descriptor of the buddy says in O(1) whether the buddy is free, and a bitmap of
//! the orders that have free blocks finds the smallest block that is large enough. Four things differ from
//! `alloc_pages`:
//!
//! - A request for a number of pages that is not a power of two frees the rest of its block at once, like
//!   `alloc_pages_exact`.
//! - Smaller blocks that are adjacent serve a request together (`refine/join`).
//! - Of several blocks of an order, the one nearest to an end of the pool is taken.
//! - The buddy of a block depends on the block's offset in the region and not on its address, so that the same
//!   requests have the same results wherever the pool lies.

use core::iter::successors;

use super::page::{
    List,
    Page,
    PageKind,
    PageMetadata,
    REGION_PAGES_SHIFT, //
};

/// The number of orders: blocks of 2⁰ to 2²⁰ pages.
pub(super) const ORDERS: usize = REGION_PAGES_SHIFT as usize + 1;

/// The number of free blocks of an order among which a block is chosen.
const CANDIDATES: usize = 8;

/// The number of free pages below which slabs, too, are joined from adjacent free blocks. With more free pages, the
/// search would cost more time than it saves memory.
const FEW_PAGES: usize = 256;

/// The work that the buddy system did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Work {
    /// Blocks that were split into halves.
    pub(super) splits: u16,
    /// Pairs of buddies that were coalesced.
    pub(super) merges: u16,
}

/// The end of a larger block at which pages are allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The beginning: free pages follow a block, so that it can grow.
    Front,
    /// The end: slabs never grow, so they stay away from blocks that do. If slabs came from the beginning, too, the
    /// utilisation of the classic traces would be 88.8 % instead of 89.5 % (see `refine`).
    Back,
}

/// All pages of the pool, and the free blocks by order.
///
/// # Invariants
///
/// - A block is in the list of its order if and only if its page descriptor says that it is free.
/// - No two buddies are both free.
/// - Bit `n` of `orders` is set if and only if list `n` has blocks.
/// - `free_pages` is the number of pages of all free blocks.
pub(super) struct Buddy {
    pub(super) metadata: PageMetadata,
    pub(super) lists: [List; ORDERS],
    pub(super) orders: u32,
    pub(super) free_pages: usize,
    /// The work since the field was last reset.
    pub(super) work: Work,
}

/// Returns the smallest order whose blocks have at least `pages` pages.
#[inline]
pub(super) const fn order_of(pages: usize) -> u32 {
    usize::BITS - pages.saturating_sub(1).leading_zeros()
}

impl Buddy {
    /// Returns a buddy system without pages.
    pub(super) const fn new() -> Self {
        Self {
            metadata: PageMetadata::new(),
            lists: [List::EMPTY; ORDERS],
            orders: 0,
            free_pages: 0,
            work: Work {
                splits: 0,
                merges: 0,
            },
        }
    }

    /// Puts a block into the list of its order. O(1).
    #[inline]
    fn insert(&mut self, page: Page, order: u32) {
        // INVARIANT: Descriptor, list and bit are all set here.
        let kind = PageKind::Free { order: order as u8 };
        self.metadata.set_kind(page, kind);
        self.metadata.push(&mut self.lists[order as usize], page);
        self.orders |= 1 << order;
    }

    /// Removes a block from the list of its order. O(1).
    #[inline]
    pub(super) fn remove(&mut self, page: Page, order: u32) {
        // INVARIANT: Descriptor, list and bit are all cleared here.
        self.metadata.set_kind(page, PageKind::Interior);
        let list = &mut self.lists[order as usize];
        self.metadata.unlink(list, page);
        if list.len == 0 {
            self.orders &= !(1 << order);
        }
    }

    /// Returns the smallest order from `order` on that has free blocks.
    #[inline]
    pub(super) fn smallest_order(&self, order: u32) -> Option<u32> {
        let orders = self
            .orders
            .checked_shr(order)
            .filter(|orders| *orders != 0)?;
        Some(order + orders.trailing_zeros())
    }

    /// Allocates `pages` pages in one piece, aligned to 2^`align_order` pages, and returns the first.
    ///
    /// The descriptors say that the pages are interior ones; the caller sets that of the first. O(log n), and O(log² n)
    /// for a number of pages that is not a power of two.
    #[inline]
    pub(super) fn allocate(&mut self, pages: usize, align_order: u32, end: End) -> Option<Page> {
        let order = order_of(pages).max(align_order);
        let is_worth_a_search = end == End::Front || self.free_pages < FEW_PAGES;
        if is_worth_a_search && !pages.is_power_of_two() {
            if let Some(page) = self.allocate_joined(pages, align_order) {
                return Some(page);
            }
        }
        let mut found = self.smallest_order(order)?;
        let mut page = self.outermost(found, end)?;
        self.remove(page, found);
        // Split: one half becomes free, and the other half is split further.
        while found > order {
            found -= 1;
            self.work.splits += 1;
            let upper = page.buddy(found);
            match end {
                End::Front => self.insert(upper, found),
                End::Back => {
                    self.insert(page, found);
                    page = upper;
                }
            }
        }
        self.free_pages -= pages;
        self.free_rest(page, pages, order);
        Some(page)
    }

    /// Returns the block of `order` that is nearest to an end of the pool, of the first [`CANDIDATES`] in its list.
    /// O(1).
    #[inline]
    fn outermost(&self, order: u32, end: End) -> Option<Page> {
        match end {
            End::Front => self.candidates(order).min(),
            End::Back => self.candidates(order).max(),
        }
    }

    /// Returns the first [`CANDIDATES`] blocks of the list of an order.
    #[inline]
    pub(super) fn candidates(&self, order: u32) -> impl Iterator<Item = Page> {
        let first = self.lists.get(order as usize).and_then(List::first);
        let next = |page: &Page| self.metadata.links(*page)?.next.into();
        successors(first, next).take(CANDIDATES)
    }

    /// Frees the pages of a block of 2^`order` pages that follow its first `pages` pages, in the largest
    /// aligned blocks. None of these can coalesce, because the buddy of each has allocated pages.
    fn free_rest(&mut self, page: Page, pages: usize, order: u32) {
        // A block of order n that is cut after `pages` pages is split n − trailing_zeros(pages) times.
        self.work.splits += (order - pages.trailing_zeros()) as u16;
        let mut used = pages;
        while used < 1 << order {
            let rest = used.trailing_zeros();
            self.insert(page.after(used), rest);
            used += 1 << rest;
        }
    }

    /// Frees `pages` pages from `page` on, which were allocated or belong to a new region.
    ///
    /// The pages are cut into the largest aligned blocks, and each of these coalesces with its buddy as long
    /// as that is free. O(log n) for each of O(log n) blocks.
    #[inline]
    pub(super) fn free(&mut self, page: Page, pages: usize) {
        self.free_pages += pages;
        let (mut index, end) = (page.index(), page.index() + pages);
        while index < end {
            let fits = (end - index).ilog2();
            // The additional bit limits the order at index 0.
            let aligned = (index | 1 << REGION_PAGES_SHIFT).trailing_zeros();
            let order = fits.min(aligned);
            self.coalesce(Page::new(page.region(), index), order);
            index += 1 << order;
        }
    }

    /// Coalesces a block, which is in no list, with its buddy as long as that is free, and puts the result
    /// into a list. O(log n).
    fn coalesce(&mut self, mut page: Page, mut order: u32) {
        while order < REGION_PAGES_SHIFT {
            let buddy = page.buddy(order);
            if self.metadata.kind(buddy) != (PageKind::Free { order: order as u8 }) {
                break;
            }
            self.remove(buddy, order);
            self.work.merges += 1;
            page = page.min(buddy);
            order += 1;
        }
        self.insert(page, order);
    }
}
