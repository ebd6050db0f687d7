// SPDX-License-Identifier: GPL-2.0

//! Runs of free pages: what lies side by side in the [`Buddy`] system without being buddies.
//!
//! Blocks that are cut to whole pages leave rests, which merge only when the whole block is back.
//! Side by side with another free block such a rest may be just what is wanted. A run has at most
//! two blocks of each order, as no two buddies are both free; it is read off the descs, a block at
//! a time, in both directions. How many are looked at is bounded.

use crate::hybrid::{
    buddy::{
        Buddy,
        Work, //
    },
    page::{
        Page,
        PageDescs,
        PageKind,
        REGION_PAGES_SHIFT, //
    },
};

/// The runs that are looked at before a block is cut.
const NEAR: usize = 8;

/// The runs that are looked at before a request is refused.
const FAR: usize = 64;

/// The pages of a maximal run of free ones.
#[derive(Clone, Copy)]
struct Run {
    first: Page,
    pages: usize,
}

impl Buddy {
    /// Takes `pages` pages of a run that is better than the blocks of `order` that are as large:
    /// the shortest of a few that are long enough.
    pub(in crate::hybrid) fn allocate_best_fit_run(
        &mut self,
        descs: &mut PageDescs,
        pages: usize,
        order: u32,
        work: &mut Work,
    ) -> Option<Page> {
        let half = order.checked_sub(1)?;
        let runs = self.runs(descs, half).take(NEAR);
        let enough = runs.filter(|run| run.pages >= pages);
        let shortest = enough.min_by_key(|run| run.pages)?.first;
        self.allocate_at(descs, shortest, pages, work)
            .then_some(shortest)
    }

    /// Takes `pages` pages of any run, when no block has so many.
    ///
    /// The largest block of a run has a quarter of it at least: runs are looked for around such
    /// blocks.
    pub(in crate::hybrid) fn allocate_any_run(
        &mut self,
        descs: &mut PageDescs,
        pages: usize,
        work: &mut Work,
    ) -> Option<Page> {
        let least = pages.ilog2().saturating_sub(2);
        let orders = (least..=REGION_PAGES_SHIFT).rev();
        let runs = orders.flat_map(|order| self.runs(descs, order));
        let found = runs.take(FAR).find(|run| run.pages >= pages)?.first;
        self.allocate_at(descs, found, pages, work).then_some(found)
    }

    /// Returns the runs that the free blocks of an order are in.
    fn runs(&self, descs: &PageDescs, order: u32) -> impl Iterator<Item = Run> {
        let first = self.list(order as usize).first();
        let blocks = core::iter::successors(first, |block| descs.next(*block));
        blocks.map(move |block| run_around(descs, block, order))
    }
}

/// Returns the run that a free block is in.
fn run_around(descs: &PageDescs, block: Page, order: u32) -> Run {
    let region_pages = descs.pages(block.region());
    let mut end = block.index() + (1 << order);
    while end < region_pages {
        let PageKind::Free { order } = descs.kind(Page::new(block.region(), end)) else {
            break;
        };
        end += 1 << order;
    }
    let before = core::iter::successors(Some(block), |first| ends_at(descs, *first));
    let first = before.last().unwrap_or(block);
    Run {
        first,
        pages: end - first.index(),
    }
}

/// Returns the free block that ends just before `page`, if there is one.
fn ends_at(descs: &PageDescs, page: Page) -> Option<Page> {
    let last = page.index().checked_sub(1)?;
    // A block is aligned to its size, so it ends at a multiple of that.
    let orders = 0..=page.index().trailing_zeros().min(REGION_PAGES_SHIFT);
    orders
        .map(|order| (order, Page::new(page.region(), last >> order << order)))
        .find(|(order, head)| {
            descs.kind(*head)
                == (PageKind::Free {
                    order: *order as u8,
                })
        })
        .map(|(_, head)| head)
}
