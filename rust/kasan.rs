// SPDX-License-Identifier: GPL-2.0

//! Tells KASAN which memory of a pool is live, on a kernel in which KASAN covers vmalloc memory.
//!
//! KASAN has a shadow byte for each granule of eight bytes, which encodes whether the granule is
//! accessible. KASAN considers a pool a single vmalloc allocation. [`KasanEngine`] wraps an engine and
//! writes the shadow of each block, with the values of SLUB, so KASAN reports a stray access like one to
//! kmalloc memory:
//!
//! | memory | shadow | reported as |
//! |---|---|---|
//! | of a live block, up to its usable size | 0 | |
//! | of a freed block | `KASAN_SLAB_FREE` | slab-use-after-free |
//! | never allocated | `KASAN_SLAB_REDZONE` | slab-out-of-bounds |
//!
//! The whole usable size of a block is accessible, because the session zeroes it and reports it, like a
//! caller of `kmalloc_size_roundup`. There are no red zones between blocks, because these would change the
//! offsets of blocks: an access past the end of a block is not detected if the next block is live.

use core::{
    alloc::Layout,
    ffi::c_void,
    ptr::NonNull, //
};

use kernel::bindings;
use slab_heap::{
    Block,
    Cost,
    Engine,
    Offset,
    Refusal,
    check::{
        Broken,
        Check,
        Progress,
        Walk, //
    },
    engine::{
        AddRegion,
        Allocated,
        BadFree,
        Capabilities,
        Interfaces, //
    },
    region::RegionError, //
};

// `mm/kasan/kasan.h` declares the function, which Linux exports to modules, and the values.
unsafe extern "C" {
    fn kasan_poison(start: *const c_void, bytes: usize, value: u8, init: bool);
}

/// The values of shadow bytes.
#[derive(Clone, Copy)]
#[repr(u8)]
enum ShadowByte {
    /// Accessible.
    Live = 0,
    /// `KASAN_SLAB_FREE`: the memory was freed.
    Freed = 0xfb,
    /// `KASAN_SLAB_REDZONE`: the memory was never allocated. SLUB initialises its slabs with it, too.
    Unused = 0xfc,
}

/// Sets the shadow of the `bytes` bytes at `start`.
///
/// # Safety
///
/// The range consists of whole granules of vmalloc memory, and no other code accesses or changes
/// their shadow concurrently.
unsafe fn set_shadow(start: NonNull<u8>, bytes: usize, shadow: ShadowByte) {
    // SAFETY: By this function's contract the range is aligned to granules and has a shadow.
    unsafe { kasan_poison(start.as_ptr().cast(), bytes, shadow as u8, false) };
}

/// Runs `work`, which accesses free memory, without checks of its accesses.
pub(crate) fn unchecked<R>(work: impl FnOnce() -> R) -> R {
    // SAFETY: `kasan_disable_current` may be called in any context; it increments a counter of the current task.
    unsafe { bindings::kasan_disable_current() };
    let result = work();
    // SAFETY: `kasan_enable_current` requires a matching call of `kasan_disable_current`, which is above.
    unsafe { bindings::kasan_enable_current() };
    result
}

/// An engine with a pool in which KASAN reports accesses to free memory.
pub(crate) struct KasanEngine<E> {
    engine: E,
}

impl<E: Engine> KasanEngine<E> {
    /// Wraps an engine that has no regions yet.
    pub(crate) fn new(engine: E) -> Self {
        Self { engine }
    }

    /// Calls the engine without checks if it has metadata in free blocks, as `mm/slub.c` does for its own
    /// metadata.
    fn call<R>(&self, call: impl FnOnce(&E) -> R) -> R {
        if self.engine.capabilities().free_block_bytes == 0 {
            return call(&self.engine);
        }
        unchecked(|| call(&self.engine))
    }

    /// Makes a new block accessible.
    fn unpoison(&self, block: Block, layout: Layout) {
        // SAFETY: `set_shadow` requires whole granules that no other code uses: the engine has just allocated
        // the block, and nobody else accesses it yet. Addresses and usable sizes of blocks are multiples of eight.
        unsafe {
            set_shadow(
                block.start,
                self.engine.usable_size(layout),
                ShadowByte::Live,
            )
        };
    }
}

// SAFETY: Every method forwards to the wrapped engine, which is never replaced and fulfils the contract.
// The memory of a block is accessible before the block is returned, and until the block is freed.
unsafe impl<E: Engine> Engine for KasanEngine<E> {
    fn capabilities(&self) -> Capabilities {
        self.engine.capabilities()
    }

    fn usable_size(&self, layout: Layout) -> usize {
        self.engine.usable_size(layout)
    }

    fn capacity(&self) -> usize {
        self.engine.capacity()
    }

    fn offset(&self, byte: NonNull<u8>) -> Option<Offset> {
        self.engine.offset(byte)
    }

    fn allocate(&self, layout: Layout, cost: &mut Cost) -> Result<Block, Refusal> {
        let block = self.call(|engine| engine.allocate(layout, cost))?;
        self.unpoison(block, layout);
        Ok(block)
    }

