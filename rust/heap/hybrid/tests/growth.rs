// SPDX-License-Identifier: GPL-2.0

//! Growths that fail to order.

use crate::testing::{
    HostHybrid,
    LockedHybrid,
    growth, //
};

#[test]
fn each_growth_fails_in_turn_and_nothing_comes_of_it() {
    growth::each_fails_in_turn::<HostHybrid>();
    growth::each_fails_in_turn::<LockedHybrid>();
}

#[test]
fn a_growth_without_room_counts_once() {
    growth::one_without_room_counts_once::<HostHybrid>();
    growth::one_without_room_counts_once::<LockedHybrid>();
}
