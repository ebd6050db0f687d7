// SPDX-License-Identifier: GPL-2.0

//! Bad frees. The engine must refuse each with the broken rule, and change nothing.

use super::{
    BareHeap,
    at, //
};
use crate::{
    Block, Cost, Engine, Offset, PAGE_BYTES,
    engine::BadFree,
    size_class::Class,
    testing::{
        HostMemory,
        LockedHybrid,
        TestEngine,
        layout,
        sound,
        totals, //
    },
};

/// Makes a bad free, and returns the error. Panics if the free changes a counter or breaks a rule.
#[track_caller]
fn refused(heap: &mut BareHeap, block: Offset, (size, align): (usize, usize)) -> BadFree {
    let before = heap.figures();
    let error = heap.free(block, layout(size, align)).unwrap_err();
    assert_eq!(heap.figures(), before);
    heap.sound();
    error
}

/// The first byte of a slab of 64 bytes, of which only the first object is live.
const SLAB_64: usize = 15 << 12;

/// The first byte of a slab of 80 bytes, of which only the first object is live.
const SLAB_80: usize = 14 << 12;

/// The first byte of a live block of two pages.
const LARGE: usize = 12 << 12;

/// Constructs a heap of 16 pages with the three blocks at the offsets above. Another block of two pages was
/// allocated and freed.
fn heap() -> BareHeap {
    let mut heap = BareHeap::new(&[16]);
    for (size, byte) in [
        (64, SLAB_64),
        (80, SLAB_80),
        (8192, LARGE),
        (8192, 8 << 12), //
    ] {
        assert_eq!(heap.allocate(layout(size, 8)).unwrap().0, at(byte));
    }
    heap.free(at(8 << 12), layout(8192, 8)).unwrap();
    heap
}

#[test]
fn an_offset_outside_of_the_pool_is_foreign() {
    let mut heap = heap();
    for size in [64, 3072, 8192] {
        for block in [
            at(16 << 12),
            at(1 << 40),
            Offset::new(1, 0),
            Offset::new(15, 64),
            Offset::new(u16::MAX, 0),
        ] {
            assert_eq!(refused(&mut heap, block, (size, 8)), BadFree::Foreign);
        }
    }
}

#[test]
fn an_offset_inside_of_an_object_is_interior() {
    let mut heap = heap();
    for byte in [1, 8, 63, 65, 4095] {
        let inside = at(SLAB_64 + byte);
        assert_eq!(refused(&mut heap, inside, (64, 8)), BadFree::Interior);
    }
    let inside = at(SLAB_80 + 64);
    assert_eq!(refused(&mut heap, inside, (80, 8)), BadFree::Interior);
    // After the 51 objects of 80 bytes the slab has 16 unused bytes, in which no object begins.
    let rest = at(SLAB_80 + 51 * 80);
    assert_eq!(refused(&mut heap, rest, (80, 8)), BadFree::Interior);
}

#[test]
fn an_offset_inside_of_a_large_block_is_interior() {
    let mut heap = heap();
    for (byte, size) in [(8, 8192), (4096, 8192), (4096, 64)] {
        let inside = at(LARGE + byte);
        assert_eq!(refused(&mut heap, inside, (size, 8)), BadFree::Interior);
    }
}

#[test]
fn a_free_with_another_size_is_a_wrong_size() {
    let mut heap = heap();
    for (byte, size, align) in [
        (SLAB_64, 65, 8),
        (SLAB_64, 56, 8),
        (SLAB_64, 8, 128),
        (SLAB_64, 4096, 8),
        (SLAB_64, 3072, 8),
        (SLAB_64, 4097, 8),
        (SLAB_64, 64, 8192),
        (SLAB_80, 64, 8),
        (LARGE, 64, 8),
        (LARGE, 3072, 8),
        (LARGE, 12_288, 8),
    ] {
        let error = refused(&mut heap, at(byte), (size, align));
        assert_eq!(error, BadFree::WrongSize, "{size} at {byte}");
    }
}

