// SPDX-License-Identifier: GPL-2.0

//! The engines of slablab as allocators under test.

use std::{
    alloc::Layout,
    ptr::{
        self,
        NonNull, //
    },
};

use slab_heap::{
    Block,
    Cost,
    Engine, //
};

use crate::{
    heap::{
        Heap,
        reallocate_by_copy, //
    },
    pool::Memory,
};

/// An engine with one region and its metadata.
pub(super) struct EngineHeap<E> {
    engine: E,
    /// The metadata of the region. Fields are dropped in order, so it outlives the engine.
    table: Box<[u64]>,
}

impl<E: Engine> EngineHeap<E> {
    /// Adds `memory` to an engine that has no region yet.
    ///
    /// # Safety
    ///
    /// Nobody else accesses the memory until the engine is dropped.
    pub(super) unsafe fn new(engine: E, memory: Memory) -> Self {
        let mut table =
            vec![0_u64; engine.table_bytes(memory.bytes).div_ceil(8)].into_boxed_slice();
        // Written, so that no page fault happens during a measurement.
        table.fill(std::hint::black_box(0));
        let place = NonNull::from(&mut *table).cast();
        // SAFETY: The caller reserves the memory for the engine; the table is large enough, zeroed
        // and outlives the engine.
        let region = unsafe { engine.add_region(memory.start, memory.bytes, place) };
        assert_eq!(region, Ok(0), "the engine refused its pool");
        Self { engine, table }
    }

    /// Returns the engine.
    pub(super) fn engine(&self) -> &E {
        &self.engine
    }

    /// Resizes a block in place, or else by copying through `heap`, which wraps this engine.
    ///
    /// # Safety
    ///
    /// The requirements of [`Heap::realloc`] hold.
    pub(super) unsafe fn realloc_or(
        &self,
        heap: &impl Heap,
        start: *mut u8,
        size: usize,
        align: usize,
        new: usize,
    ) -> *mut u8 {
        let mut cost = Cost::default();
        let (old, wanted) = (layout(size, align), layout(new, align));
        // SAFETY: The caller passes a live block of this engine with its layout.
        if unsafe { self.engine.resize(block(start), old, wanted, &mut cost) } {
            return start;
        }
        // SAFETY: The caller's contract is that of `Heap::realloc`, and the block did not change.
        unsafe { reallocate_by_copy(heap, start, size, align, new) }
    }
}

/// Returns a request as a `Layout`.
#[inline]
pub(super) fn layout(size: usize, align: usize) -> Layout {
    debug_assert!(Layout::from_size_align(size, align).is_ok());
    // SAFETY: Patterns pass powers of two as alignment, and sizes far below `isize::MAX`.
    unsafe { Layout::from_size_align_unchecked(size, align) }
}

/// Returns a block as the engine names it.
#[inline]
fn block(start: *mut u8) -> Block {
    Block {
        // SAFETY: Callers pass a block that `alloc` returned and that is not null.
        start: unsafe { NonNull::new_unchecked(start) },
        offset: None,
    }
}

/// Panics because the engine refused a valid free.
#[cold]
pub(super) fn refused(error: slab_heap::engine::BadFree) -> ! {
    panic!("the engine refused a valid free: {error:?}")
}

impl<E: Engine> Heap for EngineHeap<E> {
    fn alloc(&self, size: usize, align: usize) -> *mut u8 {
        let mut cost = Cost::default();
        match self.engine.allocate(layout(size, align), &mut cost) {
            Ok(block) => block.start.as_ptr(),
            Err(_) => ptr::null_mut(),
        }
    }

    unsafe fn free(&self, start: *mut u8, size: usize, align: usize) {
        let mut cost = Cost::default();
        // SAFETY: The caller passes a live, unused block of this engine with its layout.
        let released = unsafe {
            self.engine
                .release(block(start), layout(size, align), &mut cost)
        };
        if let Err(error) = released {
            refused(error);
        }
    }

    unsafe fn realloc(&self, start: *mut u8, size: usize, align: usize, new: usize) -> *mut u8 {
        // SAFETY: Both functions have the same contract.
        unsafe { self.realloc_or(self, start, size, align, new) }
    }

    fn usable(&self, size: usize, align: usize) -> usize {
        self.engine.usable(layout(size, align))
    }

    fn metadata_bytes(&self) -> usize {
        size_of::<E>() + size_of_val(&*self.table)
    }
}
