// SPDX-License-Identifier: GPL-2.0

//! The hybrid: the seed's two tiers, with its weaknesses gone.
//!
//! Who has read [`seed`](crate::seed) finds the same decision here, and the same two halves. What
//! differs is what they know. The seed keeps its records in the memory that it manages and trusts
//! what it is told; the hybrid keeps them beside it, and can look.
//!
//! ```text
//! size, rounded up to a multiple of align, ≤ 4096 ─▶ class ─▶ slabs ◀─┐ 1 to 3 pages
//! larger ───────────────────────────────────────────▶ whole pages ◀───┤
//!                                                                     │
//!  pool    │ 0 │ 1 │ 2 │ 3 │ 4 │ 5 │ 6 │ 7 │ …  nothing of ours in it   buddy system
//!  frames  │Slab 64 │Slab 3072 ◀ ◀ │Free 1  ◀ │Large 3 …               16 bytes a page
//!  bitmaps │1101…│        │101│                                        64 bytes a page
//! ```
//!
//! | the seed | the hybrid | where |
//! |---|---|---|
//! | seven classes, powers of two from 64 | 32 classes from 8, four to a doubling | [`class`](crate::class) |
//! | routes by size, then looks at the alignment of small ones | rounds the size up to the alignment first: what is served is aligned | [`class`](crate::class) |
//! | grows by 64 objects | by the fewest pages that waste an eighth at most; by a single page when there is no more | `class`, `heap` |
//! | keeps slabs for ever | gives an empty slab back; keeps one of each class, until memory is short or nothing else is out | `slab`, `heap` |
//! | links in free blocks | a bitmap beside the pool, which also knows a bad free | `slab` |
//! | looks for a buddy in a list | reads it off the buddy's frame | `frames`, `buddy` |
//! | powers of two for what is large | whole pages; the rest of a block goes back at once | `buddy` |
//! | buddies by address | by place in the region: the same trace has the same offsets anywhere | `buddy` |
//! | moves what grows | takes the pages behind a block, if they are free | `buddy`, `heap` |
//! | counts slab memory twice | total is used, cached and free | `engine` |
//! | believes every free | refuses what is foreign, interior, of another size, or not out, and names it | `slab`, `heap` |
//!
//! The ideas are old. Objects in slabs that come and go are Bonwick's (The Slab Allocator, 1994);
//! the buddy system is Knuth's (TAOCP 1, 2.5); frames and lists by order are what Linux's page
//! allocator made of it; partial slabs in place of full and empty ones are SLUB's.
//!
//! # Drawbacks
//!
//! - Records take memory beside the pool, used or not: 16 bytes a page for frames (0.4 %), 64 for
//!   bitmaps (1.6 %), which are as large as slabs of the smallest class need them.
//! - One lock is around all, as for the seed. Magazines are to come.
//! - A block above 4096 bytes is whole pages: 4097 bytes take two.
//! - Slabs mix what is freed early with what is freed late, like all slabs: one object that stays
//!   keeps a slab's pages.

mod address;
#[forbid(unsafe_code)]
mod buddy;
#[forbid(unsafe_code)]
mod check;
mod engine;
#[forbid(unsafe_code)]
mod frames;
#[forbid(unsafe_code)]
mod heap;
mod magazine;
#[forbid(unsafe_code)]
mod magazine_check;
#[forbid(unsafe_code)]
mod map;
#[forbid(unsafe_code)]
mod refill;
#[forbid(unsafe_code)]
mod slab;
#[cfg(test)]
mod tests;

pub use engine::{
    Hybrid,
    State,
    table_bytes, //
};
pub use magazine::Cache;
