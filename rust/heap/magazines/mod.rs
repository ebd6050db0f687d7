// SPDX-License-Identifier: GPL-2.0

//! Per-CPU magazines in front of a heap and its lock: an engine for every [`BackingHeap`].
//!
//! # Reading order
//!
//! 1. `magazine`: per-CPU stacks of free blocks.
//! 2. `state`: the heap with its counters, behind the lock.
//! 3. `depot`: full magazines, which all CPUs share, also behind the lock.
//! 4. `engine`: the fast paths, which use only a magazine of the current CPU.
//! 5. `allocate`: a request that no magazine served. The depot or the heap under the lock.
//! 6. `free`: a free that no magazine took. Makes room in a magazine, or frees to the heap under the lock.
//!
//! The other files are refinements and inspection:
//!
//! - `cache_layout`, `capacity`, `redistribution`: the sizes of magazines;
//! - `add_region`: the memory of the engine grows;
//! - `reclaim`: the blocks in the magazines of all CPUs and in the depot return to the heap;
//! - `check`, `stats`: the check of the magazines, and the statistics of an engine.
//!
//! Figures in the documentation of the refinements are utilisations of the engine `hybrid`, the means of the eleven
//! classic and the sixteen newer traces of `make bench-host BENCH='--heap hybrid --pattern space'` at alignment 8. They
//! were measured on commit b286119, with the refinement (89.5 % and 86.2 %) and without it, before there was a depot.
//! `docs/benchmarks.md` has the figures of the current version.

#[cfg(doc)]
use crate::backing_heap::BackingHeap;

mod add_region;
mod allocate;
mod cache_layout;
#[forbid(unsafe_code)]
mod capacity;
#[forbid(unsafe_code)]
pub(crate) mod check;
pub(crate) mod depot;
mod engine;
mod free;
pub(crate) mod magazine;
#[forbid(unsafe_code)]
mod reclaim;
#[forbid(unsafe_code)]
mod redistribution;
#[forbid(unsafe_code)]
mod state;
#[forbid(unsafe_code)]
mod stats;

pub use add_region::table_bytes;
pub use cache_layout::CacheSize;
pub use engine::MagazineEngine;
pub use magazine::{
    CpuCache,
    Slot, //
};
pub use state::State;
