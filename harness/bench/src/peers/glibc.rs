// SPDX-License-Identifier: GPL-2.0

//! The `malloc` of this process's own C library.

use std::{
    ffi::CStr,
    ptr, //
};

use crate::heap::{
    Heap,
    moved, //
};

/// What `malloc` aligns everything to.
const ALIGN: usize = 16;

/// The process's heap.
struct Glibc;

/// Makes a door to it.
pub(super) fn make() -> Box<dyn Heap> {
    Box::new(Glibc)
}

/// Returns its version.
pub(super) fn version() -> String {
    // SAFETY: It returns a string that is never freed.
    let version = unsafe { CStr::from_ptr(libc::gnu_get_libc_version()) };
    version.to_string_lossy().into()
}

impl Heap for Glibc {
    fn alloc(&self, size: usize, align: usize) -> *mut u8 {
        if align <= ALIGN {
            // SAFETY: Any size will do.
            return unsafe { libc::malloc(size) }.cast();
        }
        let mut block = ptr::null_mut();
        // SAFETY: There is room for the answer.
        match unsafe { libc::posix_memalign(&mut block, align, size) } {
            0 => block.cast(),
            _ => ptr::null_mut(),
        }
    }

    unsafe fn free(&self, block: *mut u8, _size: usize, _align: usize) {
        // SAFETY: By this function's contract.
        unsafe { libc::free(block.cast()) };
    }

    unsafe fn realloc(&self, block: *mut u8, size: usize, align: usize, new: usize) -> *mut u8 {
        if align <= ALIGN {
            // SAFETY: By this function's contract.
            return unsafe { libc::realloc(block.cast(), new) }.cast();
        }
        // SAFETY: By this function's contract.
        unsafe { moved(self, block, size, align, new) }
    }
}