#[test]
fn a_free_of_an_object_that_was_never_allocated_is_refused() {
    let mut heap = heap();
    for byte in [64, 128, 4032] {
        let object = at(SLAB_64 + byte);
        assert_eq!(refused(&mut heap, object, (64, 8)), BadFree::NotLive);
    }
}

#[test]
fn a_second_free_of_an_object_is_refused_while_its_slab_exists() {
    let mut heap = heap();
    let (first, second) = (at(SLAB_64), at(SLAB_64 + 64));
    assert_eq!(heap.allocate(layout(64, 8)).unwrap().0, second);
    heap.free(first, layout(64, 8)).unwrap();
    assert_eq!(refused(&mut heap, first, (64, 8)), BadFree::NotLive);
    // The slab is empty and cached now.
    heap.free(second, layout(64, 8)).unwrap();
    assert_eq!(refused(&mut heap, second, (64, 8)), BadFree::NotLive);
}

#[test]
fn a_second_free_of_an_object_is_refused_after_its_slab_was_returned() {
    for class in Class::all() {
        let mut heap = BareHeap::new(&[16]);
        let (size, layout) = ((class.bytes(), 1), layout(class.bytes(), 1));
        let blocks = heap.fill(layout);
        for block in &blocks {
            heap.free(*block, layout).unwrap();
        }
        for block in blocks {
            assert_eq!(refused(&mut heap, block, size), BadFree::NotLive);
        }
    }
}

#[test]
fn a_second_free_of_pages_is_refused_after_any_coalescing() {
    let mut heap = BareHeap::new(&[16]);
    let blocks = heap.fill(layout(8192, 8));
    assert_eq!(blocks.len(), 8);
    for block in &blocks {
        heap.free(*block, layout(8192, 8)).unwrap();
        for freed in blocks.iter().filter(|freed| *freed <= block) {
            for size in [8192, 64, 3072] {
                assert_eq!(refused(&mut heap, *freed, (size, 8)), BadFree::NotLive);
            }
        }
    }
}

#[test]
fn a_bad_free_changes_no_total() {
    let memory = HostMemory::new(1 << 16);
    let engine = LockedHybrid::over(&memory);
    let mut cost = Cost::default();
    let block = engine.allocate(layout(100, 4), &mut cost).unwrap();
    let before = totals(&engine);
    let mut refused = |skip: usize, size| {
        let address = block.start.as_ptr().wrapping_add(skip);
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
    assert_eq!(refused(112, 100), BadFree::NotLive);
    assert_eq!(refused(0, 200), BadFree::WrongSize);
    assert_eq!(refused(0, 9000), BadFree::WrongSize);
    assert_eq!(refused(1 << 16, 100), BadFree::Foreign);
    assert_eq!(refused(1 << 30, 9000), BadFree::Foreign);
}

#[test]
fn a_size_that_differs_by_16_tib_is_wrong() {
    // A page descriptor has 32 bits for the number of pages.
    let memory = HostMemory::new(1 << 20);
    let engine = LockedHybrid::over(&memory);
    let mut cost = Cost::default();
    let block = engine
        .allocate(layout(3 * PAGE_BYTES, 8), &mut cost)
        .unwrap();
    let before = totals(&engine);
    let wrong = layout((1 << 32 | 3) * PAGE_BYTES, 8);
    // SAFETY: The call breaks the contract on purpose, with a layout that is not the layout of the block.
    // Without magazines the engine refuses the free under the lock, and changes nothing.
    let freed = unsafe { engine.free(block, wrong, &mut cost) };
    assert_eq!(freed, Err(BadFree::WrongSize));
    // SAFETY: The call breaks the contract on purpose, with a layout that is not the layout of the block.
    // Without magazines the engine refuses the resize under the lock, and changes nothing.
    assert!(!unsafe { engine.resize(block, wrong, layout(PAGE_BYTES + 1, 8), &mut cost) });
    sound(&engine);
    assert_eq!(totals(&engine), before);
}
