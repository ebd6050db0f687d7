// SPDX-License-Identifier: GPL-2.0

//! Joining: adjacent free blocks that are no buddies serve a request together.
//!
//! ```text
//! page      0       4       8   9     12
//!          │ used  │ free  │ f │ used │      pages 4 to 8 are a run of 5 free pages
//! ```
//!
//! A *run* is a sequence of adjacent free blocks; the run in the picture cannot coalesce, because pages 0 and 9 are
//! allocated. A request for a number of pages that is not a power of two takes the shortest run that is long enough, of
//! those that contain a small free block (best fit), and only without such a run a part of a larger block. A request for a
//! power of two does so as a fallback: an engine without live blocks can allocate its pool in aligned blocks again.
//!
//! The means of `refine` have the same value without joining, but the pattern `log-uniform` needs a pool of 14 MiB
//! instead of 11 MiB.

use core::alloc::Layout;

use crate::{
    PAGE_SHIFT, Path,
    hybrid::{
        buddy::{
            Buddy,
            order_of, //
        },
        heap::Heap,
        page::{
            Page,
            PageKind,
            page_count, //
        },
    },
};

/// Adjacent free blocks.
#[derive(Clone, Copy)]
struct Run {
    first: Page,
    pages: usize,
}

impl Run {
    /// Returns the first page that is aligned to 2^`align_order` pages and begins `pages` pages of the run.
    fn place(self, pages: usize, align_order: u32) -> Option<Page> {
        let first = self.first.index();
        let begin = first.next_multiple_of(1 << align_order);
        (begin + pages <= first + self.pages).then(|| self.first.after(begin - first))
    }
}

impl Heap {
    /// Allocates whole pages from a run, as a fallback for a power of two of pages.
    pub(in crate::hybrid) fn allocate_joined(&mut self, layout: &Layout) -> Option<Page> {
        let pages = page_count(layout);
        let align_order = layout.align().ilog2().saturating_sub(PAGE_SHIFT);
        self.ensure_possible(pages, align_order).ok()?;
        let page = self.buddy.allocate_joined(pages, align_order)?;
        self.set_large(page, pages);
        let order = order_of(pages).max(align_order);
        self.set_cost(Path::Buddy, None, Some(order));
        Some(page)
    }
}

impl Buddy {
    /// Allocates `pages` pages, aligned to 2^`align_order` pages, from the shortest run of those that contain a block
    /// of the two orders below that of the request. Returns `None` if none of these is long enough.
    ///
    /// A run of n pages that has no larger block contains a block of more than n/8 pages, so the search misses a run only
    /// if the lists are longer than 8 blocks. O(log² n) for each of at most 16 blocks: a run has at most two
    /// blocks of each order.
    #[inline(never)]
    pub(in crate::hybrid) fn allocate_joined(
        &mut self,
        pages: usize,
        align_order: u32,
    ) -> Option<Page> {
        let order = order_of(pages);
        // A region with so many pages has a block of half the order at least, so it has this alignment in memory if the
        // request was not refused as unsupported.
        if align_order > 0 && align_order >= order {
            return None;
        }
        let orders = (order.saturating_sub(2)..order).rev();
        let runs = orders
            .flat_map(|order| self.candidates(order).map(move |block| (block, order)))
            .map(|(block, order)| self.run_around(block, order));
        let fitting = runs.filter_map(|run| Some((run.pages, run.place(pages, align_order)?)));
        let (_, page) = fitting.min_by_key(|(run_pages, _)| *run_pages)?;
        self.allocate_at(page, pages).then_some(page)
    }

    /// Returns the run that contains a free block of `order`. O(log² n).
    fn run_around(&self, block: Page, order: u32) -> Run {
        let mut first = block;
        while let Some(before) = self.free_before(first) {
            first = before;
        }
        let (region, mut end) = (block.region(), block.index() + (1 << order));
        while end < self.metadata.pages(region)
            && let PageKind::Free { order } = self.metadata.kind(Page::new(region, end))
        {
            end += 1 << order;
        }
        Run {
            first,
            pages: end - first.index(),
        }
    }

    /// Returns the free block that ends where a block begins. O(log n).
    fn free_before(&self, block: Page) -> Option<Page> {
        let index = block.index();
        let orders = 0..=index.checked_ilog2()?.min(index.trailing_zeros());
        let mut before = orders.map(|order| (order, block.before(1 << order)));
        let is_free = |(order, page): &(u32, Page)| {
            self.metadata.kind(*page)
                == PageKind::Free {
                    order: *order as u8,
                }
        };
        before.find(is_free).map(|(_, page)| page)
    }
}
