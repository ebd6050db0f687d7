// SPDX-License-Identifier: GPL-2.0

//! Page descriptors: which runs begin in a page.

use core::sync::atomic::Ordering::Relaxed;
#[cfg(not(test))]
use core::sync::atomic::{
    AtomicU32,
    AtomicU64, //
};

use super::place::PAGE_GRANULES;
#[cfg(test)]
use crate::testing::atomic::{
    AtomicU32,
    AtomicU64, //
};

const WORDS: usize = PAGE_GRANULES / 64;

/// The descriptor of a page: two bits for each granule, and the ends of the runs that cross the ends of the page.
///
/// Blocks and free runs cover the pool without gaps. This is a page with the tail of a run, two blocks and the
/// beginning of a free run:
///
/// ```text
///  granule   0    1    2    3    4    5    6    7    8   …  255  │
///           ┄──────────┬──────────────┬─────────┬─────────────────┄
///            run       │ block        │ block   │ free run
///           ┄──────────┴──────────────┴─────────┴─────────────────┄
///  begins    0    0    1    0    0    1    0    1    0   …   0
///  free      ·    ·    0    ·    ·    0    ·    1    ·   …   ·      only read where a run begins
///  head      the granule of the region at which the run begins that covers granule 0
///  end       the granule of the region behind the last run that begins in this page
/// ```
///
/// `head` is valid in the last page of a run of several pages, and `end` in a page where a run begins. A page in the
/// middle of a run has zeros in `begins`. A long free run contains its second page completely, so no run begins there,
/// and `free` has room for the links of its list.
///
/// The words are atomic because a free reads `begins`, `free` and `end` without the lock. It reads only the bits of a
/// block that stays allocated until the free returns: they do not change meanwhile. Only the holder of the lock changes
/// words.
#[derive(Debug, Default)]
#[repr(C)]
pub struct PageDesc {
    begins: [AtomicU64; WORDS],
    free: [AtomicU64; WORDS],
    head: AtomicU32,
    end: AtomicU32,
}

/// The neighbours of a long free run in its list, as numbers of granules plus 1. 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Links {
    pub(super) prev: u32,
    pub(super) next: u32,
}

impl PageDesc {
    /// Returns whether a run begins at this granule of the page.
    #[inline(always)]
    pub(super) fn begins(&self, granule: usize) -> bool {
        self.begins[granule / 64 % WORDS].load(Relaxed) >> (granule % 64) & 1 != 0
    }

    /// Returns whether the run that begins at this granule of the page is free.
    #[inline(always)]
    pub(super) fn is_free(&self, granule: usize) -> bool {
        self.free[granule / 64 % WORDS].load(Relaxed) >> (granule % 64) & 1 != 0
    }

    /// Returns the first granule of the page from `granule` on at which a run begins. O(1): at most 4 words.
    #[inline(always)]
    pub(super) fn next_begin(&self, granule: usize) -> Option<usize> {
        let mut granule = granule;
        while granule < PAGE_GRANULES {
            let word = self.begins[granule / 64].load(Relaxed) >> (granule % 64);
            if word != 0 {
                return Some(granule + word.trailing_zeros() as usize);
            }
            granule = (granule / 64 + 1) * 64;
        }
        None
    }

    /// Returns the last granule of the page, up to and including `granule`, at which a run begins. O(1): at most 4
    /// words.
    #[inline]
    pub(super) fn last_begin(&self, granule: usize) -> Option<usize> {
        let mut word = granule / 64;
        let mut bits = self.begins[word % WORDS].load(Relaxed) << (63 - granule % 64);
        let mut top = granule;
        loop {
            if bits != 0 {
                return Some(top - bits.leading_zeros() as usize);
            }
            top = (word * 64).checked_sub(1)?;
            word -= 1;
            bits = self.begins[word % WORDS].load(Relaxed);
        }
    }

