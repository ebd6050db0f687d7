// SPDX-License-Identifier: GPL-2.0

//! The causes of refused requests and frees.
//!
//! From the cause of a refused request the caller knows whether to wait for frees ([`Refusal::Exhausted`]),
//! to ask for smaller blocks ([`Refusal::Fragmented`]), or to give up ([`Refusal::TooBig`],
//! [`Refusal::Unsupported`]). Finding a cause costs nothing unless a request or a free is refused.

use crate::{
    Cost, Refusal,
    engine::BadFree,
    hybrid::{
        buddy::{
            Buddy,
            ORDERS,
            order_of, //
        },
        heap::Heap,
        page::{
            Page,
            PageKind,
            PageMetadata, //
        },
    },
};

impl Heap {
    /// Refuses a request for pages that an empty heap could not serve.
    ///
    /// # Errors
    ///
    /// [`Refusal::TooBig`], and [`Refusal::Unsupported`] for an alignment that the memory does not have.
    #[inline]
    pub(in crate::hybrid) fn ensure_possible(
        &self,
        pages: usize,
        align_order: u32,
    ) -> Result<(), Refusal> {
        if self.is_too_big(pages, align_order) {
            Err(Refusal::TooBig)
        } else if align_order > self.align_order_max {
            Err(Refusal::Unsupported)
        } else {
            Ok(())
        }
    }

    /// Returns whether an empty buddy system would have no block of this number of pages and this alignment.
    fn is_too_big(&self, pages: usize, align_order: u32) -> bool {
        1_usize << order_of(pages).max(align_order) > self.largest_block
    }

    /// Returns the cause for which a request for `pages` pages in one piece is refused. If the cause is
    /// [`Refusal::Fragmented`], stores the fragmentation index in `cost`.
    #[cold]
    pub(in crate::hybrid) fn refusal(&mut self, pages: usize, align_order: u32) -> Refusal {
        if self.is_too_big(pages, align_order) {
            Refusal::TooBig
        } else if pages > self.buddy.free_pages {
            Refusal::Exhausted
        } else {
            let order = order_of(pages).max(align_order);
            self.cost = Cost::default().with_fragmentation(self.buddy.fragmentation(order));
            Refusal::Fragmented
        }
    }
}

impl Buddy {
    /// Returns the fragmentation index of a refused request for a block of `order`. The index is near 0 if
    /// few pages are free, and near 1000 if the free pages are in many pieces.
    ///
    /// This is Linux's index (`__fragmentation_index` in `mm/vmstat.c`), except that a negative index becomes
    /// 0.
    fn fragmentation(&self, order: u32) -> u16 {
        let blocks: u64 = self.lists.iter().map(|list| u64::from(list.len)).sum();
        let whole = (self.free_pages as u64 * 1000) >> order;
        (1000 + whole)
            .checked_div(blocks)
            .map_or(0, |each| 1000_u64.saturating_sub(each) as u16)
    }
}

impl PageMetadata {
    /// Returns the rule that a free breaks. `page` is not the first page of a block of the freed size. O(log
    /// n).
    #[cold]
    pub(in crate::hybrid) fn bad_free(&self, page: Page) -> BadFree {
        match self.kind(page) {
            PageKind::Slab { .. } | PageKind::Large { .. } => BadFree::WrongSize,
            PageKind::Free { .. } => BadFree::NotLive,
            PageKind::Interior if self.is_free(page) => BadFree::NotLive,
            PageKind::Interior | PageKind::SlabTail { .. } => BadFree::Interior,
        }
    }

    /// Returns whether an interior page is in a free block. Compares every page that could be the first page
    /// of such a block.
    pub(in crate::hybrid) fn is_free(&self, page: Page) -> bool {
        (0..ORDERS as u8).any(|order| {
            let first = Page::new(page.region(), page.index() >> order << order);
            self.kind(first) == (PageKind::Free { order })
        })
    }
}
