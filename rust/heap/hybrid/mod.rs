// SPDX-License-Identifier: GPL-2.0

//! `hybrid`: slabs over a buddy system, behind per-CPU magazines.
//!
//! The README has a picture of it. The metadata lies outside of the pool. A free that reaches the heap is checked
//! against the metadata, and a bad one is refused with its cause. `docs/seed-weaknesses.md` compares the design with
//! that of [`seed`](crate::seed), and `docs/limits.md` has its drawbacks.
//!
//! # Reading order
//!
//! 1. `page`: page descriptors, and lists of blocks.
//! 2. `buddy`: split and coalesce.
//! 3. [`size_class`](crate::size_class): the sizes of objects.
//! 4. `slab`: objects in slabs, by bitmaps; `bitmaps`: the memory of the larger bitmaps.
//! 5. `heap`: slabs or whole pages? Implements `BackingHeap`, the interface of the engine to a heap.
//! 6. [`magazines`](crate::magazines): per-CPU stacks of free blocks, the lock, and the engine.
//!
//! These files are the textbook's allocator. `refine/` has what the textbook does not need: resizing in place,
//! fallbacks, and the causes of refusals. `inspect/` has the statistics, the map and the checks of the heap.
//!
//! # The path of a request
//!
//! 1. The current CPU's magazine for the size of the request, with preemption off and no lock. Sizes up to 4096 bytes
//!    and blocks of 2 to 16 pages have magazines.
//! 2. The depot, under the lock: a full magazine, which another CPU may have filled.
//! 3. The heap, under the lock: an object of a partial slab, of the cached empty slab, or of a new slab from
//!    the end of a free block; or whole pages from the beginning of a free block. If the number of pages is no power of
//!    two, adjacent free blocks are preferred to a part of a larger block. In a small pool, the cached empty slabs of
//!    all classes are freed before a new slab is made. The magazine is refilled in the same step.
//!    A slab of objects below 64 bytes needs a bitmap in bitmap memory. If there is none, the engine releases the lock,
//!    gets a piece of memory from its platform, and tries again.
//! 4. If the buddy system has no block of whole pages: the cached empty slabs are freed, and the heap tries again.
//! 5. If the request was refused as exhausted or fragmented: the magazines of this CPU and the depot are flushed, then
//!    the magazines of all CPUs, and the heap tries again.
//! 6. The fallbacks, also if the platform has no memory for a bitmap: an object of a larger class, a page instead of a slab of several, or adjacent free blocks
//!    instead of a block of a power of two of pages.
//! 7. The request is refused: [`TooBig`](crate::Refusal::TooBig) if an empty pool could not serve it,
//!    [`Exhausted`](crate::Refusal::Exhausted) if too few pages are free, else
//!    [`Fragmented`](crate::Refusal::Fragmented) with Linux's fragmentation index;
//!    [`Unsupported`](crate::Refusal::Unsupported) for an alignment that the memory does not have, and
//!    [`Busy`](crate::Refusal::Busy) if the magazines of a CPU could not be reached.
//!
//! The ideas are old. Slabs are Bonwick's (The Slab Allocator, 1994); magazines are Bonwick and Adams's
//! (Magazines and Vmem, 2001); the buddy system is Knuth's (TAOCP 1, 2.5); page descriptors and lists by
//! order are those of Linux's page allocator; lists of partial slabs only are SLUB's.

mod bitmaps;
#[forbid(unsafe_code)]
mod buddy;
mod heap;
#[forbid(unsafe_code)]
mod inspect;
mod page;
mod refine;
#[forbid(unsafe_code)]
mod slab;
#[cfg(test)]
mod tests;

pub use heap::Heap;

use crate::magazines::{
    MagazineEngine,
    State as EngineState, //
};

/// The engine `hybrid`. `L` is the lock around the heap, `P` the caches of the CPUs.
pub type Hybrid<L, P> = MagazineEngine<Heap, L, P>;

/// The state of `hybrid` behind the lock.
pub type State = EngineState<Heap>;

impl State {
    /// Returns the state of an engine without memory.
    // Inlined into a constant: the state is larger than a stack frame should be.
    #[inline(always)]
    #[must_use]
    pub const fn new() -> Self {
        Self::with_heap(Heap::new())
    }
}

impl Default for State {
    #[inline(always)]
    fn default() -> Self {
        Self::new()
    }
}
