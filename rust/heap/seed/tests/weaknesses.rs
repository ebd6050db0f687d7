// SPDX-License-Identifier: GPL-2.0

//! One test for each weakness of the design. `docs/seed-weaknesses.md` lists the weaknesses with these tests.
//!
//! `hybrid::tests::unit::weaknesses` runs the same functions of `testing::weaknesses` on `hybrid`, and
//! expects other results.

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
        HostMemory,
        HostSeed,
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
    // `dealloc` searches for the buddy in the list of the block's size, from the head. The test follows the
    // links and counts the blocks of this list. The head is the last block that was freed without coalescing.
    let memory = HostMemory::new(64 << 20);
    let mut heap = heap(&memory);
    let large = layout(8192, 8);
    let blocks: Vec<_> = core::iter::from_fn(|| heap.allocate(large).ok()).collect();
    assert_eq!(blocks.len(), 8192);
    let mut head = 0;
    for block in blocks.iter().step_by(2) {
        // SAFETY: The block was allocated above with this layout, and is freed once.
        unsafe { heap.deallocate(*block, large) };
        head = *block;
    }
    let next = |block: usize| {
        // SAFETY: The block is free memory of the test, aligned to its size, so its first word is readable:
        // it is a link of the buddy system.
        let link = unsafe { ptr::with_exposed_provenance::<usize>(block).read() };
        (link != 0).then_some(link)
    };
    let searched = core::iter::successors(Some(head), |block| next(*block)).count();
    assert_eq!(searched, 4096);
}

#[test]
fn the_engine_is_not_quick_because_a_free_searches_a_list() {
    // The layers above free blocks of a quick engine with a spinlock held.
    let memory = HostMemory::new(MIN_HEAP_SIZE);
    assert!(!HostSeed::over(&memory).capabilities().quick);
}

#[test]
fn adjacent_regions_serve_no_request_across_their_boundary() {
    let memory = HostMemory::new(2 * MIN_HEAP_SIZE);
    let whole = layout(2 * MIN_HEAP_SIZE, 8);
    // SAFETY: Nothing but this test uses the memory, for one heap at a time.
    let mut in_one_piece = unsafe { Heap::try_new(memory.addr(), memory.bytes()) }.unwrap();
    assert_eq!(in_one_piece.allocate(whole), Ok(memory.addr()));

    // SAFETY: Nothing but this test uses the memory, and the first heap is not used any more.
    let mut heap = unsafe { Heap::try_new(memory.addr(), MIN_HEAP_SIZE) }.unwrap();
    // SAFETY: Nothing but this test uses the memory, and the heap has only the first half of it.
    unsafe { heap.add_memory(memory.addr() + MIN_HEAP_SIZE, MIN_HEAP_SIZE) };
    assert_eq!(heap.available_bytes(), 2 * MIN_HEAP_SIZE);
    assert!(heap.allocate(whole).is_err());
    // A free searches for the buddy by address, and finds it in the other region.
    let half = layout(MIN_HEAP_SIZE, 8);
    let block = heap.allocate(half).unwrap();
    // SAFETY: The block was allocated above with this layout, and is freed once.
    unsafe { heap.deallocate(block, half) };
    assert_eq!(heap.allocate(whole), Ok(memory.addr()));
}

#[test]
fn sizes_are_rounded_up_to_powers_of_two() {
    assert_eq!([1, 4097, 8193].map(ask::taken::<Heap>), [64, 8192, 16_384]);
    // These are all sizes that a slab serves, except for the sizes of the smallest slab.
    assert_eq!(ask::waste::<Heap>(65..=4096), 24);
    assert_eq!(ask::waste::<Heap>((4097..=65_536).step_by(61)), 24);
}

#[test]
fn a_write_after_free_chooses_an_allocation() {
    assert!(ask::write_after_free_chooses::<Heap>());
}

#[test]
fn a_double_free_allocates_a_block_twice() {
    assert_eq!(ask::double_free::<Heap>(), (Ok(()), true));
}

#[test]
fn total_and_used_count_slab_memory_twice() {
    let set = SET_SIZE * 64;
    assert_eq!(ask::total_and_used::<Heap>(), ((1 << 20) + set, 64 + set));
}

#[test]
fn the_largest_block_depends_on_the_address() {
    assert_eq!(ask::largest::<Heap>(0), Some(20));
    assert_eq!(ask::largest::<Heap>(4096), Some(19));
}

#[test]
fn new_panics_on_bad_arguments() {
    assert!(ask::bad_memory_panics::<Heap>());
}

#[test]
fn the_page_for_teachers_names_exactly_these_tests() {
    let page = include_str!("../../../../docs/seed-weaknesses.md");
    let last_cell = |line: &'static str| {
        let cells = line.strip_prefix("| ")?.strip_suffix("` |")?;
        let (_, test) = cells.rsplit_once('`')?;
        cells.ends_with(test).then_some(test)
    };
    let rows = page.lines().take_while(|line| !line.starts_with("## "));
    let mut named: Vec<_> = rows.filter_map(last_cell).collect();
    let tests = include_str!("weaknesses.rs").split("#[test]\nfn ").skip(1);
    let mut tests: Vec<_> = tests.filter_map(|test| test.split('(').next()).collect();
    tests.retain(|test| *test != "the_page_for_teachers_names_exactly_these_tests");
    named.sort_unstable();
    tests.sort_unstable();
    assert_eq!(named, tests);
}
