// SPDX-License-Identifier: GPL-2.0

//! The map of the engine `student`: which pages are live, free, or both.
//!
//! The engine knows the live granules, but neither blocks nor the allocator's own data. Pages of the same use that lie
//! side by side become one extent, as long as it has 2ᵏ pages and begins at a multiple of its length:
//!
//! ```text
//!  pages    │ live │ live │ live │ both │ free │ free │ free │ free │
//!  extents  │    large    │large │mixed │           free           │
//! ```
//!
//! So the extents depend only on the use of the pages, and not on the page at which a call begins. A page with live and
//! free granules is mixed.

use slab_heap::{
    PAGE_BYTES,
    check::STEP,
    lock::Lock,
    map::{
        Extent,
        Map,
        Mapped,
        NoMap,
        Use, //
    },
    nospec,
};

use crate::{
    Allocator,
    engine::{
        State,
        StudentEngine, //
    },
    live_map::LiveMap,
    memory::GRANULE,
};

/// The granules of a page.
const PAGE_GRANULES: u32 = (PAGE_BYTES / GRANULE) as u32;

/// An extent has at most 2 to this power pages.
const ORDER_MAX: u32 = 9;

const _: () = assert!(1 << ORDER_MAX <= STEP);

impl<A: Allocator, L: Lock<State<A>> + Sync> Map for StudentEngine<A, L> {
    fn map(&self, region: usize, page: u32, out: &mut [Extent]) -> Result<Mapped, NoMap> {
        self.state().with(|state| {
            let end = state.memory().pages();
            if region != 0 || end == 0 {
                return Err(NoMap);
            }
            Ok(map(&state.memory().live, end, page as usize, out))
        })
    }
}

/// Writes the extents of a pool of `end` pages, from `page` on, to `out`. One call visits about [`STEP`] pages.
fn map(live: &LiveMap, end: usize, page: usize, out: &mut [Extent]) -> Mapped {
    // The page comes from a program. The page after the last page is allowed.
    let first = nospec::clamp(page.min(end), end + 1);
    let (mut index, mut extents) = (first, 0);
    while index < end && extents < out.len() && index - first < STEP {
        let extent = extent(live, end, index);
        let start = extent.page as usize;
        // An extent that begins before the first page is skipped.
        if start == index {
            out[extents] = extent;
            extents += 1;
        }
        index = start + extent.pages as usize;
    }
    Mapped {
        extents,
        next: index as u32,
        end: end as u32,
    }
}

/// Returns the extent that contains a page: the largest one whose pages have the same use.
fn extent(live: &LiveMap, end: usize, page: usize) -> Extent {
    let used = live.live_in_page(page);
    let (mut start, mut order) = (page, 0);
    if used == 0 || used == PAGE_GRANULES {
        for larger in 1..=ORDER_MAX {
            let pages = 1 << larger;
            let begin = page / pages * pages;
            let same = |page: usize| live.live_in_page(page) == used;
            if begin + pages > end || !(begin..begin + pages).all(same) {
                break;
            }
            (start, order) = (begin, larger);
        }
    }
    let what = match used {
        0 => Use::Free,
        PAGE_GRANULES => Use::Large,
        used => Use::Mixed {
            // The engine does not know where the blocks of a page begin.
            blocks: 0,
            used_bytes: (used as usize * GRANULE) as u16,
            largest_free_bytes: (live.longest_free_in_page(page) as usize * GRANULE) as u16,
        },
    };
    Extent {
        page: start as u32,
        pages: 1 << order,
        what,
    }
}

#[cfg(test)]
mod tests {
    use std::{
        vec,
        vec::Vec, //
    };

    use super::*;
    use crate::words::Words;

    /// The pages of the test.
    const PAGES: usize = 1100;

    /// Reads a whole map, `room` extents at once.
    fn read(live: &LiveMap, room: usize) -> Vec<Extent> {
        let (mut extents, mut page) = (Vec::new(), 0);
        while page < PAGES {
            let mut out = vec![Extent::default(); room];
            let mapped = map(live, PAGES, page, &mut out);
            assert!(mapped.next as usize > page && mapped.end as usize == PAGES);
            extents.extend(&out[..mapped.extents]);
            page = mapped.next as usize;
        }
        extents
    }

    /// Returns the most free granules in a row in a page.
    fn longest_free(live: &LiveMap, page: usize) -> usize {
        let (mut longest, mut here) = (0, 0);
        for granule in page * 512..(page + 1) * 512 {
            here = if live.is_live(granule) { 0 } else { here + 1 };
            longest = longest.max(here);
        }
        longest
    }

    #[test]
    fn a_map_has_every_page_once_with_its_use() {
        let mut live = LiveMap::new(Words::leaked(PAGES * 8));
        // Blocks of 8 bytes to 40 pages, with gaps.
        let (mut block, mut bytes) = (0, 8);
        while block + bytes <= PAGES * PAGE_BYTES {
            live.mark(block, block + bytes, true);
            block += 2 * bytes + bytes / 64 * 8;
            bytes = if bytes > 160_000 {
                8
            } else {
                bytes + bytes / 16 * 8 + 8
            };
        }
        let extents = read(&live, 4096);
        let mut next = 0;
        for extent in &extents {
            assert_eq!(extent.page, next);
            next += extent.pages;
            for page in extent.page..next {
                let used = live.live_in_page(page as usize);
                let is_right = match extent.what {
                    Use::Free => used == 0 && extent.pages.is_power_of_two(),
                    Use::Large => used == 512,
                    Use::Mixed {
                        blocks: 0,
                        used_bytes,
                        largest_free_bytes,
                    } => {
                        u32::from(used_bytes) == used * 8
                            && (1..512).contains(&used)
                            && usize::from(largest_free_bytes)
                                == longest_free(&live, page as usize) * 8
                    }
                    _ => false,
                };
                assert!(is_right, "page {page}: {extent:?}");
            }
        }
        assert_eq!(next as usize, PAGES);
        assert!(extents.iter().any(|extent| extent.pages > 4));
        for room in [1, 3, 100] {
            assert_eq!(read(&live, room), extents);
        }
        // A call that begins inside of an extent skips it.
        let long = extents.iter().find(|extent| extent.pages > 1).unwrap();
        let mut out = [Extent::default()];
        map(&live, PAGES, long.page as usize + 1, &mut out);
        assert_eq!(out[0].page, long.page + long.pages);
    }
}
