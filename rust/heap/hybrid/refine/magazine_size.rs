// SPDX-License-Identifier: GPL-2.0

//! The sizes of magazines: how much memory they take, how they grow, and how they share a reserve.
//!
//! All magazines together hold at most a sixteenth of the pool, the *reserve*. A magazine has no capacity
//! until its size is used, and its capacity doubles when it is found empty or full. So a small pool is not
//! spread over magazines, and a CPU caches the sizes that it uses.
//!
//! Where the reserve is used up, a magazine cannot grow. After [`GROW_FAILURES_MAX`] such failures of a CPU
//! the CPU's next allocation gives up its whole part of the reserve, which may belong to sizes that it no
//! longer uses. A CPU that has no part takes that of the CPU that was least active since the reserve was
//! last redistributed, so an idle CPU does not keep the reserve.

use core::sync::atomic::Ordering::Relaxed;

use super::reclaim::Owner;
use crate::{
    PAGE_BYTES,
    engine::Block,
    hybrid::{
        engine::{
            MagazineEngine,
            State, //
        },
        magazine::{
            BLOCKS_MAX,
            CpuCache,
            add, //
        },
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

/// The largest number of bytes of a magazine.
const BYTES_MAX: usize = 128 << 10;

/// The first capacity of a magazine.
const FIRST_CAPACITY: usize = 4;

/// All magazines together hold at most one part in so many of the pool.
const RESERVE_SHARE: usize = 16;

/// The number of failures to grow after which the reserve is redistributed.
const GROW_FAILURES_MAX: u64 = 64;

/// The sizes of the magazines of a pool, which determine the memory that a CPU's cache takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheSize {
    blocks_max: usize,
}

impl CacheSize {
    /// The size for large pools.
    pub const FULL: Self = Self {
        blocks_max: BLOCKS_MAX,
    };

    /// The number of slots of a cache of the size [`CacheSize::FULL`].
    pub const FULL_SLOTS: usize = Self::FULL.slots();

    /// Returns the size for a pool whose first region has `bytes` bytes: the limit of a magazine is a third
    /// of the number of pages, from 4 to 71 blocks.
    #[must_use]
    pub const fn for_pool(bytes: usize) -> Self {
        let blocks_max = match bytes / PAGE_BYTES / 3 {
            0..FIRST_CAPACITY => FIRST_CAPACITY,
            blocks @ FIRST_CAPACITY..BLOCKS_MAX => blocks,
            _ => BLOCKS_MAX,
        };
        Self { blocks_max }
    }

    /// Returns the limit of the magazine of a kind, in blocks.
    pub(in crate::hybrid) const fn limit(self, kind: MagazineKind) -> usize {
        let blocks = BYTES_MAX / kind.bytes();
        if blocks < self.blocks_max {
            blocks
        } else {
            self.blocks_max
        }
    }

    /// Returns the number of slots of all magazines of a CPU.
    #[must_use]
    pub const fn slots(self) -> usize {
        let (mut number, mut slots) = (0, 0);
        while let Some(kind) = MagazineKind::new(number) {
            slots += self.limit(kind);
            number += 1;
        }
        slots
    }
}

impl<H> State<H> {
    /// Doubles the capacity of a magazine that is empty or full, as far as the reserve allows; returns by how
    /// many blocks it grew. While memory is short no magazine grows.
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
    /// Returns how much the epoch has grown since the last call.
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
    pub(in crate::hybrid) fn disable_next(
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
        if self.per_cpu.try_with_local(failures) >= Some(GROW_FAILURES_MAX) {
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
        if own > Some(0) {
            self.flush_owner(Owner::Local);
            return;
        }
        let caches = self.per_cpu.iter().enumerate();
        // Every CPU's activity is read, so that all are measured over the same time.
        let activities = caches.map(|(cpu, cache)| (cache.activity(), cpu, cache));
        let least = activities
            .filter(|(_, _, cache)| cache.reserved_bytes.load(Relaxed) > 0)
            .min_by_key(|(activity, ..)| *activity);
        if let Some((_, cpu, _)) = least {
            self.flush_owner(Owner::Cpu(cpu));
        }
    }
}
