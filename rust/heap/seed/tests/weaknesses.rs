// SPDX-License-Identifier: GPL-2.0

//! What is wrong with the document's design, one test for each.

use super::{
    heap,
    layout, //
};
use crate::{
    seed::{
        Heap,
        MIN_HEAP_SIZE,
        SET_SIZE, //
    },
    testing::Memory,
};
use core::ptr;
use std::{
    panic::catch_unwind,
    vec::Vec, //
};

#[test]
fn a_small_block_with_a_large_alignment_is_misaligned() {
    let memory = Memory::new(1 << 20);
    let mut heap = heap(&memory);
    let misaligned = (0..SET_SIZE)
        .map(|_| heap.allocate(layout(64, 8192)).unwrap())
        .filter(|block| block % 8192 != 0);
    assert_eq!(misaligned.count(), SET_SIZE / 2);
}

#[test]
fn a_small_heap_cannot_serve_its_larger_classes() {
    for (bytes, largest) in [(32 << 10, 512), (64 << 10, 1024), (128 << 10, 2048)] {
        let memory = Memory::new(bytes);
        let mut heap = heap(&memory);
        assert!(heap.allocate(layout(2 * largest, 8)).is_err());
        assert!(heap.allocate(layout(largest, 8)).is_ok());
    }
}

#[test]
fn freed_slabs_serve_no_other_size() {
    let memory = Memory::new(1 << 20);
    let mut heap = heap(&memory);
    let small = layout(64, 8);
    let blocks: Vec<_> = core::iter::from_fn(|| heap.allocate(small).ok()).collect();
    assert_eq!(blocks.len(), (1 << 20) / 64);
    for block in blocks {
        // SAFETY: Allocated above with this layout, and freed once.
        unsafe { heap.deallocate(block, small) };
    }
    for size in [128, 4096, 8192] {
        assert!(heap.allocate(layout(size, 8)).is_err());
    }
    assert!(heap.allocate(small).is_ok());
}

#[test]
fn a_free_searches_every_free_block_of_its_size() {
    // The buddy of a block that is freed is looked for from the head of the list of its order. The
    // list's links lie in the blocks, so its length can be counted from the head: the last block
    // that was freed without merging.
    let memory = Memory::new(64 << 20);
    let mut heap = heap(&memory);
    let large = layout(8192, 8);
    let blocks: Vec<_> = core::iter::from_fn(|| heap.allocate(large).ok()).collect();
    assert_eq!(blocks.len(), 8192);
    let mut head = 0;
    for block in blocks.iter().step_by(2) {
        // SAFETY: Allocated above with this layout, and freed once.
        unsafe { heap.deallocate(*block, large) };
        head = *block;
    }
    let next = |block: usize| {
        // SAFETY: The block is free, so its first word is the buddy system's link.
        let link = unsafe { ptr::with_exposed_provenance::<usize>(block).read() };
        (link != 0).then_some(link)
    };
    let searched = core::iter::successors(Some(head), |block| next(*block)).count();
    assert_eq!(searched, 4096);
}

#[test]
fn sizes_are_rounded_up_to_powers_of_two() {
    let memory = Memory::new(1 << 20);
    let mut heap = heap(&memory);
    heap.allocate(layout(1, 1)).unwrap();
    assert_eq!(
        heap.used_bytes() - heap.buddy_allocator.stats_alloc_actual(),
        64
    );
    let before = heap.used_bytes();
    heap.allocate(layout(4097, 1)).unwrap();
    assert_eq!(heap.used_bytes() - before, 8192);
    // From the class's own smallest size to its block's.
    let waste: usize = (65..=4096)
        .map(|size: usize| size.next_power_of_two() - size)
        .sum();
    let served: usize = (65..=4096_usize).map(usize::next_power_of_two).sum();
    assert_eq!(waste * 100 / served, 24);
}

#[test]
fn a_write_after_free_chooses_an_allocation() {
    let memory = Memory::new(1 << 20);
    let mut heap = heap(&memory);
    let small = layout(64, 8);
    let chosen = memory.addr() + (1 << 19) + 24;
    let block = heap.allocate(small).unwrap();
    // SAFETY: Allocated above with this layout.
    unsafe { heap.deallocate(block, small) };
    // SAFETY: The memory is this test's. That the heap now owns the block is the point.
    unsafe { ptr::with_exposed_provenance_mut::<usize>(block).write(chosen) };
    assert_eq!(heap.allocate(small), Ok(block));
    assert_eq!(heap.allocate(small), Ok(chosen));
}

#[test]
fn a_double_free_hands_a_block_out_twice() {
    let memory = Memory::new(1 << 20);
    let mut heap = heap(&memory);
    let small = layout(64, 8);
    let block = heap.allocate(small).unwrap();
    // SAFETY: The first free is right. The second is not, and damages the free list only, which
    // nothing but the two allocations below uses.
    unsafe {
        heap.deallocate(block, small);
        heap.deallocate(block, small);
    }
    assert_eq!(heap.allocate(small), Ok(block));
    assert_eq!(heap.allocate(small), Ok(block));
}

#[test]
fn total_and_used_count_slab_memory_twice() {
    let memory = Memory::new(1 << 20);
    let mut heap = heap(&memory);
    heap.allocate(layout(64, 8)).unwrap();
    assert_eq!(heap.total_bytes(), (1 << 20) + SET_SIZE * 64);
    assert_eq!(heap.used_bytes(), 64 + SET_SIZE * 64);
}

#[test]
fn what_fits_depends_on_the_address() {
    let largest = |skew| {
        let memory = Memory::skewed(1 << 20, skew);
        let mut heap = heap(&memory);
        (12..=20)
            .rev()
            .find(|order| heap.allocate(layout(1 << order, 8)).is_ok())
    };
    assert_eq!(largest(0), Some(20));
    assert_eq!(largest(4096), Some(19));
}

#[test]
fn new_panics_on_bad_arguments() {
    // SAFETY: The arguments are bad, so no memory is used.
    assert!(catch_unwind(|| unsafe { Heap::new(4096, 100) }).is_err());
    // SAFETY: As above.
    assert!(catch_unwind(|| unsafe { Heap::new(4097, MIN_HEAP_SIZE) }).is_err());
}
