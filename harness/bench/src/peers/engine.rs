// SPDX-License-Identifier: GPL-2.0

//! The engines of slablab as allocators under test, called through the trait [`Engine`], as sessions call
//! them.

use std::{
    alloc::Layout,
    ptr::NonNull,
    sync::Arc, //
};

use slab_heap::{
    Block, Cost, Engine,
    engine::{
        AddRegion,
        BadFree, //
    },
};

use slab_host::HostPieces;

use crate::{
    heap::{
        BenchHeap,
        reallocate_by_copy, //
    },
    pool::MemoryRange,
};

/// An engine with one region and its metadata.
pub(super) struct EngineHeap<E> {
    engine: E,
    /// The metadata that the engine requested later.
    pieces: Arc<HostPieces>,
    /// The size of the cache of one CPU, in bytes.
    cache_bytes: usize,
    /// The metadata of the region. Fields are dropped in order, so the table outlives the engine.
    table: Box<[u64]>,
}

impl<E: Engine + AddRegion> EngineHeap<E> {
    /// Adds `memory` to an engine that has no region yet. `pieces` is the metadata that the engine requests
    /// later. A CPU has a cache of `cache_bytes` bytes.
    ///
    /// # Safety
    ///
    /// The memory is valid for reads and writes, and nobody else accesses it, until the engine is dropped.
    pub(super) unsafe fn new(
        engine: E,
        pieces: Arc<HostPieces>,
        cache_bytes: usize,
        memory: MemoryRange,
    ) -> Self {
        let mut table =
            vec![0_u64; engine.table_bytes(memory.bytes).div_ceil(8)].into_boxed_slice();
        // The table is written here, so that no page fault happens during a measurement.
        table.fill(std::hint::black_box(0));
        let place = NonNull::from(&mut *table).cast();
        // SAFETY: `add_region` requires memory and a table that are valid and that nobody else uses until the
        // engine is dropped. The caller guarantees this for `memory`. The table has `table_bytes` zero bytes
        // aligned to 8, lies outside of `memory`, and outlives the engine, which is dropped first.
        let region = unsafe { engine.add_region(memory.start, memory.bytes, place) };
        assert_eq!(region, Ok(0), "the engine refused its pool");
        Self {
            engine,
            pieces,
            cache_bytes,
            table,
        }
    }
}

/// Returns a request as a `Layout`.
#[inline]
fn layout(size: usize, align: usize) -> Layout {
    debug_assert!(Layout::from_size_align(size, align).is_ok());
    // SAFETY: Patterns pass powers of two as alignment, and sizes far below `isize::MAX`.
    unsafe { Layout::from_size_align_unchecked(size, align) }
}

/// Panics because the engine refused a valid free.
#[cold]
fn refused(error: BadFree) -> ! {
    panic!("the engine refused a valid free: {error:?}")
}

impl<E: Engine> BenchHeap for EngineHeap<E> {
    fn alloc(&self, size: usize, align: usize) -> Option<Block> {
        let mut cost = Cost::default();
        self.engine.allocate(layout(size, align), &mut cost).ok()
    }

    unsafe fn free(&self, block: Block, size: usize, align: usize) {
        let (layout, mut cost) = (layout(size, align), Cost::default());
        // SAFETY: `Engine::free` requires a live block of this engine, its layout, and that nobody uses
        // it any more. The caller promises each.
        if let Err(error) = unsafe { self.engine.free(block, layout, &mut cost) } {
            refused(error);
        }
    }

    unsafe fn realloc(&self, block: Block, size: usize, align: usize, new: usize) -> Option<Block> {
        let (old, wanted) = (layout(size, align), layout(new, align));
        // SAFETY: `Engine::resize` requires a live block of this engine, its layout, that nobody uses it
        // during the call, and the same alignment. The caller promises the first three, and both layouts
        // are made from `align`.
        if unsafe { self.engine.resize(block, old, wanted, &mut Cost::default()) } {
            return Some(block);
        }
        // SAFETY: Both functions have the same contract, and the block did not change.
        unsafe { reallocate_by_copy(self, block, size, align, new) }
    }

    fn usable_size(&self, size: usize, align: usize) -> usize {
        self.engine.usable_size(layout(size, align))
    }

    fn metadata_bytes(&self) -> usize {
        size_of::<E>() + size_of_val(&*self.table) + self.pieces.bytes()
    }

    fn cache_bytes(&self) -> usize {
        self.cache_bytes
    }
}
