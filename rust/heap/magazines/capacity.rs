// SPDX-License-Identifier: GPL-2.0

//! The capacities of magazines, and their budget.
//!
//! A magazine begins without capacity. Its capacity doubles when an operation finds the magazine empty or
//! full. Therefore only the magazines of sizes that a CPU uses often hold many free blocks. With the full
//! capacity at once and without a budget, the utilisation is 84.1 % and 85.2 %.

use crate::{
    backing_heap::BackingHeap,
    magazines::{
        magazine::{
            CpuCache,
            add, //
        },
        state::State,
    },
    per_cpu::Exclusive,
    size_class::MagazineKind,
};

/// The first capacity of a magazine.
pub(crate) const FIRST_CAPACITY: usize = 4;

/// The *budget* of magazines is 1/`BUDGET_SHARE` of the memory that no live block uses: the free memory of the heap, the
/// capacities of all magazines, and the blocks in the depot. Capacities and depot grow only within the budget. When the
/// pool fills, the budget shrinks, and they keep what they have until a reclaim.
pub(crate) const BUDGET_SHARE: usize = 16;

/// The budget is at least 1/`FULL_BUDGET_SHARE` of the pool.
const FULL_BUDGET_SHARE: usize = 256;

impl<H: BackingHeap> State<H> {
    /// Returns whether a request is flushing all magazines.
    pub(crate) fn is_reclaiming(&self) -> bool {
        self.reclaimers > 0
    }

    /// Doubles the capacity of a magazine that is empty or full, as far as the budget allows, and returns by
    /// how many blocks the capacity grew. While any caller is reclaiming, no magazine grows.
    pub(crate) fn grow_magazine(
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
        if wanted == 0 {
            return 0;
        }
        let granted = wanted.min(self.budget_left() / H::block_bytes(kind));
        if granted > 0 {
            self.reserved_bytes += granted * H::block_bytes(kind);
            cache.set_capacity(kind, H::block_bytes(kind), capacity + granted);
        }
        if granted < wanted {
            add(&cache.grow_failures, 1);
        }
        granted
    }

    /// Returns the bytes of the budget that neither capacities nor the blocks in the depot use. O(regions).
    pub(crate) fn budget_left(&self) -> usize {
        let pool = self.regions.bytes();
        // Capacities without blocks count twice here, so the sum may be larger than the pool.
        let unused = self.heap.free_bytes().saturating_add(self.reserved_bytes);
        let budget = (unused.min(pool) / BUDGET_SHARE).max(pool / FULL_BUDGET_SHARE);
        budget.saturating_sub(self.reserved_bytes)
    }

    /// Returns the capacity of a magazine, or blocks of the depot, to the budget.
    pub(crate) fn return_to_budget(&mut self, blocks: usize, kind: MagazineKind) {
        self.reserved_bytes = self
            .reserved_bytes
            .saturating_sub(blocks * H::block_bytes(kind));
        self.transfers += u64::from(blocks > 0);
    }
}
