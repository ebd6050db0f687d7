// SPDX-License-Identifier: GPL-2.0

//! What the lock protects: the heap, and what its holders count.

use core::alloc::Layout;

use super::{
    buddy::Work,
    heap::Heap,
    magazine::{
        Counts,
        Stock,
        Told, //
    },
};
use crate::{
    class::Class,
    cost::Cost,
    engine::Refusal,
    fail::Nth,
    region::{
        Offset,
        Regions, //
    },
};

/// What the lock of a [`Hybrid`](super::Hybrid) protects.
pub struct State {
    pub(super) heap: Heap,
    pub(super) regions: Regions,
    /// Bytes that magazines may hold, of all that they may hold together.
    pub(super) reserved_bytes: usize,
    /// What the lock's holders did; magazines count their own.
    pub(super) counts: Counts,
    resizes: u64,
    pub(super) refusals: [u64; Refusal::COUNT],
    /// Frees of what was not out, which were seen when magazines were emptied.
    pub(super) late_refusals: u64,
}

/// The part of the pool that all magazines together may hold.
const MAGAZINE_SHARE: usize = 16;

impl State {
    /// Returns the state of an engine without memory.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            heap: Heap::new(),
            regions: Regions::new(),
            reserved_bytes: 0,
            counts: Counts::NONE,
            resizes: 0,
            refusals: [0; Refusal::COUNT],
            late_refusals: 0,
        }
    }

    /// Changes with every change of what the heap keeps.
    pub(super) fn epoch(&self) -> u64 {
        let Counts {
            allocations,
            frees,
            moves,
            ..
        } = self.counts;
        [
            allocations,
            // Less than none were the lock's holders', once one was refused late.
            frees,
            self.late_refusals,
            moves,
            self.resizes,
            // A refused request may have made slabs give their pages back.
            self.heap.reclaims,
            self.regions.count() as u64,
        ]
        .into_iter()
        .fold(0, u64::wrapping_add)
    }

    /// Serves a request, with up to `blocks.len()` blocks of which the first is the caller's, and
    /// counts the bytes that it is told.
    pub(super) fn serve(
        &mut self,
        layout: Layout,
        told: Told,
        blocks: &mut [Offset],
        work: &mut Work,
        cost: &mut Cost,
    ) -> Result<usize, Refusal> {
        let mut served = self.heap.serve(layout, blocks, work, cost)?;
        self.counts.allocated(told);
        // What is to fill a magazine may be in several slabs. How the caller's block came is told.
        while let Some(rest) = blocks.get_mut(served..).filter(|rest| !rest.is_empty()) {
            let (work, cost) = (&mut Work::default(), &mut Cost::default());
            match self.heap.serve_more(layout, rest, work, cost) {
                Some(more) => served += more,
                None => break,
            }
        }
        Ok(served)
    }

    /// Refuses a request for which a slab would have to grow, if that is the growth to refuse.
    #[cold]
    pub(super) fn fail_growth(&mut self, layout: Layout, growth: &Nth) -> Result<(), Refusal> {
        let grows = Class::of(&layout).is_some_and(|class| {
            let slabs = &self.heap.classes[class.index()];
            !slabs.has_partial() && slabs.empty().is_none()
        });
        if grows && growth.strikes() {
            self.refusals[Refusal::Injected as usize] += 1;
            return Err(Refusal::Injected);
        }
        Ok(())
    }

    /// Serves a request that [`State::serve`] refused, or counts that it was refused.
    #[cold]
    pub(super) fn serve_last(
        &mut self,
        layout: Layout,
        told: Told,
        refusal: Refusal,
        blocks: &mut [Offset],
        work: &mut Work,
        cost: &mut Cost,
    ) -> Result<usize, Refusal> {
        let served = self.heap.last_resort(layout, refusal, blocks, work, cost);
        match served {
            Ok(_) => self.counts.allocated(told),
            Err(refusal) => self.refusals[refusal as usize] += 1,
        }
        served
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

    /// Sets bytes aside for magazines that want to hold `wanted` blocks more of `bytes` bytes, and
    /// returns for how many.
    pub(super) fn reserve(&mut self, wanted: usize, bytes: usize) -> usize {
        let most = self.regions.bytes() / MAGAZINE_SHARE;
        let granted = wanted.min(most.saturating_sub(self.reserved_bytes) / bytes);
        self.reserved_bytes += granted * bytes;
        granted
    }

    /// Gives back what [`State::reserve`] set aside.
    pub(super) fn unreserve(&mut self, blocks: usize, bytes: usize) {
        self.reserved_bytes = self.reserved_bytes.saturating_sub(blocks * bytes);
        self.counts.moves += u64::from(blocks > 0);
    }

    /// Takes back blocks that were in magazines.
    pub(super) fn take_back(&mut self, stock: Stock, blocks: &[Offset], work: &mut Work) {
        let mut rest = blocks;
        while !rest.is_empty() {
            self.counts.moves += 1;
            let taken = self.heap.take_back(stock, rest, work).unwrap_or_else(|_| {
                // It was freed twice, and the magazines saw it too late to say so to who did it.
                self.counts.frees = self.counts.frees.wrapping_sub(1);
                self.late_refusals += 1;
                1
            });
            rest = rest.get(taken..).unwrap_or_default();
        }
    }
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}
