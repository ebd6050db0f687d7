// SPDX-License-Identifier: GPL-2.0

//! The conformance test: the checks that every engine with a pool must pass.
//!
//! A new engine needs one test, which calls [`conforms`]. The argument of `conforms` constructs an engine
//! without regions:
//!
//! ```ignore
//! #[test]
//! fn the_engine_conforms() {
//!     conformance::conforms(|| Pages::new(Mutex::new(State::new())));
//! }
//! ```
//!
//! An engine in another crate needs the feature `conformance` of this crate.
//!
//! The checks need [`Engine`], [`Statistics`](crate::stats::Statistics) and
//! [`AddRegion`](crate::engine::AddRegion). Interfaces that an engine does not have are not tested. An engine
//! may refuse a layout as [`Refusal::Unsupported`] if it always refuses this layout, but it must serve
//! [`BASIC`] bytes. The random operations are the same in every run, so that a failure repeats.
//! `testing::model` has further tests for engines that support all layouts, and `testing::growth` for engines
//! that support fault injection.

use core::{
    alloc::Layout,
    cell::RefCell,
    slice, //
};

use proptest::test_runner::{
    Config,
    RngAlgorithm,
    TestRng,
    TestRunner, //
};

use super::{
    HostMemory,
    blocks::{
        ReportedStatistics,
        ShadowMap,
        is_in_region, //
    },
    layout,
    map,
    model::{
        ModelOperation,
        agrees_on,
        operations_on,
        regions, //
    },
    sound, //
};
use crate::{
    Block,
    Cost,
    Engine,
    PAGE_BYTES,
    Refusal,
    map::{
        Use, //
    },
    region::RegionError,
    stats::Totals, //
};

/// The size of the pool. The pool is larger than the minimum size of a region of the engines.
const POOL_BYTES: usize = 256 << 10;

/// The size in bytes of the request that every engine must serve, with an alignment of 8.
pub const BASIC: usize = 64;

/// Alignments of requests, up to a page.
const ALIGNS: [usize; 4] = [8, 1, 64, PAGE_BYTES];

/// Sizes of requests, for objects and for whole pages.
const SIZES: [usize; 8] = [BASIC, 1, 24, 200, 1000, 3000, 4096, 3 * PAGE_BYTES];

/// Panics, with the broken rule as the message, unless the engines that `new` constructs obey the contract of
/// [`Engine`]:
///
/// - A block has the requested size and alignment, lies in the pool and overlaps no other block.
/// - Only the owner of a live block changes its contents. A resize keeps the contents.
/// - A refused request changes no block and is counted once.
/// - Memory that was freed can be allocated again: after all blocks were freed and, if the engine can, the pool was
///   shrunk, a pool serves exactly as many blocks of a size as a new pool.
/// - No block is live after all blocks were freed.
/// - Statistics agree with the live blocks after each operation.
/// - The check, if the engine has one, finds no broken rule.
/// - A shrink, if the engine has one, frees as many bytes as it reports, and changes no live block.
/// - The map, if the engine has one, covers each region, and its free pages agree with the free bytes of the
///   statistics.
///
/// The last check runs random operations against the model of [`agrees_on`]. A failure prints the
/// shortest sequence of operations that fails.
pub fn conforms<E: Engine>(new: impl Fn() -> E) {
    layouts_are_obeyed(&new);
    a_refusal_changes_nothing(&new);
    a_shrunk_pool_serves_as_many_blocks_as_a_new_one(&new);
    fast_paths_count_as_operations(&new);
    a_shrink_returns_what_it_reports(&new);
    the_map_agrees_with_the_statistics(&new);
    random_operations_agree_with_the_model(&new);
}

/// An engine over one region, and the shadow of its live blocks.
struct ConformancePool<E> {
    engine: E,
    blocks: ShadowMap,
    memory: HostMemory,
}

impl<E: Engine> ConformancePool<E> {
    fn new(new: &impl Fn() -> E) -> Self {
        let (engine, memory) = (new(), HostMemory::new(POOL_BYTES));
        assert_eq!(memory.lend(&engine), Ok(0));
        Self {
            engine,
            blocks: ShadowMap::default(),
            memory,
        }
    }

    /// Allocates a block, and checks its alignment, size, overlap and place.
    fn allocate(&mut self, layout: Layout) -> Result<(), Refusal> {
        let mut cost = Cost::default();
        let block = self.engine.allocate(layout, &mut cost)?;
        self.insert(block, layout, cost);
        Ok(())
    }

    /// Adds a block that the engine allocated, and checks its alignment, size, overlap and place.
    fn insert(&mut self, block: Block, layout: Layout, cost: Cost) {
        // `ShadowMap::insert` writes to the block, so the place of the block is checked first.
        let (bytes, memories) = (
            self.engine.usable_size(layout),
            slice::from_ref(&self.memory),
        );
        assert!(
            is_in_region(&self.engine, block, bytes, memories),
            "outside of the pool, or with a wrong offset"
        );
        let fill = self.blocks.len() as u8;
        self.blocks
            .insert(&self.engine, block, layout, cost.class(), fill);
    }

