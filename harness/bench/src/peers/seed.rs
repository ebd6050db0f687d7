// SPDX-License-Identifier: GPL-2.0

//! The engine `seed` of slablab.

use std::sync::Arc;

use slab_heap::seed::{
    Seed,
    State, //
};

use super::engine::EngineHeap;
use crate::{
    heap::BenchHeap,
    lock::NewLock,
    pool::MemoryRange, //
};

/// Constructs the engine in `memory`.
///
/// # Safety
///
/// The memory is valid for reads and writes, and nobody else accesses it, until the heap is dropped.
pub(super) unsafe fn new<L: NewLock<State> + 'static>(memory: MemoryRange) -> Box<dyn BenchHeap> {
    let engine = Seed::new(L::new(State::new()));
    // SAFETY: Both functions have the same contract.
    Box::new(unsafe { EngineHeap::new(engine, Arc::default(), 0, memory) })
}
