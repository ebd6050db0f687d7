// SPDX-License-Identifier: GPL-2.0

//! The engine in figures.

use crate::hybrid::{
    Hybrid,
    buddy::{
        ORDERS,
        order_of, //
    },
    cpu_cache::{
        Counts,
        CpuCache, //
    },
    heap::Heap,
    magazine::{
        KINDS,
        MagazineKind, //
    },
    state::State,
};
use crate::{
    class::{
        Class,
        PAGE_BYTES,
        PAGE_SHIFT, //
    },
    lock::Lock,
    per_cpu::PerCpu,
    stats::{
        BuddyStats,
        ClassStats,
        OrderStats,
        Totals,
        Visitor, //
    },
};

/// How often the blocks in magazines are counted, at most.
const COUNTING_ATTEMPTS: usize = 4;

impl<L: Lock<State> + Sync, P: PerCpu<CpuCache>> Hybrid<L, P> {
    /// Gives a visitor all figures.
    ///
    /// The blocks in magazines are counted without the lock, and counted again where blocks moved
    /// between magazines and heap meanwhile. Where that happens again and again, the figures are of
    /// different moments, as they are while CPUs allocate from their magazines.
    pub(in crate::hybrid) fn report(&self, visitor: &mut dyn Visitor) {
        let mut attempts = COUNTING_ATTEMPTS;
        loop {
            attempts -= 1;
            let epoch = self.state.with(|state| state.epoch());
            let mut held = [0; KINDS];
            for cache in self.per_cpu.iter().filter(|cache| cache.epoch() > 0) {
                for (kind, held) in MagazineKind::all().zip(&mut held) {
                    *held += cache.len(kind);
                }
            }
            let reported = self.state.with(|state| {
                let is_of_one_moment = state.epoch() == epoch || attempts == 0;
                is_of_one_moment.then(|| self.report_with(state, &held, visitor))
            });
            if reported.is_some() {
                return;
            }
        }
    }

    /// Gives a visitor all figures, with the blocks in magazines by kind.
    fn report_with(&self, state: &mut State, held: &[usize; KINDS], visitor: &mut dyn Visitor) {
        let heap = &state.heap;
        let mut magazine_bytes = 0;
        let mut magazine_count = 0;
        for (kind, held) in MagazineKind::all().zip(held) {
            magazine_count += held;
            magazine_bytes += held * kind.bytes();
        }
        let (objects, object_bytes, _) = heap.slab_bytes();
        let taken = object_bytes + heap.large_pages * PAGE_BYTES;
        let live = taken.saturating_sub(magazine_bytes);
        let free = heap.buddy.free_pages() * PAGE_BYTES;
        let total = state.regions.bytes();
        let counts = self.counts(state);
        visitor.totals(&Totals {
            total_bytes: total as u64,
            used_bytes: live as u64,
            available_bytes: (total - live) as u64,
            pool_bytes: total as u64,
            live_bytes: live as u64,
            cached_bytes: (total - free - live) as u64,
            magazine_bytes: magazine_bytes as u64,
            free_bytes: free as u64,
            requested_bytes: counts.requested_bytes,
            live_blocks: (objects + heap.large_count()).saturating_sub(magazine_count) as u64,
            regions: state.regions.count() as u32,
            allocations: counts.allocations,
            frees: counts.frees,
            refusals: state.refusals,
        });
        report_parts(heap, held, visitor);
        visitor.buddy(&BuddyStats {
            user_bytes: (total - free) as u64,
            actual_bytes: (total - free) as u64,
            total_bytes: total as u64,
        });
    }

    /// Returns the sum of what all CPUs and the lock's holders counted.
    pub(in crate::hybrid) fn counts(&self, state: &State) -> Counts {
        let caches = self.per_cpu.iter().map(CpuCache::counts);
        caches.fold(state.counts, Counts::plus)
    }
}

/// Gives a visitor the figures of each class and order, of which magazines hold the blocks in `held`.
///
/// Out of line: with the variables of its caller, it would have a large frame.
#[inline(never)]
fn report_parts(heap: &Heap, held: &[usize; KINDS], visitor: &mut dyn Visitor) {
    for (class, held) in Class::all().zip(held.iter().copied()) {
        let slabs = &heap.classes[class.index()];
        visitor.class(
            class.number(),
            &ClassStats {
                block_bytes: class.bytes() as u64,
                total_blocks: (slabs.slabs * class.objects()) as u64,
                used_blocks: slabs.used.saturating_sub(held) as u64,
                magazine_blocks: held as u64,
                growths: slabs.growths,
            },
        );
    }
    for order in 0..ORDERS {
        let held = MagazineKind::all()
            .zip(held.iter().copied())
            .filter(|(kind, _)| match kind {
                MagazineKind::Pages(pages) => order_of(pages.get()) as usize == order,
                MagazineKind::Class(_) => false,
            });
        let held = held.map(|(_, held)| held as u64).sum();
        let stats = OrderStats {
            used_blocks: u64::from(heap.large_blocks[order]).saturating_sub(held),
            magazine_blocks: held,
            free_blocks: heap.buddy.list(order).len.into(),
        };
        visitor.order(order as u8 + PAGE_SHIFT as u8, &stats);
    }
}
