// SPDX-License-Identifier: GPL-2.0

//! The sizes of magazines: how much memory they take, how they grow, and how they share a reserve.
//!
//! All magazines together hold at most a sixteenth of the pool, the *reserve*. A magazine has no capacity
//! until its size is used, and its capacity doubles when it is found empty or full. So a small pool is not
//! spread over magazines, and a CPU caches the sizes that it uses.
//!
//! If the reserve is used up, a magazine cannot grow. After [`GROW_FAILURES_MAX`] such failures the CPU's next
//! allocation under the lock returns the CPU's whole part of the reserve, which may belong to sizes that the
//! CPU no longer uses. If the CPU has no part, the CPU that was least active since the last redistribution
//! returns its part, so an idle CPU does not keep the reserve. Without redistribution, the utilisation is 89.5 % and
//! 85.9 %; with a reserve of a quarter, 88.9 % and 86.2 %.

use core::sync::atomic::Ordering::Relaxed;

use super::reclaim::CpuChoice;
use crate::{
    Block,
    hybrid::{
        engine::MagazineEngine,
        magazine::{
            CpuCache,
            add, //
        },
        state::State,
    },
    lock::Lock,
    locked_heap::LockedHeap,
    per_cpu::{
        Exclusive,
        PerCpu, //
    },
    size_class::{
        MAGAZINE_KINDS,
        MagazineKind, //
    },
};

/// The first capacity of a magazine.
pub(super) const FIRST_CAPACITY: usize = 4;

/// All magazines together hold at most one part in so many of the pool.
const RESERVE_SHARE: usize = 16;

/// The number of failures to grow after which the reserve is redistributed.
const GROW_FAILURES_MAX: u64 = 64;

impl<H> State<H> {
    /// Doubles the capacity of a magazine that is empty or full, as far as the reserve allows; returns by how
    /// many blocks it grew. While any caller is reclaiming, no magazine grows.
    pub(in crate::hybrid) fn grow_magazine(
        &mut self,
        cache: &Exclusive<'_, CpuCache>,
        kind: MagazineKind,
    ) -> usize {
        if self.is_reclaiming() {
            return 0;
        }
        let capacity = cache.capacity(kind);
        let next = (2 * capacity).max(FIRST_CAPACITY).min(cache.limit(kind));
        let wanted = next.saturating_sub(capacity);
        let most = self.regions.bytes() / RESERVE_SHARE;
        let left = most.saturating_sub(self.reserved_bytes);
        let granted = wanted.min(left / kind.bytes());
        if granted > 0 {
            self.reserved_bytes += granted * kind.bytes();
            cache.set_capacity(kind, capacity + granted);
        }
        if granted < wanted {
            add(&cache.grow_failures, 1);
        }
        granted
    }

    /// Returns the capacity of a magazine to the reserve.
    pub(in crate::hybrid) fn unreserve(&mut self, capacity: usize, kind: MagazineKind) {
        self.reserved_bytes = self.reserved_bytes.saturating_sub(capacity * kind.bytes());
        self.transfers += u64::from(capacity > 0);
    }
}

impl CpuCache {
    /// Returns by how much the epoch has grown since the last call. Two CPUs may call this at the same time: an
    /// inexact activity does no harm.
    fn activity(&self) -> u64 {
        let epoch = self.epoch();
        let last = self.last_epoch.load(Relaxed);
        self.last_epoch.store(epoch, Relaxed);
        epoch.wrapping_sub(last)
    }
}

impl Exclusive<'_, CpuCache> {
    /// Removes all blocks of the first magazine with a capacity, from kind `from` on, passes each to `take`,
    /// and takes the capacity away. Returns the kind and the capacity.
    pub(in crate::hybrid) fn empty_next_magazine(
        &self,
        from: usize,
        take: impl FnMut(Block),
    ) -> Option<(MagazineKind, usize)> {
        let mut kinds = (from..MAGAZINE_KINDS).filter_map(MagazineKind::new);
        let kind = kinds.find(|kind| self.capacity(*kind) > 0)?;
        self.flush(kind, usize::MAX, take);
        let capacity = self.capacity(kind);
        self.set_capacity(kind, 0);
        self.grow_failures.store(0, Relaxed);
        Some((kind, capacity))
    }
}

impl<H, L, P> MagazineEngine<H, L, P>
where
    H: LockedHeap,
    L: Lock<State<H>> + Sync,
    P: PerCpu<CpuCache>,
{
    /// Gives up a part of the reserve if a magazine of the current CPU could not grow too often: the CPU's own
    /// part, or if it has none, that of the least active CPU.
    pub(in crate::hybrid) fn redistribute_reserve(&self) {
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
                cache.reserved_bytes.load(Relaxed)
            })
        });
        if own.is_some_and(|bytes| bytes > 0) {
            self.flush_cpu(CpuChoice::Current);
            return;
        }
        // Every CPU's activity is read, so that all are measured over the same time.
        let caches = self.per_cpu.iter();
        let activities = caches.map(|(cpu, cache)| (cache.activity(), cpu, cache));
        let least = activities
            .filter(|(_, _, cache)| cache.reserved_bytes.load(Relaxed) > 0)
            .min_by_key(|(activity, ..)| *activity);
        if let Some((_, cpu, _)) = least {
            self.flush_cpu(CpuChoice::Number(cpu));
        }
    }
}
