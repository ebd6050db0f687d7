// SPDX-License-Identifier: GPL-2.0

//! The engine against a model: random operations, a shadow of every live block, and a check after
//! each.

use super::layout;
use crate::{
    Block, Cost, Engine, Path, Refusal,
    check::{
        self,
        Progress,
        Walk, //
    },
    region::RegionError,
    seed::{
        MIN_HEAP_SIZE,
        Seed,
        State, //
    },
    stats::{
        Totals,
        Visitor, //
    },
    testing::Memory,
};
use core::alloc::Layout;
use proptest::prelude::*;
use std::{
    collections::BTreeMap,
    sync::Mutex,
    vec::Vec, //
};

type HostSeed = Seed<Mutex<State>>;

/// The engine in `memory`.
pub(super) fn engine(memory: &Memory) -> HostSeed {
    let engine = Seed::new(Mutex::new(State::new()));
    // SAFETY: The tests drop their engines before they drop the memory, and use it for one engine.
    unsafe { engine.add_region(memory.start(), memory.bytes()) }.unwrap();
    engine
}

/// Returns the engine's totals.
fn totals(engine: &HostSeed) -> Totals {
    struct Keep(Totals);
    impl Visitor for Keep {
        fn totals(&mut self, totals: &Totals) {
            self.0 = *totals;
        }
    }
    let mut keep = Keep(Totals::default());
    engine.visit(&mut keep);
    keep.0
}

fn sound(engine: &HostSeed) {
    let result = check::run(&mut Walk::new(), |walk| engine.check(walk));
    assert_eq!(result, Ok(Progress::Sound));
}

/// Every live block by its first byte, and what was written to it.
#[derive(Default)]
struct Shadow {
    blocks: BTreeMap<u64, (Block, Layout, u8)>,
}

impl Shadow {
    fn insert(&mut self, engine: &HostSeed, block: Block, layout: Layout, fill: u8) {
        let usable = engine.usable(layout);
        let start = block.offset.unwrap().to_bits();
        assert!(usable >= layout.size());
        assert_eq!(block.start.addr().get() % layout.align(), 0);
        if let Some((before, (_, other, _))) = self.blocks.range(..=start).next_back() {
            assert!(
                before + engine.usable(*other) as u64 <= start,
                "overlaps the block before"
            );
        }
        if let Some((after, _)) = self.blocks.range(start..).next() {
            assert!(start + usable as u64 <= *after, "overlaps the block after");
        }
        // SAFETY: The engine says that the block is usable so far.
        unsafe { block.start.write_bytes(fill, usable) };
        self.blocks.insert(start, (block, layout, fill));
    }

    fn remove(&mut self, engine: &HostSeed, pick: usize) -> Option<(Block, Layout)> {
        let nth = pick.checked_rem(self.blocks.len())?;
        let start = *self.blocks.keys().nth(nth)?;
        let (block, layout, fill) = self.blocks.remove(&start)?;
        for byte in 0..engine.usable(layout) {
            // SAFETY: As in `insert`.
            let found = unsafe { block.start.add(byte).read() };
            assert_eq!(found, fill, "contents changed");
        }
        Some((block, layout))
    }
}

