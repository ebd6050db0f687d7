// SPDX-License-Identifier: GPL-2.0

//! mimalloc, called directly; it is not the allocator of this process.

use std::ptr::NonNull;

use libmimalloc_sys as mi;
use slab_heap::Block;

use crate::heap::BenchHeap;

/// The alignment in bytes that `mi_malloc` guarantees for blocks of at least this size.
const ALIGN: usize = 8;

/// The heap of the calling thread.
struct Mimalloc;

/// Returns the heap of the calling thread.
pub(super) fn new() -> Box<dyn BenchHeap> {
    Box::new(Mimalloc)
}

/// Returns the version of mimalloc.
pub(super) fn version() -> String {
    // SAFETY: The function returns a constant.
    let version = unsafe { mi::mi_version() };
    // Versions up to 2.x have three digits, versions since 3.x have five or six.
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

impl BenchHeap for Mimalloc {
    fn alloc(&self, size: usize, align: usize) -> Option<Block> {
        let start = if align <= ALIGN {
            // SAFETY: `mi_malloc` accepts any size.
            unsafe { mi::mi_malloc(size) }
        } else {
            // SAFETY: `mi_malloc_aligned` accepts any size, and the alignment is a power of two.
            unsafe { mi::mi_malloc_aligned(size, align) }
        };
        NonNull::new(start.cast()).map(|start| Block { start })
    }

    unsafe fn free(&self, block: Block, _size: usize, _align: usize) {
        // SAFETY: The caller passes a live, unused block of mimalloc.
        unsafe { mi::mi_free(block.start.as_ptr().cast()) };
    }

    unsafe fn realloc(
        &self,
        block: Block,
        _size: usize,
        align: usize,
        new: usize,
    ) -> Option<Block> {
        let start = block.start.as_ptr().cast();
        // SAFETY: The caller passes a live block of mimalloc with its alignment.
        let start = unsafe { mi::mi_realloc_aligned(start, new, align) };
        NonNull::new(start.cast()).map(|start| Block { start })
    }
}
