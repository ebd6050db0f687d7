// SPDX-License-Identifier: GPL-2.0

//! Counters of blocks and of free runs, by size.

use super::{
    class::{
        CLASSES,
        Class, //
    },
    place::{
        PAGE_GRANULES,
        REGION_SHIFT,
        Run, //
    },
};
use crate::stats::ORDERS_MAX;

/// The numbers of allocated blocks: by size class, and above the largest class by order. A block of order n has more
/// than 2ⁿ⁻¹ and at most 2ⁿ pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BlockCounts {
    pub(super) classes: [usize; CLASSES],
    pub(super) orders: [usize; ORDERS_MAX],
}

impl BlockCounts {
    pub(super) const NONE: Self = Self {
        classes: [0; CLASSES],
        orders: [0; ORDERS_MAX],
    };

    #[inline]
    fn counter(&mut self, len: usize) -> Option<&mut usize> {
        match Class::of_granules(len) {
            Some(class) => self.classes.get_mut(class.index()),
            None => self.orders.get_mut(order_of(len)),
        }
    }

    /// Counts `blocks` more blocks of `len` granules. O(1).
    #[inline]
    pub(super) fn add(&mut self, len: usize, blocks: usize) {
        if let Some(counter) = self.counter(len) {
            *counter += blocks;
        }
    }

    /// Counts `blocks` fewer blocks of `len` granules. O(1).
    #[inline]
    pub(super) fn remove(&mut self, len: usize, blocks: usize) {
        if let Some(counter) = self.counter(len) {
            *counter = counter.saturating_sub(blocks);
        }
    }

    /// Returns the number of blocks in the class of `len` granules or, above the largest class, in the order. O(1).
    #[inline]
    pub(super) fn number(&self, len: usize) -> usize {
        match Class::of_granules(len) {
            Some(class) => self.classes[class.index()],
            None => self.orders.get(order_of(len)).copied().unwrap_or(0),
        }
    }
}

/// Returns the order of a block of `len` granules: log2 of its pages, rounded up.
#[inline]
pub(super) const fn order_of(len: usize) -> usize {
    len.div_ceil(PAGE_GRANULES).next_power_of_two().ilog2() as usize
}

/// The number of logarithms of lengths of free runs.
pub(super) const LOGS: usize = REGION_SHIFT as usize + 1;

/// The numbers of free runs, and their granules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FreeCounts {
    /// The granules of all free runs.
    pub(super) granules: usize,
    /// The granules of the free runs that are shorter than a page.
    pub(super) sub_page_granules: usize,
    /// The free runs of 2ⁿ to 2ⁿ⁺¹ − 1 granules.
    pub(super) runs: [usize; LOGS],
}

impl FreeCounts {
    pub(super) const NONE: Self = Self {
        granules: 0,
        sub_page_granules: 0,
        runs: [0; LOGS],
    };

    /// Counts a free run more. O(1).
    #[inline]
    pub(super) fn add(&mut self, run: Run) {
        self.granules += run.len;
        if run.len < PAGE_GRANULES {
            self.sub_page_granules += run.len;
        }
        if let Some(runs) = self.runs.get_mut(run.len.ilog2() as usize) {
            *runs += 1;
        }
    }

    /// Counts a free run less. O(1).
    #[inline]
    pub(super) fn remove(&mut self, run: Run) {
        self.granules -= run.len;
        if run.len < PAGE_GRANULES {
            self.sub_page_granules -= run.len;
        }
        if let Some(runs) = self.runs.get_mut(run.len.ilog2() as usize) {
            *runs -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_has_the_blocks_of_more_than_half_its_pages() {
        let pages = |pages: usize| order_of(pages * PAGE_GRANULES);
        assert_eq!([1, 2, 3, 4, 5, 1 << 20].map(pages), [0, 1, 2, 2, 3, 20]);
        assert_eq!(order_of(PAGE_GRANULES + 1), 1);
    }

    #[test]
    fn a_block_is_counted_in_its_class_or_order() {
        let mut counts = BlockCounts::NONE;
        for len in [1, 2, 2, 256, 257, 512, 513] {
            counts.add(len, 1);
        }
        assert_eq!(
            [1, 2, 3, 256, 257].map(|len| counts.number(len)),
            [1, 2, 0, 1, 2]
        );
        assert_eq!(counts.orders[..4], [0, 2, 1, 0]);
        for len in [1, 2, 2, 256, 257, 512, 513] {
            counts.remove(len, 1);
        }
        assert_eq!(counts, BlockCounts::NONE);
    }
}
