// SPDX-License-Identifier: GPL-2.0

//! glibc's `malloc`, the allocator of this process.

use std::{
    ffi::CStr,
    ptr::{
        self,
        NonNull, //
    },
};

use slab_heap::Block;

use crate::heap::{
    BenchHeap,
    reallocate_by_copy, //
};

/// The alignment in bytes that `malloc` guarantees.
const ALIGN: usize = 16;

/// The heap of this process.
struct Glibc;

/// Returns the heap of this process.
pub(super) fn new() -> Box<dyn BenchHeap> {
    Box::new(Glibc)
}

/// Returns the version of glibc.
pub(super) fn version() -> String {
    // SAFETY: The function returns a static C string.
    let version = unsafe { CStr::from_ptr(libc::gnu_get_libc_version()) };
    version.to_string_lossy().into()
}

impl BenchHeap for Glibc {
    fn alloc(&self, size: usize, align: usize) -> Option<Block> {
        if align <= ALIGN {
            // SAFETY: `malloc` accepts any size.
            let start = unsafe { libc::malloc(size) };
            return NonNull::new(start.cast()).map(|start| Block { start });
        }
        let mut block = ptr::null_mut();
        // SAFETY: `block` is a valid place for the result, and the alignment is a power of two above
        // the size of a pointer.
        match unsafe { libc::posix_memalign(&mut block, align, size) } {
            0 => NonNull::new(block.cast()).map(|start| Block { start }),
            _ => None,
        }
    }

    unsafe fn free(&self, block: Block, _size: usize, _align: usize) {
        // SAFETY: The caller passes a live, unused block of `malloc`.
        unsafe { libc::free(block.start.as_ptr().cast()) };
    }

    unsafe fn realloc(&self, block: Block, size: usize, align: usize, new: usize) -> Option<Block> {
        if align <= ALIGN {
            // SAFETY: The caller passes a live block of `malloc`.
            let start = unsafe { libc::realloc(block.start.as_ptr().cast(), new) };
            return NonNull::new(start.cast()).map(|start| Block { start });
        }
        // SAFETY: Both functions have the same contract.
        unsafe { reallocate_by_copy(self, block, size, align, new) }
    }
}
