// SPDX-License-Identifier: GPL-2.0

//! The fast path: to pop a block from a magazine of the current CPU, or to push one.
//!
//! The rest is in [`refill`](super::refill). This file counts instructions: the pages of the first
//! region are looked up without a search, and rare cases stand apart.

use core::alloc::Layout;

use super::{
    Hybrid,
    cpu_cache::{
        CpuCache,
        Requested,
        Start, //
    },
    magazine::MagazineKind,
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
}

/// Returns the cost of an allocation or a free that a magazine served.
#[inline(always)]
pub(super) fn magazine_cost(kind: MagazineKind) -> Cost {
    Cost::new(Path::Magazine).with_class(kind.class().map(Class::number))
}
