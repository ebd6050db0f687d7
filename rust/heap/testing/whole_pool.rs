// SPDX-License-Identifier: GPL-2.0

//! The last check of a test: an engine without live blocks can allocate its whole pool.

use crate::{
    Cost, Engine, PAGE_BYTES, Refusal,
    lock::Lock,
    magazines::{
        CpuCache,
        MagazineEngine,
        State, //
    },
    per_cpu::PerCpu,
    testing::{
        HostMemory,
        classes,
        heaps::TestHeap,
        layout,
        sound,
        totals, //
    },
};
use std::vec::Vec;

/// Panics unless an engine without live blocks can allocate all its memory, in the smallest number of blocks
/// that the heap and the sizes of the regions allow.
pub(crate) fn is_whole<H, L, P>(engine: &MagazineEngine<H, L, P>, memories: &[HostMemory])
where
    H: TestHeap,
    L: Lock<State<H>> + Sync,
    P: PerCpu<CpuCache>,
{
    assert!(classes(engine).iter().all(|stats| stats.used_blocks == 0));
    engine.state.with(|state| state.heap.is_unused());

    let mut cost = Cost::default();
    let mut live = Vec::new();
    let regions: Vec<_> = memories
        .iter()
        .map(|memory| memory.bytes() / PAGE_BYTES)
        .collect();
    for pages in H::largest_blocks(&regions) {
        let whole = layout(pages * PAGE_BYTES, PAGE_BYTES);
        live.push((engine.allocate(whole, &mut cost).unwrap(), whole));
        sound(engine);
    }
    // All memory is live, and the refused request leaves no empty slab.
    let refused = engine.allocate(layout(1, 1), &mut cost);
    assert_eq!(refused, Err(Refusal::Exhausted));
    let totals_now = totals(engine);
    assert_eq!(totals_now.live_bytes, totals_now.pool_bytes);
    assert_eq!((totals_now.cached_bytes, totals_now.free_bytes), (0, 0));
    for (block, layout) in live {
        // SAFETY: The block was allocated above with this layout, and is freed once.
        unsafe { engine.free(block, layout, &mut cost) }.unwrap();
    }
    sound(engine);
}
