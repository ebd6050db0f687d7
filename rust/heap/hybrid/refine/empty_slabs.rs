// SPDX-License-Identifier: GPL-2.0

//! Cached empty slabs: one of each class at most, and when they return to the buddy system.
//!
//! A cached slab saves the buddy system's work where a program frees the last object of a class and
//! allocates one soon after.

use crate::class::Class;
use crate::hybrid::{
    buddy::{
        Buddy,
        Work, //
    },
    heap::Heap,
    page::PageDescs,
    slab::Slabs,
};

/// The cached empty slabs of all classes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::hybrid) struct EmptySlabs {
    pub(in crate::hybrid) slabs: usize,
    pub(in crate::hybrid) pages: usize,
}

impl Heap {
    /// Calls `f` with a class's slabs, and counts the empty slab that these cache, or no longer cache,
    /// afterwards.
    #[inline(always)]
    pub(in crate::hybrid) fn with_class<R>(
        &mut self,
        class: Class,
        f: impl FnOnce(&mut Slabs, &mut PageDescs, &mut Buddy) -> R,
    ) -> R {
        let slabs = &mut self.classes[class.index()];
        let before = slabs.empty().is_some();
        let result = f(slabs, &mut self.descs, &mut self.buddy);
        match (before, slabs.empty().is_some()) {
            (false, true) => {
                self.kept.slabs += 1;
                self.kept.pages += class.pages();
            }
            (true, false) => {
                self.kept.slabs -= 1;
                self.kept.pages -= class.pages();
            }
            _ => {}
        }
        result
    }

    /// Returns the cached slabs to the buddy system, and says whether there were any.
    pub(in crate::hybrid) fn reclaim(&mut self, work: &mut Work) -> bool {
        let mut any = false;
        for class in Class::all() {
            any |= self.with_class(class, |slabs, descs, buddy| {
                slabs.reclaim(descs, buddy, class, work)
            });
        }
        self.reclaims += u64::from(any);
        any
    }

    /// Returns the cached slabs to the buddy system, and returns how many pages these had.
    pub(in crate::hybrid) fn drain(&mut self) -> usize {
        let pages = self.kept.pages;
        self.reclaim(&mut Work::default());
        pages
    }

    /// Returns the cached slabs to the buddy system when nothing is live any more, so that an empty heap
    /// can serve its largest block. A single slab stays: it is most likely needed again at once.
    #[inline(always)]
    pub(in crate::hybrid) fn reclaim_if_empty(&mut self, work: &mut Work) {
        if self.kept.pages + self.buddy.free_pages() == self.pages {
            self.reclaim_when_empty(work);
        }
    }

    /// Does the work of [`Heap::reclaim_if_empty`].
    #[cold]
    #[inline(never)]
    fn reclaim_when_empty(&mut self, work: &mut Work) {
        if self.kept.slabs > 1 {
            self.reclaim(work);
        }
    }
}
