// SPDX-License-Identifier: GPL-2.0

//! Statistics of an engine: the sums of the heap, of the magazines and of the operations.

use core::sync::atomic::Ordering::Relaxed;

use crate::{
    backing_heap::{
        CachedBlocks,
        InspectHeap, //
    },
    lock::Lock,
    magazines::{
        engine::MagazineEngine,
        magazine::CpuCache,
        state::State, //
    },
    per_cpu::PerCpu,
    size_class::{
        MAGAZINE_KINDS,
        MagazineKind, //
    },
    stats::{
        Statistics,
        Totals,
        Visitor, //
    },
};

/// The maximum number of times that the blocks in magazines are counted.
const COUNTING_ATTEMPTS: usize = 4;

/// The numbers of operations of all CPUs and of operations under the lock.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) allocations: u64,
    pub(crate) frees: u64,
    /// The bytes that the allocations requested, minus the requested bytes of the freed blocks.
    requested_bytes: u64,
}

impl<H: InspectHeap> State<H> {
    /// Returns a number that changes with every change of the heap.
    pub(crate) fn epoch(&self) -> u64 {
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
    /// The blocks in the CPUs' magazines are counted without the lock, and counted again if blocks moved between
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
                for (kind, cached) in MagazineKind::all().zip(&mut cached) {
                    *cached += state.depot.len(kind);
                }
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
    /// Passes all statistics to a visitor. `cached` contains the numbers of blocks in magazines and in
    /// the depot.
    fn report_with(&self, state: &State<H>, cached: &CachedBlocks, visitor: &mut dyn Visitor) {
        let heap = state.heap.totals();
        let kinds = MagazineKind::all().zip(cached);
        let magazine_bytes: usize = kinds
            .map(|(kind, cached)| cached * H::block_bytes(kind))
            .sum();
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
            largest_free_bytes: heap.largest_free_bytes as u64,
            requested_bytes: counts.requested_bytes,
            live_blocks: heap.allocated_blocks.saturating_sub(cached.iter().sum()) as u64,
            regions: state.regions.count() as u32,
            allocations: counts.allocations,
            frees: counts.frees,
            refusals: state.refusals,
        });
        state.heap.visit(cached, visitor);
    }

    /// Returns the numbers of operations of all CPUs and of operations under the lock.
    pub(crate) fn counts(&self, state: &State<H>) -> Counts {
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
