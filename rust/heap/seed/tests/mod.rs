// SPDX-License-Identifier: GPL-2.0

//! Tests of the seed: the document's promises, its weaknesses, a model, and faults made on purpose.

mod document;
mod faults;
mod model;
mod weaknesses;

use core::alloc::Layout;

use super::Heap;
use crate::testing::Memory;

/// Returns the layout of `size` bytes aligned to `align`.
fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).unwrap()
}

/// Returns a heap in `memory`.
fn heap(memory: &Memory) -> Heap {
    // SAFETY: The tests drop their heaps before they drop the memory, and use it for one heap.
    unsafe { Heap::try_new(memory.addr(), memory.bytes()) }.unwrap()
}
