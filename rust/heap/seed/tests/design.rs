// SPDX-License-Identifier: GPL-2.0

//! One test for each statement of the design in `docs/seed-design.md`.

use super::{
    heap,
    layout, //
};
use crate::{
    seed::{
        Heap,
        HeapAllocator,
        MIN_HEAP_SIZE,
        MemoryError,
        SET_SIZE, //
    },
    testing::HostMemory,
};
use std::vec::Vec;

#[test]
fn requests_are_routed_by_the_decision_tree() {
    use HeapAllocator::*;
    for (size, align, expected) in [
        (1, 1, Slab64Bytes),
        (64, 64, Slab64Bytes),
        (65, 1, Slab128Bytes),
        (1, 128, Slab128Bytes),
        (128, 128, Slab128Bytes),
        (129, 8, Slab256Bytes),
        (8, 256, Slab256Bytes),
        (257, 8, Slab512Bytes),
        (512, 512, Slab512Bytes),
        (513, 8, Slab1024Bytes),
        (1024, 1024, Slab1024Bytes),
        (1025, 8, Slab2048Bytes),
        (2048, 2048, Slab2048Bytes),
        (2049, 8, Slab4096Bytes),
        (1, 4096, Slab4096Bytes),
        (4096, 4096, Slab4096Bytes),
        (4097, 1, BuddyAllocator),
        (4097, 4096, BuddyAllocator),
        (1 << 20, 1 << 20, BuddyAllocator),
    ] {
        let which = Heap::layout_to_allocator(&layout(size, align));
        assert_eq!(which, expected, "{size} bytes aligned to {align}");
    }
}

#[test]
fn the_constants_are_those_of_the_design() {
    assert_eq!((SET_SIZE, MIN_HEAP_SIZE), (64, 0x8000));
    let sizes: Vec<_> = HeapAllocator::SLABS
        .iter()
        .map(|slab| slab.block_bytes())
        .collect();
    assert_eq!(sizes, [64, 128, 256, 512, 1024, 2048, 4096].map(Some));
    assert_eq!(HeapAllocator::BuddyAllocator.block_bytes(), None);
}

#[test]
fn usable_size_is_the_requested_size_and_the_block_size() {
    let memory = HostMemory::new(MIN_HEAP_SIZE);
    let heap = heap(&memory);
    for (size, align, expected) in [
        (1, 1, (1, 64)),
        (65, 1, (65, 128)),
        (10, 2048, (10, 2048)),
        (4096, 1, (4096, 4096)),
        (4097, 1, (4097, 4097)),
        (100_000, 64, (100_000, 100_000)),
    ] {
        assert_eq!(heap.usable_size(layout(size, align)), expected);
    }
}

#[test]
fn a_slab_without_free_blocks_grows_by_one_set() {
    let memory = HostMemory::new(1 << 20);
    let mut heap = heap(&memory);
    let small = layout(64, 8);
    for n in 1..=SET_SIZE {
        heap.allocate(small).unwrap();
        let stats = heap.slab_stats(HeapAllocator::Slab64Bytes).unwrap();
        assert_eq!((stats.total_blocks, stats.used_blocks), (SET_SIZE, n));
        assert_eq!(heap.buddy_allocator.stats_alloc_actual(), SET_SIZE * 64);
    }
    heap.allocate(small).unwrap();
    assert_eq!(
        heap.slab_stats(HeapAllocator::Slab64Bytes)
            .unwrap()
            .total_blocks,
        2 * SET_SIZE
    );
    assert_eq!(heap.buddy_allocator.stats_alloc_actual(), 2 * SET_SIZE * 64);
}

#[test]
fn a_new_set_is_allocated_from_its_end() {
    // `grow` creates a list in order of address and moves the blocks of this list one by one to the main
    // list, which reverses their order.
    let memory = HostMemory::new(1 << 20);
    let mut heap = heap(&memory);
    let blocks: Vec<_> = (0..SET_SIZE)
        .map(|_| heap.allocate(layout(64, 8)).unwrap())
        .collect();
    assert!(blocks.windows(2).all(|pair| pair[0] == pair[1] + 64));
    assert_eq!(blocks[SET_SIZE - 1], memory.addr());
}

