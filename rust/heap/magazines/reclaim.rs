// SPDX-License-Identifier: GPL-2.0

//! Reclaim: the blocks in the magazines of all CPUs and in the depot return to the heap, under memory pressure or on
//! request.
//!
//! With reclaim, a request can use the free memory of all CPUs. Without reclaim, the utilisation on one CPU
//! is 88.8 % and 86.1 %.
//!
//! # When a refusal is final
//!
//! Before a request is refused as exhausted or fragmented, all magazines and the depot are empty. The heap alone then
//! determines the result, and the CPUs on which blocks were freed do not matter:
//!
//! 1. The caller increments [`State::reclaimers`]. While `reclaimers` is not 0, no magazine grows, no block is
//!    prefetched, and the depot takes no blocks, so a magazine without capacity and an empty depot stay empty.
//! 2. The caller takes the blocks and the capacity from every magazine of every CPU. The caller takes the lock once for
//!    each magazine, and so moves at most [`BLOCKS_MAX`] blocks at a time. [`PerCpu::with_remote`] interrupts another
//!    CPU to use its cache, and never waits for its scheduler.
//! 3. The caller takes the blocks from the depot, also one magazine at a time.
//! 4. The caller takes the lock and tries once more. Now all magazines are empty. Because blocks move only
//!    under the lock, each block is in the heap or live, and the heap alone determines the result.
//!
//! While any CPU goes online or offline, the magazines of offline CPUs cannot be reached. A CPU whose cache
//! was in use each time the interrupt arrived cannot be reached either. The caller tries again for up to
//! [`ATTEMPTS`] pauses. After the last pause, the heap tries once more, and then its fallbacks. If neither serves the
//! request, it is refused: as [`Refusal::Busy`] if a CPU could not be reached, else with the heap's own cause.

use core::{
    alloc::Layout,
    sync::atomic::Ordering::Relaxed, //
};

use crate::{
    Block,
    Cost,
    Offset,
    Refusal,
    backing_heap::BackingHeap,
    engine::Shrink,
    lock::Lock,
    magazines::{
        depot,
        engine::MagazineEngine,
        magazine::{
            BLOCKS_MAX,
            CpuCache,
            Slot, //
        },
        state::{
            FlushBatch,
            State, //
        }, //
    },
    per_cpu::{
        Exclusive,
        PerCpu, //
    },
    size_class::{
        MAGAZINE_KINDS,
        MagazineKind, //
    }, //
};

/// The maximum number of pauses to wait for a CPU that cannot be reached. A pause takes at most a
/// millisecond.
const ATTEMPTS: usize = 10;

/// A block of more than 1/`LARGE_SHARE` of the pool is large.
const LARGE_SHARE: usize = 16;

/// The result of a flush of magazines.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Flushed {
    /// The number of blocks that moved to the heap.
    blocks: usize,
    /// The number of bytes by which the free memory of the heap grew.
    free_bytes: usize,
    /// Whether a CPU could not be reached.
    incomplete: bool,
}

impl Flushed {
    fn add(&mut self, other: Self) {
        self.blocks += other.blocks;
        self.free_bytes += other.free_bytes;
        self.incomplete |= other.incomplete;
    }
}

/// The CPU whose magazines are flushed.
#[derive(Clone, Copy)]
pub(crate) enum CpuChoice {
    /// The current CPU. The task may move to another CPU between two magazines.
    Current,
    /// The CPU with this number.
    Number(usize),
}

impl Exclusive<'_, CpuCache> {
    /// Removes all blocks of the first magazine with a capacity, from kind number `from` on, passes each
    /// block to `take`, and sets the capacity to 0. Returns the kind and the old capacity.
    pub(crate) fn empty_next_magazine<H: BackingHeap>(
        &self,
        from: usize,
        take: impl FnMut(Block),
    ) -> Option<(MagazineKind, usize)> {
        let mut kinds = (from..MAGAZINE_KINDS).filter_map(MagazineKind::new);
        let kind = kinds.find(|kind| self.capacity(*kind) > 0)?;
        let blocks = self.newest(kind, usize::MAX).iter().rev();
        blocks.filter_map(Slot::get).for_each(take);
        self.remove_newest(kind, usize::MAX);
        let capacity = self.capacity(kind);
        self.set_capacity(kind, H::block_bytes(kind), 0);
        self.grow_failures.store(0, Relaxed);
        Some((kind, capacity))
    }
}

