// SPDX-License-Identifier: GPL-2.0

//! Resizes in place: they take the beginning of the free run behind the block, and return the end of the block to it.

use super::BareHeap;
use crate::{
    Cost,
    Engine,
    Offset,
    PAGE_BYTES,
    Path,
    backing_heap::BackingHeap,
    testing::{
        HostMemory,
        LockedExtent,
        TestEngine,
        blocks::ShadowMap,
        layout,
        shrink,
        totals, //
    }, //
};

/// The size of the blocks in [`three`].
const SIZE: usize = 8000;

/// Returns a heap without free memory whose blocks are three blocks of [`SIZE`] bytes, the lowest first, and a block of
/// the rest.
fn three() -> (BareHeap, [Offset; 3]) {
    let mut heap = BareHeap::new(&[16]);
    let mut blocks = [(); 3].map(|()| heap.allocate(layout(SIZE, 8)).unwrap());
    blocks.sort_unstable();
    let rest = heap.longest_gap();
    heap.allocate(layout(rest, 8)).unwrap();
    assert_eq!(heap.expected_runs(0).len(), 4);
    for (before, after) in [(0, 1), (1, 2)] {
        assert_eq!(blocks[before].plus(SIZE), blocks[after]);
    }
    (heap, blocks)
}

#[test]
fn a_block_grows_into_the_free_run_behind_it() {
    let (mut heap, blocks) = three();
    heap.free(blocks[1]);
    for size in [SIZE + 16, SIZE + 4000, 2 * SIZE] {
        assert!(heap.resize(blocks[0], layout(size, 8)));
        heap.check();
    }
    // The next block is live.
    assert!(!heap.resize(blocks[0], layout(2 * SIZE + 16, 8)));
    heap.check();
    heap.end();
}

#[test]
fn a_block_does_not_grow_into_the_free_run_before_it() {
    let (mut heap, blocks) = three();
    heap.free(blocks[0]);
    assert!(!heap.resize(blocks[1], layout(SIZE + 16, 8)));
    heap.check();
    heap.end();
}

#[test]
fn the_last_block_of_a_region_grows_up_to_its_end() {
    let mut heap = BareHeap::new(&[4, 4]);
    let whole = 4 * PAGE_BYTES;
    for _ in 0..2 {
        let block = heap.allocate(layout(whole, 8)).unwrap();
        let region = usize::from(block.region());
        assert!(heap.resize(block, layout(5000, 8)));
        assert!(!heap.resize(block, layout(whole + 16, 8)));
        assert!(heap.resize(block, layout(whole, 8)));
        assert_eq!(heap.expected_runs(region), [(0, whole, false)]);
        heap.check();
    }
    heap.end();
}

#[test]
fn a_shorter_block_returns_its_end_to_the_free_run_behind_it() {
    let (mut heap, blocks) = three();
    heap.free(blocks[1]);
    for size in [SIZE - 16, 4112, 3000, 64, 1] {
        assert!(heap.resize(blocks[0], layout(size, 8)));
        heap.check();
        let runs = heap.expected_runs(0);
        // One free run is between the block and the last of the three blocks.
        let end = (blocks[2].byte() as usize, true);
        assert!(runs.iter().any(|run| (run.0 + run.1, run.2) == end));
        assert_eq!(runs.len(), 4);
    }
    // The block behind is live, so the end becomes a free run of its own.
    assert!(heap.resize(blocks[2], layout(100, 8)));
    heap.check();
    heap.end();
}

#[test]
fn a_resize_within_the_usable_size_changes_nothing() {
    let (mut heap, blocks) = three();
    let before = heap.expected_runs(0);
    for size in [SIZE - 15, SIZE - 1, SIZE] {
        assert!(heap.resize(blocks[1], layout(size, 8)));
        assert_eq!(heap.expected_runs(0), before);
        heap.check();
    }
}

#[test]
fn a_resize_with_a_wrong_size_changes_nothing() {
    let (mut heap, blocks) = three();
    for wrong in [16, 4096, SIZE + 16, 2 * SIZE] {
        assert!(!heap.heap.resize(blocks[0], layout(wrong, 8), layout(64, 8)));
        heap.check();
    }
    for inside in [8, 16, PAGE_BYTES] {
        let block = blocks[0].plus(inside);
        assert!(!heap.heap.resize(block, layout(SIZE, 8), layout(64, 8)));
        heap.check();
    }
}

#[test]
fn a_resize_in_place_keeps_the_contents_and_counts_as_such() {
    let memory = HostMemory::new(1 << 20);
    let engine = LockedExtent::over(&memory);
    let mut blocks = ShadowMap::default();
    let mut live = [24, 700, 5000, 70_000].map(|size| {
        let layout = layout(size, 8);
        (
            blocks.allocate(&engine, layout, size as u8).unwrap().0,
            layout,
        )
    });
    for step in 0..400 {
        let (block, old) = &mut live[step % 4];
        let new = layout(1 + (step * 7919) % (2 * old.size()), 8);
        let shadow = blocks.remove(block.offset());
        let (before, mut cost) = (engine.offset(block.block.start), Cost::default());
        let fits = engine.fits_in_place(*old, new);
        // SAFETY: The block is live with the old layout, the new one has the same alignment, and nothing uses the block
        // during the call.
        let resized = unsafe { engine.resize(block.block, *old, new, &mut cost) };
        assert!(resized || !fits);
        assert!(shadow.holds(old.size().min(new.size())));
        assert_eq!(resized, cost.path() == Path::InPlace);
        assert_eq!(engine.offset(block.block.start), before);
        *old = if resized { new } else { *old };
        blocks.insert(&engine, block.block, *old, None, step as u8);
    }
    for (block, layout) in live {
        // SAFETY: The block is live with this layout, and is freed once.
        unsafe { engine.free(block.block, layout, &mut Cost::default()) }.unwrap();
    }
    shrink(&engine);
    assert_eq!(totals(&engine).free_bytes, 1 << 20);
}
