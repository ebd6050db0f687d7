// SPDX-License-Identifier: GPL-2.0

//! The state behind the lock: the heap, the reserve of the magazines, and counters.

use core::alloc::Layout;

use super::{
    buddy::Work,
    cpu_cache::{
        Counts,
        Requested, //
    },
    heap::Heap,
    magazine::MagazineKind, //
};
use crate::{
    class::Class,
    cost::Cost,
    engine::{
        BadFree,
        Refusal, //
    },
    fail::Nth,
    region::{
        Offset,
        Regions, //
    },
};

/// A request that no magazine serves.
pub(super) struct Request<'a> {
    pub(super) layout: Layout,
    pub(super) requested: Requested,
    /// Everything that was done for the request until now.
    pub(super) work: Work,
    pub(super) cost: &'a mut Cost,
    /// Whether the caller should redistribute the reserve, once it has released the lock.
    pub(super) redistribute: bool,
}

/// The state behind the lock of a [`Hybrid`](super::Hybrid).
pub struct State {
    pub(super) heap: Heap,
    pub(super) regions: Regions,
    /// Bytes of the reserve that magazines have: the sum of their capacities.
    pub(super) reserved_bytes: usize,
    /// Callers that are returning the blocks of all magazines to the heap.
    reclaimers: usize,
    /// Operations of the lock's holders; CPUs count those that their magazines serve.
    pub(super) counts: Counts,
    resizes: u64,
    pub(super) refusals: [u64; Refusal::COUNT],
    /// Bad frees, as a rule double ones, that were found when the block came from a magazine to the heap.
    pub(super) late_double_frees: u64,
}

/// All magazines together may hold one part in so many of the pool.
const MAGAZINE_SHARE: usize = 16;

