// SPDX-License-Identifier: GPL-2.0

//! Support that the tests of `hybrid` share. This module contains no tests.
//!
//! | module | content |
//! |---|---|
//! | `bare_heap` | page descriptors, a buddy system and a heap without memory |
//! | `damage` | an engine with a block of every kind, and damage to it |
//! | `migrating_engine` | an engine under the model checker, on CPUs between which threads migrate |
//! | `relay_scheduler` | a scheduler of the model checker that runs one thread in the middle of another |
//! | `test_heap` | the heap in the tests that run on each heap |

mod bare_heap;
mod damage;
mod migrating_engine;
mod relay_scheduler;
mod test_heap;

pub(crate) use bare_heap::{
    BareHeap,
    add_piece,
    at,
    buddy,
    descs,
    page,
    table, //
};
pub(crate) use damage::{
    Places,
    broken,
    class,
    prepared,
    rule,
    rule_of, //
};
pub(crate) use migrating_engine::{
    OVERLAP,
    Scenario,
    World, //
};
pub(crate) use relay_scheduler::Relay;

pub(crate) use crate::testing::{
    checked_machine::kind,
    whole_pool::is_whole, //
};

/// `hybrid` on several CPUs, checked after every operation.
pub(crate) type Machine = crate::testing::checked_machine::Machine<crate::hybrid::Heap>;
