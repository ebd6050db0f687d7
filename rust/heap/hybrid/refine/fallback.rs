// SPDX-License-Identifier: GPL-2.0

//! What a [`Heap`] still has when it has nothing more.
//!
//! When every empty slab and every magazine has given back what it held, some memory is free that
//! the ordinary ways do not reach: objects of larger classes, in slabs that are not full, and pages
//! that lie side by side but are no buddies. To use it is slower, and poor use of it; it is better
//! than to refuse. How much is looked at is bounded.

use core::alloc::Layout;

use crate::hybrid::{
    buddy::{
        Work,
        order_of, //
    },
    heap::{
        Heap,
        pages_of,
        served, //
    },
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
    /// Allocates a block where [`Heap::serve`] refused to, and nothing can be had back.
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
                // A page in place of a slab of several.
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

    /// Allocates an object of the smallest larger class that has one in a slab.
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
                    // A slab whose bitmap is damaged. The check will say so.
                    return None;
                }
                self.borrowed[class.index()] += 1;
                *cost = served(Path::Slab, Some(donor), None, *work);
                return Some(object[0]);
            }
        }
        None
    }

    /// Takes back an object of a larger class than `class`, if such are out.
    ///
    /// A bad free with too small a size is not told from it then; the object is free all the same.
    /// One with the donor's size is not told from that of the donor's own: the check finds it, when
    /// fewer are out than were borrowed.
    ///
    /// # Errors
    ///
    /// [`BadFree::WrongSize`] when none are out, and what [`slab::find`] says.
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