impl State {
    /// Returns the state of an engine without memory.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            heap: Heap::new(),
            regions: Regions::new(),
            reserved_bytes: 0,
            reclaimers: 0,
            counts: Counts::NONE,
            resizes: 0,
            refusals: [0; Refusal::COUNT],
            late_double_frees: 0,
        }
    }

    /// Changes with every change of what the heap keeps.
    pub(super) fn epoch(&self) -> u64 {
        let Counts {
            allocations,
            frees,
            transfers,
            ..
        } = self.counts;
        [
            allocations,
            // A late refusal takes one off `frees`, which may wrap below 0.
            frees,
            self.late_double_frees,
            transfers,
            self.resizes,
            // A refused request may have made slabs give their pages back.
            self.heap.reclaims,
            self.regions.count() as u64,
        ]
        .into_iter()
        .fold(0, u64::wrapping_add)
    }

    /// Allocates up to `blocks.len()` blocks, the first of which is the caller's, and returns how many
    /// they are.
    pub(super) fn allocate(
        &mut self,
        request: &mut Request<'_>,
        blocks: &mut [Offset],
    ) -> Result<usize, Refusal> {
        let Request {
            layout,
            requested,
            work,
            cost,
            ..
        } = request;
        let mut allocated = self.heap.serve(*layout, blocks, work, cost)?;
        self.counts.allocated(*requested);
        // The blocks that refill a magazine may come from several slabs. The cost is that of the
        // caller's block.
        while let Some(rest) = blocks.get_mut(allocated..).filter(|rest| !rest.is_empty()) {
            let (work, cost) = (&mut Work::default(), &mut Cost::default());
            match self.heap.allocate_more(*layout, rest, work, cost) {
                Some(more) => allocated += more,
                None => break,
            }
        }
        Ok(allocated)
    }

    /// Refuses a request for which a slab would have to grow, if that is the growth to refuse.
    pub(super) fn fail_growth(&mut self, layout: Layout, growth: &Nth) -> Result<(), Refusal> {
        if !growth.is_set() {
            return Ok(());
        }
        let grows = Class::of(&layout).is_some_and(|class| {
            let slabs = &self.heap.classes[class.index()];
            !slabs.has_partial() && slabs.empty().is_none()
        });
        if grows && growth.strikes() {
            return self.refuse(Refusal::Injected);
        }
        Ok(())
    }

    /// Allocates a block by the last resorts where [`State::allocate`] refused with `refusal`, or counts
    /// the refusal.
    #[cold]
    pub(super) fn allocate_last(
        &mut self,
        request: &mut Request<'_>,
        refusal: Refusal,
    ) -> Result<Offset, Refusal> {
        let mut block = [Offset::NOWHERE];
        let Request {
            layout,
            requested,
            work,
            cost,
            ..
        } = request;
        match (self.heap).allocate_fallback(*layout, refusal, &mut block, work, cost) {
            Ok(_) => {
                self.counts.allocated(*requested);
                Ok(block[0])
            }
            Err(refusal) => self.refuse(refusal),
        }
    }

    /// Counts a refusal, and returns it.
    pub(super) fn refuse<T>(&mut self, refusal: Refusal) -> Result<T, Refusal> {
        self.refusals[refusal as usize] += 1;
        Err(refusal)
    }

    /// Frees a block of any size.
    pub(super) fn free(
        &mut self,
        block: Offset,
        layout: Layout,
        requested: Requested,
        cost: &mut Cost,
    ) -> Result<(), BadFree> {
        self.heap.release(block, layout, cost)?;
        self.counts.freed(requested);
        Ok(())
    }

    /// Begins to return the blocks of all magazines to the heap: no magazine grows and nothing is
    /// prefetched until every caller has called [`State::end_reclaim`].
    pub(super) fn begin_reclaim(&mut self) {
        self.reclaimers += 1;
    }

    /// Ends a reclaim.
    pub(super) fn end_reclaim(&mut self) {
        self.reclaimers = self.reclaimers.saturating_sub(1);
    }

    /// Says whether blocks of magazines are being returned to the heap.
    pub(super) fn is_reclaiming(&self) -> bool {
        self.reclaimers > 0
    }

    /// Makes a block serve `new` where it is, if it can, and counts that.
    pub(super) fn resize(
        &mut self,
        block: Offset,
        layout: Layout,
        new: Layout,
        cost: &mut Cost,
    ) -> bool {
        let resized = self.heap.resize(block, layout, new, cost);
        if resized {
            self.resizes += 1;
            self.counts.resized(layout.size(), new.size());
        }
        resized
    }

    /// Takes bytes of the reserve for a magazine that is to hold `wanted` more blocks of `bytes`
    /// bytes, and returns for how many there were.
    pub(super) fn reserve(&mut self, wanted: usize, bytes: usize) -> usize {
        if self.is_reclaiming() {
            return 0;
        }
        let most = self.regions.bytes() / MAGAZINE_SHARE;
        let granted = wanted.min(most.saturating_sub(self.reserved_bytes) / bytes);
        self.reserved_bytes += granted * bytes;
        granted
    }

    /// Returns to the reserve what [`State::reserve`] took.
    pub(super) fn unreserve(&mut self, blocks: usize, bytes: usize) {
        self.reserved_bytes = self.reserved_bytes.saturating_sub(blocks * bytes);
        self.counts.transfers += u64::from(blocks > 0);
    }

    /// Frees blocks that were in magazines, where their frees were counted.
    pub(super) fn free_cached(&mut self, kind: MagazineKind, blocks: &[Offset]) {
        let work = &mut Work::default();
        let mut rest = blocks;
        while !rest.is_empty() {
            self.counts.transfers += 1;
            let freed = self.heap.free_run(kind, rest, work).unwrap_or_else(|_| {
                // A double free: the magazines did not notice the second free, and counted it.
                self.counts.frees = self.counts.frees.wrapping_sub(1);
                self.late_double_frees += 1;
                1
            });
            rest = rest.get(freed..).unwrap_or_default();
        }
    }
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}
