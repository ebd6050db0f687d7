// SPDX-License-Identifier: GPL-2.0

//! The engines of slablab as heaps: the same for each.

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
        moved, //
    },
    pool::Memory,
};

/// An engine with one region.
pub(super) struct EngineHeap<E> {
    engine: E,
    /// The engine's table. It goes after the engine.
    table: Box<[u64]>,
}

impl<E: Engine> EngineHeap<E> {
    /// Gives an engine without memory its region.
    ///
    /// # Safety
    ///
    /// The memory is used by nobody else until the engine is dropped.
    pub(super) unsafe fn new(engine: E, memory: Memory) -> Self {
        let mut table =
            vec![0_u64; engine.table_bytes(memory.bytes).div_ceil(8)].into_boxed_slice();
        // Written, so that its pages are there.
        table.fill(std::hint::black_box(0));
        let place = NonNull::from(&mut *table).cast();
        // SAFETY: The memory is the engine's by this function's contract, the table is zeros and
        // goes after the engine.
        let region = unsafe { engine.add_region(memory.start, memory.bytes, place) };
        assert_eq!(region, Ok(0), "an engine refuses its pool");
        Self { engine, table }
    }

    /// Returns the engine.
    pub(super) fn engine(&self) -> &E {
        &self.engine
    }

    /// Gives a block another size where it is, or else through `heap`, of which this is the engine.
    ///
    /// # Safety
    ///
    /// As for [`Heap::realloc`].
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
        // SAFETY: By this function's contract.
        if unsafe { self.engine.resize(block(start), old, wanted, &mut cost) } {
            return start;
        }
        // SAFETY: By this function's contract.
        unsafe { moved(heap, start, size, align, new) }
    }
}

/// Returns the layout of a request.
#[inline]
pub(super) fn layout(size: usize, align: usize) -> Layout {
    debug_assert!(Layout::from_size_align(size, align).is_ok());
    // SAFETY: Patterns ask for powers of two and sizes far below half the address space.
    unsafe { Layout::from_size_align_unchecked(size, align) }
}

/// Returns the engine's name for a block.
#[inline]
fn block(start: *mut u8) -> Block {
    Block {
        // SAFETY: Callers free blocks that they were given, and null is none.
        start: unsafe { NonNull::new_unchecked(start) },
        offset: None,
    }
}

/// Ends the run: an engine refused what it had handed out.
#[cold]
pub(super) fn refused(what: slab_heap::engine::BadFree) -> ! {
    panic!("a good free was refused: {what:?}")
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
        // SAFETY: By this function's contract.
        let released = unsafe {
            self.engine
                .release(block(start), layout(size, align), &mut cost)
        };
        if let Err(what) = released {
            refused(what);
        }
    }

    unsafe fn realloc(&self, start: *mut u8, size: usize, align: usize, new: usize) -> *mut u8 {
        // SAFETY: By this function's contract.
        unsafe { self.realloc_or(self, start, size, align, new) }
    }

    fn usable(&self, size: usize, align: usize) -> usize {
        self.engine.usable(layout(size, align))
    }

    fn beside_bytes(&self) -> usize {
        size_of::<E>() + size_of_val(&*self.table)
    }
}
