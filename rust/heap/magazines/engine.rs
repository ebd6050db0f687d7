// SPDX-License-Identifier: GPL-2.0

//! The engine: a magazine of the current CPU, or else the depot or the heap under the lock.
//!
//! Blocks move between magazines, the depot and the heap only while the lock is held, and the lock is held until the
//! blocks have arrived. A holder of the lock therefore finds each block in one of three states: free in the heap, in a
//! magazine (of a CPU or of the depot), or live. The heap counts the blocks in magazines and the live blocks as *allocated*.

// Lock order: the engine's lock first, then a CPU's magazines. The fast paths use the magazines of the current CPU
// without the lock. A closure that uses magazines never takes the lock. No code sleeps while it holds the lock
// or uses magazines.

use core::{
    alloc::Layout,
    hint::assert_unchecked,
    ptr::NonNull, //
};

use super::{
    depot::Depot,
    magazine::{CpuCache, Slot},
    state::{
        FlushBatch,
        State, //
    },
};
use crate::{
    Block, Cost, Engine, Offset, PAGE_BYTES, PAGE_SHIFT, Path, Refusal,
    backing_heap::{
        BackingHeap,
        InspectHeap, //
    },
    engine::{
        AddRegion,
        Allocated,
        BadFree,
        Capabilities,
        Interfaces, //
    },
    fail::{
        FailGrowth,
        Nth, //
    },
    lock::Lock,
    map::{
        Extent,
        Map,
        Mapped,
        NoMap, //
    },
    per_cpu::{
        Exclusive,
        PerCpu, //
    },
    region::RegionError,
    region_index::RegionIndex,
    size_class::{
        MAGAZINE_KINDS,
        MagazineKind, //
    },
};

/// An engine with magazines in front of a heap.
///
/// `L` is the lock around the heap: the *engine's lock*, or only *the lock* in this folder. `P` are the caches of
/// the CPUs.
pub struct MagazineEngine<H: BackingHeap, L, P> {
    pub(crate) state: L,
    pub(crate) per_cpu: P,
    pub(crate) index: RegionIndex<H::Desc>,
    failing_growth: Nth,
}

/// The largest number of blocks that a refill takes from the heap, one of them for the caller.
const REFILL_MAX: usize = 16;

/// The largest number of blocks that a flush offers to the heap.
const FLUSH_MAX: usize = 8;

/// The largest number of steps of a flush of objects: see [`State::free_flushed`].
const FLUSH_STEPS: usize = 2;

/// The costs of operations that a magazine served, by kind. Where a cost is written to memory, the table takes three
/// instructions less than [`cost`].
static MAGAZINE_COSTS: [Cost; MAGAZINE_KINDS] = {
    let mut costs = [Cost::new(Path::None); MAGAZINE_KINDS];
    let mut number = 0;
    while let Some(kind) = MagazineKind::new(number) {
        costs[number] = cost(Path::Magazine, kind);
        number += 1;
    }
    costs
};

/// Returns the bytes of metadata that a region of `bytes` bytes needs: those of the heap, and those of the depot.
#[must_use]
pub fn table_bytes<H: BackingHeap>(bytes: usize) -> usize {
    H::metadata_bytes(bytes / PAGE_BYTES) + Depot::bytes(bytes)
}

/// Returns the cost of an operation that a magazine served, without the lock or under it.
#[inline(always)]
fn magazine_cost(kind: MagazineKind) -> Cost {
    MAGAZINE_COSTS[kind.number()]
}

/// Returns the cost of an operation that served a block of a kind without the heap.
#[inline(always)]
const fn cost(path: Path, kind: MagazineKind) -> Cost {
    Cost::new(path).with_class(kind.class_number())
}

