// SPDX-License-Identifier: GPL-2.0

//! What is wrong with the document's design, one test for each.
//!
//! `hybrid::tests::weaknesses` asks the same questions and gets other answers.

use super::{
    heap,
    layout, //
};
use crate::{
    Engine,
    seed::{
        Heap,
        MIN_HEAP_SIZE,
        SET_SIZE, //
    },
    testing::{
        HostSeed,
        Memory,
        TestEngine,
        weaknesses as ask, //
    },
};
use core::ptr;
use std::vec::Vec;

#[test]
fn a_small_block_with_a_large_alignment_is_misaligned() {
    assert_eq!(ask::misaligned::<Heap>(), 32);
}

#[test]
fn a_small_heap_cannot_serve_its_larger_classes() {
    assert_eq!(ask::unserved::<Heap>(32 << 10), [1024, 2048, 4096]);
    assert_eq!(ask::unserved::<Heap>(64 << 10), [2048, 4096]);
    assert_eq!(ask::unserved::<Heap>(128 << 10), [4096]);
}

#[test]
fn freed_slabs_serve_no_other_size() {
    assert_eq!(ask::served_by_freed_slabs::<Heap>(), [64]);
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
fn a_release_that_searches_a_list_is_not_called_quick() {
    // The layers above call the release of a quick engine with a spinlock held.
    let memory = Memory::new(MIN_HEAP_SIZE);
    assert!(!HostSeed::over(&memory).capabilities().quick);
}

#[test]
fn adjacent_regions_serve_nothing_over_their_seam() {
    let memory = Memory::new(2 * MIN_HEAP_SIZE);
    let whole = layout(2 * MIN_HEAP_SIZE, 8);
    // SAFETY: The memory is this test's, and is used for one heap at a time.
    let mut in_one_piece = unsafe { Heap::try_new(memory.addr(), memory.bytes()) }.unwrap();
    assert_eq!(in_one_piece.allocate(whole), Ok(memory.addr()));

    // SAFETY: As above.
    let mut heap = unsafe { Heap::try_new(memory.addr(), MIN_HEAP_SIZE) }.unwrap();
    // SAFETY: As above; the second half is not yet the heap's.
    unsafe { heap.add_memory(memory.addr() + MIN_HEAP_SIZE, MIN_HEAP_SIZE) };
    assert_eq!(heap.available_bytes(), 2 * MIN_HEAP_SIZE);
    assert!(heap.allocate(whole).is_err());
    // A free looks for the buddy by address, and finds it in the other region.
    let half = layout(MIN_HEAP_SIZE, 8);
    let block = heap.allocate(half).unwrap();
    // SAFETY: Allocated just above with this layout.
    unsafe { heap.deallocate(block, half) };
    assert_eq!(heap.allocate(whole), Ok(memory.addr()));
}

#[test]
fn sizes_are_rounded_up_to_powers_of_two() {
    assert_eq!([1, 4097, 8193].map(ask::taken::<Heap>), [64, 8192, 16_384]);
    // From the smallest size that is not the smallest class's, to the largest class's.
    assert_eq!(ask::waste::<Heap>(65..=4096), 24);
    assert_eq!(ask::waste::<Heap>((4097..=65_536).step_by(61)), 24);
}

#[test]
fn a_write_after_free_chooses_an_allocation() {
    assert!(ask::write_after_free_chooses::<Heap>());
}

#[test]
fn a_double_free_hands_a_block_out_twice() {
    assert_eq!(ask::double_free::<Heap>(), (Ok(()), true));
}

#[test]
fn total_and_used_count_slab_memory_twice() {
    let set = SET_SIZE * 64;
    assert_eq!(ask::total_and_used::<Heap>(), ((1 << 20) + set, 64 + set));
}

#[test]
fn what_fits_depends_on_the_address() {
    assert_eq!(ask::largest::<Heap>(0), Some(20));
    assert_eq!(ask::largest::<Heap>(4096), Some(19));
}

#[test]
fn new_panics_on_bad_arguments() {
    assert!(ask::bad_memory_panics::<Heap>());
}
