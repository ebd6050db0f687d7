// SPDX-License-Identifier: GPL-2.0

//! Allocation under the lock: refills a magazine from the depot or the heap, or allocates one block.

use core::alloc::Layout;

use super::{
    engine::{
        MagazineEngine,
        cost,
        magazine_cost, //
    },
    magazine::CpuCache,
    state::State,
};
use crate::{
    Block,
    Cost,
    Offset,
    Path,
    Refusal,
    backing_heap::BackingHeap,
    fail::FailGrowth,
    lock::Lock,
    per_cpu::{
        Exclusive,
        PerCpu, //
    },
    size_class::MagazineKind, //
};

/// The largest number of blocks that a refill takes from the heap, one of them for the caller.
const REFILL_MAX: usize = 16;

impl<H, L, P> MagazineEngine<H, L, P>
where
    H: BackingHeap,
    L: Lock<State<H>> + Sync,
    P: PerCpu<CpuCache>,
{
    /// Allocates a block of whole pages from the CPU's magazine, or any block under the lock.
    #[inline(never)]
    pub(super) fn allocate_slow(&self, layout: Layout, cost: &mut Cost) -> Result<Block, Refusal> {
        if let Some(kind) = H::whole_pages(&layout) {
            if let Some(block) = self.pop(kind, layout) {
                *cost = magazine_cost(kind);
                return Ok(block);
            }
        }
        self.allocate_from_heap(layout, cost)
    }

    /// Allocates a block under the lock, if necessary after reclaiming memory.
    #[cold]
    #[inline(never)]
    fn allocate_from_heap(&self, layout: Layout, cost: &mut Cost) -> Result<Block, Refusal> {
        self.flush_before_large(layout);
        let mut allocated = self.allocate_locked(layout, cost);
        if let Err(refusal) = allocated {
            allocated = self.allocate_with_metadata(layout, refusal, cost);
        }
        // An injected failure changes nothing else.
        if allocated != Err(Refusal::Injected) {
            if let Err(refusal) = allocated {
                allocated = self.allocate_under_pressure(layout, refusal, cost);
            }
            self.redistribute_budget();
        }
        if let Err(refusal) = allocated {
            self.state
                .with(|state| state.refusals[refusal as usize] += 1);
        }
        // This cannot fail, because each offset of the heap is in a region. `Busy` stands in for a panic.
        let start = self.index.address(allocated?).ok_or(Refusal::Busy)?;
        Ok(Block { start })
    }

    /// Allocates a block under the lock, and refills the CPU's magazine.
    fn allocate_locked(&self, layout: Layout, cost: &mut Cost) -> Result<Offset, Refusal> {
        let kind = H::kind(&layout);
        self.state.with(|state| {
            let refilled = kind.and_then(|kind| {
                self.per_cpu
                    .with_local(|cache| self.refill(state, cache, kind, layout))
            });
            let allocated = refilled.unwrap_or_else(|| {
                self.ensure_growth(state, layout)?;
                state.allocate_one(layout)
            });
            *cost = *state.heap.cost();
            allocated
        })
    }

    /// Allocates a block after the heap refused the request with `refusal`, if the cause was a lack of memory for
    /// metadata: adds the next piece and tries again or, if the platform has no memory, uses the fallbacks of the heap.
    fn allocate_with_metadata(
        &self,
        layout: Layout,
        refusal: Refusal,
        cost: &mut Cost,
    ) -> Result<Offset, Refusal> {
        let next_piece = |state: &mut State<H>| {
            let lacks_memory = state.heap.lacks_memory(layout);
            lacks_memory.then(|| state.heap.next_piece())?
        };
        let Some(piece) = self.state.with(next_piece) else {
            return Err(refusal);
        };
        // The platform may sleep, so the lock is not held here.
        let Some(memory) = self.per_cpu.metadata(piece) else {
            return self.allocate_by_fallback(layout, refusal, cost);
        };
        self.state.with(|state| {
            // SAFETY: `add_piece` requires the bytes of the piece, zero and aligned to 8 if the piece is the next one, that
            // only the heap accesses while it exists: the contract of `PerCpu` promises them until `per_cpu` is dropped,
            // and the heap is in `state`, an earlier field. The heap has written them only if the piece was added.
            unsafe { state.heap.add_piece(piece, memory) };
        });
        self.allocate_locked(layout, cost)
    }

    /// Refuses a request that needs a new slab, if the heap lacks memory for its metadata or fault injection says so.
    fn ensure_growth(&self, state: &State<H>, layout: Layout) -> Result<(), Refusal> {
        if state.heap.lacks_memory(layout) {
            return Err(Refusal::Exhausted);
        }
        let fails = self.failing_growth.is_set()
            && state.heap.would_grow(layout)
            && self.failing_growth.should_fail();
        if fails {
            Err(Refusal::Injected)
        } else {
            Ok(())
        }
    }

    /// Allocates a block, and refills the empty magazine: from the depot, or else by up to half of its capacity from
    /// the heap.
    fn refill(
        &self,
        state: &mut State<H>,
        cache: &Exclusive<'_, CpuCache>,
        kind: MagazineKind,
        layout: Layout,
    ) -> Result<Offset, Refusal> {
        // The task may run on another CPU by now, or another task may have freed a block here.
        if let Some(block) = cache.pop(kind, layout.size()) {
            *state.heap.cost() = cost(Path::Magazine, kind);
            // This cannot fail, because the block is in a region. `Busy` stands in for a panic.
            return self.index.offset(block.start).ok_or(Refusal::Busy);
        }
        if let Some(block) = state.load(cache, kind) {
            state.count_allocation(layout);
            *state.heap.cost() = cost(Path::Depot, kind);
            // This cannot fail, because the block is in a region.
            return self.index.offset(block.start).ok_or(Refusal::Busy);
        }
        self.ensure_growth(state, layout)?;
        state.grow_magazine(cache, kind);
        // While any caller is reclaiming, no magazine is refilled.
        let prefetched = match state.is_reclaiming() {
            true => 0,
            false => cache.capacity(kind) / 2,
        };
        let mut blocks = [Offset::NOWHERE; REFILL_MAX];
        let wanted = (1 + prefetched).min(REFILL_MAX);
        let allocated = state.allocate(layout, &mut blocks[..wanted])?;
        let rest = blocks[1..allocated].iter();
        let rest = rest.filter_map(|offset| self.index.address(*offset));
        // SAFETY: `refill` requires allocated blocks of this kind that nobody else uses: the heap just allocated
        // them with the layout of the kind.
        unsafe { cache.refill(kind, rest.map(|start| Block { start })) };
        Ok(blocks[0])
    }
}

impl<H, L, P> FailGrowth for MagazineEngine<H, L, P>
where
    H: BackingHeap,
    L: Lock<State<H>> + Sync,
    P: PerCpu<CpuCache>,
{
    fn fail_growth(&self, nth: u64) {
        self.failing_growth.set(nth);
    }
}
