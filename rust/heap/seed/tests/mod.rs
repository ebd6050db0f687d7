// SPDX-License-Identifier: GPL-2.0

//! Tests of `seed`: `design` tests the statements of the design, and `weaknesses` the weaknesses of the
//! design. `model` compares the engine with a shadow map. `faults` damages the engine and expects the check
//! to name the broken rule. `growth` injects refusals of growths.

mod design;
mod faults;
mod growth;
mod model;
mod weaknesses;

use super::Heap;
use crate::testing::{
    HostMemory,
    layout, //
};

/// Returns a heap in `memory`.
fn heap(memory: &HostMemory) -> Heap {
    // SAFETY: The tests drop the heap before the memory, and use the memory for one heap.
    unsafe { Heap::try_new(memory.addr(), memory.bytes()) }.unwrap()
}