impl<H, L, P> MagazineEngine<H, L, P>
where
    H: BackingHeap,
    L: Lock<State<H>> + Sync,
    P: PerCpu<CpuCache>,
{
    /// Returns the kind of magazine that serves a layout by a size class, if there is one.
    #[inline(always)]
    fn class(layout: &Layout) -> Option<MagazineKind> {
        let kind = H::class(layout)?;
        // SAFETY: `assert_unchecked` requires a true condition: `BackingHeap::class` returns the kind of a class, by the
        // contract of `BackingHeap`. With the condition the compiler leaves out the code for whole pages.
        unsafe { assert_unchecked(kind.number() < H::CLASS_BYTES.len()) };
        Some(kind)
    }

    /// Allocates a block of whole pages from the CPU's magazine, or any block under the lock.
    #[inline(never)]
    fn allocate_slow(&self, layout: Layout, cost: &mut Cost) -> Result<Block, Refusal> {
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
                self.fail_growth_if_injected(state, layout)?;
                state.allocate_one(layout)
            });
            *cost = *state.heap.cost();
            allocated
        })
    }

    /// Refuses a request that needs a new slab, if fault injection says so.
    fn fail_growth_if_injected(&self, state: &State<H>, layout: Layout) -> Result<(), Refusal> {
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
            // As above.
            return self.index.offset(block.start).ok_or(Refusal::Busy);
        }
        self.fail_growth_if_injected(state, layout)?;
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

    /// Frees a block of whole pages, or of a region other than the first, into the CPU's magazine; or any
    /// block under the lock.
    ///
    /// # Safety
    ///
    /// As for [`Engine::free`].
    #[inline(never)]
    unsafe fn free_slow(
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
                    *cost = self::cost(path, kind);
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

    /// Moves some blocks of a full magazine to the heap, beginning with the one that was freed last, and returns how
    /// many. The bounds on blocks and steps limit the time.
    fn flush(
        &self,
        state: &mut State<H>,
        cache: &Exclusive<'_, CpuCache>,
        kind: MagazineKind,
    ) -> usize {
        let count = cache.capacity(kind).div_ceil(2).min(FLUSH_MAX);
        let newest = cache.newest(kind, count).iter().rev();
        let newest = newest.filter_map(Slot::get);
        let mut blocks = FlushBatch::<FLUSH_MAX>::new();
        let steps = if kind.pages().is_none() {
            newest.for_each(|block| blocks.push(&self.index, block));
            FLUSH_STEPS
        } else {
            // One step may coalesce pages many times. It frees only blocks that lie side by side.
            let address = |block: Block| block.start.addr().get();
            let mut last = None;
            let beside = newest.take_while(|block| {
                let last = last.replace(address(*block));
                last.is_none_or(|last| last.abs_diff(address(*block)) == H::block_bytes(kind))
            });
            beside.for_each(|block| blocks.push(&self.index, block));
            if blocks.offsets().len() == 1 {
                // The heap frees the caller's block alone as fast.
                return 0;
            }
            1
        };
        let flushed = state.free_flushed(kind, blocks.offsets(), steps);
        cache.remove_newest(kind, flushed);
        flushed
    }

    /// Returns whether a block of this kind begins at a byte that was found in a region: as
    /// [`BackingHeap::begins_block`].
    #[inline(always)]
    fn begins_block(found: Option<(usize, &H::Desc)>, kind: MagazineKind) -> bool {
        found.is_some_and(|(byte, desc)| H::begins_block(desc, byte, kind))
    }

    /// Allocates a block of a kind from the CPU's magazine, if it has one.
    #[inline(always)]
    fn pop(&self, kind: MagazineKind, layout: Layout) -> Option<Block> {
        self.per_cpu
            .try_with_local(|cache| cache.pop(kind, layout.size()))?
    }

    /// Frees a block of a kind into the CPU's magazine, and returns whether there was room.
    ///
    /// # Safety
    ///
    /// The block is live, a block of this kind begins there, and nobody uses it any more.
    #[inline(always)]
    unsafe fn push(&self, kind: MagazineKind, block: Block, layout: Layout) -> bool {
        self.per_cpu
            // SAFETY: The contract of `Exclusive::push` is that of this function.
            .try_with_local(|cache| unsafe { cache.push(kind, block, layout.size()) })
            .unwrap_or(false)
    }

    /// Frees a block of the first region into the CPU's magazine of a kind, and returns whether the block is of
    /// this kind, and there was room.
    ///
    /// # Safety
    ///
    /// As for [`Engine::free`].
    #[inline(always)]
    unsafe fn push_if_in_first_region(
        &self,
        kind: MagazineKind,
        block: Block,
        layout: Layout,
    ) -> bool {
        let found = self.index.find_in_first(block.start);
        // SAFETY: `push` requires a live block of the kind that nobody uses: a block of this kind begins there,
        // and the rest is this function's contract.
        Self::begins_block(found, kind) && unsafe { self.push(kind, block, layout) }
    }

    /// Returns an engine without memory around a new state, and empty caches.
    pub const fn new(state: L, per_cpu: P) -> Self {
        Self {
            state,
            per_cpu,
            index: RegionIndex::new(),
            failing_growth: Nth::new(),
        }
    }
}

