// SPDX-License-Identifier: GPL-2.0

//! The memory of pools, and what the kernel takes for it.

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
pub(crate) const GFP_QUIET: bindings::gfp_t = bindings::GFP_KERNEL_ACCOUNT
    | 1 << bindings::___GFP_RETRY_MAYFAIL_BIT
    | 1 << bindings::___GFP_NOWARN_BIT;

/// The part of the machine's memory, 1/8, that is left to others, whatever budgets say: what belongs
/// to a file is no process's, so the OOM killer would choose others.
const RESERVE_SHIFT: u32 = 3;

/// Returns [`ENOMEM`] unless the machine has enough memory left when `bytes` bytes are taken.
///
/// An estimate, which others change at the same time.
pub(crate) fn ensure_available(bytes: usize) -> Result {
    // SAFETY: The function may be called anywhere, and changes nothing.
    let available = unsafe { bindings::si_mem_available() };
    // SAFETY: The counter is there as long as the kernel, and is made to be read like this.
    let total = unsafe { (&raw const bindings::_totalram_pages.counter).read_volatile() };
    let left = (available as i64).saturating_sub(total >> RESERVE_SHIFT);
    let pages = bytes.div_ceil(PAGE_SIZE);
    if usize::try_from(left).is_ok_and(|left| pages <= left) {
        Ok(())
    } else {
        Err(ENOMEM)
    }
}

/// Memory from vmalloc, aligned to its size rounded up to a power of two.
///
/// With that alignment, what an engine does with a pool does not depend on where it lies.
///
/// # Invariants
///
/// `start` is a `Vmalloc` allocation of `layout`, which nobody else frees.
pub(crate) struct VmallocMemory {
    start: NonNull<u8>,
    layout: Layout,
}

// SAFETY: The memory belongs to the value, on whatever thread that is.
unsafe impl Send for VmallocMemory {}

// SAFETY: Who shares the value learns where the memory is, and no more.
unsafe impl Sync for VmallocMemory {}

/// Returns the bytes that the kernel takes for `bytes` bytes of kmalloc or kvmalloc, at most.
pub(crate) fn kmalloc_bytes(bytes: usize) -> usize {
    // SAFETY: The function takes any size and touches no memory.
    unsafe { bindings::kmalloc_size_roundup(bytes) }
}

impl VmallocMemory {
    /// Returns the bytes that the kernel takes for `bytes` bytes: whole pages, at least one, and for
    /// each of them a pointer by which vmalloc finds it.
    pub(crate) fn charge(bytes: usize) -> usize {
        let pages = bytes.div_ceil(PAGE_SIZE).max(1);
        pages.saturating_mul(PAGE_SIZE + size_of::<*const bindings::page>())
    }

    /// Allocates `bytes` bytes, whose contents are arbitrary.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] for zero bytes and more than there are addresses, [`ENOMEM`], also when too little
    /// would be left to others.
    pub(crate) fn new(bytes: usize) -> Result<Self> {
        let align = bytes
            .checked_next_power_of_two()
            .ok_or(EINVAL)?
            .max(PAGE_SIZE);
        let layout = Layout::from_size_align(bytes, align).map_err(|_| EINVAL)?;
        if bytes == 0 {
            return Err(EINVAL);
        }
        ensure_available(bytes)?;
        // SAFETY: The old memory is none, which every size and alignment may replace; the flags
        // allow to sleep, and so do our callers.
        let start = unsafe {
            bindings::vrealloc_node_align(
                ptr::null(),
                bytes,
                align,
                GFP_QUIET,
                bindings::NUMA_NO_NODE,
            )
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
    /// As for [`VmallocMemory::new`], and [`EINTR`] when a fatal signal came.
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

impl Drop for VmallocMemory {
    fn drop(&mut self) {
        // SAFETY: By the type invariant it is ours to free, and whoever got `start` from us keeps
        // the value for as long as he uses it.
        unsafe { Vmalloc::free(self.start, self.layout) };
    }
}
