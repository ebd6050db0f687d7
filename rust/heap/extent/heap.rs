// SPDX-License-Identifier: GPL-2.0

//! The heap behind the lock: blocks are runs of granules.

use core::{
    alloc::Layout,
    ptr::NonNull, //
};

use super::{
    page::PageDesc,
    place::{
        Demand,
        GRANULE,
        GRANULE_SHIFT,
        Granule,
        PAGE_GRANULES,
        REGION_PAGES_MAX,
        Run, //
    },
    runs::{
        Runs,
        Work, //
    },
    table::RegionTable,
};
use crate::{
    Cost, Offset, PAGE_BYTES, Path, Refusal,
    backing_heap::BackingHeap,
    engine::BadFree,
    size_class::{
        Class,
        MagazineKind, //
    },
};

/// A heap of runs.
pub struct Heap {
    pub(super) runs: Runs,
    /// Allocated blocks, and their granules.
    pub(super) allocated_blocks: usize,
    pub(super) allocated_granules: usize,
    live: [usize; 65],
    /// Granules of all regions.
    pub(super) granules: usize,
    /// Granules of the largest region.
    largest_region: usize,
    /// Blocks with a larger alignment in bytes may be aligned in their region but not in memory.
    align_max: usize,
    /// The cost of the last operation.
    cost: Cost,
}

impl Heap {
    /// Returns a heap without memory.
    #[inline(always)]
    pub(super) const fn new() -> Self {
        Self {
            runs: Runs::new(),
            allocated_blocks: 0,
            allocated_granules: 0,
            granules: 0,
            live: [0; 65],
            largest_region: 0,
            align_max: usize::MAX,
            cost: Cost::new(Path::None),
        }
    }

    /// Returns the cause for which a request is refused.
    #[cold]
    fn refusal(&mut self, demand: Demand) -> Refusal {
        if demand.len > self.largest_region || demand.align > self.largest_region {
            Refusal::TooBig
        } else if demand.align << GRANULE_SHIFT > self.align_max {
            Refusal::Unsupported
        } else if demand.len > self.runs.free_granules {
            Refusal::Exhausted
        } else {
            Refusal::Fragmented
        }
    }

    /// Returns the allocated block of this demand that begins at an offset.
    ///
    /// # Errors
    ///
    /// The rule that a free of the block would break.
    fn find(&self, block: Offset, demand: Demand) -> Result<Run, BadFree> {
        let tables = &self.runs.tables;
        let start = Granule::of(block).ok_or(BadFree::Interior)?;
        let desc = tables.desc(start.region(), start.page());
        let desc = desc.ok_or(BadFree::Foreign)?;
        if desc.has_block(start.index(), demand.len) {
            return Ok(Run {
                start,
                len: demand.len,
            });
        }
        let begins = desc.begins(start.in_page());
        let run = tables.start_of(start);
        if run.is_some_and(|run| tables.begins_free(run)) {
            Err(BadFree::NotLive)
        } else if begins {
            Err(BadFree::WrongSize)
        } else {
            Err(BadFree::Interior)
        }
    }

    fn set_cost(&mut self) {
        let Work { splits, merges } = self.runs.work;
        self.cost = Cost::new(Path::Other).with_work(splits, merges);
    }

    /// Frees a run that consists of `blocks` blocks of the same length.
    fn free_run(&mut self, run: Run, blocks: usize) {
        self.runs.free(run);
        self.allocated_blocks -= blocks;
        if let Some(live) = self.live.get_mut(run.len / blocks) {
            *live = live.saturating_sub(blocks);
        }
        self.allocated_granules -= run.len;
    }
}

// SAFETY: `BackingHeap` requires that a block has the layout's size and alignment, lies in an added region, and shares
// no byte with another allocated block.
// - Blocks and free runs partition each region: a block is taken from a free run, which becomes shorter by the block.
// - `Demand::of` has at least the size and alignment of the layout. A block is aligned within its region, and
//   `allocate` refuses alignments that the memory of the regions does not have.
unsafe impl BackingHeap for Heap {
    type Desc = PageDesc;

    const REGION_PAGES_MAX: usize = REGION_PAGES_MAX;

    fn metadata_bytes(pages: usize) -> usize {
        RegionTable::bytes(pages)
    }

    unsafe fn add_region(
        &mut self,
        region: usize,
        address: usize,
        pages: usize,
        metadata: NonNull<u8>,
    ) -> NonNull<PageDesc> {
        // SAFETY: `RegionTable::new` requires zeroed and aligned bytes for the pages, which nobody else accesses but
        // readers of the descriptors: that is part of this function's contract.
        let table = unsafe { RegionTable::new(metadata, pages) };
        let descs = table.descs;
        self.runs.tables.add(region, table);
        let len = pages * PAGE_GRANULES;
        self.runs.free(Run {
            start: Granule::new(region, 0),
            len,
        });
        self.granules += len;
        self.largest_region = self.largest_region.max(len);
        let align = 1 << address.trailing_zeros();
        if len << GRANULE_SHIFT > align {
            self.align_max = self.align_max.min(align);
        }
        descs
    }