// SAFETY: `Engine` requires that a live block is aligned, is the caller's alone, and is not touched.
// - The heap returns blocks that are aligned and share no byte with other live blocks, by the contract of
//   `BackingHeap`. The heap counts a block in a magazine as allocated, and it is in one magazine only, because a freed
//   block is live, by the contract of `free`. One closure at a time uses a magazine, by the contract of `PerCpu`.
// - A magazine has blocks of one size class or number of pages. `BackingHeap::kind` returns a kind whose blocks have the
//   layout's size and alignment, by the contract of `BackingHeap`.
// - Neither the heap nor this file touches a byte of the pool.
unsafe impl<H, L, P> Engine for MagazineEngine<H, L, P>
where
    H: InspectHeap,
    L: Lock<State<H>> + Sync,
    P: PerCpu<CpuCache>,
{
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            mmap: true,
            quick: true,
            free_block_bytes: 0,
            free_block_align: 1,
        }
    }

    #[inline(always)]
    fn usable_size(&self, layout: Layout) -> usize {
        H::usable_size(layout)
    }

    #[inline(always)]
    fn capacity(&self) -> usize {
        self.index.bytes()
    }

    #[inline(always)]
    fn offset(&self, byte: NonNull<u8>) -> Option<Offset> {
        self.index.offset(byte)
    }

    #[inline]
    fn allocate(&self, layout: Layout, cost: &mut Cost) -> Result<Block, Refusal> {
        if let Some(kind) = Self::class(&layout) {
            if let Some(block) = self.pop(kind, layout) {
                *cost = magazine_cost(kind);
                return Ok(block);
            }
        }
        self.allocate_slow(layout, cost)
    }

    #[inline(always)]
    fn try_allocate_fast(&self, layout: Layout) -> Option<Allocated> {
        let kind = Self::class(&layout)?;
        let block = self.pop(kind, layout)?;
        Some(Allocated {
            block,
            offset: self.offset(block.start),
            cost: cost(Path::Magazine, kind),
        })
    }

    #[inline]
    unsafe fn free(&self, block: Block, layout: Layout, cost: &mut Cost) -> Result<(), BadFree> {
        if let Some(kind) = Self::class(&layout) {
            // SAFETY: The contract of `push_if_in_first_region` is that of this function.
            if unsafe { self.push_if_in_first_region(kind, block, layout) } {
                *cost = magazine_cost(kind);
                return Ok(());
            }
        }
        // SAFETY: The contract of `free_slow` is that of this function.
        unsafe { self.free_slow(block, layout, cost) }
    }

    #[inline(always)]
    unsafe fn try_free_fast(&self, block: Block, layout: Layout) -> Option<Cost> {
        let kind = Self::class(&layout)?;
        // SAFETY: The contract of `push_if_in_first_region` is that of this function.
        let freed = unsafe { self.push_if_in_first_region(kind, block, layout) };
        freed.then(|| cost(Path::Magazine, kind))
    }

    fn fits_in_place(&self, layout: Layout, new: Layout) -> bool {
        H::fits_in_place(layout, new)
    }

    unsafe fn resize(&self, block: Block, layout: Layout, new: Layout, cost: &mut Cost) -> bool {
        let Some(offset) = self.index.offset(block.start) else {
            return false;
        };
        let resize = |state: &mut State<H>| state.resize(offset, layout, new);
        let resized = self.state.with(resize);
        let resized = resized.or_else(|| self.resize_under_pressure(new, resize));
        *cost = resized.unwrap_or(*cost);
        resized.is_some()
    }

    fn interfaces(&self) -> Interfaces<'_> {
        Interfaces {
            statistics: self,
            add_region: Some(self),
            check: Some(self),
            map: Some(self),
            shrink: Some(self),
            fail_growth: Some(self),
            supervise: None,
        }
    }
}

