// SPDX-License-Identifier: GPL-2.0

//! The model that every engine is tested against: random operations, a shadow of every live block,
//! and a check after each.

use super::{
    Memory,
    TestEngine,
    layout,
    sound,
    totals, //
};
use crate::{
    Block,
    Cost,
    Offset,
    Path,
    Refusal, //
};
use core::{
    alloc::Layout,
    slice, //
};
use proptest::{
    collection::vec,
    prelude::*, //
};
use std::{
    collections::BTreeMap,
    vec::Vec, //
};

/// What is asked of an engine.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operation {
    /// To allocate so many bytes, aligned to 2 to this.
    Allocate(usize, u32),
    /// To take back one of the blocks that are out.
    Release(usize),
    /// To make one of them so large.
    Resize(usize, usize),
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Allocated(Offset, Cost),
    Refused(Refusal),
    Released(Cost),
    Resized(bool),
    /// There was no block.
    Nothing,
}

/// Returns strategies for up to `most` operations, with alignments up to 2 to `align_order`.
pub(crate) fn operations(most: usize, align_order: u32) -> impl Strategy<Value = Vec<Operation>> {
    let size = || prop_oneof![8 => 1usize..200, 4 => 200usize..4200, 2 => 4097usize..40_000];
    // Most requests ask for no more than a word.
    let align = prop_oneof![2 => 0u32..=3, 1 => 0u32..=align_order];
    let operation = prop_oneof![
        4 => (size(), align).prop_map(|(size, align)| Operation::Allocate(size, align)),
        2 => any::<usize>().prop_map(Operation::Release),
        2 => (any::<usize>(), size()).prop_map(|(pick, size)| Operation::Resize(pick, size)),
    ];
    vec(operation, 1..most)
}

/// Memory for the regions of a pool.
pub(crate) fn regions(bytes: &[usize], skew: usize) -> Vec<Memory> {
    let region = |bytes: &usize| Memory::skewed(*bytes, skew);
    bytes.iter().map(region).collect()
}

/// Every live block by its first byte, and what was written to it.
struct Shadow<'a, E> {
    engine: &'a E,
    memories: &'a [Memory],
    blocks: BTreeMap<Offset, (Block, Layout, u8)>,
}