    /// Records that a run begins at this granule of the page, free or not.
    #[inline]
    pub(super) fn set_begin(&self, granule: usize, is_free: bool) {
        let (word, bit) = (granule / 64 % WORDS, 1 << (granule % 64));
        let others = self.free[word].load(Relaxed) & !bit;
        let free = if is_free { others | bit } else { others };
        self.free[word].store(free, Relaxed);
        self.begins[word].store(self.begins[word].load(Relaxed) | bit, Relaxed);
    }

    /// Records that no run begins at this granule of the page.
    #[inline]
    pub(super) fn clear_begin(&self, granule: usize) {
        let (word, bit) = (granule / 64 % WORDS, 1 << (granule % 64));
        self.begins[word].store(self.begins[word].load(Relaxed) & !bit, Relaxed);
    }

    #[inline(always)]
    pub(super) fn end(&self) -> usize {
        self.end.load(Relaxed) as usize
    }

    #[inline]
    pub(super) fn set_end(&self, end: usize) {
        self.end.store(end as u32, Relaxed);
    }

    #[inline]
    pub(super) fn head(&self) -> usize {
        self.head.load(Relaxed) as usize
    }

    #[inline]
    pub(super) fn set_head(&self, head: usize) {
        self.head.store(head as u32, Relaxed);
    }

    #[inline]
    pub(super) fn links(&self) -> Links {
        let bits = self.free[0].load(Relaxed);
        Links {
            prev: (bits >> 32) as u32,
            next: bits as u32,
        }
    }

    #[inline]
    pub(super) fn set_links(&self, links: Links) {
        let bits = u64::from(links.prev) << 32 | u64::from(links.next);
        self.free[0].store(bits, Relaxed);
    }

    /// Returns whether an allocated block of `len` granules begins at granule `index` of the region, in this page.
    /// O(1): at most 4 words of `begins`.
    #[inline(always)]
    pub(super) fn has_block(&self, index: usize, len: usize) -> bool {
        let granule = index % PAGE_GRANULES;
        let (word, bit) = (granule / 64, granule % 64);
        let begins = self.begins[word].load(Relaxed) >> bit;
        let free = self.free[word].load(Relaxed) >> bit;
        if begins & !free & 1 == 0 {
            return false;
        }
        // Usually the next run begins at a granule of the same word.
        let behind = begins >> 1;
        if behind != 0 {
            return behind.trailing_zeros() as usize + 1 == len;
        }
        match self.next_begin((word + 1) * 64) {
            Some(next) => next.wrapping_sub(granule) == len,
            None => self.end().wrapping_sub(index) == len,
        }
    }

    /// Returns whether an allocated block of `len` granules, which are whole pages, begins at the beginning of this
    /// page, granule `index` of the region. O(1), and faster than [`PageDesc::has_block`].
    #[inline(always)]
    pub(super) fn has_whole_pages(&self, index: usize, len: usize) -> bool {
        let [first, rest @ ..] = &self.begins;
        let others = rest.iter().fold(0, |bits, word| bits | word.load(Relaxed));
        let is_free = self.free[0].load(Relaxed) & 1 != 0;
        first.load(Relaxed) == 1 && others == 0 && !is_free && self.end().wrapping_sub(index) == len
    }

    /// Returns the free runs that begin in the page, which is page `page` of its region, as granules of the page and
    /// lengths. O(runs).
    pub(super) fn free_runs(&self, page: usize) -> impl Iterator<Item = (usize, usize)> {
        let mut from = 0;
        core::iter::from_fn(move || {
            loop {
                let granule = self.next_begin(from)?;
                let next = self.next_begin(granule + 1);
                from = next.unwrap_or(PAGE_GRANULES);
                if self.is_free(granule) {
                    let len = match next {
                        Some(next) => next - granule,
                        None => self.end().wrapping_sub(page * PAGE_GRANULES + granule),
                    };
                    return Some((granule, len));
                }
            }
        })
    }
}
