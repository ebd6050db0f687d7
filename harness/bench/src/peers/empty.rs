// SPDX-License-Identifier: GPL-2.0

//! Nothing: always the same block. What remains is the loop and its calls.

use std::cell::UnsafeCell;

use crate::heap::Heap;

/// What it is called.
pub(super) const NAME: &str = "(empty)";

/// The one block, as large as the largest that patterns ask for.
struct Empty(Box<UnsafeCell<[u8; 1 << 17]>>);

/// Makes one.
pub(super) fn make() -> Box<dyn Heap> {
    Box::new(Empty(Box::new(UnsafeCell::new([0; 1 << 17]))))
}

impl Heap for Empty {
    fn alloc(&self, _size: usize, align: usize) -> *mut u8 {
        let start = self.0.get().cast::<u8>();
        start.wrapping_add(start.align_offset(align))
    }

    unsafe fn free(&self, _block: *mut u8, _size: usize, _align: usize) {}
}
