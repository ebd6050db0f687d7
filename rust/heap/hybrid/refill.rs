// SPDX-License-Identifier: GPL-2.0

//! The slow paths: a magazine cannot serve, and blocks move between magazine and heap.
//!
//! Blocks move only while the engine's lock is held, and the lock is held until they have arrived.
//! The holder of the lock therefore finds every block in the heap, in a magazine, or live, however
//! other callers are preempted.

use core::alloc::Layout;

use super::{
    Hybrid,
    buddy::Work,
    cpu_cache::{
        CpuCache,
        Requested,
        Start, //
    },
    fast::magazine_cost,
    magazine::{
        MagazineKind,
        TRANSFER_MAX, //
    },
    state::{
        Request,
        State, //
    },
};
use crate::{
    cost::Cost,
    engine::{
        BadFree,
        Block,
        Refusal, //
    },
    lock::Lock,
    per_cpu::PerCpu,
    region::Offset,
};

/// After so many times that a magazine could not grow, the reserve is redistributed.
const GROW_FAILURES_MAX: u64 = 64;

impl<L: Lock<State> + Sync, P: PerCpu<CpuCache>> Hybrid<L, P> {
    /// Allocates a block that no magazine of the CPU has.
    #[cold]
    #[inline(never)]
    pub(super) fn allocate_slow(
        &self,
        layout: Layout,
        requested: Requested,
        cost: &mut Cost,
    ) -> Result<Block, Refusal> {
        let mut request = Request {
            layout,
            requested,
            work: Work::default(),
            cost,
            redistribute: false,
        };
        let allocated = self.state.with(|state| {
            state.fail_growth(layout, &self.failing_growth)?;
            self.allocate_locked(state, &mut request)
        });
        let offset = match allocated {
            Ok(offset) => offset,
            Err(Refusal::Injected) => return Err(Refusal::Injected),
            Err(refusal) => self.allocate_under_pressure(&mut request, refusal)?,
        };
        if request.redistribute {
            self.redistribute_reserve();
        }
        // The heap's offsets are in the pool.
        self.addresses.block(offset).ok_or(Refusal::Exhausted)
    }

    /// Allocates a block from the heap, and refills the CPU's magazine of that size.
    fn allocate_locked(
        &self,
        state: &mut State,
        request: &mut Request<'_>,
    ) -> Result<Offset, Refusal> {
        let refilled = MagazineKind::of(&request.layout).and_then(|kind| {
            let refill = |cache: &CpuCache| self.refill(state, cache, kind, request);
            self.per_cpu.with_local(refill)
        });
        refilled.unwrap_or_else(|| Self::allocate_from_heap(state, request))
    }

    /// Allocates a block from the heap alone.
    pub(super) fn allocate_from_heap(
        state: &mut State,
        request: &mut Request<'_>,
    ) -> Result<Offset, Refusal> {
        let mut block = [Offset::NOWHERE];
        state.allocate(request, &mut block)?;
        Ok(block[0])
    }

    /// Raises the capacity of a magazine that is empty, allocates a block, and refills the magazine
    /// by half of its capacity.
    fn refill(
        &self,
        state: &mut State,
        cache: &CpuCache,
        kind: MagazineKind,
        request: &mut Request<'_>,
    ) -> Result<Offset, Refusal> {
        // The task may run on another CPU by now, or another task may have freed a block here.
        if let Some(block) = cache.allocate(kind, request.requested) {
            *request.cost = magazine_cost(kind);
            let offset = self.addresses.block_at(block).offset;
            return offset.ok_or(Refusal::Exhausted);
        }
        let capacity = cache.capacity(kind);
        let more = MagazineKind::next_capacity(capacity, cache.limit(kind)) - capacity;
        let granted = state.reserve(more, kind.bytes());
        // Blocks of pages are not prefetched: their magazines hold what was freed. Neither is
        // anything while memory is short.
        let prefetched = match kind.class() {
            Some(_) if !state.is_reclaiming() => (capacity + granted) / 2,
            _ => 0,
        };
        let mut blocks = [Offset::NOWHERE; TRANSFER_MAX];
        let wanted = (1 + prefetched).min(TRANSFER_MAX);
        let allocated = match state.allocate(request, &mut blocks[..wanted]) {
            Ok(allocated) => allocated,
            Err(refusal) => {
                state.unreserve(granted, kind.bytes());
                return Err(refusal);
            }
        };
        cache.raise_capacity(kind, granted);
        if allocated > 1 {
            let rest = &blocks[1..allocated];
            // The heap's offsets are in the pool.
            let blocks = rest.iter().filter_map(|block| self.addresses.block(*block));
            let starts = blocks.map(|block| block.start);
            let refilled = cache.refill(kind, starts);
            debug_assert_eq!(refilled, allocated - 1);
        }
        request.redistribute = granted < more && Self::grow_failed(state, cache);
        Ok(blocks[0])
    }

