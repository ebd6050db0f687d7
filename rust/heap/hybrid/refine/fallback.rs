// SPDX-License-Identifier: GPL-2.0

//! Fallbacks before a request is refused: an object of a larger class, a page instead of a slab of
//! several pages, or any run of free pages.
//!
//! They run after all empty slabs and all magazines have been returned to the heap, and use memory that
//! the ordinary paths do not reach. They are slower and waste more, which is better than a refusal. The
//! work is bounded: at most 32 classes and 64 runs are looked at.

use core::alloc::Layout;

use crate::hybrid::{
    buddy::{
        Work,
        order_of, //
    },
    heap::{
        Heap,
        served, //
    },
    page::pages_of,
    slab,
};
use crate::{
    class::{
        Class,
        PAGE_BYTES, //
    },
    cost::{
        Cost,
        Path, //
    },
    engine::{
        BadFree,
        Refusal, //
    },
    region::Offset,
};

impl Heap {
    /// Allocates a block where [`Heap::serve`] refused with `refusal`.
    pub(in crate::hybrid) fn allocate_fallback(
        &mut self,
        layout: Layout,
        refusal: Refusal,
        blocks: &mut [Offset],
        work: &mut Work,
        cost: &mut Cost,
    ) -> Result<usize, Refusal> {
        let Some(block) = blocks.first_mut() else {
            return Ok(0);
        };
        *block = match Class::of(&layout) {
            Some(class) => match self.borrow(class, &layout, work, cost) {
                Some(object) => object,
                // A page instead of a slab of several pages.
                None if class.pages() > 1 => return self.large(layout, blocks, work, cost),
                None => return Err(refusal),
            },
            None if layout.align() <= PAGE_BYTES => {
                let pages = pages_of(&layout);
                let page = (self.buddy).allocate_any_run(&mut self.descs, pages, work);
                let page = page.ok_or(refusal)?;
                self.mark_allocated(page, pages);
                *cost = served(Path::Buddy, None, Some(order_of(pages)), *work);
                page.offset(0)
            }
            None => return Err(refusal),
        };
        Ok(1)
    }

    /// Allocates a free object of the smallest larger class that has one.
    fn borrow(
        &mut self,
        class: Class,
        layout: &Layout,
        work: &mut Work,
        cost: &mut Cost,
    ) -> Option<Offset> {
        let larger = Class::all().skip(class.index() + 1);
        for donor in larger.filter(|donor| donor.bytes() % layout.align() == 0) {
            let Self {
                descs,
                buddy,
                classes,
                ..
            } = self;
            let slabs = &mut classes[donor.index()];
            if slabs.has_partial() {
                let mut object = [Offset::new(0, 0)];
                let (taken, _) = slabs.allocate(descs, buddy, donor, &mut object, work)?;
                if taken == 0 {
                    // The slab's bitmap is damaged, and the check names that.
                    return None;
                }
                self.borrowed[class.index()] += 1;
                *cost = served(Path::Slab, Some(donor), None, *work);
                return Some(object[0]);
            }
        }
        None
    }

    /// Frees an object of a larger class that serves a request of `class`, if there is one.
    ///
    /// While such objects are live, a free with too small a size is accepted for any object of the larger
    /// class, and a free of a borrowed object with the larger size is not refused. The check finds the
    /// latter when fewer objects are live than were borrowed.
    ///
    /// # Errors
    ///
    /// [`BadFree::WrongSize`] when no object is borrowed, and as for [`slab::find`].
    pub(in crate::hybrid) fn release_borrowed(
        &mut self,
        class: Class,
        object: Offset,
        work: &mut Work,
    ) -> Result<Class, BadFree> {
        let donor = match slab::class_at(&self.descs, object) {
            Some(donor) if donor > class && self.borrowed[class.index()] > 0 => donor,
            _ => return Err(BadFree::WrongSize),
        };
        self.release_objects(donor, &[object], work)?;
        self.borrowed[class.index()] -= 1;
        Ok(donor)
    }
}
