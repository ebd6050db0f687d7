// SPDX-License-Identifier: GPL-2.0

//! What comes back to the heap, or changes its size there.

use core::alloc::Layout;

use super::{
    buddy::{
        Work,
        order_of, //
    },
    heap::{
        Heap,
        pages_of,
        served, //
    },
    magazine::MagazineKind,
    page::{
        Page, //
        PageKind,
    },
    slab, //
};
use crate::{
    class::Class,
    cost::{
        Cost,
        Path, //
    },
    engine::BadFree,
    region::Offset,
};

impl Heap {
    /// Takes a block back.
    #[inline]
    pub(super) fn release(
        &mut self,
        block: Offset,
        layout: Layout,
        cost: &mut Cost,
    ) -> Result<(), BadFree> {
        let mut work = Work::default();
        if let Some(class) = Class::of(&layout) {
            match self.release_objects(class, &[block], &mut work) {
                // It may be one that was served as a last resort, by a larger class or by a page.
                Err(BadFree::WrongSize) if slab::class_at(&self.frames, block).is_some() => {
                    let donor = self.release_borrowed(class, block, &mut work)?;
                    *cost = served(Path::Slab, Some(donor), None, work);
                    return Ok(());
                }
                Err(BadFree::WrongSize) if class.pages() > 1 => {}
                result => {
                    *cost = served(Path::Slab, Some(class), None, work);
                    return result.map(|_| ());
                }
            }
        }
        let pages = pages_of(&layout);
        self.release_pages(block, pages, &mut work)?;
        *cost = served(Path::Buddy, None, Some(order_of(pages)), work);
        Ok(())
    }

    /// Takes objects back, as [`Slabs::release`](slab::Slabs::release) does.
    #[inline]
    pub(super) fn release_objects(
        &mut self,
        class: Class,
        objects: &[Offset],
        work: &mut Work,
    ) -> Result<usize, BadFree> {
        let released = self.with_class(class, |slabs, frames, buddy| {
            slabs.release(frames, buddy, class, objects, work)
        })?;
        self.reclaim_if_empty(work);
        Ok(released)
    }

    /// Takes a block of `pages` pages back.
    fn release_pages(
        &mut self,
        block: Offset,
        pages: usize,
        work: &mut Work,
    ) -> Result<(), BadFree> {
        let page = self.find_large(block, pages)?;
        self.release_large(page, pages, work)
    }

    /// Takes the block of `pages` pages back that begins at `page`.
    #[inline]
    pub(super) fn release_large(
        &mut self,
        page: Page,
        pages: usize,
        work: &mut Work,
    ) -> Result<(), BadFree> {
        match self.frames.get(page) {
            Some(frame) if frame.is_large(pages) => frame.set_tail(),
            _ => return Err(self.not_large(page, pages)),
        }
        self.buddy.release(&mut self.frames, page, pages, work);
        self.large_pages -= pages;
        self.large_blocks[order_of(pages) as usize] -= 1;
        self.reclaim_if_empty(work);
        Ok(())
    }

    /// Says why the block of `pages` pages cannot be released that does not begin at `page`.
    #[cold]
    fn not_large(&self, page: Page, pages: usize) -> BadFree {
        let found = self.find_large(page.offset(0), pages);
        found.err().unwrap_or(BadFree::NotOut)
    }

    /// Returns the first page of the block of `pages` pages that begins at `block`.
    fn find_large(&self, block: Offset, pages: usize) -> Result<Page, BadFree> {
        let page = Page::of(block).ok_or(BadFree::Foreign)?;
        let frame = self.frames.get(page).ok_or(BadFree::Foreign)?;
        if block != page.offset(0) {
            return Err(BadFree::Interior);
        }
        match frame.kind() {
            PageKind::Large { pages: own } if own as usize == pages => Ok(page),
            PageKind::Large { .. } | PageKind::Slab { .. } => Err(BadFree::WrongSize),
            PageKind::Interior if self.frames.is_free(page) => Err(BadFree::NotOut),
            PageKind::Interior | PageKind::SlabTail { .. } => Err(BadFree::Interior),
            PageKind::Free { .. } => Err(BadFree::NotOut),
        }
    }

    /// Makes a block serve `new` where it is, if it can.
    pub(super) fn resize(
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
                    frames,
                    buddy,
                    large_pages,
                    large_blocks,
                    ..
                } = self;
                if wanted > pages {
                    let more = page.index() + pages;
                    if more >= frames.pages(page.region())
                        || !buddy.allocate_at(frames, page.after(pages), wanted - pages, &mut work)
                    {
                        return false;
                    }
                } else if wanted < pages {
                    buddy.release(frames, page.after(wanted), pages - wanted, &mut work);
                }
                frames.set_kind(
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

    /// Says whether a block of this size begins here and is out.
    pub(super) fn is_live(&mut self, kind: MagazineKind, block: Offset) -> bool {
        match kind {
            MagazineKind::Class(class) => {
                slab::find(&self.frames, class, block).is_ok_and(|(slab, number, _)| {
                    let word = self.frames.bits(slab, slab::words(class)).get(number / 64);
                    word.is_some_and(|word| word >> (number % 64) & 1 != 0)
                })
            }
            MagazineKind::Pages(pages) => Page::of(block).is_some_and(|page| {
                let pages = pages.get() as u32;
                page.offset(0) == block && self.frames.kind(page) == PageKind::Large { pages }
            }),
        }
    }

    /// Takes back the first of blocks that were in a magazine, and as many more as go with it, and
    /// says how many.
    ///
    /// # Errors
    ///
    /// [`BadFree::NotOut`] when the first was freed twice: in magazines that is not seen.
    pub(super) fn free_run(
        &mut self,
        kind: MagazineKind,
        blocks: &[Offset],
        work: &mut Work,
    ) -> Result<usize, BadFree> {
        match (kind, blocks) {
            (_, []) => Ok(0),
            (MagazineKind::Class(class), _) => self.release_objects(class, blocks, work),
            (MagazineKind::Pages(pages), [block, ..]) => {
                self.release_pages(*block, pages.get(), work)?;
                Ok(1)
            }
        }
    }
}
