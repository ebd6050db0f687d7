// SPDX-License-Identifier: GPL-2.0

//! A shadow of the live blocks of an engine, and the comparison of the engine's statistics with the shadow.

use core::{
    alloc::Layout,
    slice, //
};
use std::{
    collections::BTreeMap,
    vec,
    vec::Vec, //
};

use super::HostMemory;
use crate::{
    Block, Cost, Engine, Offset, PAGE_BYTES, PAGE_SHIFT,
    size_class::{
        Class, //
    },
    stats::{
        ClassStats,
        OrderStats,
        ShortRunStats,
        Totals,
        Visitor, //
    },
};

/// A live block of the shadow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ShadowBlock {
    pub(crate) block: Block,
    offset: Offset,
    pub(crate) layout: Layout,
    /// The class that served the block; `None` for whole pages.
    pub(crate) class: Option<u8>,
    /// The usable size that the engine reported.
    usable: usize,
    /// The value of each usable byte.
    fill: u8,
}

impl ShadowBlock {
    /// Returns the offset of the first byte.
    pub(crate) fn offset(&self) -> Offset {
        self.offset
    }

    /// Returns whether the first `bytes` bytes are unchanged. `bytes` is at most the usable size.
    pub(crate) fn holds(&self, bytes: usize) -> bool {
        // SAFETY: The block is live, `bytes` is at most its usable size, and `ShadowMap::insert` wrote all
        // usable bytes.
        let found = unsafe { slice::from_raw_parts(self.block.start.as_ptr(), bytes) };
        found == vec![self.fill; bytes]
    }
}

/// Returns whether the first `bytes` bytes of a block lie in its region, at the offset that the engine
/// reports. The memory of a region is the element of `memories` with the number of the region.
pub(crate) fn is_in_region(
    engine: &impl Engine,
    block: Block,
    bytes: usize,
    memories: &[HostMemory],
) -> bool {
    let Some(offset) = engine.offset(block.start) else {
        return false;
    };
    let byte = offset.byte() as usize;
    memories
        .get(usize::from(offset.region()))
        .is_some_and(|memory| {
            byte + bytes <= memory.bytes() && block.start.addr().get() == memory.addr() + byte
        })
}

/// The live blocks by offset. No two blocks overlap, and the contents of a block do not change.
#[derive(Debug, Default)]
pub(crate) struct ShadowMap(BTreeMap<Offset, ShadowBlock>);

impl ShadowMap {
    /// Adds a block that `engine` allocated, checks its size, alignment and overlap, and fills the block.
    pub(crate) fn insert(
        &mut self,
        engine: &impl Engine,
        block: Block,
        layout: Layout,
        class: Option<u8>,
        fill: u8,
    ) {
        let live = ShadowBlock {
            block,
            offset: engine.offset(block.start).unwrap(),
            layout,
            class,
            usable: engine.usable_size(layout),
            fill,
        };
        assert!(live.usable >= layout.size(), "too small");
        assert_eq!(block.start.addr().get() % layout.align(), 0, "misaligned");
        let offset = live.offset();
        if let Some((before, other)) = self.0.range(..=offset).next_back() {
            let end = before.to_bits() + other.usable as u64;
            assert!(end <= offset.to_bits(), "overlaps the block before");
        }
        if let Some((after, _)) = self.0.range(offset..).next() {
            let end = offset.to_bits() + live.usable as u64;
            assert!(end <= after.to_bits(), "overlaps the block after");
        }
        // SAFETY: The block is live, has `live.usable` usable bytes, and nobody else uses it.
        unsafe { block.start.write_bytes(fill, live.usable) };
        self.0.insert(offset, live);
    }

    /// Removes a block, and checks that its contents are unchanged.
    pub(crate) fn remove(&mut self, offset: Offset) -> ShadowBlock {
        let live = self.0.remove(&offset).expect("the block is not live");
        assert!(live.holds(live.usable), "contents changed");
        live
    }

