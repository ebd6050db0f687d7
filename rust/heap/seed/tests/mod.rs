// SPDX-License-Identifier: GPL-2.0

//! Tests of the seed: `design` tests the statements of the design, `weaknesses` its weaknesses,
//! `model` compares the engine with a shadow map, `faults` damages it and expects the check to name
//! the damage, `growth` injects refused growths.

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
