// SPDX-License-Identifier: GPL-2.0

//! The buddy system against an oracle that knows of each page whether it is out.
//!
//! As no two buddies stay both free, an aligned run of free pages is always a block or in one:
//! so the oracle, which knows no blocks, says of each request whether it must be served.

use super::{
    descs,
    page, //
};
use crate::hybrid::{
    buddy::{
        Buddy,
        End,
        Work,
        order_of, //
    },
    page::{
        Page, //
        PageDescs,
        PageKind,
    },
};
use proptest::{
    collection::vec,
    prelude::*, //
};
use std::vec::Vec;

struct Model {
    descs: PageDescs,
    buddy: Buddy,
    /// Of each region's pages, whether they are out.
    out: Vec<Vec<bool>>,
    /// The blocks that are out, and their pages.
    blocks: Vec<(Page, usize)>,
}

impl Model {
    fn new(regions: &[usize]) -> Self {
        let (mut descs, mut buddy) = (descs(regions), Buddy::default());
        for (region, pages) in regions.iter().enumerate() {
            let first = Page::new(region, 0);
            buddy.release(&mut descs, first, *pages, &mut Work::default());
        }
        Self {
            descs,
            buddy,
            out: regions
                .iter()
                .map(|pages| std::vec![false; *pages])
                .collect(),
            blocks: Vec::new(),
        }
    }

    /// Notes that pages are out, or are not; all of them were the other before.
    fn mark(&mut self, page: Page, pages: usize, out: bool) {
        for now in &mut self.out[page.region()][page.index()..page.index() + pages] {
            assert_ne!(*now, out);
            *now = out;
        }
    }

    fn allocate(&mut self, pages: usize, align_order: u32, end: End) {
        let run = 1 << order_of(pages).max(align_order);
        let fits = |out: &Vec<bool>| out.chunks_exact(run).any(|run| !run.contains(&true));
        let expected = self.out.iter().any(fits);
        let mut work = Work::default();
        let found = self
            .buddy
            .allocate(&mut self.descs, pages, align_order, end, &mut work);
        assert_eq!(found.is_some(), expected);
        if let Some(page) = found {
            assert_eq!(page.index() % (1 << align_order), 0);
            self.mark(page, pages, true);
            let kind = PageKind::Large {
                pages: pages as u32,
            };
            self.descs.set_kind(page, kind);
            self.blocks.push((page, pages));
        }
    }

    fn release(&mut self, pick: usize) {
        let Some(nth) = pick.checked_rem(self.blocks.len()) else {
            return;
        };
        let (page, pages) = self.blocks.swap_remove(nth);
        self.mark(page, pages, false);
        self.descs.set_kind(page, PageKind::Interior);
        let mut work = Work::default();
        self.buddy.release(&mut self.descs, page, pages, &mut work);
    }

    fn grow(&mut self, pick: usize, more: usize) {
        let Some(nth) = pick.checked_rem(self.blocks.len()) else {
            return;
        };
        let (page, pages) = self.blocks[nth];
        let (first, region) = (page.index() + pages, &self.out[page.region()]);
        if first == region.len() {
            return;
        }
        let wanted = region.get(first..first + more);
        let expected = wanted.is_some_and(|wanted| !wanted.contains(&true));
        let first = page.after(pages);
        let mut work = Work::default();
        let taken = self
            .buddy
            .allocate_at(&mut self.descs, first, more, &mut work);
        assert_eq!(taken, expected);
        if taken {
            self.mark(first, more, true);
            self.blocks[nth].1 += more;
        }
    }

    fn shrink(&mut self, pick: usize, to: usize) {
        let Some(nth) = pick.checked_rem(self.blocks.len()) else {
            return;
        };
        let (page, pages) = self.blocks[nth];
        let to = 1 + to % pages;
        if to < pages {
            self.mark(page.after(to), pages - to, false);
            let mut work = Work::default();
            self.buddy
                .release(&mut self.descs, page.after(to), pages - to, &mut work);
            self.blocks[nth].1 = to;
        }
    }

    /// Compares the descs with the oracle, page by page.
    fn compare(&self) {
        assert!(self.buddy.bitmap_is_right());
        let mut free_pages = 0;
        for (region, out) in self.out.iter().enumerate() {
            let mut index = 0;
            while index < out.len() {
                let page = Page::new(region, index);
                let out_here = self.blocks.iter().find(|(block, _)| *block == page);
                let pages = match (out_here, self.descs.kind(page)) {
                    (Some((_, pages)), PageKind::Large { .. }) => *pages,
                    (None, PageKind::Free { order }) => {
                        let pages = 1 << order;
                        assert_eq!(index % pages, 0);
                        assert!(!out[index..index + pages].contains(&true));
                        let buddy = self.descs.kind(Page::new(region, index ^ pages));
                        assert_ne!(buddy, PageKind::Free { order }, "two buddies are free");
                        free_pages += pages;
                        pages
                    }
                    (_, kind) => panic!("{page:?} is {kind:?}"),
                };
                for tail in index + 1..index + pages {
                    let kind = self.descs.kind(Page::new(region, tail));
                    assert_eq!(kind, PageKind::Interior);
                }
                index += pages;
            }
            assert_eq!(index, out.len());
        }
        assert_eq!(free_pages, self.buddy.free_pages());
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
        let mut model = Model::new(&regions);
        model.compare();
        for (what, pick, pages, align_order) in operations {
            match what {
                0 => model.allocate(pages, align_order, End::Low),
                1 => model.allocate(pages, align_order, End::High),
                2 => model.allocate(pages, 0, End::Low),
                3 => model.allocate(pages, 0, End::High),
                4..=5 => model.release(pick),
                6 => model.grow(pick, pages),
                _ => model.shrink(pick, pages),
            }
            model.compare();
        }
        while !model.blocks.is_empty() {
            model.release(0);
        }
        model.compare();
        // Each region is again cut into as few blocks as can be.
        for (region, pages) in regions.into_iter().enumerate() {
            let mut index = 0;
            for order in (0..usize::BITS).rev().filter(|order| pages >> order & 1 != 0) {
                let kind = model.descs.kind(Page::new(region, index));
                prop_assert_eq!(kind, PageKind::Free { order: order as u8 });
                index += 1 << order;
            }
        }
    }
}

#[test]
fn the_oracle_finds_pages_that_are_handed_out_twice() {
    let mut model = Model::new(&[8]);
    model.allocate(8, 0, End::Low);
    // What is out is given back behind the oracle's back.
    model.descs.set_kind(page(0), PageKind::Interior);
    let mut work = Work::default();
    model.buddy.release(&mut model.descs, page(0), 8, &mut work);
    let wrong = std::panic::AssertUnwindSafe(|| model.allocate(1, 0, End::Low));
    assert!(std::panic::catch_unwind(wrong).is_err());
}
