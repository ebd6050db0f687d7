// SPDX-License-Identifier: GPL-2.0

//! The hybrid: the seed's two tiers, with its weaknesses gone.
//!
//! Who has read [`seed`](crate::seed) finds the same decision here, and the same two halves. What
//! differs is what they know. The seed keeps its records in the memory that it manages and trusts
//! what it is told; the hybrid keeps them beside it, and can look.
//!
//! ```text
//!  a CPU's magazines  [64 B: ▪▪▪▪··] [80 B: ▪▪····] … [2 pages: ▪·] …     no lock
//!                        │ empty: filled by half   ▲ full: half goes back
//! ───────────────────────┼─────────────────────────┼──────────────────── one lock
//! size, rounded up to    ▼                         │
//! a multiple of align, ≤ 4096 ─▶ class ─▶ slabs ◀──┴──┐ 1 to 3 pages
//! larger ─────────────────────────────▶ whole pages ◀─┤
//!                                                     │
//!  pool    │ 0 │ 1 │ 2 │ 3 │ 4 │ 5 │ 6 │ 7 │ …  nothing of ours in it   buddy system
//!  descs  │Slab 64 │Slab 3072 ◀ ◀ │Free 1  ◀ │Large 3 …               8 bytes a page
//!  links   │  lists of partial slabs and of free blocks                 8 bytes a page
//!  bitmaps │1101…│        │101│                                        64 bytes a page
//! ```
//!
//! | the seed | the hybrid | where |
//! |---|---|---|
//! | one caller at a time | each CPU has magazines of free blocks; the lock is behind them | `magazine`, `cpu_cache`, `fast`, `refill`, `reclaim` |
//! | seven classes, powers of two from 64 | 32 classes from 8, four to a doubling | [`class`](crate::class) |
//! | routes by size, then looks at the alignment of small ones | rounds the size up to the alignment first: what is served is aligned | [`class`](crate::class) |
//! | grows by 64 objects | by the fewest pages that waste an eighth at most; by a single page when there is no more | `class`, `heap` |
//! | keeps slabs for ever | gives an empty slab back; keeps one of each class, until memory is short or nothing else is out | `slab`, `kept` |
//! | links in free blocks | a bitmap beside the pool, which also knows a bad free | `slab` |
//! | looks for a buddy in a list | reads it off the buddy's frame | `descs`, `buddy` |
//! | merges as far as it goes | merges a step or two in each free, and the rest in the next | `buddy` |
//! | powers of two for what is large | whole pages; the rest of a block goes back at once, and serves with what lies beside it | `buddy`, `runs` |
//! | buddies by address | by place in the region: the same trace has the same offsets anywhere | `buddy` |
//! | moves what grows | takes the pages behind a block, if they are free, or kept and there is no room for a copy; slabs keep to the other end | `buddy`, `release` |
//! | refuses when a list is empty | looks at larger classes and at runs of any position first; says why, and how much in pieces the pool is | `allocate_fallback`, `runs` |
//! | counts slab memory twice | total is used, cached and free | `figures` |
//! | believes every free | refuses what is foreign, interior or of another size, and names it; a double free when it reaches the slab | `descs`, `slab`, `release` |
//!
//! The ideas are old. Objects in slabs that come and go are Bonwick's (The Slab Allocator, 1994);
//! magazines are his and Adams's (Magazines and Vmem, 2001), and SLUB's sheaves their like; the
//! buddy system is Knuth's (TAOCP 1, 2.5); descs and lists by order are what Linux's page
//! allocator made of it; partial slabs in place of full and empty ones are SLUB's.
//!
//! # What a request goes through
//!
//! 1. The CPU's magazine of its size ([`Path::Magazine`](crate::Path::Magazine)): preemption is
//!    off, and nothing else. Sizes up to 4096 bytes and blocks of 2 to 16 pages have one.
//! 2. The heap, under the lock: a partial slab, the empty one, or a new one from the buddy system,
//!    from the end of the block that is split; or pages, from its beginning, so that they can grow.
//!    When less than a quarter of all pages is free, those whose number is no power of two are
//!    looked for in a few runs first, which lie side by side without being buddies. The magazine is
//!    filled on the way, and may hold twice as much from then on, as long as all magazines together
//!    hold at most 1/16 of the pool.
//! 3. When the heap has none: empty slabs go back to the buddy system, then the blocks in this CPU's
//!    magazines to the heap, then those in other CPUs' magazines. `reclaim` says why a refusal after
//!    that is final.
//! 4. The last resorts: an object of the smallest larger class that has one, a page in place of a
//!    slab of several, or the pages of any run, of the first 64 that are found. Only then is it
//!    refused. [`TooBig`](crate::Refusal::TooBig) is what the largest region has not enough pages
//!    for, or no block, where more than a page's alignment is asked for. How much in pieces the rest
//!    is, [`Fragmented`](crate::Refusal::Fragmented) says with Linux's fragmentation index.
//!
//! # Drawbacks
//!
//! - Records take memory beside the pool, used or not: 16 bytes a page for descs and links (0.4 %),
//!   64 for bitmaps (1.6 %), which are as large as slabs of the smallest class need them; and for each
//!   CPU's magazines from 3 KiB (a pool of 32 KiB) to 19 KiB (from 900 KiB on).
//! - A CPU's magazines serve no other CPU: a program that frees on another CPU than it allocates on
//!   takes the lock once in half a magazine, and a request that finds the pool empty interrupts every
//!   CPU that has blocks, once for each of its magazines.
//! - A double free is not seen while the block is in a magazine. The layers above know their blocks;
//!   [`check`](crate::Engine::check) sees it.
//! - A CPU that used many sizes has the reserve of all magazines until memory is short, or a magazine
//!   could not grow 64 times.
//! - Up to eight free blocks are on their way up: the next frees merge them. What asks the buddy
//!   system for pages, or looks at all (a check, a map), has them arrive, which is not a step or two.
//! - A block above 4096 bytes is whole pages: 4097 bytes take two.
//! - What is aligned to more than a page needs a block: runs do not serve it. Where there are more
//!   than 64, the one that is long enough may be missed.
//! - Pages of a run are its first: a large block there is cut, though a smaller one might do.
//! - While objects of larger classes are out for smaller requests, a free with too small a size may
//!   be taken for one of theirs, and one of theirs with the larger size is not refused.
//!   [`check`](crate::Engine::check) sees the latter when fewer are out than were borrowed.
//! - Slabs mix what is freed early with what is freed late, like all slabs: one object that stays
//!   keeps a slab's pages, and so does one that a magazine holds.

#[forbid(unsafe_code)]
mod buddy;
mod cpu_cache;
mod engine;
mod fast;
#[forbid(unsafe_code)]
mod heap;
#[cfg(not(MODULE))]
mod host;
#[forbid(unsafe_code)]
mod inspect;
#[forbid(unsafe_code)]
mod list;
mod magazine;
mod page;
#[forbid(unsafe_code)]
mod reclaim;
#[forbid(unsafe_code)]
mod refill;
#[forbid(unsafe_code)]
mod refine;
mod region_index;
#[forbid(unsafe_code)]
mod slab;
#[forbid(unsafe_code)]
mod state;
#[cfg(test)]
mod tests;

pub use cpu_cache::CpuCache;
pub use engine::{
    Hybrid,
    table_bytes, //
};
#[cfg(not(MODULE))]
pub use host::HostCpuCache;
pub use magazine::CacheSize;
pub use state::State;
