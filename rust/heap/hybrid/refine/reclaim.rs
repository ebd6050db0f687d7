// SPDX-License-Identifier: GPL-2.0

//! Reclaim: the blocks in the magazines of all CPUs return to the heap, under memory pressure or on request.
//!
//! It lets a request be served as long as there is memory anywhere. Without it, the utilisation on one CPU is 88.8 %
//! and 86.1 %.
//!
//! # When a refusal is final
//!
//! A request is refused as exhausted or fragmented only if the memory is not there, whatever other tasks
//! do and however they are preempted:
//!
//! 1. The caller increments [`State::reclaimers`]. While that is not 0, no magazine grows and no block is
//!    prefetched, so a magazine that has no capacity stays empty.
//! 2. The caller takes the blocks and the capacity from every magazine of every CPU, under one hold of the
//!    lock for each magazine, which moves at most [`BLOCKS_MAX`](crate::hybrid::magazine::BLOCKS_MAX) blocks.
//!    [`PerCpu::with_remote`] interrupts another CPU to use its cache, and never waits for its scheduler.
//! 3. Under the lock the caller tries once more. Now all magazines are empty, and because blocks move only
//!    under the lock, each block is in the heap or live. The heap alone decides.
//!
//! While any CPU goes on- or offline, the magazines of offline CPUs cannot be reached; nor can those of a CPU
//! whose cache was in use each time the interrupt arrived. The caller tries again
//! for up to [`ATTEMPTS`] pauses. Then the fallbacks of the heap serve the request, or it is refused as
//! [`Refusal::Busy`].

use core::{
    alloc::Layout,
    sync::atomic::Ordering::Relaxed, //
};

use crate::{
    Block, Cost, Offset, Refusal,
    backing_heap::BackingHeap,
    engine::Shrink,
    hybrid::{
        engine::MagazineEngine,
        magazine::{
            CpuCache, //
        },
        state::{
            FlushBatch,
            State, //
        },
    },
    lock::Lock,
    per_cpu::{
        Exclusive,
        PerCpu, //
    },
    size_class::{
        MAGAZINE_KINDS,
        MagazineKind, //
    },
};

/// Pauses after which a CPU that cannot be reached is given up: each is at most a millisecond.
const ATTEMPTS: usize = 10;

/// The result of a flush of magazines.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::hybrid) struct Flushed {
    /// Blocks that moved to the heap.
    blocks: usize,
    /// Bytes that became free thereby.
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
pub(in crate::hybrid) enum CpuChoice {
    /// The current CPU. The task may move to another one between two magazines.
    Current,
    /// The CPU with this number.
    Number(usize),
}

impl Exclusive<'_, CpuCache> {
    /// Removes all blocks of the first magazine with a capacity, from kind `from` on, passes each to `take`,
    /// and takes the capacity away. Returns the kind and the capacity.
    pub(in crate::hybrid) fn empty_next_magazine(
        &self,
        from: usize,
        take: impl FnMut(Block),
    ) -> Option<(MagazineKind, usize)> {
        let mut kinds = (from..MAGAZINE_KINDS).filter_map(MagazineKind::new);
        let kind = kinds.find(|kind| self.capacity(*kind) > 0)?;
        self.flush(kind, usize::MAX, take);
        let capacity = self.capacity(kind);
        self.set_capacity(kind, 0);
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
    /// Allocates a block after the heap refused with `refusal`: flushes the magazines, the CPU's own first, then
    /// uses the fallbacks of the heap. The caller counts a refusal.
    #[cold]
    pub(in crate::hybrid) fn allocate_under_pressure(
        &self,
        layout: Layout,
        refusal: Refusal,
        cost: &mut Cost,
    ) -> Result<Offset, Refusal> {
        if !matches!(refusal, Refusal::Exhausted | Refusal::Fragmented) {
            // The blocks in magazines would not help.
            let fallback = self.state.with(|state| {
                let block = state.allocate_fallback(layout)?;
                *cost = *state.heap.cost();
                Some(block)
            });
            return fallback.ok_or(refusal);
        }
        if self.flush_cpu(CpuChoice::Current).blocks > 0 {
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

    /// Moves all blocks of all CPUs' magazines to the heap. A CPU that cannot be reached is tried again,
    /// for up to [`ATTEMPTS`] pauses.
    fn flush_all(&self) -> Flushed {
        let mut all = self.flush_all_once();
        for _ in 0..ATTEMPTS {
            if !all.incomplete || !self.per_cpu.pause() {
                break;
            }
            all.incomplete = false;
            all.add(self.flush_all_once());
        }
        all
    }

    /// Moves the blocks of all CPUs' magazines to the heap, as far as the CPUs can be reached now.
    fn flush_all_once(&self) -> Flushed {
        let mut all = Flushed::default();
        for (cpu, cache) in self.per_cpu.iter() {
            // A CPU without capacity has no blocks. It gets no capacity while `reclaimers` is not 0.
            if cache.capacity_bytes.load(Relaxed) > 0 {
                all.add(self.flush_cpu(CpuChoice::Number(cpu)));
            }
        }
        all
    }

    /// Moves all blocks of a CPU's magazines to the heap and takes the magazines' capacity away, one magazine
    /// at a time.
    pub(in crate::hybrid) fn flush_cpu(&self, cpu: CpuChoice) -> Flushed {
        let mut flushed = Flushed::default();
        let mut next = 0;
        while let Some(kind) =
            (self.state).with(|state| self.flush_next_magazine(state, cpu, next, &mut flushed))
        {
            next = kind.number() + 1;
        }
        flushed
    }

    /// Moves all blocks of the CPU's first magazine with a capacity, from kind number `from` on, to the heap, and takes
    /// the capacity away. Returns the kind.
    fn flush_next_magazine(
        &self,
        state: &mut State<H>,
        cpu: CpuChoice,
        from: usize,
        flushed: &mut Flushed,
    ) -> Option<MagazineKind> {
        let mut blocks = FlushBatch::new();
        let empty = |cache: &Exclusive<'_, CpuCache>| {
            cache.empty_next_magazine(from, |block| blocks.push(&self.index, block))
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
        let free_bytes = state.heap.free_bytes();
        state.return_capacity(capacity, kind);
        state.free_flushed(kind, blocks.offsets());
        flushed.blocks += blocks.offsets().len();
        flushed.free_bytes += state.heap.free_bytes().saturating_sub(free_bytes);
        Some(kind)
    }

    /// Flushes the CPU's magazines and calls `resize` again, after a block could not be resized in place to the layout
    /// `new`. It does so only if the pool has not enough free memory for a copy either.
    #[cold]
    pub(in crate::hybrid) fn resize_under_pressure(
        &self,
        new: Layout,
        resize: impl FnOnce(&mut State<H>) -> Option<Cost>,
    ) -> Option<Cost> {
        if self.state.with(|state| state.heap.free_bytes()) >= new.size() {
            return None;
        }
        self.flush_cpu(CpuChoice::Current);
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
    /// Flushes all magazines, and returns the empty slabs to the buddy system.
    fn shrink(&self) -> usize {
        let flushed = self.flush_all().free_bytes;
        flushed + self.state.with(|state| state.heap.shrink())
    }
}
