// SPDX-License-Identifier: GPL-2.0

//! The memory of pools.

use core::{
    alloc::Layout,
    ptr::{
        self,
        NonNull, //
    }, //
};

use kernel::{
    alloc::{
        Allocator,
        allocator::Vmalloc, //
    },
    bindings,
    page::PAGE_SIZE,
    prelude::*, //
};
use slab_session::PIECE;

use crate::signals;

/// How memory is asked for whose amount a program chooses: charged to it, without a warning, and
/// never at the price of the OOM killer.
///
/// [`kernel::alloc::Flags`] would do but for the last, so this is for `bindings` alone.
pub(crate) const QUIET: bindings::gfp_t = bindings::GFP_KERNEL_ACCOUNT
    | 1 << bindings::___GFP_RETRY_MAYFAIL_BIT
    | 1 << bindings::___GFP_NOWARN_BIT;

/// Memory from vmalloc, aligned to its size rounded up to a power of two.
///
/// With that alignment, what an engine does with a pool does not depend on where it lies.
///
/// # Invariants
///
/// `start` is a `Vmalloc` allocation of `layout`, which nobody else frees.
pub(crate) struct Memory {
    start: NonNull<u8>,
    layout: Layout,
}

// SAFETY: The memory belongs to the value, on whatever thread that is.
unsafe impl Send for Memory {}

// SAFETY: Who shares the value learns where the memory is, and no more.
unsafe impl Sync for Memory {}

impl Memory {
    /// Allocates `bytes` bytes, whose contents are arbitrary.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] for zero bytes and more than there are addresses, [`ENOMEM`].
    pub(crate) fn new(bytes: usize) -> Result<Self> {
        let align = bytes
            .checked_next_power_of_two()
            .ok_or(EINVAL)?
            .max(PAGE_SIZE);
        let layout = Layout::from_size_align(bytes, align).map_err(|_| EINVAL)?;
        if bytes == 0 {
            return Err(EINVAL);
        }
        // SAFETY: The old memory is none, which every size and alignment may replace; the flags
        // allow to sleep, and so do our callers.
        let start = unsafe {
            bindings::vrealloc_node_align(ptr::null(), bytes, align, QUIET, bindings::NUMA_NO_NODE)
        };
        // INVARIANT: Allocated just above, by the function that `Vmalloc` uses.
        Ok(Self {
            start: NonNull::new(start.cast()).ok_or(ENOMEM)?,
            layout,
        })
    }

    /// Allocates `bytes` zeros, at least one page of them.
    ///
    /// # Errors
    ///
    /// As for [`Memory::new`], and [`EINTR`] when a fatal signal came.
    pub(crate) fn zeroed(bytes: usize) -> Result<Self> {
        let memory = Self::new(bytes.max(PAGE_SIZE))?;
        let mut done = 0;
        while done < memory.bytes() {
            if signals::is_fatal_pending() {
                return Err(EINTR);
            }
            let piece = PIECE.min(memory.bytes() - done);
            // SAFETY: The memory has more than `done` bytes.
            let start = unsafe { memory.start.add(done) };
            // SAFETY: The memory is new, and has `piece` bytes from there on.
            unsafe { start.write_bytes(0, piece) };
            done += piece;
        }
        Ok(memory)
    }

    /// Returns the first byte.
    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// Returns how many bytes there are.
    pub(crate) fn bytes(&self) -> usize {
        self.layout.size()
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: By the type invariant it is ours to free, and whoever got `start` from us keeps
        // the value for as long as he uses it.
        unsafe { Vmalloc::free(self.start, self.layout) };
    }
}
