// SPDX-License-Identifier: GPL-2.0

//! Fault injection into the growth of slabs. Each growth of a run fails once, and the failure only changes
//! the count of refused requests.

use std::{
    vec,
    vec::Vec, //
};

use super::{
    HostMemory,
    TestEngine,
    blocks::{
        ReportedStatistics,
        ShadowMap, //
    },
    layout,
    sound, //
};
use crate::{
    Cost,
    Offset,
    Path,
    Refusal,
    map::Extent, //
};

/// Sizes of many classes and of whole pages, in a pool that has room for all of them.
const SIZES: [usize; 8] = [64, 8, 4096, 200, 9000, 1024, 64, 3000];
const OPERATIONS: usize = 600;
const POOL: usize = 4 << 20;

/// The offset and the cost of an allocation.
type Served = (Offset, Cost);

/// Runs a fixed sequence of operations in which the `nth` growth fails, and repeats the refused request.
/// Returns all allocations, and the index of the allocation that was refused first.
fn run<E: TestEngine>(nth: u64) -> (Vec<Served>, Option<usize>) {
    let memory = HostMemory::new(POOL);
    let engine = E::over(&memory);
    let (mut blocks, mut served, mut refused) = (ShadowMap::default(), Vec::new(), None);
    fail_growth(&engine, nth);
    while served.len() < OPERATIONS {
        let number = served.len();
        let (layout, fill) = (layout(SIZES[number % SIZES.len()], 8), number as u8);
        let before = snapshot(&engine);
        match blocks.allocate(&engine, layout, fill) {
            Ok((live, cost)) => served.push((live.offset(), cost)),
            Err(refusal) => {
                assert_eq!((refusal, refused), (Refusal::Injected, None));
                let mut after = snapshot(&engine);
                let injected = &mut after.0.totals.refusals[Refusal::Injected as usize];
                assert_eq!(*injected, 1);
                *injected = 0;
                assert_eq!(after, before);
                sound(&engine);
                refused = Some(number);
            }
        }
        if number % 3 == 2 {
            let offset = blocks.pick(number * 7).unwrap();
            // `ShadowMap::free` also checks the contents of the block.
            if served.len() > number {
                blocks.free(&engine, offset);
            }
        }
    }
    ReportedStatistics::of(&engine).agree(&blocks);
    while let Some(offset) = blocks.pick(0) {
        blocks.free(&engine, offset);
    }
    sound(&engine);
    (served, refused)
}

/// Makes the `nth` growth of an engine fail.
fn fail_growth(engine: &impl TestEngine, nth: u64) {
    engine.interfaces().fail_growth.unwrap().fail_growth(nth);
}

/// Returns all statistics and, if the engine has one, the map.
fn snapshot(engine: &impl TestEngine) -> (ReportedStatistics, Vec<Extent>) {
    let mut extents = vec![Extent::default(); POOL >> 12];
    let mapped = engine
        .interfaces()
        .map
        .map(|engine| engine.map(0, 0, &mut extents));
    extents.truncate(mapped.map_or(0, |mapped| mapped.unwrap().extents));
    (ReportedStatistics::of(engine), extents)
}

/// Repeats a run once for each of its growths, lets this growth fail, and compares the allocations with the
/// allocations of the run without a failure.
pub(crate) fn each_fails_in_turn<E: TestEngine>() {
    let (served, refused) = run::<E>(0);
    assert_eq!(refused, None);
    let growths = (0..served.len()).filter(|number| served[*number].1.path() == Path::Growth);
    let growths: Vec<_> = growths.collect();
    assert!(growths.len() > 5);
    for (nth, growth) in (1..).zip(&growths) {
        assert_eq!(run::<E>(nth), (served.clone(), Some(*growth)), "{nth}");
    }
    assert_eq!(run::<E>(1 + growths.len() as u64), (served, None));
}

/// Makes the second growth fail in a pool without room for a growth, and expects that a growth without room
/// is counted once and refused for its own cause.
pub(crate) fn one_without_room_counts_once<E: TestEngine>() {
    let memory = HostMemory::new(256 << 10);
    let engine = E::over(&memory);
    let mut blocks = ShadowMap::default();
    let small: Vec<_> = (0..64)
        .map(|_| {
            blocks
                .allocate(&engine, layout(64, 8), 1)
                .unwrap()
                .0
                .offset()
        })
        .collect();
    let full = loop {
        if let Err(refusal) = blocks.allocate(&engine, layout(4096, 8), 2) {
            break refusal;
        }
    };
    assert_ne!(full, Refusal::Injected);
    // A magazine caches some of these blocks. The magazine is flushed before a request is refused.
    for offset in &small[..40] {
        blocks.free(&engine, *offset);
    }
    fail_growth(&engine, 2);
    let refusal = |blocks: &mut ShadowMap| blocks.allocate(&engine, layout(4096, 8), 3).err();
    assert_ne!(refusal(&mut blocks), Some(Refusal::Injected));
    assert_eq!(refusal(&mut blocks), Some(Refusal::Injected));
    assert_ne!(refusal(&mut blocks), Some(Refusal::Injected));
    fail_growth(&engine, 1);
    fail_growth(&engine, 0);
    assert_ne!(refusal(&mut blocks), Some(Refusal::Injected));
    sound(&engine);
}
