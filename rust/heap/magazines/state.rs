// SPDX-License-Identifier: GPL-2.0

//! The state behind the engine's lock: the heap, and the counters of the operations under the lock.
//!
//! Each [`CpuCache`] counts the operations that its magazines serve. The statistics add these counters to those of the
//! state.

use core::alloc::Layout;

use super::depot::Depot;
#[cfg(doc)]
use super::magazine::CpuCache;
use crate::{
    Block,
    Cost,
    Offset,
    Refusal,
    backing_heap::BackingHeap,
    engine::BadFree,
    region::Regions,
    region_index::RegionIndex,
    size_class::MagazineKind, //
};

/// The heap, and the counters of the operations under the lock.
pub struct State<H> {
    pub(crate) heap: H,
    pub(crate) regions: Regions,
    pub(crate) depot: Depot,
    /// The capacities of all magazines and the blocks in the depot, in bytes: the used part of the budget, see
    /// `capacity`.
    pub(crate) reserved_bytes: usize,
    /// The number of the kind of magazine that [`redistribution`](super::redistribution) reduces next.
    pub(crate) next_kind: usize,
    /// Requests that are flushing all magazines before they are refused. A shrink is not counted, so magazines may be
    /// refilled during a shrink.
    pub(crate) reclaimers: usize,
    /// Allocations and frees under the lock. CPUs count those that magazines serve.
    pub(crate) allocations: u64,
    pub(crate) frees: u64,
    /// Bytes requested by these allocations, minus those of these frees. The number wraps.
    pub(crate) requested_bytes: u64,
    /// Exchanges with the depot, steps of flushes, and returned capacities, so that [`State::epoch`] changes with each.
    pub(crate) transfers: u64,
    pub(crate) resizes: u64,
    pub(crate) refusals: [u64; Refusal::COUNT],
    /// Blocks that the heap refused when they left a magazine: double frees, or blocks with damaged metadata. Each of
    /// them leaves `requested_bytes` too small by its requested size, which is not known then.
    pub(crate) late_double_frees: u64,
}

impl<H: BackingHeap> State<H> {
    /// Returns a state around a heap without memory.
    #[inline(always)]
    pub(crate) const fn with_heap(heap: H) -> Self {
        Self {
            heap,
            regions: Regions::new(),
            depot: Depot::new(),
            reserved_bytes: 0,
            next_kind: 0,
            reclaimers: 0,
            allocations: 0,
            frees: 0,
            requested_bytes: 0,
            transfers: 0,
            resizes: 0,
            refusals: [0; Refusal::COUNT],
            late_double_frees: 0,
        }
    }

    /// Allocates the caller's block and more blocks for a magazine, and returns how many blocks.
    pub(crate) fn allocate(
        &mut self,
        layout: Layout,
        blocks: &mut [Offset],
    ) -> Result<usize, Refusal> {
        let allocated = self.heap.allocate(layout, blocks)?;
        self.count_allocation(layout);
        Ok(allocated)
    }

    /// Allocates a block without a magazine.
    pub(crate) fn allocate_one(&mut self, layout: Layout) -> Result<Offset, Refusal> {
        let mut block = [Offset::NOWHERE];
        self.allocate(layout, &mut block)?;
        Ok(block[0])
    }

    /// Allocates a block by the fallbacks of the heap.
    pub(crate) fn allocate_fallback(&mut self, layout: Layout) -> Option<Offset> {
        let block = self.heap.allocate_fallback(layout)?;
        self.count_allocation(layout);
        Some(block)
    }

    pub(crate) fn count_allocation(&mut self, layout: Layout) {
        self.allocations += 1;
        self.requested_bytes = self.requested_bytes.wrapping_add(layout.size() as u64);
    }

    /// Frees a block without a magazine.
    pub(crate) fn free(&mut self, block: Offset, layout: Layout) -> Result<(), BadFree> {
        self.heap.free(block, layout)?;
        self.frees = self.frees.wrapping_add(1);
        self.requested_bytes = self.requested_bytes.wrapping_sub(layout.size() as u64);
        Ok(())
    }

    /// Frees blocks that were in a magazine, from the first one on, in at most `steps` calls of
    /// [`BackingHeap::free_flushed`]. Returns how many blocks left the magazine; a double free leaves it, too, and is
    /// counted. The frees were counted when the magazine accepted the blocks.
    pub(crate) fn free_flushed(
        &mut self,
        kind: MagazineKind,
        blocks: &[Offset],
        steps: usize,
    ) -> usize {
        let mut rest = blocks;
        for _ in 0..steps {
            if rest.is_empty() {
                break;
            }
            self.transfers += 1;
            let freed = self.heap.free_flushed(rest, kind).unwrap_or_else(|_| {
                // The block is not allocated any more: a double free, which the magazine accepted and counted, or
                // damaged metadata.
                self.frees = self.frees.wrapping_sub(1);
                self.late_double_frees += 1;
                1
            });
            rest = rest.get(freed..).unwrap_or_default();
        }
        blocks.len() - rest.len()
    }

    /// Resizes a block in place, and returns the cost if that was possible.
    pub(crate) fn resize(&mut self, block: Offset, layout: Layout, new: Layout) -> Option<Cost> {
        if !self.heap.resize(block, layout, new) {
            return None;
        }
        self.resizes += 1;
        let requested_bytes = self.requested_bytes.wrapping_sub(layout.size() as u64);
        self.requested_bytes = requested_bytes.wrapping_add(new.size() as u64);
        Some(*self.heap.cost())
    }
}

/// Up to `BLOCKS` blocks that move from a magazine to the heap, as offsets.
pub(crate) struct FlushBatch<const BLOCKS: usize> {
    offsets: [Offset; BLOCKS],
    len: usize,
}

impl<const BLOCKS: usize> FlushBatch<BLOCKS> {
    pub(crate) const fn new() -> Self {
        Self {
            offsets: [Offset::NOWHERE; BLOCKS],
            len: 0,
        }
    }

    /// Adds a block, if there is room.
    pub(crate) fn push<D: Sync>(&mut self, regions: &RegionIndex<D>, block: Block) {
        if let Some(offset) = self.offsets.get_mut(self.len) {
            *offset = regions.offset(block.start).unwrap_or(Offset::NOWHERE);
            self.len += 1;
        }
    }

    pub(crate) fn offsets(&self) -> &[Offset] {
        &self.offsets[..self.len]
    }
}
