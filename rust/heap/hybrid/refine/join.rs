// SPDX-License-Identifier: GPL-2.0

//! Joining: free blocks that are adjacent but no buddies serve a request together.
//!
//! ```text
//! page      0       4       8  9       12      16
//!          │ used  │ free 4│f│ used   │ free 4 │     6 pages? Pages 4 to 8 are one run, of 5 pages.
//! ```
//!
//! A *run* is a sequence of adjacent free blocks. The buddies of its blocks are allocated, so the blocks cannot
//! coalesce. A request for a number of pages that is not a power of two first takes the shortest run of smaller blocks
//! that is long enough, before a larger block is split. A request for a power of two does so if there is no block of its
//! order.

use crate::hybrid::{
    buddy::{
        Buddy,
        order_of, //
    },
    page::{
        Page,
        PageKind, //
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

impl Buddy {
    /// Allocates `pages` pages, aligned to 2^`align_order` pages, from a run of blocks that are each smaller than the
    /// request. Returns `None` if none of the first blocks in the lists is in such a run.
    ///
    /// A run of n pages contains an aligned block of more than n/4 pages, so the search visits the blocks of two orders,
    /// and of further ones for a larger alignment. O(log² n) for each block that is visited, because a run has at most
    /// two blocks of each order.
    #[inline(never)]
    pub(in crate::hybrid) fn allocate_joined(
        &mut self,
        pages: usize,
        align_order: u32,
    ) -> Option<Page> {
        let order = order_of(pages);
        let orders = (order.saturating_sub(2)..order.max(align_order)).rev();
        let runs = orders
            .flat_map(|order| self.candidates(order).map(move |block| (block, order)))
            .map(|(block, order)| self.run_around(block, order));
        let fitting = runs.filter_map(|run| Some((run.pages, run.place(pages, align_order)?)));
        let (_, page) = fitting.min_by_key(|(run_pages, _)| *run_pages)?;
        self.allocate_at(page, pages).then_some(page)
    }

    /// Returns the run that contains a free block of `order`.
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
