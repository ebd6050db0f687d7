// SPDX-License-Identifier: GPL-2.0

//! A comparison of the buddy system with an oracle. The oracle only knows which pages are allocated.
//!
//! Two free buddies are always coalesced, so an aligned run of free pages is a free block or a part of a free
//! block. Therefore the oracle can predict whether a request succeeds, although it knows no blocks. Joining visits the
//! first blocks of a list only, so the oracle predicts the success of joining only if all lists are short.

use super::{
    descs,
    page, //
};
use crate::hybrid::{
    buddy::{
        Buddy,
        End,
        order_of, //
    },
    page::{
        Page,
        PageKind, //
    },
};
use proptest::{
    collection::vec,
    prelude::*, //
};
use std::vec::Vec;

/// A buddy system and its oracle.
struct CheckedBuddy {
    buddy: Buddy,
    /// Whether each page of each region is allocated.
    allocated: Vec<Vec<bool>>,
    /// The first page and the number of pages of each live block.
    blocks: Vec<(Page, usize)>,
}

impl CheckedBuddy {
    /// Constructs a buddy system over regions of these numbers of pages, all of them free.
    fn new(regions: &[usize]) -> Self {
        let mut buddy = Buddy::new();
        buddy.metadata = descs(regions);
        for (region, pages) in regions.iter().enumerate() {
            let first = Page::new(region, 0);
            buddy.free(first, *pages);
        }
        Self {
            buddy,
            allocated: regions
                .iter()
                .map(|pages| std::vec![false; *pages])
                .collect(),
            blocks: Vec::new(),
        }
    }

    /// Marks pages as allocated or free. Panics if one of the pages already is in the new state.
    fn mark(&mut self, page: Page, pages: usize, allocated: bool) {
        for now in &mut self.allocated[page.region()][page.index()..page.index() + pages] {
            assert_ne!(*now, allocated);
            *now = allocated;
        }
    }

    /// Allocates pages from the end `end` of a free block. Panics unless the outcome is the one that the
    /// oracle predicts.
    fn allocate(&mut self, pages: usize, align_order: u32, end: End) {
        let (order, align) = (order_of(pages), 1 << align_order);
        let block = 1 << order.max(align_order);
        let has_block =
            |region: &Vec<bool>| region.chunks_exact(block).any(|run| !run.contains(&true));
        let has_run = |region: &Vec<bool>| {
            let runs = region.windows(pages).step_by(align);
            runs.into_iter().any(|run| !run.contains(&true))
        };
        let joins = !pages.is_power_of_two() && (align_order == 0 || align_order < order);
        let expected = self.allocated.iter().any(has_block);
        let may_join = joins && self.allocated.iter().any(has_run);
        let all_visited = self.buddy.lists.iter().all(|list| list.len <= 8);
        let found = self.buddy.allocate(pages, align_order, end);
        if expected || all_visited || !may_join {
            assert_eq!(found.is_some(), expected || may_join);
        }
        if let Some(page) = found {
            assert_eq!(page.index() % (1 << align_order), 0);
            self.mark(page, pages, true);
            let kind = PageKind::Large {
                pages: pages as u32,
            };
            self.buddy.metadata.set_kind(page, kind);
            self.blocks.push((page, pages));
        }
    }

    /// Frees the live block with index `pick` modulo the number of live blocks.
    fn free(&mut self, pick: usize) {
        let Some(nth) = pick.checked_rem(self.blocks.len()) else {
            return;
        };
        let (page, pages) = self.blocks.swap_remove(nth);
        self.mark(page, pages, false);
        self.buddy.metadata.set_kind(page, PageKind::Interior);
        self.buddy.free(page, pages);
    }

    /// Grows the live block with index `pick` modulo the number of live blocks in place. Panics unless the
    /// outcome is the one that the oracle predicts.
    fn grow(&mut self, pick: usize, more: usize) {
        let Some(nth) = pick.checked_rem(self.blocks.len()) else {
            return;
        };
        let (page, pages) = self.blocks[nth];
        let (first, region) = (page.index() + pages, &self.allocated[page.region()]);
        if first == region.len() {
            return;
        }
        let wanted = region.get(first..first + more);
        let expected = wanted.is_some_and(|wanted| !wanted.contains(&true));
        let first = page.after(pages);
        let taken = self.buddy.allocate_at(first, more);
        assert_eq!(taken, expected);
        if taken {
            self.mark(first, more, true);
            self.blocks[nth].1 += more;
        }
    }

