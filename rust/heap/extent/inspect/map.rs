// SPDX-License-Identifier: GPL-2.0

//! The map of a [`Heap`], which is read from the page descriptors.
//!
//! Whole pages of one run are one extent. A page with several runs is an extent of its own:
//!
//! ```text
//!  pages    │ 0         │ 1    │ 2    │ 3         │ 4         │ 5    │
//!  runs     │ b │ b │ block of 2¾ pages │ b │ free run of 1½ pages   │
//!  extents  │ mixed     │    large    │ mixed     │ mixed     │ free │
//! ```
//!
//! A block in a magazine counts as used.
//!
//! Page descriptors of adjacent pages are sufficient to know where an extent begins, so the extents do not depend on
//! the page at which a call begins. The map does not check the descriptors. A map of damaged descriptors is wrong, but it
//! ends, and all its extents lie in the region.

use super::bytes;
#[cfg(doc)]
use crate::map::Map;
use crate::{
    check::STEP,
    extent::{
        heap::Heap,
        page::PageDesc,
        place::{
            Granule,
            PAGE_GRANULES, //
        },
        table::Tables,
    },
    map::{
        Extent,
        Mapped,
        NoMap,
        Use, //
    },
    nospec,
};

/// The use of a page, as its descriptor and that of the page before tell it.
enum PageUse {
    /// The page is in an extent that begins before it.
    Interior,
    /// Pages of one run, up to this granule of the region, begin here.
    Whole { is_free: bool, end: usize },
    /// Several runs share the page.
    Mixed,
}

impl Heap {
    /// Implements [`Map::map`]: visits up to [`STEP`] pages and runs, and the other runs of the last page.
    pub(super) fn map_part(
        &mut self,
        region: usize,
        page: u32,
        out: &mut [Extent],
    ) -> Result<Mapped, NoMap> {
        let tables = &self.runs.tables;
        // A region has at most `REGION_PAGES_MAX` pages, so every index below `end` is a page.
        let end = tables.pages(region);
        if end == 0 {
            return Err(NoMap);
        }
        // A program has chosen the page. The page after the last page is allowed.
        let mut index = nospec::clamp((page as usize).min(end), end + 1);
        let (mut extents, mut visited) = (0, 0);
        while index < end && extents < out.len() && visited < STEP {
            visited += 1;
            let (pages, what) = match tables.page_use(region, index) {
                PageUse::Interior => {
                    index += 1;
                    continue;
                }
                PageUse::Whole {
                    is_free,
                    end: granule,
                } => {
                    let what = if is_free { Use::Free } else { Use::Large };
                    ((granule / PAGE_GRANULES).saturating_sub(index), what)
                }
                PageUse::Mixed => (1, tables.mixed(region, index, &mut visited)),
            };
            // A damaged descriptor may name any end. An extent has at least one page and ends within the region.
            let pages = pages.clamp(1, end - index);
            out[extents] = Extent {
                page: index as u32,
                pages: pages as u32,
                what,
            };
            extents += 1;
            index += pages;
        }
        Ok(Mapped {
            extents,
            next: index as u32,
            end: end as u32,
        })
    }
}

impl PageDesc {
    /// Returns whether all of the page belongs to one run.
    fn is_whole(&self, page: usize) -> bool {
        match self.next_begin(0) {
            None => true,
            Some(0) => self.next_begin(1).is_none() && self.end() >= (page + 1) * PAGE_GRANULES,
            Some(_) => false,
        }
    }
}

impl Tables {
    /// Returns the use of a page. O(1).
    fn page_use(&self, region: usize, page: usize) -> PageUse {
        let Some(desc) = self.desc(region, page).filter(|desc| desc.is_whole(page)) else {
            return PageUse::Mixed;
        };
        if desc.begins(0) {
            return PageUse::Whole {
                is_free: desc.is_free(0),
                end: desc.end(),
            };
        }
        // The run begins in a page before. If it also has all of the page before, this is not the first whole page.
        let before = page.checked_sub(1);
        let before = before.and_then(|page| Some((page, self.desc(region, page)?)));
        match before {
            Some((page, before)) if !before.is_whole(page) => PageUse::Whole {
                is_free: before
                    .last_begin(PAGE_GRANULES - 1)
                    .is_some_and(|granule| before.is_free(granule)),
                end: before.end(),
            },
            _ => PageUse::Interior,
        }
    }

    /// Sums the runs of a page, and adds their number to `visited`. O(runs).
    fn mixed(&self, region: usize, page: usize, visited: &mut usize) -> Use {
        let (mut blocks, mut used, mut largest_free) = (0, 0, 0);
        let mut run = |is_free: bool, granules: usize| {
            if is_free {
                largest_free = granules.max(largest_free);
            } else {
                used += granules;
            }
        };
        if let Some(desc) = self.desc(region, page) {
            let mut next = desc.next_begin(0);
            let first = next.unwrap_or(PAGE_GRANULES);
            if first > 0 {
                let start = Granule::new(region, desc.head());
                run(self.begins_free(start), first);
            }
            while let Some(granule) = next {
                next = desc.next_begin(granule + 1);
                let is_free = desc.is_free(granule);
                run(is_free, next.unwrap_or(PAGE_GRANULES) - granule);
                blocks += u16::from(!is_free);
                *visited += 1;
            }
        }
        Use::Mixed {
            blocks,
            used_bytes: bytes(used) as u16,
            largest_free_bytes: bytes(largest_free) as u16,
        }
    }
}