impl<H, L, P> AddRegion for MagazineEngine<H, L, P>
where
    H: BackingHeap,
    L: Lock<State<H>> + Sync,
    P: PerCpu<CpuCache>,
{
    fn table_bytes(&self, bytes: usize) -> usize {
        table_bytes::<H>(bytes)
    }

    unsafe fn add_region(
        &self,
        start: NonNull<u8>,
        bytes: usize,
        table: NonNull<u8>,
    ) -> Result<u16, RegionError> {
        let address = start.addr().get();
        let pages = bytes >> PAGE_SHIFT;
        if address % PAGE_BYTES != 0 {
            return Err(RegionError::Misaligned);
        }
        if bytes == 0 || bytes % PAGE_BYTES != 0 || pages > H::REGION_PAGES_MAX {
            return Err(RegionError::BadLength);
        }
        self.state.with(|state| {
            let region = state.regions.add(address, bytes)?;
            state.set_budget();
            let number = usize::from(region);
            // SAFETY: `BackingHeap::add_region` requires a new number, the address and number of the region's
            // pages, and `metadata_bytes(pages)` zeroed and aligned bytes that nobody else uses:
            // `Regions::add` returned a new number below `REGIONS_MAX`, the bounds were checked above, and `table`
            // has `table_bytes(bytes)` such bytes, by this function's contract.
            let descs = unsafe { state.heap.add_region(number, address, pages, table) };
            // SAFETY: `add` requires that the result is in the same allocation: the table has `table_bytes(bytes)`
            // bytes, of which the heap takes the first `metadata_bytes(pages)`.
            let stored = unsafe { table.add(H::metadata_bytes(pages)) };
            // SAFETY: `Depot::add` requires `Depot::bytes(bytes)` bytes that are aligned to 8 and that nobody else
            // accesses: these are the rest of the table, and `metadata_bytes` is a multiple of 8, by the contract of
            // `BackingHeap`.
            unsafe { state.depot.add(bytes, stored) };
            // SAFETY: `RegionIndex::add` requires memory for as long as the index lives, shared descriptors for
            // each page, at most 2²⁰ pages, and a new number: the memory lives as long as the engine, by this
            // function's contract; `BackingHeap::add_region` promises the descriptors, and `REGION_PAGES_MAX` is at
            // most 2²⁰, by the contract of the trait; `Regions::add` returned a new number, under the lock.
            unsafe { self.index.add(number, start, pages, descs) };
            Ok(region)
        })
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

impl<H, L, P> Map for MagazineEngine<H, L, P>
where
    H: InspectHeap,
    L: Lock<State<H>> + Sync,
    P: PerCpu<CpuCache>,
{
    fn map(&self, region: usize, page: u32, out: &mut [Extent]) -> Result<Mapped, NoMap> {
        self.state.with(|state| state.heap.map(region, page, out))
    }
}
