// SPDX-License-Identifier: GPL-2.0

//! Damage and misuse. `pages_and_lists`, `counters` and `magazines` damage metadata, and the check must name
//! the broken rule. `bad_frees` makes bad frees, and the engine must refuse each of them.

mod bad_frees;
mod bitmaps;
mod counters;
mod magazines;
mod pages_and_lists;

use super::support::{
    BareHeap,
    Machine,
    Places,
    at,
    broken,
    class,
    kind,
    page,
    prepared,
    rule,
    rule_of,
    table, //
};