#[test]
fn the_block_freed_last_is_allocated_first() {
    let memory = HostMemory::new(1 << 20);
    let mut heap = heap(&memory);
    let small = layout(100, 4);
    let blocks: Vec<_> = (0..10).map(|_| heap.allocate(small).unwrap()).collect();
    for block in &blocks {
        // SAFETY: The block was allocated above with this layout, and is freed once.
        unsafe { heap.deallocate(*block, small) };
    }
    for block in blocks.iter().rev() {
        assert_eq!(heap.allocate(small).unwrap(), *block);
    }
}

#[test]
fn large_requests_go_to_the_buddy_system() {
    let memory = HostMemory::new(1 << 20);
    let mut heap = heap(&memory);
    let large = layout(10_000, 4096);
    let block = heap.allocate(large).unwrap();
    assert_eq!(block % 16_384, 0);
    assert_eq!(heap.used_bytes(), 16_384);
    // SAFETY: The block was allocated above with this layout, and is freed once.
    unsafe { heap.deallocate(block, large) };
    assert_eq!((heap.used_bytes(), heap.total_bytes()), (0, 1 << 20));
    // All buddies were coalesced: the whole heap is one block.
    assert!(heap.allocate(layout(1 << 20, 8)).is_ok());
    assert!(heap.allocate(layout(8192, 8)).is_err());
}

#[test]
fn added_memory_serves_requests_that_did_not_fit() {
    let memory = HostMemory::new(MIN_HEAP_SIZE);
    let more = HostMemory::new(1 << 20);
    let mut heap = heap(&memory);
    assert!(heap.allocate(layout(1 << 19, 8)).is_err());
    // SAFETY: Nothing but this heap uses the memory, which outlives the heap.
    unsafe { heap.add_memory(more.addr(), more.bytes()) };
    assert_eq!(heap.total_bytes(), MIN_HEAP_SIZE + (1 << 20));
    assert_eq!(heap.allocate(layout(1 << 19, 8)), Ok(more.addr()));
}

#[test]
fn the_statistics_follow_the_formulas_of_the_design() {
    let memory = HostMemory::new(1 << 20);
    let mut heap = heap(&memory);
    for (size, count) in [(64, 70), (1000, 3), (5000, 2)] {
        for _ in 0..count {
            heap.allocate(layout(size, 8)).unwrap();
        }
    }
    // The blocks take two sets of 64 bytes, one set of 1024 bytes, and two buddy blocks of 8192 bytes.
    let slabs = 2 * 64 * 64 + 64 * 1024;
    assert_eq!(heap.total_bytes(), slabs + (1 << 20));
    assert_eq!(heap.used_bytes(), (70 * 64 + 3 * 1024) + (slabs + 2 * 8192));
    assert_eq!(
        heap.available_bytes(),
        heap.total_bytes() - heap.used_bytes()
    );
}

#[test]
fn bad_memory_is_refused_with_its_reason() {
    let memory = HostMemory::new(2 * MIN_HEAP_SIZE);
    let (start, page) = (memory.addr(), 4096);
    for (start, size, expected) in [
        (start, 0, MemoryError::TooSmall),
        (start, MIN_HEAP_SIZE - page, MemoryError::TooSmall),
        (start, MIN_HEAP_SIZE + page, MemoryError::BadSize),
        (start + 8, MIN_HEAP_SIZE, MemoryError::Misaligned),
        (0, MIN_HEAP_SIZE, MemoryError::Misaligned),
        (usize::MAX - page + 1, MIN_HEAP_SIZE, MemoryError::Overflow),
    ] {
        // SAFETY: The heap refuses the arguments, so it uses no memory.
        assert_eq!(unsafe { Heap::try_new(start, size) }.err(), Some(expected));
    }
    let mut heap = heap(&memory);
    for (start, size, expected) in [
        (start + 1, page, MemoryError::Misaligned),
        (start, 0, MemoryError::BadSize),
        (start, page - 8, MemoryError::BadSize),
        (usize::MAX - page + 1, page, MemoryError::Overflow),
    ] {
        // SAFETY: The heap refuses the arguments, so it uses no memory.
        assert_eq!(unsafe { heap.try_add_memory(start, size) }, Err(expected));
        assert_eq!(heap.total_bytes(), 2 * MIN_HEAP_SIZE);
    }
}
