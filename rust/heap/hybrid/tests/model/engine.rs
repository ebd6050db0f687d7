// SPDX-License-Identifier: GPL-2.0

//! Comparisons of the engine with a model, and of the same operations in pools at different addresses.

use super::is_whole;
use crate::{
    Cost, Engine, Offset, PAGE_BYTES, Refusal,
    testing::{
        HostHybrid,
        HostMemory,
        TestEngine,
        layout,
        model::{
            ModelOutcome,
            agrees,
            agrees_on,
            operations,
            operations_on,
            regions, //
        },
        sound,
        with_cpus, //
    },
};
use proptest::prelude::*;
use std::vec::Vec;

proptest! {
    #![proptest_config(ProptestConfig { cases: 80, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_agrees_with_its_shadow(
        bytes in prop_oneof![
            Just(&[32 << 10][..]),
            Just(&[1 << 20][..]),
            Just(&[(1 << 20) + (32 << 10)][..]),
            Just(&[333 * PAGE_BYTES][..]),
            Just(&[7 * PAGE_BYTES][..]),
            Just(&[PAGE_BYTES][..]),
            Just(&[12 << 10, 64 << 10, 1 << 18, PAGE_BYTES][..]),
        ],
        operations in operations(300, 17),
    ) {
        let memories = regions(bytes, 0);
        let (engine, _) = agrees::<HostHybrid>(&memories, &operations);
        is_whole(&engine, &memories);
    }

    #[test]
    fn the_engine_agrees_with_its_shadow_on_several_cpus(
        bytes in prop_oneof![
            2 => Just(&[32 << 10][..]),
            2 => Just(&[256 << 10][..]),
            1 => Just(&[1 << 20][..]),
            1 => Just(&[12 << 10, 64 << 10, 1 << 18, PAGE_BYTES][..]),
        ],
        skew in prop_oneof![Just(0), Just(PAGE_BYTES), Just(7 * PAGE_BYTES)],
        cpus in 2usize..=4,
        operations in operations_on(4, 300, 12),
    ) {
        let memories = regions(bytes, skew);
        let (engine, _) = agrees_on(with_cpus(cpus), &memories, &operations);
        is_whole(&engine, &memories);
    }

    #[test]
    fn results_do_not_depend_on_addresses(
        bytes in prop_oneof![
            Just(&[1 << 18][..]),
            Just(&[333 * PAGE_BYTES][..]),
            Just(&[32 << 10, 5 * PAGE_BYTES][..]),
        ],
        operations in operations(200, 12),
    ) {
        let trace = |skew| -> Vec<ModelOutcome> {
            let memories = regions(bytes, skew);
            let (engine, outcomes) = agrees::<HostHybrid>(&memories, &operations);
            is_whole(&engine, &memories);
            outcomes
        };
        let aligned = trace(0);
        for skew in [0, PAGE_BYTES, 7 * PAGE_BYTES] {
            prop_assert_eq!(&trace(skew), &aligned);
        }
    }
}

#[test]
fn a_skewed_pool_allocates_no_misaligned_block() {
    // Blocks are aligned within their region. An alignment that the region's address does not have is
    // refused.
    let memory = HostMemory::skewed(1 << 16, 2 * PAGE_BYTES);
    let engine = HostHybrid::over(&memory);
    let mut cost = Cost::default();
    for align_order in 0..=13 {
        let block = engine.allocate(layout(100, 1 << align_order), &mut cost);
        assert_eq!(block.unwrap().start.addr().get() % (1 << align_order), 0);
    }
    for size in [100, 8192] {
        let refused = engine.allocate(layout(size, 1 << 14), &mut cost);
        assert_eq!(refused, Err(Refusal::Unsupported));
    }
    // A second region that is aligned to its size does not change this limit, because all regions share one
    // buddy system.
    let more = HostMemory::new(1 << 17);
    assert_eq!(more.lend(&engine), Ok(1));
    let whole = engine.allocate(layout(1 << 17, 8), &mut cost).unwrap();
    assert_eq!(engine.offset(whole.start), Some(Offset::new(1, 0)));
    sound(&engine);
}
