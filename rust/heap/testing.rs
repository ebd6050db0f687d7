// SPDX-License-Identifier: GPL-2.0

//! Memory and locks for the crate's own tests.

use core::{
    alloc::Layout,
    ptr::NonNull, //
};
use std::{
    alloc::{
        alloc_zeroed,
        dealloc,
        handle_alloc_error, //
    },
    sync::Mutex,
};

use crate::lock::Lock;

// SAFETY: The standard library's mutex keeps both promises.
unsafe impl<T> Lock<T> for Mutex<T> {
    fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        f(&mut self.lock().unwrap())
    }
}

/// Zeroed memory, aligned to its size rounded up to a power of two, or `skew` bytes after that.
pub(crate) struct Memory {
    base: NonNull<u8>,
    layout: Layout,
    skew: usize,
}

impl Memory {
    pub(crate) fn new(bytes: usize) -> Self {
        Self::skewed(bytes, 0)
    }

    pub(crate) fn skewed(bytes: usize, skew: usize) -> Self {
        let layout = Layout::from_size_align(bytes + skew, bytes.next_power_of_two()).unwrap();
        // SAFETY: The layout's size is not zero.
        let base = NonNull::new(unsafe { alloc_zeroed(layout) });
        let base = base.unwrap_or_else(|| handle_alloc_error(layout));
        base.as_ptr().expose_provenance();
        Self { base, layout, skew }
    }

    pub(crate) fn start(&self) -> NonNull<u8> {
        // SAFETY: `skew` bytes were allocated in front.
        unsafe { self.base.add(self.skew) }
    }

    pub(crate) fn addr(&self) -> usize {
        self.start().addr().get()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.layout.size() - self.skew
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: Allocated in `skewed` with this layout.
        unsafe { dealloc(self.base.as_ptr(), self.layout) };
    }
}
