// SPDX-License-Identifier: GPL-2.0

//! `hybrid`: slabs over a buddy system, behind per-CPU magazines.
//!
//! It has the two tiers of [`seed`](crate::seed) without the seed's weaknesses. The seed keeps its
//! metadata in the free blocks of the pool and believes every free; the hybrid keeps its metadata beside
//! the pool, and refuses a bad free that reaches the heap by name.
//!
//! ```text
//!  a CPU's magazines  [64 B: ▪▪▪▪··] [80 B: ▪▪····] … [2 pages: ▪·] …     no lock
//!                        │ empty: refill by half   ▲ full: flush half
//! ───────────────────────┼─────────────────────────┼──────────────────── one lock
//! size, rounded up to    ▼                         │
//! a multiple of align, ≤ 4096 ─▶ class ─▶ slabs ◀──┴──┐ 1 to 3 pages
//! larger ─────────────────────────────▶ whole pages ◀─┤
//!                                                     │
//!  pool         │ 0 │ 1 │ 2 │ 3 │ 4 │ 5 │ 6 │ …  no metadata inside      buddy system
//!  descriptors  │Slab 64 │Slab 3072 ◀ ◀ │Free 1  ◀ │Large 3 …           8 bytes a page
//!  links        │  lists of partial slabs and of free blocks            8 bytes a page
//!  bitmaps      │1101…│        │101│                                  64 bytes a page
//! ```
//!
//! # Reading order
//!
//! 1. `page`: page descriptors, and lists of blocks.
//! 2. `buddy`: split and coalesce.
//! 3. [`size_class`](crate::size_class): the sizes of objects.
//! 4. `slab`: objects in slabs, by bitmaps.
//! 5. `heap`: which of these serves a request, and how a free finds its block.
//! 6. `magazine`: per-CPU stacks of free blocks.
//! 7. `engine`: a magazine, or else the heap under the lock.
//!
//! These files are the textbook's allocator. `refine/` has what the textbook does not need: the sizes of
//! magazines, reclaim under pressure, resizing in place, fallbacks, and the causes of refusals. `inspect/` has
//! the statistics, the map and the checks. [`LockedHeap`] is the interface between `heap` and `engine`.
//!
//! # What differs from the seed
//!
//! | the seed | the hybrid | where |
//! |---|---|---|
//! | one caller at a time | each CPU has magazines of free blocks in front of the lock | `magazine`, `engine` |
//! | seven classes, powers of two from 64 | 32 classes from 8 bytes, four to a doubling | [`size_class`](crate::size_class) |
//! | routes by size alone, so some blocks are misaligned | rounds the size up to the alignment first | [`size_class`](crate::size_class) |
//! | grows by 64 objects | grows by the fewest pages that waste an eighth at most | [`size_class`](crate::size_class), `heap` |
//! | slabs never give memory back | an empty slab returns its pages, except for one of each class | `slab` |
//! | links in free blocks | a bitmap beside the pool, which also finds a double free that reaches the slab | `slab` |
//! | searches a list for the buddy | reads the buddy's page descriptor | `page`, `buddy` |
//! | powers of two for large blocks | whole pages; the rest of a block is free at once | `buddy` |
//! | buddies by address | buddies by place in the region, so offsets do not depend on addresses | `buddy` |
//! | a block that grows always moves | grows into free pages behind it | `refine/resize` |
//! | refuses when a list is empty | flushes all magazines and tries larger classes first, and names the cause | `refine/reclaim`, `refine/fallback`, `refine/refusal` |
//! | counts slab memory twice | total = used + cached + free | `inspect/stats` |
//! | believes every free | refuses foreign, interior and wrong-size frees, and double frees in the heap | `page`, `slab`, `heap` |
//!
//! The ideas are old. Slabs are Bonwick's (The Slab Allocator, 1994); magazines are Bonwick and Adams's
//! (Magazines and Vmem, 2001); the buddy system is Knuth's (TAOCP 1, 2.5); page descriptors and lists by
//! order are those of Linux's page allocator; partial slabs instead of full and empty ones are SLUB's.
//!
//! # The path of a request
//!
//! 1. The CPU's magazine of its size ([`Path::Magazine`](crate::Path::Magazine)), with preemption off and
//!    no lock. Sizes up to 4096 bytes and blocks of 2 to 16 pages have magazines.
//! 2. The heap, under the lock: a partial slab, the cached empty slab, or a new slab from the end of a free
//!    block; or whole pages from the beginning of a free block, so that they can grow. The magazine is
//!    refilled on the way. Its capacity doubles as long as all magazines together hold at most 1/16 of the
//!    pool.
//! 3. Under pressure: cached empty slabs return to the buddy system, then this CPU's magazines are
//!    flushed, then those of all other CPUs.
//! 4. The fallbacks: an object of a larger class, or a page instead of a slab of several. Then the request is refused: [`TooBig`](crate::Refusal::TooBig) if an empty pool could not serve it,
//!    [`Exhausted`](crate::Refusal::Exhausted) if too few pages are free, else
//!    [`Fragmented`](crate::Refusal::Fragmented) with Linux's fragmentation index.
//!
//! # Drawbacks
//!
//! - Metadata takes memory beside the pool, used or not: 16 bytes a page for descriptors and links
//!   (0.4 %), 64 for bitmaps (1.6 %), which are as large as slabs of the smallest class need them; and for
//!   each CPU's magazines from 2 KiB (a pool of 32 KiB) to 18 KiB (from 900 KiB on).
//! - A CPU's magazines serve no other CPU: a program that frees on another CPU than it allocates on takes
//!   the lock once in half a magazine, and a request that finds the pool empty interrupts every CPU whose
//!   magazines have a capacity, once for each of these and once more.
//! - A second free of a block that is still in a magazine succeeds, and two callers then get the block.
//!   The sessions above prevent that, because they know their blocks; [`check`](crate::check::Check::check) finds
//!   it.
//! - A CPU that used many sizes has the reserve of all magazines until memory is short, or a magazine could
//!   not grow 64 times.
//! - A block above 4096 bytes takes whole pages: 4097 bytes take two.
//! - A block of n pages needs one free block of the next power of two of pages. The largest block of a region
//!   is the largest power of two of its pages: a pool of 48 MiB serves no block above 32 MiB.
//! - While objects of larger classes serve smaller requests, a free of such an object with a wrong size may
//!   be accepted (`refine/fallback`).
//! - Slabs mix short-lived with long-lived objects, like all slabs: one live object keeps the pages of a
//!   slab, and so does an object in a magazine.

#[forbid(unsafe_code)]
mod buddy;
mod engine;
mod heap;
#[forbid(unsafe_code)]
mod inspect;
mod magazine;
mod page;
#[forbid(unsafe_code)]
mod refine;
#[forbid(unsafe_code)]
mod slab;
#[cfg(test)]
mod tests;

use crate::locked_heap::LockedHeap;

pub use engine::MagazineEngine;
pub use heap::Heap;
pub use magazine::{
    CpuCache,
    Slot, //
};
pub use refine::CacheSize;

/// The engine `hybrid`. `L` is the lock around the heap, `P` the caches of the CPUs.
pub type Hybrid<L, P> = MagazineEngine<Heap, L, P>;

/// The state of `hybrid` behind the lock.
pub type State = engine::State<Heap>;

impl State {
    /// Returns the state of an engine without memory.
    #[must_use]
    pub const fn new() -> Self {
        Self::with_heap(Heap::new())
    }
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}

/// Returns the bytes of the metadata of a region of `bytes` bytes.
#[must_use]
pub const fn table_bytes(bytes: usize) -> usize {
    bytes / crate::PAGE_BYTES * Heap::METADATA_PER_PAGE
}
