// SPDX-License-Identifier: GPL-2.0

//! Bad frees. The engine must refuse each with the broken rule, and change nothing.

use super::{
    BareHeap,
    GRANULE,
    at, //
};
use crate::{
    Block,
    Cost,
    Engine,
    Offset,
    PAGE_BYTES,
    engine::BadFree,
    extent::Heap,
    lock::Lock,
    testing::{
        HostMemory,
        LockedExtent,
        TestEngine,
        checked_machine::{
            Machine,
            kind, //
        },
        layout,
        prelude::*,
        sound,
        totals, //
    }, //
};

/// A heap of 16 pages, and live blocks in it. Between `small` and `other` is a free run of 64 bytes, and another block
/// of five pages was allocated and freed.
struct Blocks {
    heap: BareHeap,
    /// Two blocks of 64 bytes.
    small: usize,
    other: usize,
    /// A block of 80 bytes.
    eighty: usize,
    /// A block of five pages.
    large: usize,
    /// A block of 3000 bytes, which crosses the end of a page.
    crossing: usize,
}

impl Blocks {
    fn new() -> Self {
        let mut heap = BareHeap::new(&[16]);
        let mut allocate = |size| heap.allocate(layout(size, 8)).unwrap().byte() as usize;
        let [large, freed] = [(); 2].map(|()| allocate(5 * PAGE_BYTES));
        let mut smalls = [(); 3].map(|()| allocate(64));
        smalls.sort_unstable();
        let [small, gap, other] = smalls;
        let eighty = allocate(80);
        let crossing = core::iter::from_fn(|| Some(allocate(3000)))
            .find(|block| block / PAGE_BYTES != (block + 3000) / PAGE_BYTES)
            .unwrap();
        heap.free(at(gap));
        heap.free(at(freed));
        heap.check();
        assert_eq!((gap, other), (small + 64, small + 128));
        Self {
            heap,
            small,
            other,
            eighty,
            large,
            crossing,
        }
    }

    /// Expects that the free of `size` bytes, aligned to `align`, at each of these bytes is refused for `cause`.
    #[track_caller]
    fn refuses(&mut self, bytes: impl IntoIterator<Item = usize>, size: usize, cause: BadFree) {
        for byte in bytes {
            let found = self.heap.refused(at(byte), size, 8);
            assert_eq!(found, cause, "{size} bytes at {byte:#x}");
        }
    }
}

#[test]
fn an_offset_outside_of_the_pool_is_foreign() {
    let mut blocks = Blocks::new();
    for size in [64, 3072, 8192] {
        for block in [
            at(16 << 12),
            at((16 << 12) + 8),
            at(1 << 32),
            at(1 << 40),
            Offset::new(1, 0),
            Offset::new(15, 64),
            Offset::new(16, 0),
            Offset::new(u16::MAX, 0),
        ] {
            assert_eq!(
                blocks.heap.refused(block, size, 8),
                BadFree::Foreign,
                "{block:?}"
            );
        }
    }
}

#[test]
fn an_offset_inside_of_a_block_is_interior() {
    let mut blocks = Blocks::new();
    let (small, eighty, crossing) = (blocks.small, blocks.eighty, blocks.crossing);
    for size in [16, 64, 80, 3000, 8192] {
        let inside = [1, 8, 15, 16, 17, 48, 63].map(|byte| small + byte);
        blocks.refuses(inside, size, BadFree::Interior);
        blocks.refuses([eighty + 16, eighty + 64], size, BadFree::Interior);
        // Both pages of the block.
        let end = crossing + 3000;
        let inside = [
            crossing + 16,
            end / PAGE_BYTES * PAGE_BYTES,
            end / 16 * 16 - 16,
        ];
        blocks.refuses(inside, size, BadFree::Interior);
    }
}

#[test]
fn an_offset_inside_of_a_long_block_is_interior_in_each_of_its_pages() {
    let mut blocks = Blocks::new();
    let large = blocks.large;
    for size in [64, PAGE_BYTES, 8192, 5 * PAGE_BYTES] {
        for page in 0..5 {
            let first = large + page * PAGE_BYTES;
            let inside = [first + 8, first + 16, first + PAGE_BYTES - GRANULE];
            blocks.refuses(inside, size, BadFree::Interior);
            if page > 0 {
                blocks.refuses([first], size, BadFree::Interior);
            }
        }
    }
}

