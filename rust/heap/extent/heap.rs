// SPDX-License-Identifier: GPL-2.0

//! The heap behind the lock: blocks are runs of granules.

use core::{
    alloc::Layout,
    ptr::NonNull, //
};

use super::{
    class::{
        CLASS_BYTES,
        granules_of_kind, //
    },
    counts::BlockCounts,
    page::PageDesc,
    place::{
        Demand,
        GRANULE,
        GRANULE_SHIFT,
        Granule,
        PAGE_GRANULES,
        REGION_PAGES_MAX,
        Run,
        class_of, //
    },
    runs::{
        Runs,
        SMALL_BLOCK,
        TRIES,
        Work, //
    },
    table::RegionTable,
};
use crate::{
    Cost, Offset, PAGE_BYTES, Path, Refusal, backing_heap::BackingHeap, engine::BadFree,
    size_class::MagazineKind,
};

/// A batch has at most as many granules as 1/`ALLOCATED_SHARE` of the allocated granules of its class or order. This
/// limit is at least [`BATCH_MIN`].
const ALLOCATED_SHARE: usize = 16;

/// The smallest limit of a batch, in granules: 512 bytes.
const BATCH_MIN: usize = 32;

/// The largest number of granules of a batch of small blocks: 4 KiB.
const BATCH_MAX: usize = 256;

/// The tries of the search before a request is refused: see [`Runs::allocate`].
const FALLBACK_TRIES: usize = 256;

/// Memory is scarce while less than 1/`SCARCE_SHARE` of the pool is in free runs.
const SCARCE_SHARE: usize = 16;

/// A heap of runs.
pub struct Heap {
    pub(super) runs: Runs,
    /// Allocated blocks, and their granules.
    pub(super) allocated_blocks: usize,
    pub(super) allocated_granules: usize,
    /// Allocated blocks by size.
    pub(super) blocks: BlockCounts,
    /// Granules of all regions.
    pub(super) granules: usize,
    /// Granules of the largest region.
    pub(super) largest_region: usize,
    /// The largest alignment in bytes for which an aligned offset in any region is an aligned address.
    pub(super) align_max: usize,
    /// The cost of the last operation.
    pub(super) cost: Cost,
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
            blocks: BlockCounts::NONE,
            largest_region: 0,
            align_max: usize::MAX,
            cost: Cost::new(Path::None),
        }
    }

    /// Returns the allocated block of this demand that begins at an offset, if there is one. O(1).
    fn block_at(&self, block: Offset, demand: Demand) -> Option<Run> {
        let start = Granule::of(block).filter(|start| self.has_block(*start, demand))?;
        Some(Run {
            start,
            len: demand.len,
        })
    }

    /// Returns the allocated block of this demand that begins at an offset. O(1), and the cost of
    /// [`Tables::bad_free`](super::table::Tables::bad_free) if there is none.
    ///
    /// # Errors
    ///
    /// The rule that a free of the block would break.
    fn find(&self, block: Offset, demand: Demand) -> Result<Run, BadFree> {
        self.block_at(block, demand)
            .ok_or_else(|| self.runs.tables.bad_free(block))
    }

    /// Returns whether an allocated block of this demand begins at a granule. O(1).
    #[inline]
    pub(super) fn has_block(&self, start: Granule, demand: Demand) -> bool {
        let desc = self.runs.tables.desc(start.region(), start.page());
        let has_block = desc.is_some_and(|desc| desc.has_block(start.index(), demand.len));
        has_block && start.index() & (demand.align - 1) == 0
    }

    /// Returns the number of blocks that serve a request for up to `wanted` blocks.
    ///
    /// If two sizes took turns to be cut from one run, the free blocks of one size would lie between the live blocks of
    /// the other, and could not coalesce: a checkerboard. A refill of a magazine therefore takes several blocks side by
    /// side, but not much more memory than the size uses already.
    #[inline]
    fn batch(&self, demand: Demand, wanted: usize) -> usize {
        let is_scarce = self.runs.free_counts.granules < self.granules / SCARCE_SHARE;
        // Blocks lie side by side only if each of them is aligned.
        if wanted <= 1 || is_scarce || demand.len & (demand.align - 1) != 0 {
            return 1;
        }
        let allocated = self.blocks.number(demand.len) * demand.len;
        let granules = (allocated / ALLOCATED_SHARE).max(BATCH_MIN);
        let granules = if demand.len <= SMALL_BLOCK {
            granules.min(BATCH_MAX)
        } else {
            granules
        };
        // `checked_div` avoids a panic; no length is 0.
        let blocks = granules.checked_div(demand.len).unwrap_or(1);
        blocks.min(wanted).max(1)
    }

    /// Counts `blocks` more blocks of `len` granules.
    #[inline]
    fn count_allocated(&mut self, len: usize, blocks: usize) {
        self.blocks.add(len, blocks);
        self.allocated_blocks += blocks;
        self.allocated_granules += blocks * len;
    }

    fn set_cost(&mut self, path: Path) {
        let Work { splits, merges } = self.runs.work;
        self.cost = Cost::new(path).with_work(splits, merges);
    }

    /// Frees a run that consists of `blocks` blocks of `len` granules.
    pub(super) fn free_run(&mut self, run: Run, len: usize, blocks: usize) {
        self.runs.free(run);
        self.allocated_blocks -= blocks;
        self.blocks.remove(len, blocks);
        self.allocated_granules -= run.len;
    }
}

