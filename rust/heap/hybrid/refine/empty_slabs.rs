// SPDX-License-Identifier: GPL-2.0

//! Empty slabs that are kept, at most one of each class, and when they are given back.

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

/// What is kept against a quick return.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::hybrid) struct EmptySlabs {
    pub(in crate::hybrid) slabs: usize,
    pub(in crate::hybrid) pages: usize,
}

impl Heap {
    /// Has a class's slabs do something, and keeps account of the empty one if they then keep it, or
    /// do no more.
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

    /// Gives the empty slabs that are kept back, and says whether there were any.
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

    /// Gives the empty slabs that are kept back, and says how many pages that were.
    pub(in crate::hybrid) fn drain(&mut self) -> usize {
        let pages = self.kept.pages;
        self.reclaim(&mut Work::default());
        pages
    }

    /// Gives the empty slabs that are kept back when nothing else is left, so that an empty heap is
    /// as a new one. A single slab stays: it is most likely wanted again at once.
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
