// SPDX-License-Identifier: GPL-2.0

//! Pools that KASAN knows, on a kernel in which it has a shadow of vmalloc memory.
//!
//! KASAN keeps a byte of shadow for each granule of eight bytes, which says whether they may be
//! touched. To KASAN a pool is one piece of vmalloc memory. [`KasanEngine`] stands in front of an engine
//! and tells what is out and what is free, in the values that the kernel's own slabs use, so a stray
//! access is reported as one to kmalloc memory is:
//!
//! | memory | shadow | reported as |
//! |---|---|---|
//! | in a block, up to its usable size | 0 | |
//! | that was given back | `KASAN_SLAB_FREE` | slab-use-after-free |
//! | that was never handed out | `KASAN_SLAB_REDZONE` | slab-out-of-bounds |
//!
//! The session zeroes a block's whole usable size and says how much that is, like a caller of
//! `kmalloc_size_roundup`, and as for that one the block ends behind it. Blocks have no red zones
//! between them, as these would change where blocks are: past the end of one whose neighbour is out,
//! nothing is noticed.

use core::{
    alloc::Layout,
    ffi::c_void,
    ptr::NonNull, //
};

use kernel::bindings;
use slab_heap::{
    Block, Cost, Engine, Refusal,
    check::{
        Broken,
        Progress,
        Walk, //
    },
    engine::{
        BadFree,
        Capabilities, //
    },
    errand::{
        AtHand,
        Errand,
        Known, //
    },
    map::{
        Extent,
        Mapped,
        NoMap, //
    },
    region::RegionError,
    stats::Visitor,
};

// Exported to modules, but declared in `mm/kasan/kasan.h`, as are the values.
unsafe extern "C" {
    fn kasan_poison(start: *const c_void, bytes: usize, value: u8, init: bool);
}

/// What the shadow says of memory.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Shadow {
    /// It may be touched.
    Live = 0,
    /// `KASAN_SLAB_FREE`.
    Freed = 0xfb,
    /// `KASAN_SLAB_REDZONE`, which the kernel's slabs, too, begin with.
    Unused = 0xfc,
}

/// Says of the `bytes` bytes at `start` what they are.
///
/// # Safety
///
/// They are whole granules of vmalloc memory, and the caller's to decide about.
unsafe fn mark(start: NonNull<u8>, bytes: usize, shadow: Shadow) {
    // SAFETY: By this function's contract there is shadow for them, which is written.
    unsafe { kasan_poison(start.as_ptr().cast(), bytes, shadow as u8, false) };
}

/// Does work that may touch free memory.
pub(crate) fn unchecked<R>(work: impl FnOnce() -> R) -> R {
    // SAFETY: It may be called anywhere, and counts for the running task only.
    unsafe { bindings::kasan_disable_current() };
    let result = work();
    // SAFETY: Disabled just above.
    unsafe { bindings::kasan_enable_current() };
    result
}

/// An engine with a pool, of which KASAN knows what is out.
pub(crate) struct KasanEngine<E> {
    engine: E,
}

impl<E: Engine> KasanEngine<E> {
    /// Stands in front of an engine without memory.
    pub(crate) fn new(engine: E) -> Self {
        Self { engine }
    }

    /// Calls the engine, which may touch free memory if it keeps metadata there; `mm/slub.c` does the
    /// same for its own.
    fn call<R>(&self, call: impl FnOnce(&E) -> R) -> R {
        if self.engine.free_block_bytes() == 0 {
            return call(&self.engine);
        }
        unchecked(|| call(&self.engine))
    }

    /// Says of a block that was handed out that it may be touched.
    fn reveal(&self, block: Block, layout: Layout) -> Block {
        // SAFETY: The engine has just handed the block out to this call; sizes of blocks are
        // multiples of eight, and so are their places.
        unsafe { mark(block.start, self.engine.usable(layout), Shadow::Live) };
        block
    }
}

// SAFETY: Every method is that of the engine inside, which is never exchanged. What is live may be
// touched: it is marked so before the caller has it, and no later than it is the caller's no more.
unsafe impl<E: Engine> Engine for KasanEngine<E> {
    fn capabilities(&self) -> Capabilities {
        self.engine.capabilities()
    }

    fn usable(&self, layout: Layout) -> usize {
        self.engine.usable(layout)
    }

    fn capacity(&self) -> usize {
        self.engine.capacity()
    }

    fn allocate(&self, layout: Layout, cost: &mut Cost) -> Result<Block, Refusal> {
        let block = self.call(|engine| engine.allocate(layout, cost))?;
        Ok(self.reveal(block, layout))
    }

    fn allocate_at_once(&self, layout: Layout) -> Option<(Block, Cost)> {
        let (block, cost) = self.call(|engine| engine.allocate_at_once(layout))?;
        Some((self.reveal(block, layout), cost))
    }

    fn at_hand<T: Errand>(&self, errand: T) -> Option<T::Outcome> {
        self.engine.at_hand(Marking(errand))
    }

