// SPDX-License-Identifier: GPL-2.0

//! slablab's engine `hybrid`, by its public calls.

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
use crate::{heap::Heap, lock::New, pool::Memory, threads::Threads};

/// The engine, each thread with magazines of its own.
struct HybridHeap<L>(EngineHeap<Hybrid<L, Threads>>);

/// Makes one.
///
/// # Safety
///
/// The memory is used by nobody else until the heap is dropped.
pub(super) unsafe fn make<L: New<State> + 'static>(memory: Memory) -> Box<dyn Heap> {
    let engine = Hybrid::new(L::new(State::new()), Threads::new());
    // SAFETY: By this function's contract.
    Box::new(HybridHeap(unsafe { EngineHeap::new(engine, memory) }))
}

impl<L: New<State>> HybridHeap<L> {
    /// Frees what is not freed at once: called last, so that nobody saves registers for it.
    ///
    /// # Safety
    ///
    /// As for [`Heap::free`].
    #[inline(never)]
    unsafe fn free_slowly(&self, start: NonNull<u8>, size: usize, align: usize) {
        // SAFETY: By this function's contract.
        if let Err(what) = unsafe { self.0.engine().free(start, layout(size, align)) } {
            refused(what);
        }
    }
}

impl<L: New<State>> Heap for HybridHeap<L> {
    fn alloc(&self, size: usize, align: usize) -> *mut u8 {
        let block = self.0.engine().alloc(layout(size, align));
        block.map_or(ptr::null_mut(), NonNull::as_ptr)
    }

    unsafe fn free(&self, start: *mut u8, size: usize, align: usize) {
        // SAFETY: Callers free blocks that they were given, and null is none.
        let start = unsafe { NonNull::new_unchecked(start) };
        // SAFETY: By this function's contract.
        if !unsafe { self.0.engine().free_at_once(start, layout(size, align)) } {
            // SAFETY: As above.
            unsafe { self.free_slowly(start, size, align) };
        }
    }

    unsafe fn realloc(&self, start: *mut u8, size: usize, align: usize, new: usize) -> *mut u8 {
        // SAFETY: By this function's contract.
        unsafe { self.0.realloc_or(self, start, size, align, new) }
    }

    fn usable(&self, size: usize, align: usize) -> usize {
        self.0.usable(size, align)
    }

    fn beside_bytes(&self) -> usize {
        self.0.beside_bytes()
    }
}
