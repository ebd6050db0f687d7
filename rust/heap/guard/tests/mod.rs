// SPDX-License-Identifier: GPL-2.0

//! Tests of debug mode, as `lib/tests/slub_kunit.c` tests SLUB's: one thing is damaged, and exactly
//! that is to be reported, once.

mod damage;
mod frees;
mod links;
mod misuses;
mod model;
mod sweep;

use core::{
    alloc::Layout,
    cell::Cell,
    ptr::NonNull, //
};
use std::{
    sync::Mutex,
    vec::Vec, //
};

use super::{
    Caller,
    Fault,
    Guard,
    Report,
    State, //
};
use crate::{
    Block, Cost, Engine,
    engine::BadFree,
    stats::{
        GuardStats,
        Visitor, //
    },
    testing::{
        Memory,
        TestEngine,
        layout,
        sound,
        totals, //
    },
};

std::thread_local! {
    /// The process that a test plays.
    static PID: Cell<u32> = const { Cell::new(1) };
    /// The process is about to end.
    static ENDS: Cell<bool> = const { Cell::new(false) };
}

/// Whoever the test says.
struct Played;

impl Caller for Played {
    fn pid(&self) -> u32 {
        PID.get()
    }

    fn interrupted(&self) -> bool {
        ENDS.get()
    }
}

/// An engine in debug mode on the host.
type Guarded<E> = Guard<E, Mutex<State>, Played>;

impl<E: TestEngine> TestEngine for Guarded<E> {
    fn empty() -> Self {
        Guard::new(E::empty(), Mutex::default(), Played)
    }
}

/// Bytes of the pools of tests that do not care.
const POOL_BYTES: usize = 1 << 20;

/// Allocates as some process.
fn allocate<E: Engine>(guard: &Guarded<E>, pid: u32, layout: Layout) -> Block {
    PID.set(pid);
    guard.allocate(layout, &mut Cost::default()).unwrap()
}

/// Frees as some process, whether that is right or wrong.
///
/// A bad free is no contract of an engine, but it is one of a guard: it reads nothing where no block
/// is out.
fn free<E: Engine>(
    guard: &Guarded<E>,
    pid: u32,
    start: NonNull<u8>,
    layout: Layout,
) -> Result<(), BadFree> {
    PID.set(pid);
    let block = Block {
        start,
        offset: None,
    };
    // SAFETY: As said above; tests do not use what they have freed, but for writing wrongly to it.
    unsafe { guard.release(block, layout, &mut Cost::default()) }
}

/// Writes where nothing should be written, counted from a block's first byte.
fn scribble(start: NonNull<u8>, byte: isize, bytes: usize) {
    // SAFETY: Tests write to the memory of their own pool.
    unsafe { start.offset(byte).write_bytes(0x42, bytes) };
}

/// Returns what a guard noticed.
fn stats(engine: &impl Engine) -> GuardStats {
    struct Noticed(Option<GuardStats>);
    impl Visitor for Noticed {
        fn guard(&mut self, guard: &GuardStats) {
            self.0 = Some(*guard);
        }
    }
    let mut noticed = Noticed(None);
    engine.visit(&mut noticed);
    noticed.0.expect("a guard tells")
}

/// Returns all reports.
fn reports<E: Engine>(guard: &Guarded<E>) -> Vec<Report> {
    (0..).map_while(|number| guard.report(number)).collect()
}

/// Expects one report in all, of this fault, and so many blocks set aside.
#[track_caller]
fn only<E: Engine>(guard: &Guarded<E>, fault: Fault, set_aside: u64) -> Report {
    let reports = reports(guard);
    assert_eq!(reports.len(), 1, "{reports:?}");
    let stats = stats(guard);
    for other in Fault::ALL {
        assert_eq!(stats.reports[other as usize], u64::from(other == fault));
    }
    assert_eq!(stats.set_aside_blocks, set_aside);
    assert_eq!(stats.set_aside_bytes > 0, set_aside > 0);
    assert_eq!(reports[0].fault, fault);
    assert_eq!(reports[0].number, 0);
    reports[0]
}

/// Expects the pool to go on: its records are sound, what is out is what is set aside, and what is
/// allocated until nothing is left is disjoint from that, whole, and can be freed.
#[track_caller]
fn goes_on<E: Engine>(guard: &Guarded<E>) {
    let before = stats(guard);
    assert_eq!(totals(guard).live_blocks, before.set_aside_blocks);
    assert_eq!(totals(guard).requested_bytes, 0);
    let mut blocks = crate::testing::blocks::Blocks::default();
    for size in [8192, 1000, 100, 1] {
        while blocks.allocate(guard, layout(size, 1), 0x11).is_ok() {}
    }
    let live: Vec<_> = blocks.iter().map(|live| live.offset()).collect();
    assert!(!live.is_empty());
    for offset in live {
        blocks.release(guard, offset);
    }
    assert_eq!(stats(guard), before);
    let totals = totals(guard);
    assert_eq!(totals.live_blocks, before.set_aside_blocks);
    let parts = totals.live_bytes + totals.cached_bytes + totals.free_bytes;
    assert_eq!(parts, totals.pool_bytes);
    sound(guard);
}

/// Runs a test on each engine.
macro_rules! on_each_engine {
    ($($(#[$meta:meta])* fn $test:ident($guard:ident) $body:block)*) => {
        mod seed {
            use super::*;
            $($(#[$meta])* #[test] fn $test() { over(super::$test::<crate::testing::HostSeed>); })*
        }
        mod hybrid {
            use super::*;
            $($(#[$meta])* #[test] fn $test() { over(super::$test::<crate::testing::HostHybrid>); })*
        }
        mod locked {
            use super::*;
            $($(#[$meta])* #[test] fn $test() { over(super::$test::<crate::testing::LockedHybrid>); })*
        }
        $(fn $test<E: TestEngine>($guard: &Guarded<E>) $body)*
    };
}
use on_each_engine;

/// Runs a test on a new guard.
fn over<E: TestEngine>(test: fn(&Guarded<E>)) {
    let memory = Memory::new(POOL_BYTES);
    let guard = Guarded::over(&memory);
    test(&guard);
}

#[test]
fn a_region_is_not_added_for_a_program_that_is_about_to_end() {
    use crate::testing::{
        HostHybrid,
        Memory, //
    };

    let (first, second) = (Memory::new(POOL_BYTES), Memory::new(POOL_BYTES));
    let guard = Guarded::<HostHybrid>::over(&first);
    ENDS.set(true);
    let added = second.lend(&guard);
    ENDS.set(false);
    assert_eq!(added, Err(crate::region::RegionError::Interrupted));
    goes_on(&guard);
    assert_eq!(second.lend(&guard), Ok(1));
    goes_on(&guard);
}
