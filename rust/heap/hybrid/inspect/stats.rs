// SPDX-License-Identifier: GPL-2.0

//! Statistics of the engine and of the heap.

use core::sync::atomic::Ordering::Relaxed;

use crate::{
    PAGE_BYTES,
    backing_heap::{
        CachedBlocks,
        HeapTotals,
        InspectHeap, //
    },
    hybrid::{
        buddy::{
            ORDERS,
            order_of, //
        },
        engine::MagazineEngine,
        heap::Heap,
        magazine::CpuCache,
        state::State,
    },
    lock::Lock,
    per_cpu::PerCpu,
    size_class::{
        Blocks,
        Class,
        MAGAZINE_KINDS,
        MagazineKind, //
    },
    stats::{
        BuddyStats,
        ClassStats,
        OrderStats,
        Statistics,
        Totals,
        Visitor, //
    },
};

/// The maximum number of times that the blocks in magazines are counted.
const COUNTING_ATTEMPTS: usize = 4;

/// The numbers of operations of all CPUs and of operations under the lock.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) allocations: u64,
    pub(super) frees: u64,
    /// The bytes that the allocations requested, minus the requested bytes of the freed blocks.
    requested_bytes: u64,
}

impl<H: InspectHeap> State<H> {
    /// Returns a number that changes with every change of the heap.
    pub(in crate::hybrid) fn epoch(&self) -> u64 {
        [
            self.allocations,
            // A double free that is detected late subtracts 1 from `frees`.
            self.frees,
            self.late_double_frees,
            self.transfers,
            self.resizes,
            self.heap.epoch(),
            self.regions.count() as u64,
        ]
        .into_iter()
        .fold(0, u64::wrapping_add)
    }
}

impl<H, L, P> Statistics for MagazineEngine<H, L, P>
where
    H: InspectHeap,
    L: Lock<State<H>> + Sync,
    P: PerCpu<CpuCache>,
{
    /// Passes all statistics to a visitor.
    ///
    /// The blocks in magazines are counted without the lock, and counted again if blocks moved between
    /// magazines and the heap during the count. After `COUNTING_ATTEMPTS` counts, the figures may be of
    /// different moments. The figures are also of different moments if CPUs allocate from their magazines
    /// during the count.
    fn visit(&self, visitor: &mut dyn Visitor) {
        let mut attempts = COUNTING_ATTEMPTS;
        loop {
            attempts -= 1;
            let epoch = self.state.with(|state| state.epoch());
            let mut cached = [0; MAGAZINE_KINDS];
            for (_, cache) in self.per_cpu.iter().filter(|(_, cache)| cache.epoch() > 0) {
                for (kind, cached) in MagazineKind::all().zip(&mut cached) {
                    *cached += cache.len(kind);
                }
            }
            let reported = self.state.with(|state| {
                let is_of_one_moment = state.epoch() == epoch || attempts == 0;
                is_of_one_moment.then(|| self.report_with(state, &cached, visitor))
            });
            if reported.is_some() {
                return;
            }
        }
    }
}

impl<H, L, P> MagazineEngine<H, L, P>
where
    H: InspectHeap,
    L: Lock<State<H>> + Sync,
    P: PerCpu<CpuCache>,
{
    /// Passes all statistics to a visitor. `cached` contains the numbers of blocks in magazines.
    fn report_with(&self, state: &State<H>, cached: &CachedBlocks, visitor: &mut dyn Visitor) {
        let heap = state.heap.totals();
        let kinds = MagazineKind::all().zip(cached);
        let magazine_bytes: usize = kinds.map(|(kind, cached)| cached * kind.bytes()).sum();
        let live = heap.allocated_bytes.saturating_sub(magazine_bytes);
        let (total, free) = (state.regions.bytes(), state.heap.free_bytes());
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
            live_blocks: heap.allocated_blocks.saturating_sub(cached.iter().sum()) as u64,
            regions: state.regions.count() as u32,
            allocations: counts.allocations,
            frees: counts.frees,
            refusals: state.refusals,
        });
        state.heap.visit(cached, visitor);
        visitor.buddy(&BuddyStats {
            user_bytes: (total - free) as u64,
            actual_bytes: (total - free) as u64,
            total_bytes: total as u64,
        });
    }

    /// Returns the numbers of operations of all CPUs and of operations under the lock.
    pub(super) fn counts(&self, state: &State<H>) -> Counts {
        let mut counts = Counts {
            allocations: state.allocations,
            frees: state.frees,
            requested_bytes: state.requested_bytes,
        };
        for (_, cache) in self.per_cpu.iter() {
            for (sum, counter) in [
                (&mut counts.allocations, &cache.allocations),
                (&mut counts.frees, &cache.frees),
                (&mut counts.requested_bytes, &cache.requested_bytes),
            ] {
                *sum = sum.wrapping_add(counter.load(Relaxed));
            }
        }
        counts
    }
}

impl Heap {
    /// Returns the blocks and bytes of the heap.
    pub(super) fn sum(&self) -> HeapTotals {
        let classes = Class::all().zip(&self.classes);
        let object_bytes: usize = classes
            .map(|(class, slabs)| slabs.used * class.bytes())
            .sum();
        HeapTotals {
            allocated_blocks: self.allocated_blocks,
            allocated_bytes: object_bytes + self.large_pages * PAGE_BYTES,
            pool_bytes: self.pages * PAGE_BYTES,
        }
    }

    /// Passes the statistics of each class and order to a visitor.
    // Not inlined, because the stack frame of the caller would become too large.
    #[inline(never)]
    pub(super) fn report(&self, cached: &CachedBlocks, visitor: &mut dyn Visitor) {
        for ((class, slabs), cached) in Class::all().zip(&self.classes).zip(cached) {
            visitor.class(
                class.number(),
                &ClassStats {
                    block_bytes: class.bytes() as u64,
                    total_blocks: (slabs.slab_count * class.objects()) as u64,
                    used_blocks: slabs.used.saturating_sub(*cached) as u64,
                    magazine_blocks: *cached as u64,
                    growths: slabs.growths,
                },
            );
        }
        for order in 0..ORDERS {
            let of_order = |(kind, _): &(MagazineKind, &usize)| match kind.blocks() {
                Blocks::Objects(_) => false,
                Blocks::Pages(pages) => order_of(pages) as usize == order,
            };
            let kinds = MagazineKind::all().zip(cached).filter(of_order);
            let cached: u64 = kinds.map(|(_, cached)| *cached as u64).sum();
            let stats = OrderStats {
                used_blocks: u64::from(self.large_blocks[order]).saturating_sub(cached),
                magazine_blocks: cached,
                free_blocks: self.buddy.lists[order].len.into(),
            };
            visitor.order(order as u8, &stats);
        }
    }
}
