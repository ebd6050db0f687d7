// SPDX-License-Identifier: GPL-2.0

//! Tests of debug mode, modelled on `lib/tests/slub_kunit.c`: a test damages one thing on purpose, and
//! expects exactly one report of the matching fault.

mod altered_seed;
mod damage;
mod frees;
mod links;
mod misuses;
mod model;
mod order;
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
    DebugMode,
    Fault,
    Report,
    State, //
};
use crate::{
    Block, Cost, Engine,
    engine::BadFree,
    stats::{
        DebugStats,
        Visitor, //
    },
    testing::{
        HostMemory,
        TestEngine,
        layout,
        sound,
        totals, //
    },
};

std::thread_local! {
    /// The number of the process that the thread simulates.
    static PID: Cell<u32> = const { Cell::new(1) };
    /// Whether the process has a fatal signal.
    static ENDS: Cell<bool> = const { Cell::new(false) };
}

/// The simulated process of the current thread.
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
type Guarded<E> = DebugMode<E, Mutex<State>, Played>;

impl<E: TestEngine> TestEngine for Guarded<E> {
    fn empty() -> Self {
        DebugMode::new(E::empty(), Mutex::default(), Played)
    }
}

/// The size of the pool in tests that do not need a particular size.
const POOL_BYTES: usize = 1 << 20;

/// Allocates as process `pid`.
fn allocate<E: Engine>(guard: &Guarded<E>, pid: u32, layout: Layout) -> Block {
    PID.set(pid);
    guard.allocate(layout, &mut Cost::default()).unwrap()
}

/// Frees as process `pid`, also if the free is bad.
///
/// The contract of an engine forbids a bad free. Debug mode accepts a bad free, because it accesses no memory
/// unless a live block begins at `start`.
fn free<E: Engine>(
    guard: &Guarded<E>,
    pid: u32,
    start: NonNull<u8>,
    layout: Layout,
) -> Result<(), BadFree> {
    PID.set(pid);
    let block = Block { start };
    // SAFETY: The free may violate the contract of `Engine` on purpose: debug mode accepts a bad free, as
    // described above. Tests use a freed block only for a write after free, to memory that stays valid.
    unsafe { guard.free(block, layout, &mut Cost::default()) }
}

/// Writes `bytes` bytes from `byte` on, relative to a block.
fn scribble(start: NonNull<u8>, byte: isize, bytes: usize) {
    // SAFETY: The bytes lie in the pool of the test, so they are writable. The damage is on purpose.
    unsafe { start.offset(byte).write_bytes(0x42, bytes) };
}

/// Returns the statistics of debug mode.
fn stats(engine: &impl Engine) -> DebugStats {
    struct Noticed(Option<DebugStats>);
    impl Visitor for Noticed {
        fn debug(&mut self, debug: &DebugStats) {
            self.0 = Some(*debug);
        }
    }
    let mut noticed = Noticed(None);
    engine.interfaces().statistics.visit(&mut noticed);
    noticed.0.expect("debug mode has statistics")
}

/// Returns all reports.
fn reports<E: Engine>(guard: &Guarded<E>) -> Vec<Report> {
    (0..).map_while(|number| guard.report(number)).collect()
}

/// Expects exactly one report of this fault, and this number of blocks in quarantine. Returns the report.
#[track_caller]
fn only<E: Engine>(guard: &Guarded<E>, fault: Fault, quarantined: u64) -> Report {
    let reports = reports(guard);
    assert_eq!(reports.len(), 1, "{reports:?}");
    let stats = stats(guard);
    for other in Fault::ALL {
        assert_eq!(stats.reports[other as usize], u64::from(other == fault));
    }
    assert_eq!(stats.quarantined_blocks, quarantined);
    assert_eq!(stats.quarantined_bytes > 0, quarantined > 0);
    assert_eq!(reports[0].fault, fault);
    assert_eq!(reports[0].number, 0);
    reports[0]
}

/// Expects that all live blocks are in quarantine, and that all other memory can be allocated, filled,
/// verified and freed.
#[track_caller]
fn goes_on<E: Engine>(guard: &Guarded<E>) {
    let before = stats(guard);
    assert_eq!(totals(guard).live_blocks, before.quarantined_blocks);
    assert_eq!(totals(guard).requested_bytes, 0);
    let mut blocks = crate::testing::blocks::ShadowMap::default();
    for size in [8192, 1000, 100, 1] {
        while blocks.allocate(guard, layout(size, 1), 0x11).is_ok() {}
    }
    let live: Vec<_> = blocks.iter().map(|live| live.offset()).collect();
    assert!(!live.is_empty());
    for offset in live {
        blocks.free(guard, offset);
    }
    assert_eq!(stats(guard), before);
    let totals = totals(guard);
    assert_eq!(totals.live_blocks, before.quarantined_blocks);
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
        mod extent {
            use super::*;
            $($(#[$meta])* #[test] fn $test() { over(super::$test::<crate::testing::HostExtent>); })*
        }
        mod locked {
            use super::*;
            $($(#[$meta])* #[test] fn $test() { over(super::$test::<crate::testing::LockedHybrid>); })*
        }
        $(fn $test<E: TestEngine>($guard: &Guarded<E>) $body)*
    };
}
use on_each_engine;

/// Runs a test on a new engine in debug mode.
fn over<E: TestEngine>(test: fn(&Guarded<E>)) {
    let memory = HostMemory::new(POOL_BYTES);
    let guard = Guarded::over(&memory);
    test(&guard);
}

#[test]
fn a_region_is_not_added_for_a_program_with_a_fatal_signal() {
    use crate::testing::{
        HostHybrid,
        HostMemory, //
    };

    let (first, second) = (HostMemory::new(POOL_BYTES), HostMemory::new(POOL_BYTES));
    let guard = Guarded::<HostHybrid>::over(&first);
    ENDS.set(true);
    let added = second.lend(&guard);
    ENDS.set(false);
    assert_eq!(added, Err(crate::region::RegionError::Interrupted));
    goes_on(&guard);
    assert_eq!(second.lend(&guard), Ok(1));
    goes_on(&guard);
}