    /// Returns the offset of the block with index `pick` modulo [`ShadowMap::len`], or `None` if there is no
    /// block.
    pub(crate) fn pick(&self, pick: usize) -> Option<Offset> {
        let nth = pick.checked_rem(self.0.len())?;
        self.0.keys().nth(nth).copied()
    }

    /// Returns the number of live blocks.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns all blocks, in the order of their offsets.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &ShadowBlock> {
        self.0.values()
    }

    /// Allocates a block from `engine` and adds it.
    pub(crate) fn allocate(
        &mut self,
        engine: &impl Engine,
        layout: Layout,
        fill: u8,
    ) -> Result<(ShadowBlock, Cost), crate::Refusal> {
        let mut cost = Cost::default();
        let block = engine.allocate(layout, &mut cost)?;
        self.insert(engine, block, layout, cost.class(), fill);
        Ok((self.0[&engine.offset(block.start).unwrap()], cost))
    }

    /// Removes a block and frees it in `engine`.
    pub(crate) fn free(&mut self, engine: &impl Engine, offset: Offset) -> Cost {
        let ShadowBlock { block, layout, .. } = self.remove(offset);
        let mut cost = Cost::default();
        // SAFETY: The block was live with this layout, and was removed, so it is freed once.
        unsafe { engine.free(block, layout, &mut cost) }.unwrap();
        cost
    }
}

/// The statistics that an engine reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReportedStatistics {
    pub(crate) totals: Totals,
    pub(crate) classes: Vec<ClassStats>,
    /// The statistics of each order, from order 0 on. Empty if the engine does not report orders.
    pub(crate) orders: Vec<OrderStats>,
    /// The free runs shorter than a page, if the engine has free runs.
    pub(crate) short_runs: Option<ShortRunStats>,
}

impl Visitor for ReportedStatistics {
    fn totals(&mut self, totals: &Totals) {
        self.totals = *totals;
    }

    fn class(&mut self, index: u8, class: &ClassStats) {
        assert_eq!(usize::from(index), self.classes.len());
        self.classes.push(*class);
    }

    fn order(&mut self, order: u8, stats: &OrderStats) {
        assert_eq!(usize::from(order), self.orders.len());
        self.orders.push(*stats);
    }

    fn short_runs(&mut self, stats: &ShortRunStats) {
        self.short_runs = Some(*stats);
    }
}

impl ReportedStatistics {
    /// Collects the statistics of `engine`.
    pub(crate) fn of(engine: &impl Engine) -> Self {
        let mut figures = Self::default();
        engine.interfaces().statistics.visit(&mut figures);
        figures
    }

    /// Panics unless the statistics agree with `blocks`, in total and by class, and the sum of live, cached
    /// and free bytes is the size of the pool.
    #[track_caller]
    pub(crate) fn agree(&self, blocks: &ShadowMap) {
        let totals = &self.totals;
        assert_eq!(totals.live_blocks as usize, blocks.len(), "live blocks");
        let requested: usize = blocks.iter().map(|live| live.layout.size()).sum();
        assert_eq!(
            totals.requested_bytes as usize, requested,
            "requested bytes"
        );
        assert!(totals.live_bytes >= totals.requested_bytes);
        let all = totals.live_bytes + totals.cached_bytes + totals.free_bytes;
        assert_eq!(all, totals.pool_bytes);
        let by_class = |class| blocks.iter().filter(move |live| live.class == Some(class));
        for (class, stats) in (0..).zip(&self.classes) {
            // An engine with free runs counts a block in the class of its usable size.
            if self.short_runs.is_none() {
                assert_eq!(stats.used_blocks as usize, by_class(class).count());
            }
            assert!(stats.used_blocks + stats.magazine_blocks <= stats.total_blocks);
        }
        if let Some(short_runs) = self.short_runs {
            self.agree_by_run(blocks, short_runs);
        } else if !self.orders.is_empty() {
            self.agree_by_order(blocks);
        }
    }

