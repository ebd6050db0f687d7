// SPDX-License-Identifier: GPL-2.0

//! The engine compared with a shadow map, and its refusals, costs and regions.

use crate::{
    Cost, Engine, Path, Refusal,
    region::RegionError,
    seed::MIN_HEAP_SIZE,
    testing::{
        HostMemory,
        HostSeed,
        TestEngine,
        conformance::conforms,
        layout,
        model::{
            agrees,
            operations,
            regions, //
        },
        sound,
        totals, //
    },
};
use proptest::prelude::*;
use std::vec::Vec;

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_agrees_with_its_shadow(
        bytes in prop_oneof![
            Just(&[MIN_HEAP_SIZE][..]),
            Just(&[1 << 20][..]),
            Just(&[(1 << 20) + MIN_HEAP_SIZE][..]),
            Just(&[MIN_HEAP_SIZE, 4096, 1 << 18][..]),
        ],
        operations in operations(300, 12),
    ) {
        agrees::<HostSeed>(&regions(bytes, 0), &operations);
    }
}

#[test]
fn the_engine_conforms() {
    conforms(HostSeed::empty);
}

#[test]
fn a_refused_request_has_its_cause_and_changes_nothing() {
    let memory = HostMemory::new(128 << 10);
    let engine = HostSeed::over(&memory);
    let mut cost = Cost::default();
    let mut refused = |size, align| engine.allocate(layout(size, align), &mut cost).unwrap_err();

    assert_eq!(refused(64, 8192), Refusal::Unsupported);
    assert_eq!(refused(usize::MAX / 4, 1), Refusal::TooBig);
    assert_eq!(refused((128 << 10) + 1, 1), Refusal::TooBig);
    // A growth by 64 blocks would not fit into an empty pool.
    assert_eq!(refused(4096, 1), Refusal::TooBig);
    assert_eq!(totals(&engine).refusals, [3, 0, 0, 1, 0, 0, 0]);

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
        // SAFETY: The block was allocated above with this layout, and is freed once.
        unsafe { engine.free(*block, layout(8192, 1), &mut cost) }.unwrap();
    }
    assert_eq!(refused(16_384), Refusal::Fragmented);
    assert_eq!(totals(&engine).live_blocks, 8);
    sound(&engine);
}

#[test]
fn a_cost_has_its_path_class_and_order() {
    let memory = HostMemory::new(1 << 20);
    let engine = HostSeed::over(&memory);
    let cost_of = |size| {
        let mut cost = Cost::default();
        engine.allocate(layout(size, 8), &mut cost).unwrap();
        (cost.path(), cost.class(), cost.order())
    };
    assert_eq!(cost_of(1000), (Path::Growth, Some(4), Some(4)));
    assert_eq!(cost_of(1000), (Path::Slab, Some(4), None));
    assert_eq!(cost_of(5000), (Path::Buddy, None, Some(1)));
}

#[test]
fn a_refused_region_changes_nothing() {
    let memory = HostMemory::new(1 << 20);
    let more = HostMemory::new(1 << 20);
    let engine = HostSeed::over(&memory);
    let add = |skip, bytes| more.lend_part(&engine, skip, bytes);
    assert_eq!(
        memory.lend_part(&engine, 0, 4096),
        Err(RegionError::Overlap)
    );
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
