// SPDX-License-Identifier: GPL-2.0

//! Statistics of the heap: size classes, and orders of the buddy system.

use crate::{
    PAGE_BYTES,
    backing_heap::{
        CachedBlocks,
        HeapTotals, //
    },
    hybrid::{
        buddy::{
            Buddy,
            ORDERS,
            order_of, //
        },
        heap::{
            Blocks,
            Heap,
            blocks, //
        },
    },
    size_class::{
        Class,
        MagazineKind, //
    },
    stats::{
        BuddyStats,
        ClassStats,
        OrderStats,
        Visitor, //
    },
};

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
            largest_free_bytes: self.buddy.largest_free_pages() * PAGE_BYTES,
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
                    total_blocks: u64::from(slabs.slab_count) * class.objects() as u64,
                    used_blocks: slabs.used.saturating_sub(*cached) as u64,
                    magazine_blocks: *cached as u64,
                    growths: slabs.growths,
                },
            );
        }
        for order in 0..ORDERS {
            let of_order = |(kind, _): &(MagazineKind, &usize)| match blocks(*kind) {
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
        let (pages, free) = (self.pages, self.buddy.free_pages);
        let allocated = (pages.saturating_sub(free) * PAGE_BYTES) as u64;
        visitor.buddy(&BuddyStats {
            user_bytes: allocated,
            actual_bytes: allocated,
            total_bytes: (pages * PAGE_BYTES) as u64,
        });
    }
}

impl Buddy {
    /// Returns the pages of the largest free block. O(1).
    fn largest_free_pages(&self) -> usize {
        self.orders.checked_ilog2().map_or(0, |order| 1 << order)
    }
}
