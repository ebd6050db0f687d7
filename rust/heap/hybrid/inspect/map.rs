// SPDX-License-Identifier: GPL-2.0

//! The map of a [`Heap`]: from head to head, as the descs say.
//!
//! The map shows what the descs say and judges nothing: that is the check's. Where they are
//! damaged it is wrong, but it is within the region, and comes to an end.

use crate::hybrid::{
    heap::Heap,
    page::{
        Page, //
        PageKind,
    },
};
use crate::{
    check::STEP,
    class::PAGE_SHIFT,
    map::{
        Extent,
        Mapped,
        NoMap,
        Use, //
    },
    nospec,
};

impl Heap {
    /// Does the work of [`Engine::map`](crate::Engine::map), for up to [`STEP`] descs.
    pub(in crate::hybrid) fn map(
        &mut self,
        region: usize,
        page: u32,
        out: &mut [Extent],
    ) -> Result<Mapped, NoMap> {
        // The table has at most `REGION_PAGES_MAX` descs, so all that is below is a page.
        let end = self.descs.pages(region);
        if end == 0 {
            return Err(NoMap::NoSuchRegion);
        }
        // The page is a program's, and may be the one behind the last.
        let mut index = nospec::clamp((page as usize).min(end), end + 1);
        let mut extents = 0;
        for _ in 0..STEP {
            if index == end || extents == out.len() {
                break;
            }
            let (pages, what) = match self.descs.kind(Page::new(region, index)) {
                PageKind::Interior | PageKind::SlabTail { .. } => {
                    index += 1;
                    continue;
                }
                PageKind::Free { order } => {
                    let pages = 1_usize.checked_shl(order.into()).unwrap_or(end);
                    let order = order.saturating_add(PAGE_SHIFT as u8);
                    (pages, Use::Free { order })
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
            // A damaged frame may say anything; what is shown has pages, and ends with the region.
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
