// SPDX-License-Identifier: GPL-2.0

//! Tests of statistics, map and checks. `damage` damages one field at a time, and the check must name the broken rule.
//! `model` compares map and statistics with a list of the live blocks.

mod damage;
mod map;
mod model;

use std::sync::Mutex;

use crate::{
    backing_heap::InspectHeap as _,
    check::{
        self,
        Broken,
        Progress,
        Rule,
        Walk, //
    },
    extent::{
        ExtentEngine,
        State,
        heap::Heap,
        place::{
            Demand,
            Granule,
            PAGE_GRANULES,
            Run, //
        }, //
    },
    lock::Lock as _,
    per_cpu::NoPerCpu,
    testing::HostMemory, //
};

/// `extent` without magazines: every request takes the lock.
pub(super) type LockedExtent = ExtentEngine<Mutex<State>, NoPerCpu>;

/// Constructs an engine without regions.
pub(super) fn empty() -> LockedExtent {
    ExtentEngine::new(Mutex::new(State::new()), NoPerCpu)
}

/// The pages of the regions of the prepared heap. The rows of the second region have two levels.
pub(super) const PAGES: [usize; 2] = [256, 70];

/// The runs of the prepared heap by region: the number of granules, and whether the run is free.
///
/// The free runs of 512, 530 and 520 granules are in one list, in the reverse order.
pub(super) const RUNS: [&[(usize, bool)]; 2] = [
    &[
        (5, false),
        (3, true),
        (2, false),
        (3, false),
        (20, true),
        (200, false),
        // These two runs cross the ends of pages.
        (100, true),
        (700, false),
        (247, false),
        // Page 5 is one block.
        (256, false),
        (512, true),
        (16, false),
        (530, true),
        (30, false),
        (520, true),
        (10, false),
        (600, true),
        (342, false),
        (1024, false),
        (60416, true),
    ],
    &[(100, false), (60, true), (17000, false), (760, true)],
];

/// Returns the first granule of a run of [`RUNS`].
pub(super) fn start(region: usize, number: usize) -> Granule {
    let before = RUNS[region].iter().take(number);
    Granule::new(region, before.map(|(len, _)| len).sum())
}

/// Constructs a heap with the runs of [`RUNS`], and passes it to a closure.
pub(super) fn with_prepared<R>(f: impl FnOnce(&mut Heap) -> R) -> R {
    let memories = PAGES.map(|pages| HostMemory::new(pages << 12));
    let engine = empty();
    for memory in &memories {
        memory.lend(&engine).unwrap();
    }
    engine.state.with(|state| {
        let heap = &mut state.heap;
        for (region, runs) in RUNS.iter().enumerate() {
            let whole = Run {
                start: Granule::new(region, 0),
                len: PAGES[region] * PAGE_GRANULES,
            };
            let demand = Demand {
                len: whole.len,
                align: 1,
            };
            assert_eq!(heap.runs.allocate(demand, 1, 0), Some(whole));
            // All runs are blocks first.
            let blocks = runs.iter().enumerate().map(|(number, (len, is_free))| {
                let block = Run {
                    start: start(region, number),
                    len: *len,
                };
                (block, *is_free)
            });
            for (block, _) in blocks.clone() {
                heap.runs.tables.set(block, false);
                heap.blocks.add(block.len, 1);
                heap.allocated_blocks += 1;
                heap.allocated_granules += block.len;
            }
            for (block, is_free) in blocks {
                if is_free {
                    heap.free_run(block, block.len, 1);
                }
            }
        }
        f(heap)
    })
}

/// Checks a heap.
pub(super) fn checked(heap: &mut Heap) -> Result<Progress, Broken> {
    check::run(&mut Walk::new(), |walk| heap.check(walk))
}

/// Damages the prepared heap, and returns the broken rule and the place that the check reports.
pub(super) fn broken(damage: impl FnOnce(&mut Heap)) -> Broken {
    with_prepared(|heap| {
        damage(heap);
        checked(heap).expect_err("the check found no broken rule")
    })
}

/// Damages the prepared heap, and returns the rule that the check reports.
pub(super) fn rule(damage: impl FnOnce(&mut Heap)) -> Rule {
    broken(damage).rule
}
