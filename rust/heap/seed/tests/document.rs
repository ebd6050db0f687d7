// SPDX-License-Identifier: GPL-2.0

//! The architecture document, sentence by sentence.

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
    testing::Memory,
};
use std::vec::Vec;

#[test]
fn the_decision_tree_is_the_documents() {
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
fn the_constants_are_the_documents() {
    assert_eq!((SET_SIZE, MIN_HEAP_SIZE), (64, 0x8000));
    let sizes: Vec<_> = HeapAllocator::SLABS
        .iter()
        .map(|slab| slab.block_bytes())
        .collect();
    assert_eq!(sizes, [64, 128, 256, 512, 1024, 2048, 4096].map(Some));
    assert_eq!(HeapAllocator::BuddyAllocator.block_bytes(), None);
}

#[test]
fn usable_size_is_the_request_and_the_blocks_size() {
    let memory = Memory::new(MIN_HEAP_SIZE);
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
fn a_dry_slab_takes_a_set_of_blocks_and_then_none_until_they_are_out() {
    let memory = Memory::new(1 << 20);
    let mut heap = heap(&memory);
    let small = layout(64, 8);
    for n in 1..=SET_SIZE {
        heap.allocate(small).unwrap();
        let figures = heap.figures(HeapAllocator::Slab64Bytes).unwrap();
        assert_eq!((figures.total_blocks, figures.used_blocks), (SET_SIZE, n));
        assert_eq!(heap.buddy_allocator.stats_alloc_actual(), SET_SIZE * 64);
    }
    heap.allocate(small).unwrap();
    assert_eq!(
        heap.figures(HeapAllocator::Slab64Bytes)
            .unwrap()
            .total_blocks,
        2 * SET_SIZE
    );
    assert_eq!(heap.buddy_allocator.stats_alloc_actual(), 2 * SET_SIZE * 64);
}

#[test]
fn a_new_set_is_handed_out_from_its_end() {
    // `grow` makes a list in order of address and moves it block by block to the main list, which
    // turns it around.
    let memory = Memory::new(1 << 20);
    let mut heap = heap(&memory);
    let blocks: Vec<_> = (0..SET_SIZE)
        .map(|_| heap.allocate(layout(64, 8)).unwrap())
        .collect();
    assert!(blocks.windows(2).all(|pair| pair[0] == pair[1] + 64));
    assert_eq!(blocks[SET_SIZE - 1], memory.addr());
}

#[test]
fn the_block_freed_last_is_allocated_first() {
    let memory = Memory::new(1 << 20);
    let mut heap = heap(&memory);
    let small = layout(100, 4);
    let blocks: Vec<_> = (0..10).map(|_| heap.allocate(small).unwrap()).collect();
    for block in &blocks {
        // SAFETY: Allocated above with this layout, and freed once.
        unsafe { heap.deallocate(*block, small) };
    }
    for block in blocks.iter().rev() {
        assert_eq!(heap.allocate(small).unwrap(), *block);
    }
}

#[test]
fn large_requests_go_to_the_buddy_system() {
    let memory = Memory::new(1 << 20);
    let mut heap = heap(&memory);
    let large = layout(10_000, 4096);
    let block = heap.allocate(large).unwrap();
    assert_eq!(block % 16_384, 0);
    assert_eq!(heap.used_bytes(), 16_384);
    // SAFETY: Allocated above with this layout.
    unsafe { heap.deallocate(block, large) };
    assert_eq!((heap.used_bytes(), heap.total_bytes()), (0, 1 << 20));
    // All of it has merged again.
    assert!(heap.allocate(layout(1 << 20, 8)).is_ok());
    assert!(heap.allocate(layout(8192, 8)).is_err());
}

#[test]
fn added_memory_serves_what_did_not_fit() {
    let memory = Memory::new(MIN_HEAP_SIZE);
    let more = Memory::new(1 << 20);
    let mut heap = heap(&memory);
    assert!(heap.allocate(layout(1 << 19, 8)).is_err());
    // SAFETY: The memory is this heap's alone, and outlives it.
    unsafe { heap.add_memory(more.addr(), more.bytes()) };
    assert_eq!(heap.total_bytes(), MIN_HEAP_SIZE + (1 << 20));
    assert_eq!(heap.allocate(layout(1 << 19, 8)), Ok(more.addr()));
}

#[test]
fn the_formulas_are_the_documents() {
    let memory = Memory::new(1 << 20);
    let mut heap = heap(&memory);
    for (size, count) in [(64, 70), (1000, 3), (5000, 2)] {
        for _ in 0..count {
            heap.allocate(layout(size, 8)).unwrap();
        }
    }
    // Two sets of 64, one of 1024, two buddy blocks of 8192.
    let slabs = 2 * 64 * 64 + 64 * 1024;
    assert_eq!(heap.total_bytes(), slabs + (1 << 20));
    assert_eq!(heap.used_bytes(), (70 * 64 + 3 * 1024) + (slabs + 2 * 8192));
    assert_eq!(
        heap.available_bytes(),
        heap.total_bytes() - heap.used_bytes()
    );
}

#[test]
fn bad_memory_is_refused_by_name() {
    let memory = Memory::new(2 * MIN_HEAP_SIZE);
    let (start, page) = (memory.addr(), 4096);
    for (start, size, expected) in [
        (start, 0, MemoryError::TooSmall),
        (start, MIN_HEAP_SIZE - page, MemoryError::TooSmall),
        (start, MIN_HEAP_SIZE + page, MemoryError::BadSize),
        (start + 8, MIN_HEAP_SIZE, MemoryError::Misaligned),
        (0, MIN_HEAP_SIZE, MemoryError::Misaligned),
        (usize::MAX - page + 1, MIN_HEAP_SIZE, MemoryError::Overflow),
    ] {
        // SAFETY: The arguments are bad, so no memory is used.
        assert_eq!(unsafe { Heap::try_new(start, size) }.err(), Some(expected));
    }
    let mut heap = heap(&memory);
    for (start, size, expected) in [
        (start + 1, page, MemoryError::Misaligned),
        (start, 0, MemoryError::BadSize),
        (start, page - 8, MemoryError::BadSize),
        (usize::MAX - page + 1, page, MemoryError::Overflow),
    ] {
        // SAFETY: As above.
        assert_eq!(unsafe { heap.try_add_memory(start, size) }, Err(expected));
        assert_eq!(heap.total_bytes(), 2 * MIN_HEAP_SIZE);
    }
}