impl<E: TestEngine> Shadow<'_, E> {
    /// Says whether the first `bytes` bytes of a block are what was written to it.
    fn holds(&self, block: Block, bytes: usize, fill: u8) -> bool {
        let expected = std::vec![fill; bytes];
        // SAFETY: The callers' blocks are out, usable so far, and were filled when they came in.
        let found = unsafe { slice::from_raw_parts(block.start.as_ptr(), bytes) };
        found == expected
    }

    fn insert(&mut self, block: Block, layout: Layout, fill: u8) {
        let usable = self.engine.usable(layout);
        let offset = block.offset.unwrap();
        let memory = &self.memories[usize::from(offset.region())];
        let end = offset.byte() as usize + usable;
        assert!(usable >= layout.size() && end <= memory.bytes());
        assert_eq!(block.start.addr().get() % layout.align(), 0);
        assert_eq!(
            block.start.addr().get(),
            memory.addr() + offset.byte() as usize
        );
        if let Some((before, (_, other, _))) = self.blocks.range(..=offset).next_back() {
            let end = before.to_bits() + self.engine.usable(*other) as u64;
            assert!(end <= offset.to_bits(), "overlaps the block before");
        }
        if let Some((after, _)) = self.blocks.range(offset..).next() {
            let end = offset.to_bits() + usable as u64;
            assert!(end <= after.to_bits(), "overlaps the block after");
        }
        // SAFETY: The engine says that the block is usable so far.
        unsafe { block.start.write_bytes(fill, usable) };
        self.blocks.insert(offset, (block, layout, fill));
    }

    fn remove(&mut self, pick: usize) -> Option<(Block, Layout, u8)> {
        let nth = pick.checked_rem(self.blocks.len())?;
        let offset = *self.blocks.keys().nth(nth)?;
        let (block, layout, fill) = self.blocks.remove(&offset)?;
        let usable = self.engine.usable(layout);
        assert!(self.holds(block, usable, fill), "contents changed");
        Some((block, layout, fill))
    }

    fn release(&mut self, pick: usize) -> Outcome {
        let Some((block, layout, _)) = self.remove(pick) else {
            return Outcome::Nothing;
        };
        let mut cost = Cost::default();
        // SAFETY: The shadow knew the block as live, and has just forgotten it.
        unsafe { self.engine.release(block, layout, &mut cost) }.unwrap();
        assert_ne!(cost.path, Path::None);
        Outcome::Released(cost)
    }

    fn resize(&mut self, pick: usize, size: usize, fill: u8) -> Outcome {
        let Some((block, old, kept)) = self.remove(pick) else {
            return Outcome::Nothing;
        };
        let (new, mut cost) = (layout(size, old.align()), Cost::default());
        let keeps = self.engine.keeps(old, new);
        // SAFETY: As above; it is put back at once, with the layout that it has.
        let resized = unsafe { self.engine.resize(block, old, new, &mut cost) };
        assert!(resized || !keeps, "what always works did not");
        assert_eq!(resized, cost.path == Path::InPlace);
        let common = old.size().min(new.size());
        assert!(self.holds(block, common, kept), "contents changed");
        self.insert(block, if resized { new } else { old }, fill);
        Outcome::Resized(resized)
    }

    fn apply(&mut self, operation: Operation, fill: u8) -> Outcome {
        match operation {
            Operation::Allocate(size, align_order) => {
                let (layout, mut cost) = (layout(size, 1 << align_order), Cost::default());
                match self.engine.allocate(layout, &mut cost) {
                    Ok(block) => {
                        assert_ne!(cost.path, Path::None);
                        self.insert(block, layout, fill);
                        Outcome::Allocated(block.offset.unwrap(), cost)
                    }
                    Err(refusal) => {
                        assert_ne!(refusal, Refusal::Unsupported);
                        Outcome::Refused(refusal)
                    }
                }
            }
            Operation::Release(pick) => self.release(pick),
            Operation::Resize(pick, size) => self.resize(pick, size, fill),
        }
    }

    /// Compares the engine's totals with what the shadow knows.
    fn compare_totals(&self) {
        let totals = totals(self.engine);
        let pool_bytes: usize = self.memories.iter().map(Memory::bytes).sum();
        let layouts = || self.blocks.values().map(|(_, layout, _)| layout);
        assert_eq!(totals.live_blocks as usize, self.blocks.len());
        assert_eq!(
            totals.requested_bytes as usize,
            layouts().map(Layout::size).sum::<usize>()
        );
        assert!(totals.live_bytes >= totals.requested_bytes);
        assert_eq!(totals.pool_bytes as usize, pool_bytes);
        assert_eq!(
            totals.live_bytes + totals.cached_bytes + totals.free_bytes,
            totals.pool_bytes
        );
    }
}

/// Drives a new engine over `memories`, compares it with a shadow after each operation, and takes
/// everything back in the end.
pub(crate) fn agrees<E: TestEngine>(
    memories: &[Memory],
    operations: &[Operation],
) -> (E, Vec<Outcome>) {
    let engine = E::empty();
    for (region, memory) in memories.iter().enumerate() {
        assert_eq!(memory.lend(&engine), Ok(region as u16));
    }
    let mut shadow = Shadow {
        engine: &engine,
        memories,
        blocks: BTreeMap::new(),
    };
    let mut outcomes = Vec::new();
    for (number, operation) in operations.iter().enumerate() {
        outcomes.push(shadow.apply(*operation, number as u8));
        sound(&engine);
        shadow.compare_totals();
    }
    while shadow.release(0) != Outcome::Nothing {}
    sound(&engine);
    shadow.compare_totals();
    let totals = totals(&engine);
    assert_eq!(
        (
            totals.live_blocks,
            totals.live_bytes,
            totals.requested_bytes
        ),
        (0, 0, 0)
    );
    (engine, outcomes)
}
