// SPDX-License-Identifier: GPL-2.0

//! Growths that fail to order: each in its turn, and nothing comes of it.

use std::{
    vec,
    vec::Vec, //
};

use super::{
    Memory,
    TestEngine,
    blocks::{
        Blocks,
        Figures, //
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

/// What is told of a block.
type Told = (Offset, Cost);

/// Does the same operations each time, while the `nth` growth fails, and returns what was told of
/// the blocks, and which one was refused before.
fn run<E: TestEngine>(nth: u64) -> (Vec<Told>, Option<usize>) {
    let memory = Memory::new(POOL);
    let engine = E::over(&memory);
    let (mut blocks, mut told, mut refused) = (Blocks::default(), Vec::new(), None);
    engine.fail_growth(nth);
    while told.len() < OPERATIONS {
        let number = told.len();
        let (layout, fill) = (layout(SIZES[number % SIZES.len()], 8), number as u8);
        let before = look(&engine);
        match blocks.allocate(&engine, layout, fill) {
            Ok((live, cost)) => told.push((live.offset(), cost)),
            Err(refusal) => {
                assert_eq!((refusal, refused), (Refusal::Injected, None));
                let mut after = look(&engine);
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
            // Looks at what is in it.
            if told.len() > number {
                blocks.release(&engine, offset);
            }
        }
    }
    Figures::of(&engine).agree(&blocks);
    while let Some(offset) = blocks.pick(0) {
        blocks.release(&engine, offset);
    }
    sound(&engine);
    (told, refused)
}

/// Returns all figures and, where the engine has one, the map.
fn look(engine: &impl TestEngine) -> (Figures, Vec<Extent>) {
    let mut extents = vec![Extent::default(); POOL >> 12];
    let mapped = engine.map(0, 0, &mut extents).map(|mapped| mapped.extents);
    extents.truncate(mapped.unwrap_or(0));
    (Figures::of(engine), extents)
}

/// Has each growth of a run fail, and compares what is told with what is told when none does.
pub(crate) fn each_fails_in_turn<E: TestEngine>() {
    let (told, refused) = run::<E>(0);
    assert_eq!(refused, None);
    let growths = (0..told.len()).filter(|number| told[*number].1.path() == Path::Growth);
    let growths: Vec<_> = growths.collect();
    assert!(growths.len() > 5);
    for (nth, growth) in (1..).zip(&growths) {
        assert_eq!(run::<E>(nth), (told.clone(), Some(*growth)), "{nth}");
    }
    assert_eq!(run::<E>(1 + growths.len() as u64), (told, None));
}

/// Has the second growth fail in a pool that has no room for the first.
pub(crate) fn one_without_room_counts_once<E: TestEngine>() {
    let memory = Memory::new(256 << 10);
    let engine = E::over(&memory);
    let mut blocks = Blocks::default();
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
    // Some of these are kept by a CPU, which is asked for them before a request is refused.
    for offset in &small[..40] {
        blocks.release(&engine, *offset);
    }
    engine.fail_growth(2);
    let refusal = |blocks: &mut Blocks| blocks.allocate(&engine, layout(4096, 8), 3).err();
    assert_ne!(refusal(&mut blocks), Some(Refusal::Injected));
    assert_eq!(refusal(&mut blocks), Some(Refusal::Injected));
    assert_ne!(refusal(&mut blocks), Some(Refusal::Injected));
    engine.fail_growth(1);
    engine.fail_growth(0);
    assert_ne!(refusal(&mut blocks), Some(Refusal::Injected));
    sound(&engine);
}
