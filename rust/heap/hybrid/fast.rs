// SPDX-License-Identifier: GPL-2.0

//! The fast path: to pop a block from a magazine of the current CPU, or to push one.
//!
//! The rest is in [`refill`](super::refill). This file counts instructions: the pages of the first
//! region are looked up without a search, and rare cases stand apart.

use core::{
    alloc::Layout,
    ptr::NonNull, //
};

use super::{
    Hybrid,
    cpu_cache::{
        CpuCache,
        Requested,
        Start, //
    },
    magazine::{
        MagazineKind,
        PageCount, //
    },
    page::Page,
    state::State,
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
    engine::BadFree,
    lock::Lock,
    per_cpu::PerCpu,
};

impl<L: Lock<State> + Sync, P: PerCpu<CpuCache>> Hybrid<L, P> {
    /// Allocates a block from the CPU's magazine, if it has one.
    #[inline(always)]
    pub(super) fn pop(&self, kind: MagazineKind, requested: Requested) -> Option<Start> {
        self.per_cpu
            .try_with_local(|cache| cache.allocate(kind, requested))?
    }

    /// Frees a block into the CPU's magazine, and says whether there was room.
    #[inline(always)]
    pub(super) fn push(&self, kind: MagazineKind, start: Start, requested: Requested) -> bool {
        self.per_cpu
            .try_with_local(|cache| cache.free(kind, start, requested))
            .unwrap_or(false)
    }

    /// Frees an object of the first region into the CPU's magazine, and returns its class if there
    /// was room.
    ///
    /// An address where no object of the layout's class begins does not get into a magazine.
    ///
    /// # Safety
    ///
    /// As for [`Engine::release`](crate::Engine::release).
    #[inline(always)]
    pub(super) unsafe fn push_object(
        &self,
        start: Start,
        layout: &Layout,
        requested: Requested,
    ) -> Option<Class> {
        // SAFETY: `object_in_primary` needs the engine to have allocated a block before: by this
        // function's contract, this one.
        let class = unsafe { self.addresses.object_in_primary(start, layout) }?;
        self.push(MagazineKind::Class(class), start, requested)
            .then_some(class)
    }

    /// Says whether a block of this size begins here.
    #[inline]
    pub(super) fn is_block(&self, kind: MagazineKind, start: Start) -> bool {
        let found = self.addresses.find(start);
        found.is_some_and(|(byte, desc)| match kind {
            MagazineKind::Class(class) => desc.has_object(class, byte),
            MagazineKind::Pages(pages) => byte % PAGE_BYTES == 0 && desc.is_large(pages.get()),
        })
    }

    /// Allocates memory for `layout`, of which the size may be 0, or says that there is none.
    ///
    /// For those who want memory and no account of it: the engine does not count how many bytes
    /// were asked for. What was allocated so is to be given to [`Hybrid::free`].
    #[inline(always)]
    pub fn alloc(&self, layout: Layout) -> Option<NonNull<u8>> {
        let Some(class) = Class::of(&layout) else {
            return self.alloc_pages(layout);
        };
        match self.pop(MagazineKind::Class(class), None) {
            Some(start) => Some(start),
            None => self.alloc_from_heap(layout),
        }
    }

    /// Does the work of [`Hybrid::alloc`] for whole pages.
    #[inline(never)]
    fn alloc_pages(&self, layout: Layout) -> Option<NonNull<u8>> {
        let pages = PageCount::of(&layout);
        let start = pages.and_then(|pages| self.pop(MagazineKind::Pages(pages), None));
        match start {
            Some(start) => Some(start),
            None => self.alloc_from_heap(layout),
        }
    }

    #[cold]
    #[inline(never)]
    fn alloc_from_heap(&self, layout: Layout) -> Option<NonNull<u8>> {
        let block = self.allocate_slow(layout, None, &mut Cost::default());
        Some(block.ok()?.start)
    }

    /// Takes memory back.
    ///
    /// # Errors
    ///
    /// The rule that the free breaks. Nothing has changed then.
    ///
    /// # Safety
    ///
    /// As for [`Engine::release`](crate::Engine::release).
    #[inline(always)]
    pub unsafe fn free(&self, start: NonNull<u8>, layout: Layout) -> Result<(), BadFree> {
        // SAFETY: By this function's contract.
        if unsafe { self.free_at_once(start, layout) } {
            return Ok(());
        }
        // SAFETY: As above.
        unsafe { self.free_pages(start, layout) }
    }

    /// Takes memory back if there is hardly anything to do, and says whether there was. If not,
    /// nothing has happened, and [`Hybrid::free`] does it.
    ///
    /// # Safety
    ///
    /// As for [`Engine::release`](crate::Engine::release).
    #[inline(always)]
    #[must_use]
    pub unsafe fn free_at_once(&self, start: NonNull<u8>, layout: Layout) -> bool {
        // SAFETY: By this function's contract.
        unsafe { self.push_object(start, &layout, None) }.is_some()
    }

    /// Does the work of [`Hybrid::free`] for whole pages.
    ///
    /// # Safety
    ///
    /// As for [`Engine::release`](crate::Engine::release).
    #[inline(never)]
    unsafe fn free_pages(&self, start: Start, layout: Layout) -> Result<(), BadFree> {
        let slow = || self.free_uncounted(start, layout);
        let Some(pages) = PageCount::of_block(&layout) else {
            return slow();
        };
        // SAFETY: `find_in_primary` needs the engine to have allocated a block before: by this
        // function's contract, this one.
        let Some((byte, desc)) = (unsafe { self.addresses.find_in_primary(start) }) else {
            return slow();
        };
        // Regions begin at pages, so the address is as aligned as the byte of the region.
        if start.addr().get() % PAGE_BYTES != 0 || !desc.is_large(pages.get()) {
            return slow();
        }
        if self.push(MagazineKind::Pages(pages), start, None) {
            return Ok(());
        }
        self.free_past_magazine(start, Page::new(0, byte / PAGE_BYTES), pages)
    }
}

/// Returns the cost of an allocation or a free that a magazine served.
#[inline(always)]
pub(super) fn magazine_cost(kind: MagazineKind) -> Cost {
    Cost::new(Path::Magazine).with_class(kind.class().map(Class::number))
}