    /// Allocates blocks until a request is refused, and returns their number.
    fn fill(&mut self, layout: Layout) -> usize {
        let before = self.blocks.len();
        while self.allocate(layout).is_ok() {}
        self.blocks.len() - before
    }

    /// Frees the live block with index `pick` modulo the number of live blocks, and checks that its contents
    /// are unchanged. Returns whether there was a live block.
    fn free(&mut self, pick: usize) -> bool {
        let offset = self.blocks.pick(pick);
        offset.is_some_and(|offset| {
            self.blocks.free(&self.engine, offset);
            true
        })
    }

    /// Returns whether the engine supports a layout. There must be no live blocks.
    fn supports(&mut self, layout: Layout) -> bool {
        let result = self.allocate(layout);
        self.free(0);
        result != Err(Refusal::Unsupported)
    }

    /// Allocates blocks of all sizes and frees two thirds of them, so that an engine with caches has cached
    /// memory.
    fn churn(&mut self) {
        for number in 0..90 {
            // The engine may refuse the request.
            let _ = self.allocate(layout(SIZES[number % SIZES.len()], 8));
        }
        for number in 0..60 {
            self.free(number * 7);
        }
        self.compare();
    }

    /// Compares the statistics with the live blocks, and runs the check.
    fn compare(&self) -> Totals {
        let figures = ReportedStatistics::of(&self.engine);
        assert_eq!(figures.totals.pool_bytes as usize, POOL_BYTES);
        figures.agree(&self.blocks);
        assert!(figures.totals.live_bytes as usize <= self.engine.capacity());
        if self.engine.interfaces().check.is_some() {
            sound(&self.engine);
        }
        figures.totals
    }

    /// Frees all blocks. Panics if a block is live afterwards.
    fn end(mut self) {
        while self.free(0) {}
        let totals = self.compare();
        assert_eq!((totals.live_blocks, totals.live_bytes), (0, 0), "a leak");
    }
}

/// Allocates each size with each alignment up to a page.
fn layouts_are_obeyed<E: Engine>(new: &impl Fn() -> E) {
    let mut pool = ConformancePool::new(new);
    let basic = pool.allocate(layout(BASIC, 8));
    assert_eq!(basic, Ok(()), "an empty pool refuses {BASIC} bytes");
    for align_order in 0..=12 {
        for size in SIZES {
            // The engine may refuse the request.
            let _ = pool.allocate(layout(size, 1 << align_order));
            if pool.blocks.len() > 10 {
                pool.free(size);
            }
        }
    }
    pool.end();
}

/// Fills the pool four times, and frees the blocks in a different order each time.
///
/// After a shrink, a pool without live blocks is as good as new, so each fill yields the same number of blocks. Without
/// a shrink, a fill may yield more or fewer blocks than the first one: cached memory keeps its place, and the places
/// decide how the rest of the pool can be divided.
fn a_shrunk_pool_serves_as_many_blocks_as_a_new_one<E: Engine>(new: &impl Fn() -> E) {
    for size in [BASIC, 200, 1000, 3000, 4096, 3 * PAGE_BYTES] {
        let mut pool = ConformancePool::new(new);
        let first = pool.fill(layout(size, 8));
        for step in [0, 1, 7] {
            let mut pick = 0;
            while pool.free(pick) {
                pick += step;
            }
            if let Some(shrink) = pool.engine.interfaces().shrink {
                shrink.shrink();
            }
            let again = pool.fill(layout(size, 8));
            assert_eq!(again, first, "freed blocks of {size} bytes are lost");
        }
        pool.end();
    }
}

/// Makes requests that must be refused: requests that are too big, and requests in a full pool.
fn a_refusal_changes_nothing<E: Engine>(new: &impl Fn() -> E) {
    let mut pool = ConformancePool::new(new);
    pool.churn();
    let too_big = [POOL_BYTES + 1, isize::MAX as usize / 2];
    for size in too_big {
        is_refused(&mut pool, layout(size, 1));
    }
    for size in [4096, BASIC] {
        pool.fill(layout(size, 8));
        is_refused(&mut pool, layout(size, 8));
    }
    pool.end();
}

/// Makes a request. Panics if the request is served, or if it changes anything but cached memory and the
/// count of refused requests.
fn is_refused<E: Engine>(pool: &mut ConformancePool<E>, layout: Layout) {
    let before = pool.compare();
    let Err(refusal) = pool.allocate(layout) else {
        panic!(
            "a request of {} bytes is served, which must be refused",
            layout.size()
        );
    };
    let after = pool.compare();
    let mut expected = before;
    expected.refusals[refusal as usize] += 1;
    let kept = |totals: Totals| {
        (
            (
                totals.live_bytes,
                totals.requested_bytes,
                totals.live_blocks,
            ),
            (totals.allocations, totals.frees, totals.refusals),
            totals.regions,
        )
    };
    assert_eq!(
        kept(after),
        kept(expected),
        "a refusal changes a total, or is not counted"
    );
}