#[test]
fn an_offset_inside_of_a_long_block_is_interior_where_other_blocks_were_before() {
    // Each page of the block was the last page of another block before, and that block is free or live now.
    for is_first_live in [false, true] {
        let mut heap = BareHeap::new(&[16]);
        let sizes = [2, 3, 2, 3].map(|pages| layout(pages * PAGE_BYTES, 8));
        let blocks = sizes.map(|layout| heap.allocate(layout).unwrap());
        for block in blocks.iter().skip(usize::from(is_first_live)) {
            heap.free(*block);
        }
        let pages = if is_first_live { 14 } else { 16 };
        let block = heap.allocate(layout((pages - 1) * PAGE_BYTES, 8)).unwrap();
        for page in 1..pages - 1 {
            let inside = block.plus(page * PAGE_BYTES);
            for size in [64, 2 * PAGE_BYTES] {
                assert_eq!(heap.refused(inside, size, 8), BadFree::Interior, "{page}");
            }
        }
    }
}

#[test]
fn an_offset_in_a_free_run_is_not_live() {
    let mut blocks = Blocks::new();
    let (gap, freed) = (blocks.small + 64, 5 * PAGE_BYTES);
    blocks.refuses([gap, gap + 16, gap + 48], 64, BadFree::NotLive);
    assert!(!blocks.heap.blocks.contains_key(&at(freed)));
    blocks.refuses([freed], 5 * PAGE_BYTES, BadFree::NotLive);
    blocks.refuses([freed, freed + 64], 64, BadFree::NotLive);
}

#[test]
fn a_free_with_another_size_is_a_wrong_size() {
    let mut blocks = Blocks::new();
    let (small, eighty, large, other) = (blocks.small, blocks.eighty, blocks.large, blocks.other);
    for (byte, size) in [
        (small, 65),
        (small, 48),
        (small, 8),
        // The bytes up to the next block are not all of this block.
        (small, 128),
        (other, 4096),
        (other, 4097),
        (eighty, 64),
        (large, 64),
        (large, 4 * PAGE_BYTES),
        (large, 5 * PAGE_BYTES - 16),
        (large, 5 * PAGE_BYTES + 16),
        (large, 6 * PAGE_BYTES),
        (large, 1 << 40),
        (large, isize::MAX as usize / 2),
    ] {
        blocks.refuses([byte], size, BadFree::WrongSize);
    }
}

#[test]
fn a_free_with_an_alignment_that_the_block_does_not_have_is_a_wrong_size() {
    let mut blocks = Blocks::new();
    let small = blocks.small;
    assert_ne!(small % 8192, 0);
    let found = blocks.heap.refused(at(small), 64, 8192);
    assert_eq!(found, BadFree::WrongSize);
}

#[test]
fn a_second_free_is_refused_after_any_coalescing() {
    for bytes in [16, 80, 896, 3072, 4096, 5000, 8192, 20_000] {
        for step in [1, 3] {
            let mut heap = BareHeap::new(&[5]);
            while heap.allocate(layout(bytes, 1)).is_ok() {}
            let blocks: std::vec::Vec<_> = heap.blocks.keys().copied().collect();
            // The blocks are freed from the lowest up, or three times every third block.
            let order = (0..step).flat_map(|first| (first..blocks.len()).step_by(step));
            let order: std::vec::Vec<_> = order.collect();
            for (count, nth) in (1..).zip(&order) {
                heap.free(blocks[*nth]);
                if count % blocks.len().div_ceil(8) > 0 && count < blocks.len() {
                    continue;
                }
                // The first, the last and some other freed blocks.
                let freed = order[..count].iter().rev().step_by(count.div_ceil(10));
                for nth in freed.chain([&order[0]]) {
                    for size in [bytes, 16, 8192] {
                        let found = heap.refused(blocks[*nth], size, 1);
                        assert_eq!(found, BadFree::NotLive, "{size} at {:?}", blocks[*nth]);
                    }
                }
            }
        }
    }
}

