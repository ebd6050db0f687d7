// SPDX-License-Identifier: GPL-2.0

//! Several CPUs and threads: `interleavings` under a model checker, `threads` on threads of the host,
//! `lock_counts` for how often operations take the heap's lock, `pressure` for the memory that CPUs give up
//! for each other.

mod interleavings;
mod lock_counts;
mod pressure;
mod threads;

use super::support::{
    Machine,
    OVERLAP,
    Relay,
    Scenario,
    World,
    at,
    is_whole, //
};
