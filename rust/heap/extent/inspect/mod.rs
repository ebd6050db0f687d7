// SPDX-License-Identifier: GPL-2.0

//! Statistics, map, and checks of the heap.
//!
//! Nothing here changes what an allocation returns.

#[forbid(unsafe_code)]
mod check;
#[forbid(unsafe_code)]
mod map;
#[forbid(unsafe_code)]
mod stats;
#[cfg(test)]
mod tests;

use super::{
    heap::Heap,
    place::{
        Demand,
        GRANULE,
        GRANULE_SHIFT,
        Granule, //
    },
};
use crate::{
    backing_heap::{
        CachedBlocks,
        HeapTotals,
        InspectHeap, //
    },
    check::{
        Broken,
        Progress,
        Walk, //
    },
    map::{
        Extent,
        Mapped,
        NoMap, //
    },
    region::Offset,
    size_class::MagazineKind,
    stats::Visitor,
};

impl InspectHeap for Heap {
    fn epoch(&self) -> u64 {
        // The heap has no cached memory: a free coalesces at once.
        0
    }

    fn totals(&self) -> HeapTotals {
        self.sum()
    }

    fn visit(&self, cached: &CachedBlocks, visitor: &mut dyn Visitor) {
        self.report(cached, visitor);
    }

    fn check(&mut self, walk: &mut Walk) -> Result<Progress, Broken> {
        self.check_step(walk)
    }

    fn is_allocated(&mut self, block: Offset, kind: MagazineKind) -> bool {
        let len = kind.bytes().div_ceil(GRANULE);
        Granule::of(block).is_some_and(|start| self.has_block(start, Demand { len, align: 1 }))
    }

    fn map(&mut self, region: usize, page: u32, out: &mut [Extent]) -> Result<Mapped, NoMap> {
        self.map_part(region, page, out)
    }
}

/// Returns the bytes of so many granules.
const fn bytes(granules: usize) -> usize {
    granules << GRANULE_SHIFT
}