impl<H, L, P> MagazineEngine<H, L, P>
where
    H: BackingHeap,
    L: Lock<State<H>> + Sync,
    P: PerCpu<CpuCache>,
{
    /// Flushes the magazines of the current CPU and the depot before a request for a large block, if the heap needs
    /// that: see [`BackingHeap::LARGE_BLOCKS_LIE_ANYWHERE`].
    pub(crate) fn flush_before_large(&self, layout: Layout) {
        // A request that the pool cannot serve changes nothing.
        let pool_bytes = self.index.bytes();
        let is_large = (pool_bytes / LARGE_SHARE + 1..=pool_bytes).contains(&layout.size());
        if H::LARGE_BLOCKS_LIE_ANYWHERE && is_large {
            self.flush_cpu(CpuChoice::Current);
            self.flush_depot();
        }
    }

    /// Allocates a block after the heap refused the request with `refusal`. Flushes the magazines, first
    /// those of the current CPU and of the depot, and then uses the fallbacks of the heap. The caller counts a refusal.
    #[cold]
    pub(crate) fn allocate_under_pressure(
        &self,
        layout: Layout,
        refusal: Refusal,
        cost: &mut Cost,
    ) -> Result<Offset, Refusal> {
        if !matches!(refusal, Refusal::Exhausted | Refusal::Fragmented) {
            // The blocks in magazines would not help.
            return self.allocate_by_fallback(layout, refusal, cost);
        }
        let mut flushed = self.flush_cpu(CpuChoice::Current);
        flushed.add(self.flush_depot());
        if flushed.blocks > 0 {
            let allocated = self.state.with(|state| {
                let allocated = state.allocate_one(layout);
                *cost = *state.heap.cost();
                allocated
            });
            if allocated.is_ok() {
                return allocated;
            }
        }
        self.state.with(|state| state.reclaimers += 1);
        let flushed = self.flush_all();
        self.state.with(|state| {
            state.reclaimers = state.reclaimers.saturating_sub(1);
            let allocated = state.allocate_one(layout).or_else(|refusal| {
                let fallback = state.allocate_fallback(layout);
                fallback.ok_or(if flushed.incomplete {
                    Refusal::Busy
                } else {
                    refusal
                })
            });
            *cost = *state.heap.cost();
            allocated
        })
    }

    /// Allocates a block by the fallbacks of the heap alone, after the heap refused the request with `refusal`.
    pub(crate) fn allocate_by_fallback(
        &self,
        layout: Layout,
        refusal: Refusal,
        cost: &mut Cost,
    ) -> Result<Offset, Refusal> {
        self.state.with(|state| {
            let block = state.allocate_fallback(layout).ok_or(refusal)?;
            *cost = *state.heap.cost();
            Ok(block)
        })
    }

    /// Moves all blocks of all CPUs' magazines and of the depot to the heap. If a CPU cannot be reached, tries again for
    /// up to [`ATTEMPTS`] pauses.
    fn flush_all(&self) -> Flushed {
        let mut all = self.flush_all_once();
        for _ in 0..ATTEMPTS {
            if !all.incomplete || !self.per_cpu.pause() {
                break;
            }
            all.incomplete = false;
            all.add(self.flush_all_once());
        }
        all.add(self.flush_depot());
        all
    }

    /// Moves all blocks of the depot to the heap, one magazine at a time. Other CPUs may add blocks meanwhile unless
    /// `reclaimers` is not 0.
    fn flush_depot(&self) -> Flushed {
        let mut flushed = Flushed::default();
        for kind in MagazineKind::all() {
            // The bound ends the loop if other CPUs add blocks.
            for _ in 0..depot::MAGAZINES_MAX {
                let unload = |state: &mut State<H>| {
                    let mut blocks = FlushBatch::<BLOCKS_MAX>::new();
                    state.unload(kind, usize::MAX, |block| blocks.push(&self.index, block));
                    self.free_batch(state, kind, &blocks, &mut flushed)
                };
                if self.state.with(unload) == 0 {
                    break;
                }
            }
        }
        flushed
    }

    /// Frees blocks to the heap, adds them to `flushed`, and returns their number.
    fn free_batch(
        &self,
        state: &mut State<H>,
        kind: MagazineKind,
        blocks: &FlushBatch<BLOCKS_MAX>,
        flushed: &mut Flushed,
    ) -> usize {
        let free_bytes = state.heap.free_bytes();
        let count = state.free_flushed(kind, blocks.offsets(), usize::MAX);
        flushed.blocks += count;
        flushed.free_bytes += state.heap.free_bytes().saturating_sub(free_bytes);
        count
    }

    /// Moves the blocks of the magazines of all CPUs that can be reached now to the heap.
    fn flush_all_once(&self) -> Flushed {
        let mut all = Flushed::default();
        for (cpu, cache) in self.per_cpu.iter() {
            // A CPU whose magazines have no capacity has no blocks. The magazines get no capacity while
            // `reclaimers` is not 0.
            if cache.capacity_bytes.load(Relaxed) > 0 {
                all.add(self.flush_cpu(CpuChoice::Number(cpu)));
            }
        }
        all
    }

    /// Forgets that magazines have failed to grow. The CPUs whose magazines have no capacity remember it, too.
    fn forget_failures(&self) {
        for (cpu, cache) in self.per_cpu.iter() {
            if cache.grow_failures.load(Relaxed) > 0 {
                let forget =
                    |cache: &Exclusive<'_, CpuCache>| cache.grow_failures.store(0, Relaxed);
                // A CPU that cannot be reached returns a part of the budget at its next allocation under the lock.
                let _ = self.state.with(|_| self.per_cpu.with_remote(cpu, forget));
            }
        }
    }

    /// Moves all blocks of a CPU's magazines to the heap and sets the capacity of the magazines to 0, one
    /// magazine at a time.
    pub(crate) fn flush_cpu(&self, cpu: CpuChoice) -> Flushed {
        let mut flushed = Flushed::default();
        let mut next = 0;
        while let Some(kind) =
            (self.state).with(|state| self.flush_next_magazine(state, cpu, next, &mut flushed))
        {
            next = kind.number() + 1;
        }
        flushed
    }

    /// Moves all blocks of the CPU's first magazine with a capacity, from kind number `from` on, to the heap,
    /// and sets the capacity to 0. Returns the kind.
    fn flush_next_magazine(
        &self,
        state: &mut State<H>,
        cpu: CpuChoice,
        from: usize,
        flushed: &mut Flushed,
    ) -> Option<MagazineKind> {
        let mut blocks = FlushBatch::<BLOCKS_MAX>::new();
        let empty = |cache: &Exclusive<'_, CpuCache>| {
            cache.empty_next_magazine::<H>(from, |block| blocks.push(&self.index, block))
        };
        let emptied = match cpu {
            CpuChoice::Current => self.per_cpu.with_local(empty)?,
            CpuChoice::Number(cpu) => {
                let emptied = self.per_cpu.with_remote(cpu, empty);
                flushed.incomplete |= emptied.is_none();
                emptied?
            }
        };
        let (kind, capacity) = emptied?;
        state.return_to_budget(capacity, kind);
        self.free_batch(state, kind, &blocks, flushed);
        Some(kind)
    }

    /// Calls `resize` again after it could not resize a block in place to the layout `new`. If the pool has enough
    /// free memory for a copy, or no region is large enough, returns `None`. Otherwise flushes the current CPU's magazines
    /// and the depot, and frees the cached memory of the heap, before the call.
    #[cold]
    pub(crate) fn resize_under_pressure(
        &self,
        new: Layout,
        resize: impl FnOnce(&mut State<H>) -> Option<Cost>,
    ) -> Option<Cost> {
        let may_help = |state: &mut State<H>| {
            state.heap.free_bytes() < new.size() && new.size() <= state.regions.largest()
        };
        if !self.state.with(may_help) {
            return None;
        }
        self.flush_cpu(CpuChoice::Current);
        self.flush_depot();
        self.state.with(|state| {
            state.heap.shrink();
            resize(state)
        })
    }
}

impl<H, L, P> Shrink for MagazineEngine<H, L, P>
where
    H: BackingHeap,
    L: Lock<State<H>> + Sync,
    P: PerCpu<CpuCache>,
{
    /// Flushes all magazines and the depot, and frees the cached memory of the heap. If no block is live, and the pool
    /// has one region, later operations on one CPU return the same offsets as in a new pool.
    fn shrink(&self) -> usize {
        let flushed = self.flush_all().free_bytes;
        self.forget_failures();
        self.state.with(|state| {
            state.next_kind = 0;
            flushed + state.heap.shrink()
        })
    }
}
