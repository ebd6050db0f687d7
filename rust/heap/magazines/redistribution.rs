// SPDX-License-Identifier: GPL-2.0

//! Redistribution of the budget of magazines.
//!
//! All magazines and the depot together hold a small part of the memory that no live block uses: see `capacity`. If this
//! budget is used up, no magazine can grow, and the depot takes no blocks. The magazines of the CPU and the depot may have
//! blocks of sizes that are no longer used. Therefore, after such a failure, the CPU's next allocation under the lock
//! returns a part of the budget: the unused capacity of one of the CPU's magazines, and one block of this kind from the
//! depot or, if it has none, from the magazine. The kinds take turns; a kind that has nothing returns nothing. If the
//! magazines of the CPU have no capacity, the magazine of the CPU that was least active since the last such comparison
//! is reduced instead, so an idle CPU does not keep a part of the budget.
//!
//! The budget shrinks when the pool fills. Magazines keep what they have then, and get no more.
//!
//! Only one block moves at a time, because its free may coalesce many blocks, and the time of an operation is bounded.

use core::sync::atomic::Ordering::Relaxed;

use super::reclaim::CpuChoice;
use crate::{
    backing_heap::BackingHeap,
    lock::Lock,
    magazines::{
        engine::MagazineEngine,
        magazine::{
            CpuCache,
            Slot, //
        },
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
    /// Returns a part of the budget if a magazine of the current CPU has failed to grow.
    pub(crate) fn redistribute_budget(&self) {
        let has_failed = |cache: &Exclusive<'_, CpuCache>| cache.grow_failures.load(Relaxed) > 0;
        if self.per_cpu.try_with_local(has_failed) == Some(true) {
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
        let cpu = least.map_or(CpuChoice::Current, |(_, cpu, _)| CpuChoice::Number(cpu));
        self.reduce_next_magazine(cpu);
    }

    /// Moves a block of the next kind from the depot or else from the CPU's magazine to the heap. The magazine loses its
    /// unused capacity.
    fn reduce_next_magazine(&self, cpu: CpuChoice) {
        self.state.with(|state| {
            let kind = MagazineKind::new(state.next_kind);
            state.next_kind = (state.next_kind + 1) % MAGAZINE_KINDS;
            let Some(kind) = kind else {
                return;
            };
            let mut block = FlushBatch::<1>::new();
            let unloaded = state.unload(kind, 1, |unloaded| block.push(&self.index, unloaded));
            let taken = usize::from(unloaded == 0);
            let reduce = |cache: &Exclusive<'_, CpuCache>| {
                let newest = cache.newest(kind, taken).iter().filter_map(Slot::get);
                newest.for_each(|newest| block.push(&self.index, newest));
                cache.remove_newest(kind, taken);
                let (len, capacity) = (cache.len(kind), cache.capacity(kind));
                cache.set_capacity(kind, H::block_bytes(kind), len);
                capacity.saturating_sub(len)
            };
            let has_capacity = |cache: &CpuCache| cache.capacity(kind) > 0;
            let returned = match cpu {
                CpuChoice::Current => self.per_cpu.with_local(reduce),
                CpuChoice::Number(cpu) => (self.per_cpu.get(cpu).is_some_and(has_capacity))
                    .then(|| self.per_cpu.with_remote(cpu, reduce))
                    .flatten(),
            };
            state.return_to_budget(returned.unwrap_or(0), kind);
            state.free_flushed(kind, block.offsets(), usize::MAX);
        });
    }
}
