// SPDX-License-Identifier: GPL-2.0

//! The map of a [`Heap`], which is read from the page descriptors, block by block.
//!
//! The map shows the page descriptors and does not check them. A map of damaged descriptors is wrong, but it
//! ends, and all its extents lie in the region.

#[cfg(doc)]
use crate::map::Map;
use crate::{
    check::STEP,
    hybrid::{
        heap::Heap,
        page::{
            Page,
            PageKind, //
        },
    },
    map::{
        Extent,
        Mapped,
        NoMap,
        Use, //
    },
    nospec,
};

impl Heap {
    /// Implements [`Map::map`] and visits up to [`STEP`] pages.
    pub(super) fn map_part(
        &mut self,
        region: usize,
        page: u32,
        out: &mut [Extent],
    ) -> Result<Mapped, NoMap> {
        // A region has at most `REGION_PAGES_MAX` pages, so every index below `end` is a page.
        let end = self.buddy.metadata.pages(region);
        if end == 0 {
            return Err(NoMap);
        }
        // A program has chosen the page. The page after the last page is allowed.
        let mut index = nospec::clamp((page as usize).min(end), end + 1);
        let mut extents = 0;
        for _ in 0..STEP {
            if index == end || extents == out.len() {
                break;
            }
            let (pages, what) = match self.buddy.metadata.kind(Page::new(region, index)) {
                PageKind::Interior | PageKind::SlabTail { .. } => {
                    index += 1;
                    continue;
                }
                PageKind::Free { order } => {
                    let pages = 1_usize.checked_shl(order.into()).unwrap_or(end);
                    (pages, Use::Free)
                }
                PageKind::Large { pages } => (pages as usize, Use::Large),
                PageKind::Slab { class, used } => {
                    let what = Use::Slab {
                        class: class.number(),
                        objects: class.objects() as u16,
                        used,
                    };
                    (class.pages(), what)
                }
            };
            // A damaged descriptor may contain any number of pages. An extent has at least one page and ends
            // within the region.
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
