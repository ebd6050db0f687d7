// SPDX-License-Identifier: GPL-2.0

//! Fault injection into the growth of slabs.

use crate::testing::{
    HostSeed,
    growth, //
};

#[test]
fn each_growth_refused_in_turn_changes_nothing() {
    growth::each_fails_in_turn::<HostSeed>();
}

#[test]
fn a_growth_without_memory_counts_once() {
    growth::one_without_room_counts_once::<HostSeed>();
}