// SAFETY: `BackingHeap` requires:
// - Blocks have the size and alignment of the layout, and share no byte: `Demand::of` has at least both, blocks and
//   free runs partition each region, and `allocate` refuses alignments above `align_max`.
// - `class` returns a number below the length of `CLASS_BYTES`: that is the invariant of `Class`.
// - `kind` returns a kind with at least the size and alignment: it is the class or the number of pages of the demand,
//   and `class_of` and `whole_pages` return none for a larger alignment.
// - `begins_block` finds only beginnings of blocks of the kind: `has_block` compares the bits and the length.
// - `REGION_PAGES_MAX` is 2²⁰. A descriptor and a word of the matrix are multiples of 8 bytes, so `metadata_bytes` is.
// - `RegionTable` has a descriptor for each page, and only shared references to descriptors exist.
unsafe impl BackingHeap for Heap {
    type Desc = PageDesc;

    const REGION_PAGES_MAX: usize = REGION_PAGES_MAX;

    const LARGE_BLOCKS_LIE_ANYWHERE: bool = true;

    fn metadata_bytes(pages: usize) -> usize {
        // A program chooses the number of pages. A region of more pages is refused, whatever its metadata.
        RegionTable::bytes(pages.min(REGION_PAGES_MAX))
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

    const CLASS_BYTES: &'static [u16] = &CLASS_BYTES;

    #[inline(always)]
    fn class(layout: &Layout) -> Option<MagazineKind> {
        class_of(layout)?.kind()
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
        let (index, len) = (byte >> GRANULE_SHIFT, granules_of_kind(kind));
        if kind.pages().is_some() {
            byte % PAGE_BYTES == 0 && desc.has_whole_pages(index, len)
        } else {
            // A block of a page begins on a page, by `Demand::of`, so the bits say enough.
            byte % GRANULE == 0 && desc.has_block(index, len)
        }
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
        let batch = self.batch(demand, blocks.len());
        let Some(run) = self.runs.allocate(demand, batch, TRIES) else {
            return Err(self.refusal(demand));
        };
        let mut allocated = 0;
        for (block, first) in blocks.iter_mut().zip((0..run.len).step_by(demand.len)) {
            *block = run.start.after(first).offset();
            allocated += 1;
        }
        self.count_allocated(demand.len, allocated);
        self.set_cost(Path::Other);
        Ok(allocated)
    }

    /// Allocates a block after a search that examines up to `FALLBACK_TRIES` more pages and long runs. The lock is
    /// held meanwhile, so the number is bounded.
    fn allocate_fallback(&mut self, layout: Layout) -> Option<Offset> {
        self.runs.work = Work::default();
        let demand = Demand::of(&layout);
        if demand.align << GRANULE_SHIFT > self.align_max {
            return None;
        }
        let run = self.runs.allocate(demand, 1, FALLBACK_TRIES)?;
        self.count_allocated(demand.len, 1);
        self.set_cost(Path::Other);
        Some(run.start.offset())
    }

    fn would_grow(&self, _layout: Layout) -> bool {
        false
    }

    #[inline]
    fn free(&mut self, block: Offset, layout: Layout) -> Result<(), BadFree> {
        self.runs.work = Work::default();
        let run = self.find(block, Demand::of(&layout))?;
        self.free_run(run, run.len, 1);
        self.set_cost(Path::Other);
        Ok(())
    }

    #[inline]
    fn free_flushed(&mut self, blocks: &[Offset], kind: MagazineKind) -> Result<usize, BadFree> {
        self.runs.work = Work::default();
        let len = granules_of_kind(kind);
        let Some((block, rest)) = blocks.split_first() else {
            return Ok(0);
        };
        let demand = Demand { len, align: 1 };
        let mut run = self.find(*block, demand)?;
        let mut freed = 1;
        // Blocks that lie side by side become one run, which is freed once.
        for block in rest {
            let Some(next) = self.block_at(*block, demand) else {
                break;
            };
            if next.start.region() != run.start.region() {
                break;
            } else if next.end() == run.start.index() {
                self.runs.tables.clear(run.start);
                run.start = next.start;
            } else if next.start.index() == run.end() {
                self.runs.tables.clear(next.start);
            } else {
                break;
            }
            run.len += len;
            freed += 1;
        }
        self.free_run(run, len, freed);
        Ok(freed)
    }

    fn fits_in_place(layout: Layout, new: Layout) -> bool {
        let (old, new) = (Demand::of(&layout), Demand::of(&new));
        new.len <= old.len && new.align <= old.align
    }

    fn resize(&mut self, block: Offset, layout: Layout, new: Layout) -> bool {
        self.runs.work = Work::default();
        let (demand, new) = (Demand::of(&layout), Demand::of(&new));
        let Some(run) = self.block_at(block, demand) else {
            return false;
        };
        if run.start.index() & (new.align - 1) != 0 {
            return false;
        }
        if new.len < run.len {
            self.runs.shrink(run, new.len);
        } else if new.len > run.len && !self.runs.grow(run, new.len) {
            return false;
        }
        self.allocated_granules = self.allocated_granules - run.len + new.len;
        self.blocks.remove(run.len, 1);
        self.blocks.add(new.len, 1);
        self.set_cost(Path::InPlace);
        true
    }

    fn cost(&mut self) -> &mut Cost {
        &mut self.cost
    }

    fn shrink(&mut self) -> usize {
        0
    }

    fn free_bytes(&self) -> usize {
        self.runs.free_counts.granules << GRANULE_SHIFT
    }
}