    #[inline(always)]
    fn class(layout: &Layout) -> Option<Class> {
        if layout.align() <= GRANULE
            || layout.size() > PAGE_BYTES - 512 && layout.align() <= PAGE_BYTES
        {
            Class::of(layout)
        } else {
            None
        }
    }

    #[inline]
    fn whole_pages(layout: &Layout) -> Option<MagazineKind> {
        if layout.size() % PAGE_BYTES == 0 {
            MagazineKind::of_whole_pages(layout)
        } else {
            None
        }
    }

    #[inline(always)]
    fn begins_block(desc: &PageDesc, byte: usize, kind: MagazineKind) -> bool {
        let len = (kind.bytes() + GRANULE - 1) >> GRANULE_SHIFT;
        let is_aligned =
            byte % if len % PAGE_GRANULES == 0 {
                PAGE_BYTES
            } else {
                GRANULE
            } == 0;
        is_aligned && desc.has_block(byte >> GRANULE_SHIFT, len)
    }

    #[inline(always)]
    fn usable_size(layout: Layout) -> usize {
        Demand::of(&layout).len << GRANULE_SHIFT
    }

    #[inline]
    fn allocate(&mut self, layout: Layout, blocks: &mut [Offset]) -> Result<usize, Refusal> {
        self.runs.work = Work::default();
        let demand = Demand::of(&layout);
        if demand.align << GRANULE_SHIFT > self.align_max {
            return Err(self.refusal(demand));
        }
        let batch = if demand.align == 1 {
            let live = self.live.get(demand.len).copied().unwrap_or(0) * demand.len;
            let chunk = (live / 16).clamp(32, 256) / demand.len;
            let scarce = self.runs.free_granules < self.granules / 16;
            let count = if scarce {
                1
            } else {
                blocks.len().min(chunk.max(1))
            };
            self.runs.allocate_batch(demand.len, count)
        } else {
            self.runs.allocate(demand)
        };
        let Some(batch) = batch else {
            return Err(self.refusal(demand));
        };
        let mut allocated = 0;
        for (block, first) in blocks.iter_mut().zip((0..batch.len).step_by(demand.len)) {
            *block = batch.start.after(first).offset();
            allocated += 1;
        }
        if let Some(live) = self.live.get_mut(demand.len) {
            *live += allocated;
        }
        self.allocated_blocks += allocated;
        self.allocated_granules += batch.len;
        self.set_cost();
        Ok(allocated)
    }

    fn allocate_fallback(&mut self, _layout: Layout) -> Option<Offset> {
        None
    }

    fn would_grow(&self, _layout: Layout) -> bool {
        false
    }

    #[inline]
    fn free(&mut self, block: Offset, layout: Layout) -> Result<(), BadFree> {
        self.runs.work = Work::default();
        let run = self.find(block, Demand::of(&layout))?;
        self.free_run(run, 1);
        self.set_cost();
        Ok(())
    }

    #[inline]
    fn free_flushed(&mut self, blocks: &[Offset], kind: MagazineKind) -> Result<usize, BadFree> {
        let len = (kind.bytes() + GRANULE - 1) >> GRANULE_SHIFT;
        let Some((block, rest)) = blocks.split_first() else {
            return Ok(0);
        };
        let demand = Demand { len, align: 1 };
        let mut run = self.find(*block, demand)?;
        let mut freed = 1;
        // Blocks that lie side by side become one run, which is freed once.
        for block in rest {
            let Ok(next) = self.find(*block, demand) else {
                break;
            };
            if next.start.region() != run.start.region() {
                break;
            } else if next.end() == run.start {
                self.runs.tables.clear(run.start);
                run.start = next.start;
            } else if next.start == run.end() {
                self.runs.tables.clear(next.start);
            } else {
                break;
            }
            run.len += len;
            freed += 1;
        }
        self.free_run(run, freed);
        Ok(freed)
    }

    fn fits_in_place(layout: Layout, new: Layout) -> bool {
        let (old, new) = (Demand::of(&layout), Demand::of(&new));
        new.len <= old.len && new.align <= old.align
    }

    fn resize(&mut self, block: Offset, layout: Layout, new: Layout) -> bool {
        self.runs.work = Work::default();
        let (demand, new) = (Demand::of(&layout), Demand::of(&new));
        let Ok(run) = self.find(block, demand) else {
            return false;
        };
        if run.start.index() % new.align != 0 {
            return false;
        }
        if new.len < run.len {
            self.runs.shrink(run, new.len);
        } else if new.len > run.len && !self.runs.grow(run, new.len) {
            return false;
        }
        self.allocated_granules = self.allocated_granules - run.len + new.len;
        let Work { splits, merges } = self.runs.work;
        self.cost = Cost::new(Path::InPlace).with_work(splits, merges);
        true
    }

    fn cost(&mut self) -> &mut Cost {
        &mut self.cost
    }

    fn shrink(&mut self) -> usize {
        0
    }

    fn free_bytes(&self) -> usize {
        self.runs.free_granules << GRANULE_SHIFT
    }
}
