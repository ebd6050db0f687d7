// SPDX-License-Identifier: GPL-2.0

//! The model test of every engine: it runs random operations, compares the engine with a shadow of the live
//! blocks, and checks the engine after each operation.

use super::{
    CPU,
    HostMemory,
    TestEngine,
    blocks::{
        ReportedStatistics,
        ShadowBlock,
        ShadowMap,
        is_in_region, //
    },
    layout,
    shrink,
    sound, //
};
use crate::{
    Cost,
    Engine,
    Offset,
    Path,
    Refusal, //
};
use proptest::{
    collection::vec,
    prelude::*, //
};
use std::vec::Vec;

/// An operation on an engine.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ModelOperation {
    /// Allocates a block. The fields are the size and log2 of the alignment.
    Allocate(usize, u32),
    /// Frees one of the live blocks, which the field selects.
    Release(usize),
    /// Resizes one of the live blocks. The fields select the block and are its new size.
    Resize(usize, usize),
    /// Migrates the thread to the CPU with this number.
    Move(usize),
    /// Returns all cached memory to the buddy system.
    Shrink,
}

/// The outcome of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ModelOutcome {
    Allocated(Offset, Cost),
    Refused(Refusal),
    Released(Cost),
    Resized(bool),
    /// The operation has no outcome: there was no live block, or the operation does not need one.
    Nothing,
}

/// Returns a strategy for fewer than `most` operations. Alignments are at most `1 << align_order`.
pub(crate) fn operations(
    most: usize,
    align_order: u32,
) -> impl Strategy<Value = Vec<ModelOperation>> {
    let size = || prop_oneof![8 => 1usize..200, 4 => 200usize..4200, 2 => 4097usize..40_000];
    // Most requests have an alignment of at most a word.
    let align = prop_oneof![2 => 0u32..=3, 1 => 0u32..=align_order];
    let operation = prop_oneof![
        4 => (size(), align).prop_map(|(size, align)| ModelOperation::Allocate(size, align)),
        2 => any::<usize>().prop_map(ModelOperation::Release),
        2 => (any::<usize>(), size()).prop_map(|(pick, size)| ModelOperation::Resize(pick, size)),
    ];
    vec(operation, 1..most)
}

/// Returns a strategy for the operations of [`operations`], mixed with migrations between `cpus` CPUs and
/// with shrinks.
pub(crate) fn operations_on(
    cpus: usize,
    most: usize,
    align_order: u32,
) -> impl Strategy<Value = Vec<ModelOperation>> {
    let elsewhere = prop_oneof![
        6 => (0..cpus).prop_map(ModelOperation::Move),
        1 => Just(ModelOperation::Shrink),
    ];
    (
        operations(most, align_order),
        vec((any::<usize>(), elsewhere), 0..most / 4),
    )
        .prop_map(|(mut operations, elsewhere)| {
            for (place, operation) in elsewhere {
                operations.insert(place % (operations.len() + 1), operation);
            }
            operations
        })
}

/// Allocates memory for regions of these sizes, each `skew` bytes past its alignment.
pub(crate) fn regions(bytes: &[usize], skew: usize) -> Vec<HostMemory> {
    let region = |bytes: &usize| HostMemory::skewed(*bytes, skew);
    bytes.iter().map(region).collect()
}

/// An engine and the shadow of its live blocks.
struct ShadowedEngine<'a, E> {
    engine: &'a E,
    memories: &'a [HostMemory],
    blocks: ShadowMap,
}

