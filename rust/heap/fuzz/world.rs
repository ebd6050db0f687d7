// SPDX-License-Identifier: GPL-2.0

//! The memory of an engine under test, and the number of its CPUs.

use std::{
    alloc::{
        Layout,
        alloc_zeroed,
        dealloc,
        handle_alloc_error, //
    },
    ptr::NonNull, //
};

/// The number of simulated CPUs.
pub(crate) const CPUS: usize = 3;

/// Zeroed memory, aligned to its size rounded up to a power of two.
pub(crate) struct FuzzMemory {
    start: NonNull<u8>,
    layout: Layout,
}

impl FuzzMemory {
    pub(crate) fn new(bytes: usize) -> Self {
        let align = bytes.next_power_of_two().max(4096);
        let layout = Layout::from_size_align(bytes.max(8), align).unwrap();
        // SAFETY: `alloc_zeroed` requires a size that is not 0. The size is at least 8.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) });
        let start = start.unwrap_or_else(|| handle_alloc_error(layout));
        // The seed converts addresses back to pointers.
        start.as_ptr().expose_provenance();
        Self { start, layout }
    }

    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }

    pub(crate) fn bytes(&self) -> usize {
        self.layout.size()
    }
}

impl Drop for FuzzMemory {
    fn drop(&mut self) {
        // SAFETY: `new` allocated the memory with this layout, and the memory is freed once.
        unsafe { dealloc(self.start.as_ptr(), self.layout) };
    }
}
