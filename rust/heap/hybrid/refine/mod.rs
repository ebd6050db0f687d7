// SPDX-License-Identifier: GPL-2.0

//! Refinements: the textbook's algorithm works without them.
//!
//! Each file says what it buys. The core reaches each by one or two calls.

mod cache_layout;
#[forbid(unsafe_code)]
mod fallback;
#[forbid(unsafe_code)]
mod magazine_size;
#[forbid(unsafe_code)]
mod reclaim;
#[forbid(unsafe_code)]
mod refusal;
#[forbid(unsafe_code)]
mod resize;

pub use cache_layout::CacheSize;
