// SPDX-License-Identifier: GPL-2.0

//! Nothing: always the same block. What remains is the loop and its calls.

use crate::heap::Heap;

/// What it is called.
pub(super) const NAME: &str = "(empty)";

/// The bytes of the one block: more than the largest that patterns ask for.
const BYTES: usize = 1 << 17;

/// The one block.
struct Empty(*mut u8);

/// Makes one. Its block stays for ever.
pub(super) fn make() -> Box<dyn Heap> {
    let block = vec![0_u64; BYTES / size_of::<u64>()];
    Box::new(Empty(block.leak().as_mut_ptr().cast()))
}

impl Heap for Empty {
    fn alloc(&self, _size: usize, _align: usize) -> *mut u8 {
        self.0
    }

    unsafe fn free(&self, _block: *mut u8, _size: usize, _align: usize) {}
}
