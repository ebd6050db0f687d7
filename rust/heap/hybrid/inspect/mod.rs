// SPDX-License-Identifier: GPL-2.0

//! Looking at the engine: statistics, map, and checks of the heap and of the magazines.
//!
//! Nothing here changes what an allocation returns.

mod check;
pub(in crate::hybrid) mod check_magazines;
mod map;
mod stats;
