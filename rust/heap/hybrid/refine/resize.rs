// SPDX-License-Identifier: GPL-2.0

//! Resizing in place: a block of whole pages grows into the free pages behind it, or frees its last
//! pages.
//!
//! It saves the copy of a reallocation. The core allocates such blocks from the beginning of a free
//! block, and slabs from the end, so that there often are free pages behind.

use core::alloc::Layout;

use crate::{
    class::Class,
    cost::{
        Cost,
        Path, //
    },
    hybrid::{
        buddy::{
            Work,
            order_of, //
        },
        heap::{
            Heap,
            served, //
        },
        page::{
            PageKind,
            pages_of, //
        },
    },
    region::Offset,
};

impl Heap {
    /// Resizes a block in place, and says whether that was possible. If not, nothing has changed.
    ///
    /// O(1) within a size class, else O(log n).
    pub(in crate::hybrid) fn resize(
        &mut self,
        block: Offset,
        layout: Layout,
        new: Layout,
        cost: &mut Cost,
    ) -> bool {
        let mut work = Work::default();
        match (Class::of(&layout), Class::of(&new)) {
            (Some(old), Some(new)) if old == new => {
                *cost = served(Path::InPlace, Some(old), None, work);
                true
            }
            (None, None) => {
                let pages = pages_of(&layout);
                let Ok(page) = self.find_large(block, pages) else {
                    return false;
                };
                let wanted = pages_of(&new);
                let Self {
                    descs,
                    buddy,
                    large_pages,
                    large_blocks,
                    ..
                } = self;
                if wanted > pages {
                    let more = page.index() + pages;
                    if more >= descs.pages(page.region())
                        || !buddy.allocate_at(descs, page.after(pages), wanted - pages, &mut work)
                    {
                        return false;
                    }
                } else if wanted < pages {
                    buddy.release(descs, page.after(wanted), pages - wanted, &mut work);
                }
                descs.set_kind(
                    page,
                    PageKind::Large {
                        pages: wanted as u32,
                    },
                );
                *large_pages = *large_pages + wanted - pages;
                large_blocks[order_of(pages) as usize] -= 1;
                large_blocks[order_of(wanted) as usize] += 1;
                *cost = served(Path::InPlace, None, Some(order_of(wanted)), work);
                true
            }
            _ => false,
        }
    }
}
