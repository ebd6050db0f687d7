// SPDX-License-Identifier: GPL-2.0

//! Statistics, map and check.

use super::{
    heap::Heap,
    place::{
        GRANULE,
        GRANULE_SHIFT,
        Granule,
        PAGE_GRANULES, //
    },
};
use crate::{
    Offset, PAGE_BYTES,
    backing_heap::{
        CachedBlocks,
        HeapTotals,
        InspectHeap, //
    },
    check::{
        Broken,
        Progress,
        Rule,
        STEP,
        Walk, //
    },
    map::{
        Extent,
        Mapped,
        NoMap,
        Use, //
    },
    region::REGIONS_MAX,
    size_class::{
        Class,
        MagazineKind, //
    },
    stats::{
        ClassStats,
        Visitor, //
    },
};

impl InspectHeap for Heap {
    fn epoch(&self) -> u64 {
        0
    }

    fn totals(&self) -> HeapTotals {
        HeapTotals {
            allocated_blocks: self.allocated_blocks,
            allocated_bytes: self.allocated_granules << GRANULE_SHIFT,
            pool_bytes: self.granules << GRANULE_SHIFT,
        }
    }

    fn visit(&self, cached: &CachedBlocks, visitor: &mut dyn Visitor) {
        for (class, cached) in Class::all().zip(cached) {
            visitor.class(
                class.number(),
                &ClassStats {
                    block_bytes: class.bytes() as u64,
                    total_blocks: *cached as u64,
                    used_blocks: 0,
                    magazine_blocks: *cached as u64,
                    growths: 0,
                },
            );
        }
    }

    fn check(&mut self, walk: &mut Walk) -> Result<Progress, Broken> {
        let broken = |rule, at: Option<Granule>| Broken {
            rule,
            class: None,
            offset: at.map(Granule::offset),
        };
        if walk.part == REGIONS_MAX {
            let is_equal = walk.sums.free_blocks == self.runs.free_runs
                && walk.sums.free_pages == self.runs.free_granules;
            return is_equal
                .then_some(Progress::Sound)
                .ok_or(broken(Rule::Lists, None));
        }
        let granules = self.runs.tables.pages(walk.part) * PAGE_GRANULES;
        for _ in 0..STEP {
            if walk.place >= granules {
                walk.next_part();
                break;
            }
            let start = Granule::new(walk.part, walk.place);
            let run = self.runs.tables.run(start);
            let run = run.filter(|run| run.len > 0 && walk.place + run.len <= granules);
            let run = run.ok_or(broken(Rule::Partition, Some(start)))?;
            let is_free = self.runs.tables.begins_free(start);
            if is_free {
                if walk.seen != 0 {
                    return Err(broken(Rule::Merged, Some(start)));
                }
                walk.sums.free_blocks += 1;
                walk.sums.free_pages += run.len;
            }
            walk.seen = usize::from(is_free);
            walk.place += run.len;
            walk.walked += 1;
        }
        Ok(Progress::More)
    }

    fn is_allocated(&mut self, block: Offset, kind: MagazineKind) -> bool {
        let len = (kind.bytes() + GRANULE - 1) >> GRANULE_SHIFT;
        Granule::of(block).is_some_and(|start| {
            let desc = self.runs.tables.desc(start.region(), start.page());
            desc.is_some_and(|desc| desc.has_block(start.index(), len))
        })
    }

    fn map(&mut self, region: usize, page: u32, out: &mut [Extent]) -> Result<Mapped, NoMap> {
        let end = self.runs.tables.pages(region) as u32;
        if end == 0 {
            return Err(NoMap);
        }
        let page = page.min(end);
        let mut extents = 0;
        if let (Some(out), true) = (out.first_mut(), page < end) {
            *out = Extent {
                page,
                pages: 1,
                what: Use::Large,
            };
            extents = 1;
        }
        let _ = PAGE_BYTES;
        Ok(Mapped {
            extents,
            next: (page + 1).min(end),
            end,
        })
    }
}
