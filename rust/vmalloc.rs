// SPDX-License-Identifier: GPL-2.0

//! Memory from vmalloc, and the accounting of memory whose amount a program chooses.

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

/// The GFP flags for memory whose amount a program chooses: the memory is charged to the program's memory
/// cgroup, and a request fails without a warning and without the OOM killer.
///
/// [`kernel::alloc::Flags`] has no `__GFP_RETRY_MAYFAIL`, so callers use `bindings` directly.
pub(crate) const GFP_QUIET: bindings::gfp_t = bindings::GFP_KERNEL_ACCOUNT
    | 1 << bindings::___GFP_RETRY_MAYFAIL_BIT
    | 1 << bindings::___GFP_NOWARN_BIT;

/// Log2 of the divisor for the part of the machine's memory that always stays available, whatever the budgets
/// allow: 1/8. The memory of a file belongs to no process, so the OOM killer would choose unrelated processes.
const RESERVE_SHIFT: u32 = 3;

/// Returns [`ENOMEM`] unless enough memory stays available after an allocation of `bytes` bytes.
///
/// The check is an estimate: other tasks allocate and free at the same time.
pub(crate) fn ensure_available(bytes: usize) -> Result {
    // SAFETY: `si_mem_available` may be called in any context and has no arguments.
    let available = unsafe { bindings::si_mem_available() };
    // SAFETY: The counter is a static variable of the kernel, which is always valid for volatile reads.
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
/// This alignment makes the results of an engine independent of the pool's address.
///
/// # Invariants
///
/// `start` is a `Vmalloc` allocation of `layout` that this value owns.
pub(crate) struct VmallocMemory {
    start: NonNull<u8>,
    layout: Layout,
}

// SAFETY: The value owns the allocation, which may be used and freed on any thread.
unsafe impl Send for VmallocMemory {}

// SAFETY: Shared references give access only to the address and the length, which do not change.
unsafe impl Sync for VmallocMemory {}

/// Returns the maximum number of bytes that the kernel allocates for a request of `bytes` bytes by kmalloc or
/// kvmalloc.
pub(crate) fn kmalloc_bytes(bytes: usize) -> usize {
    // SAFETY: `kmalloc_size_roundup` accepts any size and accesses no memory.
    unsafe { bindings::kmalloc_size_roundup(bytes) }
}

impl VmallocMemory {
    /// Returns the bytes that the kernel allocates for `bytes` bytes of vmalloc: at least one whole page, and a
    /// pointer per page in the array of vmalloc.
    pub(crate) fn charge(bytes: usize) -> usize {
        let pages = bytes.div_ceil(PAGE_SIZE).max(1);
        pages.saturating_mul(PAGE_SIZE + size_of::<*const bindings::page>())
    }

    /// Allocates `bytes` bytes, whose contents are arbitrary.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] for zero bytes and for more than the address space, [`ENOMEM`] when there is no memory or too
    /// little memory would stay available.
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
        // SAFETY: The old pointer is null, so the function allocates. The function accepts any size and any
        // power of two as alignment. The flags allow sleeping, and all callers may sleep.
        let start = unsafe {
            bindings::vrealloc_node_align(
                ptr::null(),
                bytes,
                align,
                GFP_QUIET,
                bindings::NUMA_NO_NODE,
            )
        };
        // INVARIANT: The memory was allocated above with this layout, by the function that `Vmalloc` uses.
        Ok(Self {
            start: NonNull::new(start.cast()).ok_or(ENOMEM)?,
            layout,
        })
    }

    /// Allocates `bytes` zeroed bytes, at least one page, in O(bytes). Checks for fatal signals while it zeroes.
    ///
    /// # Errors
    ///
    /// [`EINTR`] for a pending fatal signal, and the errors of [`VmallocMemory::new`].
    pub(crate) fn zeroed(bytes: usize) -> Result<Self> {
        let memory = Self::new(bytes.max(PAGE_SIZE))?;
        let mut done = 0;
        while done < memory.bytes() {
            if signals::is_fatal_pending() {
                return Err(EINTR);
            }
            let piece = PIECE.min(memory.bytes() - done);
            // SAFETY: `done` is less than the length of the allocation.
            let start = unsafe { memory.start.add(done) };
            // SAFETY: The allocation has `piece` bytes from `start` on, and nobody else uses it yet.
            unsafe { start.write_bytes(0, piece) };
            done += piece;
        }
        Ok(memory)
    }

    /// Returns the address of the first byte.
    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// Returns the length in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.layout.size()
    }
}

impl Drop for VmallocMemory {
    fn drop(&mut self) {
        // SAFETY: By the type invariant `start` is a `Vmalloc` allocation of this layout that this value
        // owns. Users of the address own or borrow this value while they use it.
        unsafe { Vmalloc::free(self.start, self.layout) };
    }
}