fn requests() -> impl Strategy<Value = (usize, u32)> {
    let sizes = prop_oneof![8 => 1usize..200, 4 => 200usize..4200, 2 => 4097usize..40_000];
    (sizes, 0u32..=12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_agrees_with_its_shadow(
        bytes in prop_oneof![Just(MIN_HEAP_SIZE), Just(1 << 20), Just((1 << 20) + MIN_HEAP_SIZE)],
        operations in proptest::collection::vec((requests(), any::<(u8, usize)>()), 1..300),
    ) {
        let memory = Memory::new(bytes);
        let engine = engine(&memory);
        let mut shadow = Shadow::default();
        let mut cost = Cost::default();
        for ((size, align), (what, pick)) in operations {
            let layout = layout(size, 1 << align);
            match what % 4 {
                0 | 1 => match engine.allocate(layout, &mut cost) {
                    Ok(block) => {
                        prop_assert_ne!(cost.path, Path::None);
                        shadow.insert(&engine, block, layout, what);
                    }
                    Err(refusal) => prop_assert_ne!(refusal, Refusal::Unsupported),
                },
                2 => if let Some((block, layout)) = shadow.remove(&engine, pick) {
                    // SAFETY: The shadow knew the block as live, and has just forgotten it.
                    unsafe { engine.release(block, layout, &mut cost) };
                },
                _ => if let Some((block, old)) = shadow.remove(&engine, pick) {
                    let new = Layout::from_size_align(size, old.align()).unwrap();
                    // SAFETY: As above; it is put back at once, with the layout that it has.
                    let resized = unsafe { engine.resize(block, old, new, &mut cost) };
                    shadow.insert(&engine, block, if resized { new } else { old }, what);
                },
            }
            sound(&engine);
            let totals = totals(&engine);
            prop_assert_eq!(totals.live_blocks as usize, shadow.blocks.len());
            prop_assert_eq!(
                totals.requested_bytes as usize,
                shadow.blocks.values().map(|(_, layout, _)| layout.size()).sum::<usize>()
            );
            prop_assert_eq!(totals.pool_bytes as usize, bytes);
            prop_assert_eq!(
                totals.live_bytes + totals.cached_bytes + totals.free_bytes,
                totals.pool_bytes
            );
        }
        while let Some((block, layout)) = shadow.remove(&engine, 0) {
            // SAFETY: As above.
            unsafe { engine.release(block, layout, &mut cost) };
        }
        sound(&engine);
        let totals = totals(&engine);
        prop_assert_eq!((totals.live_blocks, totals.live_bytes, totals.requested_bytes), (0, 0, 0));
        prop_assert_eq!(totals.cached_bytes + totals.free_bytes, totals.pool_bytes);
    }
}

#[test]
fn refusals_have_their_reason_and_change_nothing() {
    let memory = Memory::new(128 << 10);
    let engine = engine(&memory);
    let mut cost = Cost::default();
    let mut refused = |size, align| engine.allocate(layout(size, align), &mut cost).unwrap_err();

    assert_eq!(refused(64, 8192), Refusal::Unsupported);
    assert_eq!(refused(usize::MAX / 4, 1), Refusal::TooBig);
    assert_eq!(refused((128 << 10) + 1, 1), Refusal::TooBig);
    // A set of 64 blocks would not fit an empty pool.
    assert_eq!(refused(4096, 1), Refusal::TooBig);
    assert_eq!(totals(&engine).refusals, [3, 0, 0, 1]);

    let blocks: Vec<_> = (0..16)
        .map(|_| engine.allocate(layout(8192, 1), &mut cost).unwrap())
        .collect();
    let refused = |size| {
        engine
            .allocate(layout(size, 1), &mut Cost::default())
            .unwrap_err()
    };
    assert_eq!(refused(8192), Refusal::Exhausted);
    for block in blocks.iter().step_by(2) {
        // SAFETY: Allocated above with this layout.
        unsafe { engine.release(*block, layout(8192, 1), &mut cost) };
    }
    assert_eq!(refused(16_384), Refusal::Fragmented);
    assert_eq!(totals(&engine).live_blocks, 8);
    sound(&engine);
}

#[test]
fn paths_and_orders_are_told() {
    let memory = Memory::new(1 << 20);
    let engine = engine(&memory);
    let told = |size| {
        let mut cost = Cost::default();
        engine.allocate(layout(size, 8), &mut cost).unwrap();
        (cost.path, cost.class, cost.order)
    };
    assert_eq!(told(1000), (Path::Growth, Some(4), Some(16)));
    assert_eq!(told(1000), (Path::Slab, Some(4), None));
    assert_eq!(told(5000), (Path::Buddy, None, Some(13)));
}

#[test]
fn regions_that_cannot_be_added_change_nothing() {
    let memory = Memory::new(1 << 20);
    let more = Memory::new(1 << 20);
    let engine = engine(&memory);
    let add = |skip: usize, bytes| {
        // SAFETY: The ranges lie in the memory, or are refused; `more` is this engine's alone.
        unsafe { engine.add_region(more.start().add(skip), bytes) }
    };
    // SAFETY: The range is refused.
    let overlap = unsafe { engine.add_region(memory.start(), 4096) };
    assert_eq!(overlap, Err(RegionError::Overlap));
    assert_eq!(add(8, 4096), Err(RegionError::Misaligned));
    assert_eq!(add(0, 0), Err(RegionError::BadLength));
    assert_eq!(add(0, 100), Err(RegionError::BadLength));
    assert_eq!(totals(&engine).pool_bytes, 1 << 20);
    assert_eq!(add(0, 1 << 20), Ok(1));
    assert_eq!(
        (totals(&engine).pool_bytes, engine.capacity()),
        (2 << 20, 2 << 20)
    );
    sound(&engine);
}
