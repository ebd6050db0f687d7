// SPDX-License-Identifier: GPL-2.0

//! The engine and its fast paths, which use only a magazine of the current CPU.
//!
//! `allocate` and `free` have the paths under the lock.
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
    magazine::CpuCache,
    state::State, //
};
use crate::{
    Block,
    Cost,
    Engine,
    Offset,
    Path,
    Refusal,
    backing_heap::{
        BackingHeap,
        InspectHeap, //
    },
    engine::{
        Allocated,
        BadFree,
        Capabilities,
        Interfaces, //
    },
    fail::Nth,
    lock::Lock,
    map::{
        Extent,
        Map,
        Mapped,
        NoMap, //
    },
    per_cpu::PerCpu,
    region_index::RegionIndex,
    size_class::{
        MAGAZINE_KINDS,
        MagazineKind, //
    }, //
};

/// An engine with magazines in front of a heap.
///
/// `L` is the lock around the heap: the *engine's lock*, or only *the lock* in this folder. `P` are the caches of
/// the CPUs.
pub struct MagazineEngine<H: BackingHeap, L, P> {
    pub(crate) state: L,
    pub(crate) per_cpu: P,
    pub(crate) index: RegionIndex<H::Desc>,
    pub(super) failing_growth: Nth,
}

/// The costs of operations that a magazine served, by kind. Copying a cost from this table to memory takes three
/// instructions less than making it with [`cost`].
static MAGAZINE_COSTS: [Cost; MAGAZINE_KINDS] = {
    let mut costs = [Cost::new(Path::None); MAGAZINE_KINDS];
    let mut number = 0;
    while let Some(kind) = MagazineKind::new(number) {
        costs[number] = cost(Path::Magazine, kind);
        number += 1;
    }
    costs
};

/// Returns the cost of an operation that a magazine served, without the lock or under it.
#[inline(always)]
pub(super) fn magazine_cost(kind: MagazineKind) -> Cost {
    MAGAZINE_COSTS[kind.number()]
}

/// Returns the cost of an operation on a block of a kind that did not use the heap.
#[inline(always)]
pub(super) const fn cost(path: Path, kind: MagazineKind) -> Cost {
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

    /// Returns whether a block of this kind begins at a byte of a region. `found` is the byte and the descriptor of its
    /// page, or `None` if no region has the address. See [`BackingHeap::begins_block`].
    #[inline(always)]
    pub(super) fn begins_block(found: Option<(usize, &H::Desc)>, kind: MagazineKind) -> bool {
        found.is_some_and(|(byte, desc)| H::begins_block(desc, byte, kind))
    }

    /// Allocates a block of a kind from the CPU's magazine, if it has one.
    #[inline(always)]
    pub(super) fn pop(&self, kind: MagazineKind, layout: Layout) -> Option<Block> {
        self.per_cpu
            .try_with_local(|cache| cache.pop(kind, layout.size()))?
    }

    /// Frees a block of a kind into the CPU's magazine, and returns whether there was room.
    ///
    /// # Safety
    ///
    /// The block is live, a block of this kind begins there, and nobody uses it any more.
    #[inline(always)]
    pub(super) unsafe fn push(&self, kind: MagazineKind, block: Block, layout: Layout) -> bool {
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
    pub(super) unsafe fn push_if_in_first_region(
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

    /// Returns an engine without memory. `state` is a new state, and the caches of `per_cpu` are empty.
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
// - Neither the heap nor the magazines touch a byte of the pool.
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
