// SPDX-License-Identifier: GPL-2.0

//! Comparisons of map and statistics with the live blocks, from whose places the expected extents and numbers are
//! computed granule by granule.

use core::alloc::Layout;
use std::{
    sync::Mutex,
    vec,
    vec::Vec, //
};

use proptest::prelude::*;

use super::{
    LockedExtent,
    empty, //
};
use crate::{
    Block,
    Cost,
    Engine,
    PAGE_BYTES,
    extent::{
        ExtentEngine,
        State, //
    },
    map::{
        Extent,
        Use, //
    },
    testing::{
        Host,
        HostMemory,
        blocks::{
            ReportedStatistics,
            ShadowMap, //
        },
        layout,
        map::read,
        model::{
            ModelOperation,
            operations,
            regions, //
        },
        sound, //
    }, //
};

/// The owner of each granule of a region: the number of a live block plus 1, or 0.
type Granules = Vec<usize>;

/// Marks the granules of the live blocks.
fn granules(
    engine: &LockedExtent,
    memories: &[HostMemory],
    live: &[(Block, Layout)],
) -> Vec<Granules> {
    let regions = memories.iter().map(|memory| vec![0; memory.bytes() / 16]);
    let mut regions: Vec<_> = regions.collect();
    for (number, (block, layout)) in live.iter().enumerate() {
        let offset = engine.offset(block.start).unwrap();
        let (first, len) = (
            offset.byte() as usize / 16,
            engine.usable_size(*layout) / 16,
        );
        for owner in &mut regions[usize::from(offset.region())][first..first + len] {
            assert_eq!(core::mem::replace(owner, number + 1), 0, "blocks overlap");
        }
    }
    regions
}

/// Returns the lengths of the longest sequences of free granules.
fn free_runs(granules: &[usize]) -> Vec<usize> {
    let runs = granules.chunk_by(|one, other| (*one == 0) == (*other == 0));
    runs.filter(|run| run[0] == 0).map(<[usize]>::len).collect()
}

/// Returns the expected map of a region.
fn expected_map(granules: &[usize]) -> Vec<Extent> {
    let mut extents: Vec<Extent> = Vec::new();
    // The owner of the last page, if it has one owner.
    let mut last = None;
    for (page, owners) in granules.chunks(256).enumerate() {
        let whole = owners.iter().all(|owner| *owner == owners[0]);
        if whole && last == Some(owners[0]) {
            extents.last_mut().unwrap().pages += 1;
            continue;
        }
        last = whole.then_some(owners[0]);
        let before = page.checked_sub(1).map_or(0, |_| granules[page * 256 - 1]);
        let what = match last {
            Some(0) => Use::Free,
            Some(_) => Use::Large,
            None => {
                let mut begin = before;
                let begins = |owner: &&usize| core::mem::replace(&mut begin, **owner) != **owner;
                let blocks = owners.iter().filter(begins).filter(|owner| **owner != 0);
                let blocks = blocks.count() as u16;
                let used = owners.iter().filter(|owner| **owner != 0).count();
                let largest = free_runs(owners).into_iter().max().unwrap_or(0);
                Use::Mixed {
                    blocks,
                    used_bytes: used as u16 * 16,
                    largest_free_bytes: largest as u16 * 16,
                }
            }
        };
        extents.push(Extent {
            page: page as u32,
            pages: 1,
            what,
        });
    }
    extents
}

/// Compares the statistics with the live blocks.
fn agrees(engine: &LockedExtent, live: &[(Block, Layout)], regions: &[Granules]) {
    let stats = ReportedStatistics::of(engine);
    let sizes = live.iter().map(|(_, layout)| engine.usable_size(*layout));
    let mut sizes: Vec<_> = sizes.collect();
    sizes.sort_unstable();
    let number = |from: usize, to: usize| {
        let in_range = sizes.iter().filter(|size| (from..to).contains(*size));
        in_range.count() as u64
    };
    let mut smaller = 0;
    for class in &stats.classes {
        let size = class.block_bytes as usize;
        assert_eq!(class.used_blocks, number(smaller + 1, size + 1), "{size}");
        assert_eq!(class.total_blocks, class.used_blocks);
        smaller = size;
    }
    let free: Vec<_> = regions
        .iter()
        .flat_map(|region| free_runs(region))
        .collect();
    for (order, stats) in stats.orders.iter().enumerate() {
        let bytes = PAGE_BYTES << order;
        let blocks = if order == 0 {
            0
        } else {
            number(bytes / 2 + 1, bytes + 1)
        };
        assert_eq!(stats.used_blocks, blocks, "order {order}");
        let runs = free
            .iter()
            .filter(|len| (bytes..2 * bytes).contains(&(**len * 16)));
        assert_eq!(stats.free_blocks, runs.count() as u64, "order {order}");
    }
    let short = stats.short_runs.unwrap();
    let shorter: Vec<_> = free.iter().filter(|len| **len < 256).collect();
    assert_eq!(short.runs, shorter.len() as u64);
    assert_eq!(short.bytes, shorter.into_iter().sum::<usize>() as u64 * 16);
    let totals = &stats.totals;
    assert_eq!(totals.free_bytes, free.iter().sum::<usize>() as u64 * 16);
    assert_eq!(totals.live_bytes, sizes.iter().sum::<usize>() as u64);
    assert_eq!(
        totals.pool_bytes,
        totals.live_bytes + totals.cached_bytes + totals.free_bytes
    );
    let longest = free.iter().max().copied().unwrap_or(0) as u64 * 16;
    let part = if longest < 8 << 10 { 8 } else { 16 };
    let reported = totals.largest_free_bytes;
    assert!(
        reported <= longest && longest <= reported + reported / part,
        "{reported} {longest}"
    );
}

