// SPDX-License-Identifier: GPL-2.0

//! Support that the tests of `hybrid` share. This module contains no tests.
//!
//! | module | content |
//! |---|---|
//! | `bare_heap` | page descriptors, a buddy system and a heap without memory |
//! | `checked_machine` | an engine on several CPUs that is checked after every operation |
//! | `damage` | an engine with a block of every kind, and damage to it |
//! | `migrating_engine` | an engine under the model checker, on CPUs between which threads migrate |
//! | `relay_scheduler` | a scheduler of the model checker that runs one thread in the middle of another |
//! | `whole_pool` | the check that an engine without live blocks can allocate its whole pool |

mod bare_heap;
mod checked_machine;
mod damage;
mod migrating_engine;
mod relay_scheduler;
mod whole_pool;

pub(crate) use bare_heap::{
    BareHeap,
    at,
    buddy,
    descs,
    page,
    table, //
};
pub(crate) use checked_machine::{
    Machine,
    kind, //
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
pub(crate) use whole_pool::is_whole;
