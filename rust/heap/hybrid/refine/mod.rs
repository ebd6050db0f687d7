// SPDX-License-Identifier: GPL-2.0

//! Refinements: the textbook's algorithm works without them.
//!
//! Each file says what it buys. The core reaches each by one or two calls.

mod fallback;
mod magazine_size;
mod reclaim;
mod refusal;
mod resize;

pub use magazine_size::CacheSize;
