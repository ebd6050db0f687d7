// SPDX-License-Identifier: GPL-2.0

//! slablab's engine `seed`.

use slab_heap::seed::{
    Seed,
    State, //
};

use super::engine::EngineHeap;
use crate::{
    heap::Heap,
    lock::New,
    pool::Memory, //
};

/// Makes one.
///
/// # Safety
///
/// The memory is used by nobody else until the heap is dropped.
pub(super) unsafe fn make<L: New<State> + 'static>(memory: Memory) -> Box<dyn Heap> {
    let engine = Seed::new(L::new(State::new()));
    // SAFETY: By this function's contract.
    Box::new(unsafe { EngineHeap::new(engine, memory) })
}
