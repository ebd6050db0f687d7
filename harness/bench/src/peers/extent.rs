// SPDX-License-Identifier: GPL-2.0

//! The engine `extent` of slablab, with magazines per thread.

use slab_heap::{
    extent::{
        ExtentEngine,
        Heap,
        State, //
    },
    magazines::{
        CacheSize,
        CpuCache, //
    },
};

use super::engine::EngineHeap;
use crate::{
    heap::BenchHeap,
    lock::NewLock,
    pool::MemoryRange,
    threads::Threads, //
};

/// Constructs the engine in `memory`.
///
/// # Safety
///
/// The memory is valid for reads and writes, and nobody else accesses it, until the heap is dropped.
pub(super) unsafe fn new<L: NewLock<State> + 'static>(memory: MemoryRange) -> Box<dyn BenchHeap> {
    let size = CacheSize::for_pool::<Heap>(memory.bytes);
    let threads = Threads::new(size);
    let pieces = threads.pieces();
    let engine = ExtentEngine::new(L::new(State::new()), threads);
    // SAFETY: Both functions have the same contract.
    Box::new(unsafe { EngineHeap::new(engine, pieces, CpuCache::bytes(size), memory) })
}
