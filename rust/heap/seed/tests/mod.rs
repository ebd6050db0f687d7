// SPDX-License-Identifier: GPL-2.0

//! Tests of the seed: the document's promises, its weaknesses, a model, and faults made on purpose.

mod document;
mod faults;
mod growth;
mod model;
mod weaknesses;

use super::Heap;
use crate::testing::{
    Memory,
    layout, //
};

/// Returns a heap in `memory`.
fn heap(memory: &Memory) -> Heap {
    // SAFETY: The tests drop their heaps before they drop the memory, and use it for one heap.
    unsafe { Heap::try_new(memory.addr(), memory.bytes()) }.unwrap()
}
