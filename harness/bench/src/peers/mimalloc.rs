// SPDX-License-Identifier: GPL-2.0

//! mimalloc, which is not the allocator of this process.

use libmimalloc_sys as mi;

use crate::heap::Heap;

/// What `mi_malloc` aligns everything to that is at least as large.
const ALIGN: usize = 8;

/// The calling thread's heap.
struct Mimalloc;

/// Makes a door to it.
pub(super) fn make() -> Box<dyn Heap> {
    Box::new(Mimalloc)
}

/// Returns its version.
pub(super) fn version() -> String {
    // SAFETY: It returns a constant.
    let version = unsafe { mi::mi_version() };
    // Up to 2.x there are three digits, since 3.x five or six.
    match version {
        ..10_000 => format!("{}.{}.{}", version / 100, version / 10 % 10, version % 10),
        _ => format!(
            "{}.{}.{}",
            version / 10_000,
            version / 100 % 100,
            version % 100
        ),
    }
}

impl Heap for Mimalloc {
    fn alloc(&self, size: usize, align: usize) -> *mut u8 {
        if align <= ALIGN {
            // SAFETY: Any size will do.
            return unsafe { mi::mi_malloc(size) }.cast();
        }
        // SAFETY: Any size and any power of two will do.
        unsafe { mi::mi_malloc_aligned(size, align) }.cast()
    }

    unsafe fn free(&self, block: *mut u8, _size: usize, _align: usize) {
        // SAFETY: By this function's contract.
        unsafe { mi::mi_free(block.cast()) };
    }

    unsafe fn realloc(&self, block: *mut u8, _size: usize, align: usize, new: usize) -> *mut u8 {
        // SAFETY: By this function's contract.
        unsafe { mi::mi_realloc_aligned(block.cast(), new, align) }.cast()
    }
}
