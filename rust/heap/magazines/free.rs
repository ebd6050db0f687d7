// SPDX-License-Identifier: GPL-2.0

//! A free that the fast path did not serve: makes room in the CPU's magazine, or frees the block to the heap.

use core::alloc::Layout;

use super::{
    engine::{
        self,
        MagazineEngine,
        magazine_cost, //
    },
    magazine::{
        CpuCache,
        Slot, //
    },
    state::{
        FlushBatch,
        State, //
    },
};
#[cfg(doc)]
use crate::Engine;
use crate::{
    Block,
    Cost,
    Offset,
    Path,
    backing_heap::BackingHeap,
    engine::BadFree,
    lock::Lock,
    per_cpu::{
        Exclusive,
        PerCpu, //
    },
    size_class::MagazineKind, //
};

/// The largest number of blocks that a flush offers to the heap.
const FLUSH_MAX: usize = 8;

/// The largest number of steps of a flush of objects: see [`State::free_flushed`].
const FLUSH_STEPS: usize = 2;

/// Returns the number of blocks of a kind, the last ones in `slots`, that lie side by side: at least 1. O(slots).
fn blocks_beside<H: BackingHeap>(slots: &[Slot], kind: MagazineKind) -> usize {
    let bytes = H::block_bytes(kind);
    let address = |slot: &Slot| slot.get().map_or(0, |block| block.start.addr().get());
    let pairs = slots.iter().zip(slots.get(1..).unwrap_or_default()).rev();
    let beside =
        pairs.take_while(|(older, newer)| address(older).abs_diff(address(newer)) == bytes);
    1 + beside.count()
}

