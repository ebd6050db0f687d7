// SPDX-License-Identifier: GPL-2.0

//! Refinements of the heap: the textbook's algorithm works without them.
//!
//! Each file says what it buys. The core reaches each by one call.

mod empty_slabs;
mod fallback;
mod page_runs;
mod resize;

pub(in crate::hybrid) use empty_slabs::EmptySlabs;