    /// Counts that a magazine could not grow, and says whether the reserve is to be redistributed.
    fn grow_failed(state: &State, cache: &CpuCache) -> bool {
        !state.is_reclaiming() && cache.count_grow_failure() >= GROW_FAILURES_MAX
    }

    /// Frees a block of any size in any region: into the CPU's magazine if there is room, else after
    /// making room, or to the heap.
    #[cold]
    #[inline(never)]
    pub(super) fn free_slow(
        &self,
        start: Start,
        layout: Layout,
        requested: Requested,
        cost: &mut Cost,
    ) -> Result<(), BadFree> {
        let kind = MagazineKind::of(&layout);
        // Only a block of the right size gets into a magazine. The heap names what is wrong with
        // anything else.
        let kind = kind.filter(|kind| self.is_block(*kind, start));
        if let Some(kind) = kind.filter(|kind| self.push(*kind, start, requested)) {
            *cost = magazine_cost(kind);
            return Ok(());
        }
        let offset = self.addresses.block_at(start).offset;
        let offset = offset.ok_or(BadFree::Foreign)?;
        self.state.with(|state| {
            let cached = kind.and_then(|kind| {
                let free = |cache: &CpuCache| {
                    self.make_room(state, cache, kind) && cache.free(kind, start, requested)
                };
                self.per_cpu.with_local(free)
            });
            match kind {
                Some(kind) if cached == Some(true) => {
                    *cost = magazine_cost(kind);
                    Ok(())
                }
                _ => state.free(offset, layout, requested, cost),
            }
        })
    }

    /// Makes room in a magazine that is full, and says whether it did: raises the capacity, or
    /// flushes half of the blocks to the heap.
    ///
    /// Blocks of pages are not flushed: each free past a full magazine goes to the heap, so that the
    /// cost of coalescing does not come at once.
    fn make_room(&self, state: &mut State, cache: &CpuCache, kind: MagazineKind) -> bool {
        let capacity = cache.capacity(kind);
        // As in `refill`: this may be another magazine than the one that was full.
        if cache.len(kind) < capacity {
            return true;
        }
        let more = MagazineKind::next_capacity(capacity, cache.limit(kind)) - capacity;
        let granted = state.reserve(more, kind.bytes());
        cache.raise_capacity(kind, granted);
        if granted > 0 {
            return true;
        }
        if more > 0 {
            // An allocation will redistribute the reserve: the caller may hold a lock of its own.
            Self::grow_failed(state, cache);
        }
        // One less than a refill brings, see `magazine`.
        let count = (capacity / 2).min(TRANSFER_MAX - 1);
        kind.class().is_some() && self.flush(state, cache, kind, count) > 0
    }

    /// Moves the blocks that were freed first from a magazine to the heap, up to `count`, and returns
    /// how many they are.
    fn flush(
        &self,
        state: &mut State,
        cache: &CpuCache,
        kind: MagazineKind,
        count: usize,
    ) -> usize {
        let mut blocks = [Offset::NOWHERE; TRANSFER_MAX];
        let mut places = blocks.iter_mut();
        let taken = cache.flush(kind, count.min(TRANSFER_MAX), |block| {
            if let Some(place) = places.next() {
                *place = self.addresses.offset_at(block);
            }
        });
        state.free_cached(kind, &blocks[..taken]);
        taken
    }
}
