// SPDX-License-Identifier: GPL-2.0

//! Statistics, map, and checks of the heap.
//!
//! Nothing here changes what an allocation returns.

mod check;
mod map;
mod stats;

use super::{
    heap::{
        Blocks,
        Heap,
        blocks, //
    },
    slab, //
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
    size_class::{
        MagazineKind, //
    },
    stats::Visitor,
};

impl InspectHeap for Heap {
    fn epoch(&self) -> u64 {
        self.empty_slab_frees
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
        let class = match blocks(kind) {
            Blocks::Objects(class) => class,
            Blocks::Pages(pages) => return self.find_pages(block, pages).is_ok(),
        };
        let Ok((slab, number)) = slab::find(&self.buddy, class, block) else {
            return false;
        };
        let bitmap = self.buddy.metadata.bitmap(slab, class);
        let word = bitmap.and_then(|bitmap| bitmap.get(number / 64));
        word.is_some_and(|word| word >> (number % 64) & 1 != 0)
    }

    fn map(&mut self, region: usize, page: u32, out: &mut [Extent]) -> Result<Mapped, NoMap> {
        self.map_part(region, page, out)
    }
}
