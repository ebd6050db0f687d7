// SPDX-License-Identifier: GPL-2.0

//! The engine against the model; the same trace in pools at other addresses.

use crate::{
    Cost, Engine, Offset, Refusal,
    class::{
        CLASSES,
        PAGE_BYTES, //
    },
    hybrid::{
        CpuCache,
        Hybrid,
        State, //
    },
    lock::Lock,
    per_cpu::PerCpu,
    testing::{
        HostHybrid,
        Memory,
        TestEngine,
        classes,
        layout,
        model::{
            Outcome,
            agrees,
            agrees_on,
            operations,
            operations_on,
            regions, //
        },
        sound,
        totals,
        with_cpus, //
    },
};
use proptest::prelude::*;
use std::vec::Vec;

/// Expects that of an engine from which nothing is out all memory can be had, in as few pieces as
/// its regions allow.
pub(super) fn is_whole<L, P>(engine: &Hybrid<L, P>, memories: &[Memory])
where
    L: Lock<State> + Sync,
    P: PerCpu<CpuCache>,
{
    assert!(classes(engine).iter().all(|stats| stats.used_blocks == 0));
    let borrowed = engine.state.with(|state| state.heap.borrowed);
    assert_eq!(borrowed, [0; CLASSES]);

    let mut cost = Cost::default();
    let mut out = Vec::new();
    // From the largest block down, each is to be there as often as regions have it.
    for order in (0..=20).rev() {
        let pages = |memory: &Memory| memory.bytes() / PAGE_BYTES;
        let expected = memories
            .iter()
            .filter(|memory| pages(memory) >> order & 1 != 0);
        // A single page belongs to a class, unless its alignment is larger.
        let whole = layout(PAGE_BYTES << order, PAGE_BYTES);
        for _ in 0..expected.count() {
            out.push((engine.allocate(whole, &mut cost).unwrap(), whole));
            sound(engine);
        }
    }
    // Everything is out, and the refusal has left no slab.
    let refused = engine.allocate(layout(1, 1), &mut cost);
    assert_eq!(refused, Err(Refusal::Exhausted));
    let totals_now = totals(engine);
    assert_eq!(totals_now.live_bytes, totals_now.pool_bytes);
    assert_eq!((totals_now.cached_bytes, totals_now.free_bytes), (0, 0));
    for (block, layout) in out {
        // SAFETY: Allocated above with this layout, and freed once.
        unsafe { engine.release(block, layout, &mut cost) }.unwrap();
    }
    sound(engine);
}

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
        let trace = |skew| -> Vec<Outcome> {
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
fn a_skewed_pool_is_never_misaligned() {
    // Blocks are aligned in their region. What that cannot promise for the address is refused.
    let memory = Memory::skewed(1 << 16, 2 * PAGE_BYTES);
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
    // A region that is aligned to its size does not change that: the buddy system has one pool.
    let more = Memory::new(1 << 17);
    assert_eq!(more.lend(&engine), Ok(1));
    let whole = engine.allocate(layout(1 << 17, 8), &mut cost).unwrap();
    assert_eq!(whole.offset, Some(Offset::new(1, 0)));
    sound(&engine);
}
