// SPDX-License-Identifier: GPL-2.0

//! Comparisons of the engine with a model, and of the same operations in pools at different addresses.

use proptest::prelude::*;
use std::vec::Vec;

use crate::{
    PAGE_BYTES,
    testing::{
        HostExtent,
        heaps::on_cpus,
        model::{
            ModelOutcome,
            agrees,
            agrees_on,
            operations,
            operations_on,
            regions, //
        },
        whole_pool::is_whole, //
    },
};

proptest! {
    #![proptest_config(ProptestConfig { cases: 80, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_agrees_with_its_shadow(
        bytes in prop_oneof![
            Just(&[32 << 10][..]),
            Just(&[1 << 20][..]),
            Just(&[333 * PAGE_BYTES][..]),
            Just(&[PAGE_BYTES][..]),
            Just(&[12 << 10, 64 << 10, 1 << 18, PAGE_BYTES][..]),
        ],
        operations in operations(300, 17),
    ) {
        let memories = regions(bytes, 0);
        let (engine, _) = agrees::<HostExtent>(&memories, &operations);
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
        let (engine, _) = agrees_on(on_cpus::<crate::extent::Heap>(cpus), &memories, &operations);
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
            let (engine, outcomes) = agrees::<HostExtent>(&memories, &operations);
            is_whole(&engine, &memories);
            outcomes
        };
        let aligned = trace(0);
        for skew in [0, PAGE_BYTES, 7 * PAGE_BYTES] {
            prop_assert_eq!(&trace(skew), &aligned);
        }
    }
}