impl<H, L, P> MagazineEngine<H, L, P>
where
    H: BackingHeap,
    L: Lock<State<H>> + Sync,
    P: PerCpu<CpuCache>,
{
    /// Frees a block of whole pages of the first region into the CPU's magazine, or any block by
    /// [`MagazineEngine::free_in_any_region`].
    ///
    /// # Safety
    ///
    /// As for [`Engine::free`].
    #[inline(never)]
    pub(super) unsafe fn free_slow(
        &self,
        block: Block,
        layout: Layout,
        cost: &mut Cost,
    ) -> Result<(), BadFree> {
        if let Some(kind) = H::whole_pages(&layout) {
            // SAFETY: The contract of `push_if_in_first_region` is that of this function.
            if unsafe { self.push_if_in_first_region(kind, block, layout) } {
                *cost = magazine_cost(kind);
                return Ok(());
            }
        }
        // SAFETY: The contract of `free_in_any_region` is that of this function.
        unsafe { self.free_in_any_region(block, layout, cost) }
    }

    /// Frees a block into the CPU's magazine, or under the lock.
    ///
    /// # Safety
    ///
    /// As for [`Engine::free`].
    #[inline(never)]
    unsafe fn free_in_any_region(
        &self,
        block: Block,
        layout: Layout,
        cost: &mut Cost,
    ) -> Result<(), BadFree> {
        let found = self.index.find(block.start);
        let kind = H::kind(&layout).filter(|kind| Self::begins_block(found, *kind));
        if let Some(kind) = kind {
            // SAFETY: `push` requires a live block of the kind that nobody uses: a block of this kind begins there,
            // and the rest is this function's contract.
            if unsafe { self.push(kind, block, layout) } {
                *cost = magazine_cost(kind);
                return Ok(());
            }
        }
        // SAFETY: The contract of `free_locked` is that of this function, and a block of the kind begins there.
        unsafe { self.free_locked(kind, block, layout, cost) }
    }

    /// Frees a block under the lock: into the CPU's magazine of `kind` after making room there, or to the heap.
    ///
    /// # Safety
    ///
    /// As for [`Engine::free`]. A block of `kind` begins there.
    #[cold]
    #[inline(never)]
    unsafe fn free_locked(
        &self,
        kind: Option<MagazineKind>,
        block: Block,
        layout: Layout,
        cost: &mut Cost,
    ) -> Result<(), BadFree> {
        let offset = self.index.offset(block.start).ok_or(BadFree::Foreign)?;
        self.state.with(|state| {
            if let Some(kind) = kind {
                // SAFETY: The contract of `push_locked` is that of this function.
                if let Some(path) = unsafe { self.push_locked(state, kind, block, layout) } {
                    *cost = engine::cost(path, kind);
                    return Ok(());
                }
            }
            // No magazine takes the block: no kind of magazine serves its size and alignment, this CPU has no cache, the
            // heap allocated the block by a fallback, or no room could be made. The heap frees the block, or refuses a
            // bad free with its cause.
            let freed = state.free(offset, layout);
            *cost = *state.heap.cost();
            freed
        })
    }

    /// Frees a block of a kind into the CPU's magazine after making room there. Returns [`Path::Depot`] if the depot
    /// made the room, else [`Path::Magazine`], or `None` if there is no room.
    ///
    /// # Safety
    ///
    /// As for [`MagazineEngine::push`].
    unsafe fn push_locked(
        &self,
        state: &mut State<H>,
        kind: MagazineKind,
        block: Block,
        layout: Layout,
    ) -> Option<Path> {
        let push = |cache: &Exclusive<'_, CpuCache>| {
            let path = self.make_room(state, cache, kind)?;
            // SAFETY: The contract of `Exclusive::push` is that of this function.
            unsafe { cache.push(kind, block, layout.size()) }.then_some(path)
        };
        self.per_cpu.with_local(push)?
    }

    /// Makes room in a full magazine: raises the capacity, moves most of the blocks to the depot, or moves some to the
    /// heap. Returns as [`MagazineEngine::push_locked`].
    fn make_room(
        &self,
        state: &mut State<H>,
        cache: &Exclusive<'_, CpuCache>,
        kind: MagazineKind,
    ) -> Option<Path> {
        let capacity = cache.capacity(kind);
        // The task may run on another CPU by now, whose magazine is not full.
        if cache.len(kind) < capacity || state.grow_magazine(cache, kind) > 0 {
            return Some(Path::Magazine);
        }
        if state.store(cache, kind) {
            return Some(Path::Depot);
        }
        (self.flush(state, cache, kind) > 0).then_some(Path::Magazine)
    }

    /// Moves some blocks of a full magazine to the heap, and returns how many. The bounds on blocks and steps limit the
    /// time.
    fn flush(
        &self,
        state: &mut State<H>,
        cache: &Exclusive<'_, CpuCache>,
        kind: MagazineKind,
    ) -> usize {
        let count = cache.capacity(kind).div_ceil(2).min(FLUSH_MAX);
        let newest = cache.newest(kind, count);
        let mut steps = FLUSH_STEPS;
        if kind.pages().is_some() {
            // One step may coalesce pages many times. It frees only blocks that lie side by side.
            steps = 1;
            let beside = blocks_beside::<H>(newest, kind);
            if beside < newest.len() {
                return self.flush_below(state, cache, kind, beside);
            }
        }
        let mut blocks = FlushBatch::<FLUSH_MAX>::new();
        let newest = newest.iter().rev().filter_map(Slot::get);
        newest.for_each(|block| blocks.push(&self.index, block));
        let flushed = state.free_flushed(kind, blocks.offsets(), steps);
        cache.remove_newest(kind, flushed);
        flushed
    }

    /// Moves the block that was freed before the `newer` newest ones to the heap, and returns 1. The newest ones lie side
    /// by side, and this block lies apart from them.
    ///
    /// The blocks that are freed next may lie beside the newest ones. When enough of them have come together in the
    /// magazine, the heap frees them in one step. A block that lies apart would prevent this if it stayed in the
    /// magazine: each of the following blocks would be freed alone.
    fn flush_below(
        &self,
        state: &mut State<H>,
        cache: &Exclusive<'_, CpuCache>,
        kind: MagazineKind,
        newer: usize,
    ) -> usize {
        let block = cache.remove_below(kind, newer);
        let offset = block.and_then(|block| self.index.offset(block.start));
        state.free_flushed(kind, &[offset.unwrap_or(Offset::NOWHERE)], 1)
    }
}