    /// Compares the statistics of an engine with free runs with `blocks`.
    #[track_caller]
    fn agree_by_run(&self, blocks: &ShadowMap, short_runs: ShortRunStats) {
        let totals = &self.totals;
        let usable: usize = blocks.iter().map(|live| live.usable).sum();
        assert_eq!(totals.live_bytes, usable as u64);
        // All memory that is neither free nor live is in magazines.
        assert_eq!(totals.cached_bytes, totals.magazine_bytes);
        let sum = |used: fn(&OrderStats) -> u64| self.orders.iter().map(used).sum::<u64>();
        let mut smaller = 0;
        for stats in &self.classes {
            let is_of_class = |live: &&ShadowBlock| {
                smaller < live.usable && live.usable <= stats.block_bytes as usize
            };
            let used = blocks.iter().filter(is_of_class).count();
            assert_eq!(
                stats.used_blocks as usize, used,
                "class of {} bytes",
                stats.block_bytes
            );
            smaller = stats.block_bytes as usize;
        }
        let in_classes: u64 = self.classes.iter().map(|stats| stats.used_blocks).sum();
        assert_eq!(
            totals.live_blocks,
            in_classes + sum(|stats| stats.used_blocks)
        );
        let (mut fewest, mut most) = (short_runs.bytes, short_runs.bytes);
        for (order, stats) in self.orders.iter().enumerate() {
            let is_of_order = |live: &&ShadowBlock| {
                live.usable > PAGE_BYTES
                    && live.usable.div_ceil(PAGE_BYTES).next_power_of_two() == 1 << order
            };
            let used = blocks.iter().filter(is_of_order).count();
            assert_eq!(stats.used_blocks as usize, used, "order {order}");
            fewest += stats.free_blocks << order << PAGE_SHIFT;
            most += stats.free_blocks << order << PAGE_SHIFT << 1;
        }
        assert!((fewest..=most).contains(&totals.free_bytes));
        assert!(short_runs.bytes <= short_runs.runs * PAGE_BYTES as u64);
        assert!(totals.largest_free_bytes <= totals.free_bytes);
        assert!((totals.largest_free_bytes > 0) == (totals.free_bytes > 0));
    }

    /// Compares the statistics by order with `blocks`, exact to the byte.
    #[track_caller]
    fn agree_by_order(&self, blocks: &ShadowMap) {
        let pages = |live: &ShadowBlock| live.usable.div_ceil(PAGE_BYTES);
        let large = || blocks.iter().filter(|live| live.class.is_none());
        let mut free_bytes = 0;
        let (mut fewest, mut most) = (0, 0);
        for (order, stats) in self.orders.iter().enumerate() {
            let order_of = |live: &&ShadowBlock| pages(live).next_power_of_two() == 1 << order;
            assert_eq!(stats.used_blocks as usize, large().filter(order_of).count());
            free_bytes += stats.free_blocks << order << PAGE_SHIFT;
            fewest += (stats.magazine_blocks * ((1 << order) / 2 + 1)) << PAGE_SHIFT;
            most += stats.magazine_blocks << order << PAGE_SHIFT;
        }
        let totals = &self.totals;
        assert_eq!(totals.free_bytes, free_bytes);

        let (mut slabs, mut used, mut held) = (0, 0, 0);
        for (class, stats) in Class::all().zip(&self.classes) {
            let objects = class.objects() as u64;
            assert_eq!(stats.total_blocks % objects, 0);
            slabs += stats.total_blocks / objects * (class.pages() * PAGE_BYTES) as u64;
            used += stats.used_blocks * stats.block_bytes;
            held += stats.magazine_blocks * stats.block_bytes;
        }
        let large_bytes: usize = large().map(|live| pages(live) * PAGE_BYTES).sum();
        assert_eq!(totals.live_bytes, used + large_bytes as u64);
        let held_pages = totals.magazine_bytes - held;
        assert!((fewest..=most).contains(&held_pages));
        assert_eq!(totals.cached_bytes, slabs - used + held_pages);
        assert!(totals.magazine_bytes <= totals.pool_bytes / 16);
    }
}
