// SPDX-License-Identifier: GPL-2.0

//! The engine `slub`: Linux's own kvmalloc (SLUB, or vmalloc for large blocks), for comparison.
//!
//! The engine has no pool: blocks come from the kernel's memory. A limit on the live bytes takes the
//! place of the pool's size, so that a program gets no more memory from this engine than from another.

use core::{
    alloc::Layout,
    ptr::{
        self,
        NonNull, //
    },
};

use kernel::{
    alloc::{
        Allocator,
        allocator::KVmalloc, //
    },
    bindings,
    new_spinlock,
    prelude::*, //
};
use slab_heap::{
    Block, Cost, Engine, Offset, Path, Refusal,
    engine::{
        BadFree,
        Capabilities,
        Interfaces, //
    },
    lock::Lock,
    stats::{
        Statistics,
        Totals,
        Visitor, //
    },
};

use crate::{
    lock::BoxedSpinLock,
    vmalloc::GFP_QUIET, //
};

// Lock order: no lock is taken under the counters' spinlock, and the kernel's allocator is called without the
// spinlock.

/// The counters under the lock.
#[derive(Default)]
struct SlubCounters {
    live_bytes: usize,
    requested_bytes: usize,
    allocations: u64,
    frees: u64,
    refusals: [u64; Refusal::COUNT],
}

/// Linux's kvmalloc, with a limit on the live bytes.
pub(crate) struct Slub {
    max_bytes: usize,
    counters: BoxedSpinLock<SlubCounters>,
}

impl Slub {
    /// Creates an engine with a limit of `max_bytes` live bytes.
    pub(crate) fn new(max_bytes: usize) -> Result<Self> {
        Ok(Self {
            max_bytes,
            counters: BoxedSpinLock::new(new_spinlock!(SlubCounters::default(), "slablab_slub"))?,
        })
    }

    /// Returns the layout with the size that the kernel would round the request up to.
    fn whole(layout: Layout) -> Layout {
        let padded = layout.pad_to_align();
        // SAFETY: `kmalloc_size_roundup` accepts any size and accesses no memory.
        let bytes = unsafe { bindings::kmalloc_size_roundup(padded.size().max(1)) };
        Layout::from_size_align(bytes, layout.align()).unwrap_or(padded)
    }

    /// Allocates a block that the counters already include.
    fn obtain(layout: Layout) -> Option<NonNull<u8>> {
        // SAFETY: The old pointer is null, so the function allocates. The function accepts any size and any
        // power of two as alignment. The flags allow sleeping, and all callers may sleep.
        let memory = unsafe {
            bindings::kvrealloc_node_align(
                ptr::null(),
                layout.size(),
                layout.align(),
                GFP_QUIET,
                bindings::NUMA_NO_NODE,
            )
        };
        NonNull::new(memory.cast())
    }
}

// SAFETY: kvmalloc returns aligned memory of the requested size. Until the memory is freed, it overlaps no other
// allocation, and kvmalloc does not touch it. The requested size is that of `whole`, which `usable_size` returns.
unsafe impl Engine for Slub {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            mmap: false,
            quick: false,
            free_block_bytes: 0,
            free_block_align: 1,
        }
    }

    fn usable_size(&self, layout: Layout) -> usize {
        Self::whole(layout).size()
    }

    fn capacity(&self) -> usize {
        self.max_bytes
    }

    fn offset(&self, _byte: NonNull<u8>) -> Option<Offset> {
        None
    }

    fn allocate(&self, layout: Layout, cost: &mut Cost) -> Result<Block, Refusal> {
        let whole = Self::whole(layout);
        let refused = self.counters.with(|counters| {
            let free = self.max_bytes.saturating_sub(counters.live_bytes);
            let refusal = if whole.size() > self.max_bytes {
                Refusal::TooBig
            } else if whole.size() > free {
                Refusal::Exhausted
            } else {
                counters.live_bytes += whole.size();
                counters.requested_bytes += layout.size();
                counters.allocations += 1;
                return Ok(());
            };
            counters.refusals[refusal as usize] += 1;
            Err(refusal)
        });
        refused?;
        let Some(start) = Self::obtain(whole) else {
            self.counters.with(|counters| {
                counters.live_bytes -= whole.size();
                counters.requested_bytes -= layout.size();
                counters.allocations -= 1;
                counters.refusals[Refusal::Exhausted as usize] += 1;
            });
            return Err(Refusal::Exhausted);
        };
        *cost = Cost::new(Path::Kernel);
        Ok(Block { start })
    }

    unsafe fn free(&self, block: Block, layout: Layout, cost: &mut Cost) -> Result<(), BadFree> {
        let whole = Self::whole(layout);
        *cost = Cost::new(Path::Kernel);
        // SAFETY: `free` requires a kvmalloc allocation and its layout. By this function's contract the
        // block is live and was allocated for `layout`, so `obtain` allocated it with `whole`.
        unsafe { KVmalloc::free(block.start, whole) };
        self.counters.with(|counters| {
            counters.live_bytes -= whole.size();
            counters.requested_bytes -= layout.size();
            counters.frees += 1;
        });
        Ok(())
    }

    fn fits_in_place(&self, layout: Layout, new: Layout) -> bool {
        Self::whole(layout) == Self::whole(new)
    }

    unsafe fn resize(&self, _block: Block, layout: Layout, new: Layout, cost: &mut Cost) -> bool {
        let stays = self.fits_in_place(layout, new);
        if stays {
            *cost = Cost::new(Path::InPlace);
            self.counters.with(|counters| {
                counters.requested_bytes = counters.requested_bytes - layout.size() + new.size();
            });
        }
        stays
    }

    fn interfaces(&self) -> Interfaces<'_> {
        Interfaces {
            statistics: self,
            add_region: None,
            check: None,
            map: None,
            shrink: None,
            fail_growth: None,
            supervise: None,
        }
    }
}

impl Statistics for Slub {
    fn visit(&self, visitor: &mut dyn Visitor) {
        self.counters.with(|counters| {
            let (live, max) = (counters.live_bytes as u64, self.max_bytes as u64);
            visitor.totals(&Totals {
                total_bytes: max,
                used_bytes: live,
                available_bytes: max - live,
                pool_bytes: max,
                live_bytes: live,
                free_bytes: max - live,
                requested_bytes: counters.requested_bytes as u64,
                live_blocks: counters.allocations - counters.frees,
                allocations: counters.allocations,
                frees: counters.frees,
                refusals: counters.refusals,
                ..Totals::default()
            });
        });
    }
}