impl<E: Engine> ShadowedEngine<'_, E> {
    fn free(&mut self, pick: usize) -> ModelOutcome {
        let Some(offset) = self.blocks.pick(pick) else {
            return ModelOutcome::Nothing;
        };
        let cost = self.blocks.free(self.engine, offset);
        assert_ne!(cost.path(), Path::None);
        ModelOutcome::Released(cost)
    }

    fn resize(&mut self, pick: usize, size: usize, fill: u8) -> ModelOutcome {
        let Some(offset) = self.blocks.pick(pick) else {
            return ModelOutcome::Nothing;
        };
        let live = self.blocks.remove(offset);
        let ShadowBlock {
            block,
            layout: old,
            class,
            ..
        } = live;
        let (new, mut cost) = (layout(size, old.align()), Cost::default());
        let keeps = self.engine.fits_in_place(old, new);
        // SAFETY: The block is live with the layout `old`, because `remove` only changed the shadow, and
        // `new` has the same alignment. Nothing uses the block during the call.
        let resized = unsafe { self.engine.resize(block, old, new, &mut cost) };
        assert!(resized || !keeps, "a resize that fits in place was refused");
        assert_eq!(resized, cost.path() == Path::InPlace);
        assert!(live.holds(old.size().min(new.size())), "contents changed");
        let now = if resized { new } else { old };
        self.blocks.insert(self.engine, block, now, class, fill);
        ModelOutcome::Resized(resized)
    }

    fn apply(&mut self, operation: ModelOperation, fill: u8) -> ModelOutcome {
        match operation {
            ModelOperation::Allocate(size, align_order) => {
                let layout = layout(size, 1 << align_order);
                match self.blocks.allocate(self.engine, layout, fill) {
                    Ok((live, cost)) => {
                        assert_ne!(cost.path(), Path::None);
                        let bytes = self.engine.usable_size(layout);
                        assert!(is_in_region(self.engine, live.block, bytes, self.memories));
                        ModelOutcome::Allocated(live.offset(), cost)
                    }
                    Err(refusal) => {
                        assert_ne!(refusal, Refusal::Unsupported, "{layout:?} is unsupported");
                        ModelOutcome::Refused(refusal)
                    }
                }
            }
            ModelOperation::Release(pick) => self.free(pick),
            ModelOperation::Resize(pick, size) => self.resize(pick, size, fill),
            ModelOperation::Move(cpu) => {
                CPU.set(cpu);
                ModelOutcome::Nothing
            }
            ModelOperation::Shrink => {
                shrink(self.engine);
                assert_eq!(ReportedStatistics::of(self.engine).totals.magazine_bytes, 0);
                ModelOutcome::Nothing
            }
        }
    }

    /// Checks the engine, if the engine has a check, and compares the statistics with the shadow.
    fn compare(&self) {
        if self.engine.interfaces().check.is_some() {
            sound(self.engine);
        }
        let figures = ReportedStatistics::of(self.engine);
        let pool_bytes: usize = self.memories.iter().map(HostMemory::bytes).sum();
        assert_eq!(figures.totals.pool_bytes as usize, pool_bytes);
        figures.agree(&self.blocks);
    }
}

/// Runs [`agrees_on`] on a new engine.
pub(crate) fn agrees<E: TestEngine>(
    memories: &[HostMemory],
    operations: &[ModelOperation],
) -> (E, Vec<ModelOutcome>) {
    agrees_on(E::empty(), memories, operations)
}

/// Adds `memories` to an engine without regions, and runs `operations` on the engine. Compares the engine
/// with its shadow after each operation, and frees all blocks at the end.
pub(crate) fn agrees_on<E: Engine>(
    engine: E,
    memories: &[HostMemory],
    operations: &[ModelOperation],
) -> (E, Vec<ModelOutcome>) {
    for (region, memory) in memories.iter().enumerate() {
        assert_eq!(memory.lend(&engine), Ok(region as u16));
    }
    let mut shadowed = ShadowedEngine {
        engine: &engine,
        memories,
        blocks: ShadowMap::default(),
    };
    CPU.set(0);
    let mut outcomes = Vec::new();
    for (number, operation) in operations.iter().enumerate() {
        outcomes.push(shadowed.apply(*operation, number as u8));
        shadowed.compare();
    }
    while shadowed.free(0) != ModelOutcome::Nothing {}
    shadowed.compare();
    (engine, outcomes)
}
