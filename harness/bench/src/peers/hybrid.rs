// SPDX-License-Identifier: GPL-2.0

//! The engine `hybrid` of slablab, through its own public functions.

use std::ptr::{
    self,
    NonNull, //
};

use slab_heap::hybrid::{
    Hybrid,
    State, //
};

use super::engine::{
    EngineHeap,
    layout,
    refused, //
};
use crate::{heap::Heap, lock::NewLock, pool::Memory, threads::Threads};

/// The engine, with magazines per thread.
struct HybridHeap<L>(EngineHeap<Hybrid<L, Threads>>);

/// Constructs the engine in `memory`.
///
/// # Safety
///
/// Nobody else accesses the memory until the heap is dropped.
pub(super) unsafe fn new<L: NewLock<State> + 'static>(memory: Memory) -> Box<dyn Heap> {
    let engine = Hybrid::new(L::new(State::new()), Threads::new());
    // SAFETY: Both functions have the same contract.
    Box::new(HybridHeap(unsafe { EngineHeap::new(engine, memory) }))
}

impl<L: NewLock<State>> HybridHeap<L> {
    /// Frees a block on the slow path. The function is not inlined and is a tail call, so the fast path
    /// saves no registers for it.
    ///
    /// # Safety
    ///
    /// The requirements of [`Heap::free`] hold.
    #[inline(never)]
    unsafe fn free_slow(&self, start: NonNull<u8>, size: usize, align: usize) {
        // SAFETY: The caller passes a live, unused block of this engine with its layout.
        if let Err(error) = unsafe { self.0.engine().free(start, layout(size, align)) } {
            refused(error);
        }
    }
}

impl<L: NewLock<State>> Heap for HybridHeap<L> {
    fn alloc(&self, size: usize, align: usize) -> *mut u8 {
        let block = self.0.engine().alloc(layout(size, align));
        block.map_or(ptr::null_mut(), NonNull::as_ptr)
    }

    unsafe fn free(&self, start: *mut u8, size: usize, align: usize) {
        // SAFETY: The caller passes a live block, which is not null.
        let start = unsafe { NonNull::new_unchecked(start) };
        // SAFETY: The caller passes a live, unused block of this engine with its layout.
        if !unsafe { self.0.engine().free_at_once(start, layout(size, align)) } {
            // SAFETY: The fast path did not free the block, so the caller's guarantees still hold.
            unsafe { self.free_slow(start, size, align) };
        }
    }

    unsafe fn realloc(&self, start: *mut u8, size: usize, align: usize, new: usize) -> *mut u8 {
        // SAFETY: Both functions have the same contract.
        unsafe { self.0.realloc_or(self, start, size, align, new) }
    }

    fn usable(&self, size: usize, align: usize) -> usize {
        self.0.usable(size, align)
    }

    fn metadata_bytes(&self) -> usize {
        self.0.metadata_bytes()
    }
}
