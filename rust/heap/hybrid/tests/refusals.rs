// SPDX-License-Identifier: GPL-2.0

//! Bad frees: each is refused by its name, and nothing changes.

use super::{
    Bare,
    at, //
};
use crate::{
    Block, Cost, Engine, Offset,
    class::Class,
    engine::BadFree,
    testing::{
        LockedHybrid,
        Memory,
        TestEngine,
        layout,
        sound,
        totals, //
    },
};

/// Frees what must not be freed, and returns what the heap says to it.
#[track_caller]
fn refused(heap: &mut Bare, block: Offset, (size, align): (usize, usize)) -> BadFree {
    let before = heap.figures();
    let said = heap.release(block, layout(size, align)).unwrap_err();
    assert_eq!(heap.figures(), before);
    heap.sound();
    said
}

/// A slab of 64 bytes with one object out, the first.
const SLAB_64: usize = 15 << 12;

/// As [`SLAB_64`], of 80 bytes.
const SLAB_80: usize = 14 << 12;

/// A block of two pages.
const LARGE: usize = 12 << 12;

/// A heap of 16 pages, with what is named above. Two pages more were out and given back.
fn heap() -> Bare {
    let mut heap = Bare::new(&[16]);
    for (size, byte) in [
        (64, SLAB_64),
        (80, SLAB_80),
        (8192, LARGE),
        (8192, 8 << 12), //
    ] {
        assert_eq!(heap.allocate(layout(size, 8)).unwrap().0, at(byte));
    }
    heap.release(at(8 << 12), layout(8192, 8)).unwrap();
    heap
}

#[test]
fn a_place_outside_of_the_pool_is_foreign() {
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
fn a_place_inside_of_an_object_is_interior() {
    let mut heap = heap();
    for byte in [1, 8, 63, 65, 4095] {
        let inside = at(SLAB_64 + byte);
        assert_eq!(refused(&mut heap, inside, (64, 8)), BadFree::Interior);
    }
    let inside = at(SLAB_80 + 64);
    assert_eq!(refused(&mut heap, inside, (80, 8)), BadFree::Interior);
    // 51 objects of 80 bytes leave 16 bytes, in which none begins.
    let rest = at(SLAB_80 + 51 * 80);
    assert_eq!(refused(&mut heap, rest, (80, 8)), BadFree::Interior);
}

#[test]
fn a_place_inside_of_pages_is_interior() {
    let mut heap = heap();
    for (byte, size) in [(8, 8192), (4096, 8192), (4096, 64)] {
        let inside = at(LARGE + byte);
        assert_eq!(refused(&mut heap, inside, (size, 8)), BadFree::Interior);
    }
}

#[test]
fn another_size_than_the_blocks_is_wrong() {
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
        let said = refused(&mut heap, at(byte), (size, align));
        assert_eq!(said, BadFree::WrongSize, "{size} at {byte}");
    }
}

#[test]
fn an_object_that_is_not_out_is_named() {
    let mut heap = heap();
    for byte in [64, 128, 4032] {
        let object = at(SLAB_64 + byte);
        assert_eq!(refused(&mut heap, object, (64, 8)), BadFree::NotOut);
    }
}

#[test]
fn a_second_free_of_an_object_is_named_as_long_as_its_slab_is_there() {
    let mut heap = heap();
    let (first, second) = (at(SLAB_64), at(SLAB_64 + 64));
    assert_eq!(heap.allocate(layout(64, 8)).unwrap().0, second);
    heap.release(first, layout(64, 8)).unwrap();
    assert_eq!(refused(&mut heap, first, (64, 8)), BadFree::NotOut);
    // Also when the slab is empty, and kept.
    heap.release(second, layout(64, 8)).unwrap();
    assert_eq!(refused(&mut heap, second, (64, 8)), BadFree::NotOut);
}

#[test]
fn a_second_free_is_named_when_the_pages_went_back_too() {
    for class in Class::all() {
        let mut heap = Bare::new(&[16]);
        let (size, layout) = ((class.bytes(), 1), layout(class.bytes(), 1));
        let out = heap.fill(layout);
        for block in &out {
            heap.release(*block, layout).unwrap();
        }
        for block in out {
            assert_eq!(refused(&mut heap, block, size), BadFree::NotOut);
        }
    }
}

#[test]
fn a_second_free_of_pages_is_named_whatever_they_merged_with() {
    let mut heap = Bare::new(&[16]);
    let out = heap.fill(layout(8192, 8));
    assert_eq!(out.len(), 8);
    for block in &out {
        heap.release(*block, layout(8192, 8)).unwrap();
        for freed in out.iter().filter(|freed| *freed <= block) {
            for size in [8192, 64, 3072] {
                assert_eq!(refused(&mut heap, *freed, (size, 8)), BadFree::NotOut);
            }
        }
    }
}

#[test]
fn a_bad_free_changes_no_total() {
    let memory = Memory::new(1 << 16);
    let engine = LockedHybrid::over(&memory);
    let mut cost = Cost::default();
    let block = engine.allocate(layout(100, 4), &mut cost).unwrap();
    let before = totals(&engine);
    let mut refused = |skip: usize, size| {
        let address = block.start.as_ptr().wrapping_add(skip);
        let wrong = Block {
            start: core::ptr::NonNull::new(address).unwrap(),
            offset: None,
        };
        // SAFETY: What is wrong with the free, the engine sees, and then does nothing.
        let said = unsafe { engine.release(wrong, layout(size, 4), &mut cost) };
        sound(&engine);
        assert_eq!(totals(&engine), before);
        said.unwrap_err()
    };
    assert_eq!(refused(8, 100), BadFree::Interior);
    assert_eq!(refused(112, 100), BadFree::NotOut);
    assert_eq!(refused(0, 200), BadFree::WrongSize);
    assert_eq!(refused(0, 9000), BadFree::WrongSize);
    assert_eq!(refused(1 << 16, 100), BadFree::Foreign);
    assert_eq!(refused(1 << 30, 9000), BadFree::Foreign);
}