/// Allocates and frees blocks by the fast paths, if the engine has fast paths.
fn fast_paths_count_as_operations<E: Engine>(new: &impl Fn() -> E) {
    let mut pool = ConformancePool::new(new);
    for number in 0..320 {
        let before = pool.compare();
        let layout = layout(
            SIZES[number / 4 % SIZES.len()],
            ALIGNS[number % 7 % ALIGNS.len()],
        );
        match pool.engine.try_allocate_fast(layout) {
            Some(served) => {
                assert_eq!(served.offset, pool.engine.offset(served.block.start));
                pool.insert(served.block, layout, served.cost);
            }
            None => {
                assert_eq!(
                    pool.compare(),
                    before,
                    "a fast path that serves nothing changes a total"
                );
                // The engine may refuse the request.
                let _ = pool.allocate(layout);
            }
        }
        if number % 3 != 0 {
            let Some(offset) = pool.blocks.pick(number) else {
                continue;
            };
            let live = pool.blocks.remove(offset);
            // SAFETY: The block was live with this layout, and was removed, so it is freed once.
            if unsafe { pool.engine.try_free_fast(live.block, live.layout) }.is_none() {
                let mut cost = Cost::default();
                // SAFETY: The call of `try_free_fast` has freed nothing, so the block is still live with this
                // layout, and is freed once.
                unsafe { pool.engine.free(live.block, live.layout, &mut cost) }.unwrap();
            }
        }
    }
    pool.compare();
    pool.end();
}

/// Shrinks twice while some blocks are live. The second shrink has nothing to return.
fn a_shrink_returns_what_it_reports<E: Engine>(new: &impl Fn() -> E) {
    let mut pool = ConformancePool::new(new);
    pool.churn();
    let before = pool.compare();
    let Some(shrink) = pool.engine.interfaces().shrink else {
        return;
    };
    let returned = shrink.shrink();
    let after = pool.compare();
    assert_eq!(
        after.magazine_bytes, 0,
        "a shrink leaves blocks in magazines"
    );
    let expected = before.free_bytes + returned as u64;
    assert_eq!(after.free_bytes, expected, "a shrink reports other bytes");
    assert_eq!(shrink.shrink(), 0);
    pool.end();
}

/// Reads the map in one call and in parts, while some blocks are live.
fn the_map_agrees_with_the_statistics<E: Engine>(new: &impl Fn() -> E) {
    let mut pool = ConformancePool::new(new);
    pool.churn();
    let totals = pool.compare();
    let Some(engine) = pool.engine.interfaces().map else {
        return;
    };
    let extents = map::read(engine, 0, 0, POOL_BYTES / PAGE_BYTES);
    map::is_partition(&extents, POOL_BYTES / PAGE_BYTES);
    for room in [1, 7] {
        assert_eq!(map::read(engine, 0, 0, room), extents);
    }
    let free = extents
        .iter()
        .filter(|extent| matches!(extent.what, Use::Free));
    let free_pages: u32 = free.map(|extent| extent.pages).sum();
    let mixed = extents.iter().map(|extent| match extent.what {
        Use::Mixed { used_bytes, .. } => PAGE_BYTES - usize::from(used_bytes),
        _ => 0,
    });
    let free_bytes = free_pages as usize * PAGE_BYTES + mixed.sum::<usize>();
    assert_eq!(free_bytes, totals.free_bytes as usize, "free bytes");
    pool.end();
}

/// Returns whether the engine accepts a second region. If not, it refuses the region as
/// [`RegionError::TooMany`].
fn supports_several_regions<E: Engine>(new: &impl Fn() -> E) -> bool {
    let memories = regions(&[POOL_BYTES; 2], 0);
    let engine = new();
    assert_eq!(memories[0].lend(&engine), Ok(0));
    let second = memories[1].lend(&engine);
    assert!(matches!(second, Ok(1) | Err(RegionError::TooMany)));
    second.is_ok()
}

/// Runs random sequences of operations, each in a pool of one region and, if the engine supports it, in a pool of
/// several regions.
fn random_operations_agree_with_the_model<E: Engine>(new: &impl Fn() -> E) {
    let config = Config {
        cases: 16,
        failure_persistence: None,
        ..Config::default()
    };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let probe = RefCell::new(ConformancePool::new(new));
    // The model expects that the engine supports every layout.
    let is_supported = |operation: &ModelOperation| match *operation {
        ModelOperation::Allocate(size, align_order) => {
            probe.borrow_mut().supports(layout(size, 1 << align_order))
        }
        _ => true,
    };
    let pools = [&[POOL_BYTES][..], &[32 << 10, PAGE_BYTES, POOL_BYTES]];
    let pools = if supports_several_regions(new) {
        &pools[..]
    } else {
        &pools[..1]
    };
    let result = runner.run(&operations_on(2, 150, 12), |mut operations| {
        operations.retain(is_supported);
        for bytes in pools {
            agrees_on(new(), &regions(bytes, 0), &operations);
        }
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
}
