// SPDX-License-Identifier: GPL-2.0

//! Statistics of the heap: blocks by class and order, and free runs by length. O(classes + orders), and the cost of
//! [`Runs::largest`].

use super::bytes;
use crate::{
    backing_heap::{
        CachedBlocks,
        HeapTotals, //
    },
    extent::{
        bins::SHORT_BINS,
        class::{
            Class,
            granules_of_kind, //
        },
        counts::BlockCounts,
        heap::Heap,
        place::{
            Granule,
            PAGE_GRANULES, //
        },
        runs::Runs,
    },
    region::REGIONS_MAX,
    size_class::MagazineKind,
    stats::{
        ClassStats,
        ORDERS_MAX,
        OrderStats,
        ShortRunStats,
        Visitor, //
    },
};

/// log2 of the granules of a page.
const PAGE_LOG: usize = PAGE_GRANULES.ilog2() as usize;

impl Heap {
    /// Returns the blocks and bytes of the heap.
    pub(super) fn sum(&self) -> HeapTotals {
        HeapTotals {
            allocated_blocks: self.allocated_blocks,
            allocated_bytes: bytes(self.allocated_granules),
            pool_bytes: bytes(self.granules),
            largest_free_bytes: bytes(self.runs.largest()),
        }
    }

    /// Passes the statistics of each class and order to a visitor.
    // Not inlined, because the stack frame of the caller would become too large.
    #[inline(never)]
    pub(super) fn report(&self, cached: &CachedBlocks, visitor: &mut dyn Visitor) {
        let mut magazines = BlockCounts::NONE;
        for (kind, cached) in MagazineKind::all().zip(cached) {
            magazines.add(granules_of_kind(kind), *cached);
        }
        for class in Class::all() {
            let (total, cached) = (
                self.blocks.classes[class.index()],
                magazines.classes[class.index()],
            );
            visitor.class(
                class.number(),
                &ClassStats {
                    block_bytes: bytes(class.granules()) as u64,
                    total_blocks: total as u64,
                    used_blocks: total.saturating_sub(cached) as u64,
                    magazine_blocks: cached as u64,
                    growths: 0,
                },
            );
        }
        let free = &self.runs.free_counts;
        for order in 0..ORDERS_MAX {
            let (total, cached) = (self.blocks.orders[order], magazines.orders[order]);
            let stats = OrderStats {
                used_blocks: total.saturating_sub(cached) as u64,
                magazine_blocks: cached as u64,
                free_blocks: free.runs.get(PAGE_LOG + order).copied().unwrap_or(0) as u64,
            };
            visitor.order(order as u8, &stats);
        }
        visitor.short_runs(&ShortRunStats {
            runs: free.runs[..PAGE_LOG].iter().sum::<usize>() as u64,
            bytes: bytes(free.sub_page_granules) as u64,
        });
    }
}

impl Runs {
    /// Returns the length of a run of the last bin that is not empty. The longest free run is longer by less than a
    /// sixteenth, or an eighth if it is short. O(regions × (log64 pages + runs in a page)).
    fn largest(&self) -> usize {
        let Some(bin) = self.bins.last() else {
            return 0;
        };
        if bin >= SHORT_BINS {
            let first = self.long.get(bin - SHORT_BINS).copied().unwrap_or(0);
            let start = first.checked_sub(1).map(Granule::from_bits);
            let run = start.and_then(|start| self.tables.run(start));
            return run.map_or(0, |run| run.len);
        }
        let lengths = (0..REGIONS_MAX).filter_map(|region| {
            let page = self.tables.find(region, bin, false)?;
            let desc = self.tables.desc(region, page)?;
            desc.free_runs(page).map(|(_, len)| len).max()
        });
        lengths.max().unwrap_or(0)
    }
}