    /// Shrinks the live block with index `pick` modulo the number of live blocks in place.
    fn shrink(&mut self, pick: usize, to: usize) {
        let Some(nth) = pick.checked_rem(self.blocks.len()) else {
            return;
        };
        let (page, pages) = self.blocks[nth];
        let to = 1 + to % pages;
        if to < pages {
            self.mark(page.after(to), pages - to, false);
            self.buddy.free(page.after(to), pages - to);
            self.blocks[nth].1 = to;
        }
    }

    /// Compares the page descriptors with the oracle, page by page.
    fn compare(&self) {
        assert!(self.buddy.agrees_with_lists());
        let mut free_pages = 0;
        for (region, allocated) in self.allocated.iter().enumerate() {
            let mut index = 0;
            while index < allocated.len() {
                let page = Page::new(region, index);
                let live = self.blocks.iter().find(|(block, _)| *block == page);
                let pages = match (live, self.buddy.metadata.kind(page)) {
                    (Some((_, pages)), PageKind::Large { .. }) => *pages,
                    (None, PageKind::Free { order }) => {
                        let pages = 1 << order;
                        assert_eq!(index % pages, 0);
                        assert!(!allocated[index..index + pages].contains(&true));
                        let buddy = self.buddy.metadata.kind(Page::new(region, index ^ pages));
                        assert_ne!(buddy, PageKind::Free { order }, "two buddies are free");
                        free_pages += pages;
                        pages
                    }
                    (_, kind) => panic!("{page:?} is {kind:?}"),
                };
                for tail in index + 1..index + pages {
                    let kind = self.buddy.metadata.kind(Page::new(region, tail));
                    assert_eq!(kind, PageKind::Interior);
                }
                index += pages;
            }
            assert_eq!(index, allocated.len());
        }
        assert_eq!(free_pages, self.buddy.free_pages);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn the_buddy_system_agrees_with_its_oracle(
        regions in prop_oneof![
            vec(1usize..80, 1..4),
            Just(std::vec![256]),
            Just(std::vec![257, 1, 31]),
        ],
        operations in vec((0u8..8, any::<usize>(), 1usize..20, 0u32..5), 1..200),
    ) {
        let mut checked = CheckedBuddy::new(&regions);
        checked.compare();
        for (what, pick, pages, align_order) in operations {
            match what {
                0 => checked.allocate(pages, align_order, End::Front),
                1 => checked.allocate(pages, align_order, End::Back),
                2 => checked.allocate(pages, 0, End::Front),
                3 => checked.allocate(pages, 0, End::Back),
                4..=5 => checked.free(pick),
                6 => checked.grow(pick, pages),
                _ => checked.shrink(pick, pages),
            }
            checked.compare();
        }
        while !checked.blocks.is_empty() {
            checked.free(0);
        }
        checked.compare();
        // Each region consists of as few blocks as possible again.
        for (region, pages) in regions.into_iter().enumerate() {
            let mut index = 0;
            for order in (0..usize::BITS).rev().filter(|order| pages >> order & 1 != 0) {
                let kind = checked.buddy.metadata.kind(Page::new(region, index));
                prop_assert_eq!(kind, PageKind::Free { order: order as u8 });
                index += 1 << order;
            }
        }
    }
}

#[test]
fn the_oracle_finds_pages_that_are_allocated_twice() {
    let mut checked = CheckedBuddy::new(&[8]);
    checked.allocate(8, 0, End::Front);
    // The test frees the block without the oracle, so the oracle expects that the next request is refused.
    checked.buddy.metadata.set_kind(page(0), PageKind::Interior);
    checked.buddy.free(page(0), 8);
    let wrong = std::panic::AssertUnwindSafe(|| checked.allocate(1, 0, End::Front));
    assert!(std::panic::catch_unwind(wrong).is_err());
}
