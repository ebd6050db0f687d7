// SPDX-License-Identifier: GPL-2.0

//! Several CPUs and threads. `interleavings` runs under a model checker, and `threads` on threads of the
//! host. `lock_counts` counts how often operations take the heap's lock. `pressure` tests flushes of other
//! CPUs' magazines and the redistribution of the budget.

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