/// Runs an operation, and updates the live blocks.
fn apply(engine: &LockedExtent, live: &mut Vec<(Block, Layout)>, operation: ModelOperation) {
    let mut cost = Cost::default();
    let nth = |pick: usize, live: &[_]| pick.checked_rem(live.len());
    match operation {
        ModelOperation::Allocate(size, align_order) => {
            let layout = layout(size, 1 << align_order);
            let block = engine.allocate(layout, &mut cost);
            live.extend(block.ok().map(|block| (block, layout)));
        }
        ModelOperation::Release(pick) => {
            if let Some(nth) = nth(pick, live) {
                let (block, layout) = live.swap_remove(nth);
                // SAFETY: The block was live with this layout, and was removed, so it is freed once.
                unsafe { engine.free(block, layout, &mut cost) }.unwrap();
            }
        }
        ModelOperation::Resize(pick, size) => {
            if let Some(nth) = nth(pick, live) {
                let (block, old) = live[nth];
                let new = layout(size, old.align());
                // SAFETY: The block is live with this layout, `new` has the same alignment, and nothing uses the
                // block during the call.
                if unsafe { engine.resize(block, old, new, &mut cost) } {
                    live[nth].1 = new;
                }
            }
        }
        ModelOperation::Move(_) | ModelOperation::Shrink => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn map_and_statistics_agree_with_the_live_blocks(
        bytes in prop_oneof![
            Just(&[32 << 10][..]),
            Just(&[1 << 20][..]),
            Just(&[333 * PAGE_BYTES][..]),
            Just(&[12 << 10, 64 << 10, 1 << 18, PAGE_BYTES][..]),
        ],
        operations in operations(200, 15),
    ) {
        let memories = regions(bytes, 0);
        let engine = empty();
        for memory in &memories {
            memory.lend(&engine).unwrap();
        }
        let mut live = Vec::new();
        let mut expected = Vec::new();
        for operation in operations {
            apply(&engine, &mut live, operation);
            let granules = granules(&engine, &memories, &live);
            expected = granules.iter().map(|region| expected_map(region)).collect();
            for (region, expected) in expected.iter().enumerate() {
                prop_assert_eq!(&read(&engine, region, 0, 1 << 12), expected);
            }
            agrees(&engine, &live, &granules);
            sound(&engine);
        }
        for (region, whole) in expected.iter().enumerate() {
            for room in [1, 2, 7] {
                prop_assert_eq!(&read(&engine, region, 0, room), whole);
            }
            // A map from any page on has the extents that begin at this page or after it.
            for page in 0..=(memories[region].bytes() / PAGE_BYTES) as u32 {
                let rest = whole.iter().copied().filter(|extent| extent.page >= page);
                prop_assert_eq!(read(&engine, region, page, 3), rest.collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn statistics_agree_with_the_live_blocks_while_magazines_have_blocks(
        operations in operations(300, 15),
    ) {
        let memory = HostMemory::new(1 << 20);
        let engine = ExtentEngine::new(Mutex::new(State::new()), Host::new::<crate::extent::Heap>(2));
        memory.lend(&engine).unwrap();
        let mut blocks = ShadowMap::default();
        for (number, operation) in operations.into_iter().enumerate() {
            crate::testing::CPU.set(number / 3 % 2);
            match operation {
                ModelOperation::Allocate(size, align_order) => {
                    let _ = blocks.allocate(&engine, layout(size, 1 << align_order), number as u8);
                }
                ModelOperation::Release(pick) => {
                    if let Some(offset) = blocks.pick(pick) {
                        blocks.free(&engine, offset);
                    }
                }
                _ => {}
            }
            let stats = ReportedStatistics::of(&engine);
            stats.agree(&blocks);
            sound(&engine);
        }
    }
}