    fn try_allocate_fast(&self, layout: Layout) -> Option<Allocated> {
        let allocated = self.call(|engine| engine.try_allocate_fast(layout))?;
        self.unpoison(allocated.block, layout);
        Some(allocated)
    }

    unsafe fn try_free_fast(&self, block: Block, layout: Layout) -> Option<Cost> {
        let usable = self.engine.usable_size(layout);
        // The shadow is set before the free, because another CPU may allocate the block right after the free.
        //
        // SAFETY: `set_shadow` requires whole granules that no other code uses: by this function's contract the
        // block is live and nobody uses it. Addresses and usable sizes of blocks are multiples of eight.
        unsafe { set_shadow(block.start, usable, ShadowByte::Freed) };
        // SAFETY: By this function's contract the block is live, has this layout, and nobody uses it.
        let freed = self.call(|engine| unsafe { engine.try_free_fast(block, layout) });
        if freed.is_none() {
            // SAFETY: The engine has not freed the block, so it is still live and unused.
            unsafe { set_shadow(block.start, usable, ShadowByte::Live) };
        }
        freed
    }

    unsafe fn free(&self, block: Block, layout: Layout, cost: &mut Cost) -> Result<(), BadFree> {
        let usable = self.engine.usable_size(layout);
        // The shadow is set before the free, because another CPU may allocate the block right after the free.
        //
        // SAFETY: `set_shadow` requires whole granules that no other code uses: by this function's contract the
        // block is live and nobody uses it. Addresses and usable sizes of blocks are multiples of eight.
        unsafe { set_shadow(block.start, usable, ShadowByte::Freed) };
        // SAFETY: By this function's contract the block is live, has this layout, and nobody uses it.
        let freed = self.call(|engine| unsafe { engine.free(block, layout, cost) });
        if freed.is_err() {
            // SAFETY: The engine refused the free, so the block is still live and unused.
            unsafe { set_shadow(block.start, usable, ShadowByte::Live) };
        }
        freed
    }

    fn fits_in_place(&self, layout: Layout, new: Layout) -> bool {
        self.engine.fits_in_place(layout, new)
    }

    fn interfaces(&self) -> Interfaces<'_> {
        Interfaces {
            add_region: Some(self),
            check: Some(self),
            ..self.engine.interfaces()
        }
    }

    unsafe fn resize(&self, block: Block, layout: Layout, new: Layout, cost: &mut Cost) -> bool {
        let (before, after) = (
            self.engine.usable_size(layout),
            self.engine.usable_size(new),
        );
        // SAFETY: The result is in the block or at its end: the block has `before` usable bytes, and the smaller
        // of both sizes is at most `before`.
        let rest = unsafe { block.start.add(before.min(after)) };
        if after < before {
            // The shadow is set before the resize, because another CPU may allocate the tail right after the
            // resize.
            //
            // SAFETY: `set_shadow` requires whole granules that no other code uses: by this function's contract
            // the block is live and nobody uses it. Addresses and usable sizes of blocks are multiples of eight.
            unsafe { set_shadow(rest, before - after, ShadowByte::Freed) };
        }
        // SAFETY: By this function's contract the block is live, has this layout, nobody uses it, and
        // `new` has the same alignment.
        let resized = self.call(|engine| unsafe { engine.resize(block, layout, new, cost) });
        if resized == (after > before) {
            // SAFETY: The block has the larger of both sizes, because it grew or was not shrunk, and nobody uses
            // it. Addresses and usable sizes of blocks are multiples of eight.
            unsafe { set_shadow(rest, before.abs_diff(after), ShadowByte::Live) };
        }
        resized
    }
}

impl<E: Engine> AddRegion for KasanEngine<E> {
    fn table_bytes(&self, bytes: usize) -> usize {
        let engine = self.engine.interfaces().add_region;
        engine.map_or(0, |engine| engine.table_bytes(bytes))
    }

    unsafe fn add_region(
        &self,
        start: NonNull<u8>,
        bytes: usize,
        table: NonNull<u8>,
    ) -> Result<u16, RegionError> {
        // SAFETY: By this function's contract nobody else uses the memory. Regions are whole pages of
        // vmalloc memory. When the memory is freed, vmalloc sets its shadow.
        unsafe { set_shadow(start, bytes, ShadowByte::Unused) };
        let added = self.call(|engine| match engine.interfaces().add_region {
            // SAFETY: The contract of the inner `add_region` is that of this function: memory and table are
            // valid, exclusive and outlive the engine, the table is zeroed, and the provenance of both pointers
            // covers their ranges.
            Some(engine) => unsafe { engine.add_region(start, bytes, table) },
            None => Err(RegionError::NoPool),
        });
        if added.is_err() {
            // SAFETY: The engine refused the region, so nobody uses the memory, which consists of whole pages of
            // vmalloc memory.
            unsafe { set_shadow(start, bytes, ShadowByte::Live) };
        }
        added
    }
}

impl<E: Engine> Check for KasanEngine<E> {
    fn check(&self, walk: &mut Walk) -> Result<Progress, Broken> {
        self.call(|engine| match engine.interfaces().check {
            Some(engine) => engine.check(walk),
            None => Ok(Progress::Sound),
        })
    }
}