#[test]
fn a_bad_free_changes_no_total() {
    let memory = HostMemory::new(1 << 16);
    let engine = LockedExtent::over(&memory);
    let mut cost = Cost::default();
    let block = engine.allocate(layout(100, 4), &mut cost).unwrap();
    let before = totals(&engine);
    let mut refused = |skip: isize, size| {
        let address = block.start.as_ptr().wrapping_offset(skip);
        let wrong = Block {
            start: core::ptr::NonNull::new(address).unwrap(),
        };
        // SAFETY: The free breaks the contract on purpose, with a wrong address or a wrong size. Without
        // magazines the engine refuses the free under the lock, and changes nothing.
        let result = unsafe { engine.free(wrong, layout(size, 4), &mut cost) };
        sound(&engine);
        assert_eq!(totals(&engine), before);
        result.unwrap_err()
    };
    assert_eq!(refused(8, 100), BadFree::Interior);
    assert_eq!(refused(-112, 100), BadFree::NotLive);
    assert_eq!(refused(0, 200), BadFree::WrongSize);
    assert_eq!(refused(0, 9000), BadFree::WrongSize);
    assert_eq!(refused(1 << 16, 100), BadFree::Foreign);
    assert_eq!(refused(1 << 30, 9000), BadFree::Foreign);
}

#[test]
fn a_bad_free_is_refused_before_it_reaches_a_magazine() {
    let machine = Machine::<Heap>::new(2, 1 << 20);
    // The magazines have room for each of the sizes.
    for size in [64, 80, 8192, 12_288] {
        let blocks = machine.allocate_all(size, 3);
        machine.free_all(blocks);
    }
    let [small, pages] = [64, 8192].map(|size| machine.allocate(size));
    for (block, size, error) in [
        (small.plus(8), 64, BadFree::Interior),
        (small.plus(16), 64, BadFree::Interior),
        (small, 80, BadFree::WrongSize),
        (pages, 64, BadFree::WrongSize),
        (pages, 3 * PAGE_BYTES, BadFree::WrongSize),
        (pages.plus(PAGE_BYTES), 8192, BadFree::Interior),
        (at(128 << 10), 8192, BadFree::NotLive),
        (at(128 << 10), 64, BadFree::NotLive),
        (at(1 << 20), 64, BadFree::Foreign),
    ] {
        let before = (machine.figures(), machine.reserved_bytes());
        assert_eq!(machine.free_unknown(block, size), Err(error), "{size}");
        assert_eq!((machine.figures(), machine.reserved_bytes()), before);
        machine.check();
    }
}

#[test]
fn a_double_free_into_magazines_is_refused_and_counted_when_it_reaches_the_heap() {
    for size in [16, 64, 3072, 8192] {
        for others in [0, 1, 5] {
            let machine = Machine::<Heap>::new(1, 1 << 20);
            let block = machine.allocate(size);
            let others_live = machine.allocate_all(size, others);
            machine.free(block);
            assert_eq!(machine.free_unknown(block, size), Ok(()));
            machine.engine.shrink();

            let late = machine.engine.state.with(|state| state.late_double_frees);
            assert_eq!(late, 1, "{size}");
            sound(&machine.engine);
            let figures = totals(&machine.engine);
            assert_eq!(figures.live_blocks as usize, others);
            assert_eq!(figures.live_bytes as usize, others * size);
            assert_eq!(figures.allocations - figures.frees, others as u64);
            machine.free_all_unchecked(others_live);
            machine.engine.shrink();
            sound(&machine.engine);
            assert_eq!(totals(&machine.engine).free_bytes, 1 << 20);
            assert!(machine.serve_unchecked(layout(1 << 20, 8)).is_ok());
        }
    }
}

#[test]
fn a_late_double_free_does_not_free_a_block_of_another_size_that_is_there_now() {
    let memory = HostMemory::new(8 * PAGE_BYTES);
    let engine = LockedExtent::over(&memory);
    let mut cost = Cost::default();
    let block = engine.allocate(layout(3072, 8), &mut cost).unwrap();
    let offset = engine.offset(block.start).unwrap();
    let flush = || {
        engine.state.with(|state| {
            state.free_flushed(kind::<Heap>(3072), &[offset], 1);
            state.late_double_frees
        })
    };
    assert_eq!(flush(), 0);
    let again = engine.allocate(layout(64, PAGE_BYTES), &mut cost);
    let mut blocks = std::vec![again.unwrap()];
    while let Ok(block) = engine.allocate(layout(64, 16), &mut cost) {
        blocks.push(block);
    }
    assert!(blocks.contains(&block));
    let live_blocks = totals(&engine).live_blocks;
    assert_eq!(flush(), 1);
    let allocated = engine.state.with(|state| state.heap.allocated_blocks);
    assert_eq!(allocated as u64, live_blocks);
}
