// SPDX-License-Identifier: GPL-2.0

//! The granules of the pool that belong to live blocks.

use slab_heap::PAGE_BYTES;

use crate::{
    memory::GRANULE,
    words::Words, //
};

/// One bit for each granule of the pool: 1 if a live block contains it.
///
/// ```text
///  pool     │ 0  │ 8  │ 16 │ 24 │ 32 │ 40 │ …     a block of 24 bytes at offset 8
///  bits       0    1    1    1    0    0    …
/// ```
pub(crate) struct LiveMap(Words);

impl LiveMap {
    /// The map of a pool without bytes.
    pub(crate) const EMPTY: Self = Self(Words::EMPTY);

    /// Returns the map whose bits are in `words`, which are zero.
    pub(crate) fn new(words: Words) -> Self {
        Self(words)
    }

    /// Returns whether a granule belongs to a live block.
    #[inline]
    pub(crate) fn is_live(&self, granule: usize) -> bool {
        let word = self.0.get(granule / 64).unwrap_or(0);
        word >> (granule % 64) & 1 != 0
    }

    /// Returns the number of live granules of a page.
    pub(crate) fn live_in_page(&self, page: usize) -> u32 {
        const WORDS: usize = PAGE_BYTES / GRANULE / u64::BITS as usize;
        let words = page * WORDS..(page + 1) * WORDS;
        let live = words.map(|word| self.0.get(word).unwrap_or(0).count_ones());
        live.sum()
    }

    /// Returns the length of the longest sequence of granules of a page that belong to no live block.
    pub(crate) fn longest_free_in_page(&self, page: usize) -> u32 {
        const WORDS: usize = PAGE_BYTES / GRANULE / u64::BITS as usize;
        let (mut longest, mut here) = (0, 0);
        for index in page * WORDS..(page + 1) * WORDS {
            let mut word = self.0.get(index).unwrap_or(0);
            let mut left = u64::BITS;
            while left > 0 {
                let free = word.trailing_zeros().min(left);
                here += free;
                longest = here.max(longest);
                left -= free;
                word = word.checked_shr(free).unwrap_or(0);
                let live = word.trailing_ones();
                if live > 0 {
                    here = 0;
                }
                left -= live;
                word = word.checked_shr(live).unwrap_or(0);
            }
        }
        longest
    }

    /// Returns the offset of the first granule from `begin` up to `end`, both in bytes, that belongs to a live block.
    pub(crate) fn first_live(&self, begin: usize, end: usize) -> Option<usize> {
        let (mut granule, end) = (begin / GRANULE, end / GRANULE);
        while granule < end {
            let rest = self.0.get(granule / 64)? >> (granule % 64);
            if rest != 0 {
                granule += rest.trailing_zeros() as usize;
                return (granule < end).then_some(granule * GRANULE);
            }
            granule = (granule / 64 + 1) * 64;
        }
        None
    }

    /// Marks the granules from `begin` up to `end`, both in bytes, as live or not.
    pub(crate) fn mark(&mut self, begin: usize, end: usize, live: bool) {
        let (mut granule, end) = (begin / GRANULE, end / GRANULE);
        while granule < end {
            let (index, first) = (granule / 64, granule % 64);
            let count = (end - granule).min(64 - first);
            let bits = (u64::MAX >> (64 - count)) << first;
            let word = self.0.get(index).unwrap_or(0);
            self.0
                .set(index, if live { word | bits } else { word & !bits });
            granule += count;
        }
    }
}
