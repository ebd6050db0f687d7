// SPDX-License-Identifier: GPL-2.0

//! Fault injection into the growth of slabs.

use crate::testing::{
    HostHybrid,
    LockedHybrid,
    growth, //
};

#[test]
fn a_growth_that_fails_by_injection_changes_nothing() {
    growth::each_fails_in_turn::<HostHybrid>();
    growth::each_fails_in_turn::<LockedHybrid>();
}

#[test]
fn a_growth_without_room_is_counted_once_and_refused_for_its_own_cause() {
    growth::one_without_room_counts_once::<HostHybrid>();
    growth::one_without_room_counts_once::<LockedHybrid>();
}
