// SPDX-License-Identifier: GPL-2.0

//! The causes of refused requests and frees.
//!
//! The cause of a refused request says whether to wait for frees ([`Refusal::Exhausted`]), to ask for smaller
//! blocks ([`Refusal::Fragmented`]), or to give up ([`Refusal::TooBig`], [`Refusal::Unsupported`]). Finding a
//! cause costs nothing unless a request or a free is refused.

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
            PageKind, //
            PageMetadata,
        },
    },
};

impl Heap {
    /// Refuses a request for pages that would not be served even if the heap were empty.
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

    /// Returns whether an empty buddy system would have no block for so many pages.
    fn is_too_big(&self, pages: usize, align_order: u32) -> bool {
        1_usize << order_of(pages).max(align_order) > self.largest_block
    }

    /// Returns the cause for which `pages` pages in one piece are refused. For [`Refusal::Fragmented`] the
    /// cost gets the fragmentation index.
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
    /// Returns why a block of `order` cannot be allocated: near 0 because few pages are free, near 1000
    /// because the free pages are in many pieces.
    ///
    /// This is Linux's fragmentation index (`__fragmentation_index` in `mm/vmstat.c`), except that it is not
    /// below 0.
    fn fragmentation(&self, order: u32) -> u16 {
        let blocks: u64 = self.lists.iter().map(|list| u64::from(list.len)).sum();
        let whole = (self.free_pages as u64 * 1000) >> order;
        (1000 + whole)
            .checked_div(blocks)
            .map_or(0, |each| 1000_u64.saturating_sub(each) as u16)
    }
}

impl PageMetadata {
    /// Returns why a free is refused at a page that is not the first one of a block of the freed size. O(log n).
    #[cold]
    pub(in crate::hybrid) fn bad_free(&self, page: Page) -> BadFree {
        match self.kind(page) {
            PageKind::Slab { .. } | PageKind::Large { .. } => BadFree::WrongSize,
            PageKind::Free { .. } => BadFree::NotLive,
            PageKind::Interior if self.is_free(page) => BadFree::NotLive,
            PageKind::Interior | PageKind::SlabTail { .. } => BadFree::Interior,
        }
    }

    /// Returns whether an interior page is in a free block: tries every first page that the block could have.
    pub(in crate::hybrid) fn is_free(&self, page: Page) -> bool {
        (0..ORDERS as u8).any(|order| {
            let first = Page::new(page.region(), page.index() >> order << order);
            self.kind(first) == (PageKind::Free { order })
        })
    }
}