    unsafe fn release(&self, block: Block, layout: Layout, cost: &mut Cost) -> Result<(), BadFree> {
        let usable = self.engine.usable(layout);
        // Before it is released: afterwards it may be somebody else's already.
        //
        // SAFETY: By this function's contract the block is out and nobody uses it any more.
        unsafe { mark(block.start, usable, Shadow::Freed) };
        // SAFETY: By this function's contract, which is the engine's.
        let released = self.call(|engine| unsafe { engine.release(block, layout, cost) });
        if released.is_err() {
            // SAFETY: It is still out.
            unsafe { mark(block.start, usable, Shadow::Live) };
        }
        released
    }

    fn keeps(&self, layout: Layout, new: Layout) -> bool {
        self.engine.keeps(layout, new)
    }

    fn free_block_bytes(&self) -> usize {
        self.engine.free_block_bytes()
    }

    fn free_block_align(&self) -> usize {
        self.engine.free_block_align()
    }

    unsafe fn resize(&self, block: Block, layout: Layout, new: Layout, cost: &mut Cost) -> bool {
        let (before, after) = (self.engine.usable(layout), self.engine.usable(new));
        // SAFETY: The block has at least as many bytes, or will have.
        let rest = unsafe { block.start.add(before.min(after)) };
        if after < before {
            // As in `release`.
            //
            // SAFETY: By this function's contract the block is out, and nobody uses it meanwhile.
            unsafe { mark(rest, before - after, Shadow::Freed) };
        }
        // SAFETY: By this function's contract, which is the engine's.
        let resized = self.call(|engine| unsafe { engine.resize(block, layout, new, cost) });
        if resized == (after > before) {
            // SAFETY: The block has its larger size, now or still.
            unsafe { mark(rest, before.abs_diff(after), Shadow::Live) };
        }
        resized
    }

    fn table_bytes(&self, bytes: usize) -> usize {
        self.engine.table_bytes(bytes)
    }

    unsafe fn add_region(
        &self,
        start: NonNull<u8>,
        bytes: usize,
        table: NonNull<u8>,
    ) -> Result<u16, RegionError> {
        // SAFETY: By this function's contract the memory is valid and nobody's; it is vmalloc memory
        // in whole pages, and is marked anew when it is given back to vmalloc.
        unsafe { mark(start, bytes, Shadow::Unused) };
        // SAFETY: By this function's contract, which is the engine's.
        let added = self.call(|engine| unsafe { engine.add_region(start, bytes, table) });
        if added.is_err() {
            // SAFETY: As above.
            unsafe { mark(start, bytes, Shadow::Live) };
        }
        added
    }

    fn drain(&self) -> usize {
        self.call(Engine::drain)
    }

    fn fail_growth(&self, nth: u64) {
        self.call(|engine| engine.fail_growth(nth));
    }

    fn visit(&self, visitor: &mut dyn Visitor) {
        self.call(|engine| engine.visit(visitor));
    }

    fn check(&self, walk: &mut Walk) -> Result<Progress, Broken> {
        self.call(|engine| engine.check(walk))
    }

    fn map(&self, region: usize, page: u32, out: &mut [Extent]) -> Result<Mapped, NoMap> {
        self.call(|engine| engine.map(region, page, out))
    }
}

/// An errand of which KASAN is told what it allocates and releases.
struct Marking<T>(T);

impl<T: Errand> Errand for Marking<T> {
    type Outcome = T::Outcome;

    fn run(self, engine: &impl AtHand) -> T::Outcome {
        self.0.run(&Marked(engine))
    }
}

/// What an engine has at hand, of which KASAN knows what is out.
struct Marked<'a, A>(&'a A);

// SAFETY: Every method is that of what is inside, and marks as `KasanEngine` does.
unsafe impl<A: AtHand> AtHand for Marked<'_, A> {
    type Size = A::Size;

    fn size(&self, layout: Layout) -> Option<A::Size> {
        self.0.size(layout)
    }

    fn usable(&self, size: A::Size) -> usize {
        self.0.usable(size)
    }

    fn allocate(&self, size: A::Size, layout: Layout) -> Option<(Block, Cost)> {
        let (block, cost) = self.0.allocate(size, layout)?;
        // SAFETY: As in `KasanEngine::reveal`.
        unsafe { mark(block.start, self.usable(size), Shadow::Live) };
        Some((block, cost))
    }

    fn known(&self, size: A::Size) -> Known {
        self.0.known(size)
    }

    unsafe fn release(&self, block: Block, layout: Layout, known: Option<Known>) -> Option<Cost> {
        let usable = self.usable(self.size(layout)?);
        // SAFETY: As in `KasanEngine::release`.
        unsafe { mark(block.start, usable, Shadow::Freed) };
        // SAFETY: By this function's contract, which is the engine's.
        let cost = unsafe { self.0.release(block, layout, known) };
        if cost.is_none() {
            // SAFETY: It is still out.
            unsafe { mark(block.start, usable, Shadow::Live) };
        }
        cost
    }
}
