// SPDX-License-Identifier: GPL-2.0

//! Redistribution of the budget of magazines.
//!
//! All magazines and the depot together hold at most a sixteenth of the pool: see [`State::grow_magazine`]. If this
//! budget is used up, no magazine can grow. If a CPU has failed [`GROW_FAILURES_MAX`] times to grow a magazine, the
//! CPU's next allocation under the lock returns a part of the budget, because the CPU and the depot may have blocks of
//! sizes that are no longer used: the unused capacity of one of the CPU's magazines, and up to [`REDISTRIBUTED`] blocks
//! of this kind from the depot or, if it has none, from the magazine. The kinds take turns. If the magazines of the CPU have no capacity,
//! those of the CPU that was least active since the last redistribution are reduced instead, so an idle CPU does not
//! keep a part of the budget.

use core::sync::atomic::Ordering::Relaxed;

use super::reclaim::CpuChoice;
use crate::{
    backing_heap::BackingHeap,
    lock::Lock,
    magazines::{
        engine::MagazineEngine,
        magazine::{CpuCache, Slot},
        state::{
            FlushBatch,
            State, //
        },
    },
    per_cpu::{
        Exclusive,
        PerCpu, //
    },
    size_class::{
        MAGAZINE_KINDS,
        MagazineKind, //
    },
};

/// The number of failures to grow after which the budget is redistributed.
const GROW_FAILURES_MAX: u64 = 1;

/// The number of blocks that the depot or a magazine loses at a time. A free to the heap may coalesce blocks.
const REDISTRIBUTED: usize = 1;

impl CpuCache {
    /// Returns the difference between the epoch and the epoch of the last call. Two CPUs may call this method
    /// at the same time, because an inexact activity does no harm.
    fn activity(&self) -> u64 {
        let epoch = self.epoch();
        let last = self.last_epoch.load(Relaxed);
        self.last_epoch.store(epoch, Relaxed);
        epoch.wrapping_sub(last)
    }
}

impl<H, L, P> MagazineEngine<H, L, P>
where
    H: BackingHeap,
    L: Lock<State<H>> + Sync,
    P: PerCpu<CpuCache>,
{
    /// Returns a part of the budget if magazines of the current CPU have failed to grow [`GROW_FAILURES_MAX`] times.
    pub(crate) fn redistribute_budget(&self) {
        let failures = |cache: &Exclusive<'_, CpuCache>| cache.grow_failures.load(Relaxed);
        if self
            .per_cpu
            .try_with_local(failures)
            .is_some_and(|failures| failures >= GROW_FAILURES_MAX)
        {
            self.redistribute_now();
        }
    }

    #[cold]
    fn redistribute_now(&self) {
        let own = self.state.with(|_| {
            self.per_cpu.with_local(|cache| {
                cache.grow_failures.store(0, Relaxed);
                cache.capacity_bytes.load(Relaxed)
            })
        });
        if own.is_some_and(|bytes| bytes > 0) {
            self.reduce_next_magazine(CpuChoice::Current);
            return;
        }
        // The activity of every CPU is read, so that the activities of all CPUs cover the same time.
        let caches = self.per_cpu.iter();
        let activities = caches.map(|(cpu, cache)| (cache.activity(), cpu, cache));
        let least = activities
            .filter(|(_, _, cache)| cache.capacity_bytes.load(Relaxed) > 0)
            .min_by_key(|(activity, ..)| *activity);
        if let Some((_, cpu, _)) = least {
            self.reduce_next_magazine(CpuChoice::Number(cpu));
        }
    }

    /// Moves up to [`REDISTRIBUTED`] blocks of the next kind from the depot or else from the CPU's magazine to the heap.
    /// The magazine loses its unused capacity.
    fn reduce_next_magazine(&self, cpu: CpuChoice) {
        self.state.with(|state| {
            let kind = MagazineKind::new(state.next_kind);
            state.next_kind = (state.next_kind + 1) % MAGAZINE_KINDS;
            let Some(kind) = kind else {
                return;
            };
            let mut blocks = FlushBatch::<REDISTRIBUTED>::new();
            let unloaded =
                state.unload(kind, REDISTRIBUTED, |block| blocks.push(&self.index, block));
            let rest = REDISTRIBUTED.saturating_sub(unloaded);
            let reduce = |cache: &Exclusive<'_, CpuCache>| {
                let newest = cache.newest(kind, rest).iter().rev();
                let newest = newest.filter_map(Slot::get);
                newest.for_each(|block| blocks.push(&self.index, block));
                cache.remove_newest(kind, rest);
                let (len, capacity) = (cache.len(kind), cache.capacity(kind));
                cache.set_capacity(kind, H::block_bytes(kind), len);
                capacity.saturating_sub(len)
            };
            let returned = match cpu {
                CpuChoice::Current => self.per_cpu.with_local(reduce),
                CpuChoice::Number(cpu) => self.per_cpu.with_remote(cpu, reduce),
            };
            state.return_to_budget(returned.unwrap_or(0), kind);
            state.free_flushed(kind, blocks.offsets(), usize::MAX);
        });
    }
}
