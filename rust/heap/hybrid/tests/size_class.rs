// SPDX-License-Identifier: GPL-2.0

//! Examples of size classes.

use core::alloc::Layout;
use std::vec::Vec;

use crate::{
    PAGE_BYTES,
    size_class::{
        CLASSES,
        Class,
        MAGAZINE_KINDS,
        MagazineKind, //
    },
};

fn of(size: usize, align: usize) -> Option<Class> {
    Class::of(&Layout::from_size_align(size, align).unwrap())
}

#[test]
fn classes_are_multiples_of_8_and_four_to_a_doubling() {
    let bytes: Vec<_> = Class::all().map(Class::bytes).collect();
    let expected = [
        8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512,
        640, 768, 896, 1024, 1280, 1536, 1792, 2048, 2560, 3072, 3584, 4096,
    ];
    assert_eq!(bytes, expected);
}

#[test]
fn a_request_gets_the_smallest_class_that_fits_and_is_aligned() {
    for align in (0..=13).map(|order| 1 << order) {
        for size in 1..=5000 {
            let fits = |class: &Class| class.bytes() >= size && class.bytes() % align == 0;
            assert_eq!(
                of(size, align),
                Class::all().find(fits),
                "{size} aligned to {align}"
            );
        }
    }
}

#[test]
fn slabs_waste_an_eighth_at_most_and_have_few_pages() {
    for class in Class::all() {
        let bytes = class.pages() * PAGE_BYTES;
        let waste = bytes - class.objects() * class.bytes();
        assert!(waste * 8 <= bytes && waste < class.bytes().max(PAGE_BYTES / 4));
        assert!(class.pages() <= 3);
    }
}

#[test]
fn every_byte_of_a_slab_is_told_from_the_beginnings_of_objects() {
    for class in Class::all() {
        for byte in 0..class.pages() * PAGE_BYTES {
            let object = byte / class.bytes();
            let begins = byte % class.bytes() == 0 && object < class.objects();
            assert_eq!(class.object(byte), begins.then_some(object));
            assert_eq!(class.begins(byte), begins);
        }
    }
}

#[test]
fn large_sizes_have_no_class() {
    for size in [4097, 1 << 32, (1 << 32) + 64, isize::MAX as usize - 63] {
        for align in [1, 8, 64] {
            assert_eq!(of(size, align), None);
        }
    }
}

#[test]
fn class_numbers_end_at_32() {
    let classes: Vec<_> = (0..=u8::MAX).filter_map(Class::new).collect();
    assert_eq!(classes, Class::all().collect::<Vec<_>>());
    assert_eq!(classes.len(), CLASSES);
}

#[test]
fn magazines_are_for_classes_and_for_2_to_16_pages() {
    for align in (0..=13).map(|order| 1 << order) {
        for size in 1..=18 * PAGE_BYTES {
            let layout = Layout::from_size_align(size, align).unwrap();
            let kind = MagazineKind::of(&layout);
            assert_eq!(kind.and_then(MagazineKind::class), Class::of(&layout));
            let pages = size.div_ceil(PAGE_BYTES);
            let has_pages =
                Class::of(&layout).is_none() && align <= PAGE_BYTES && (2..=16).contains(&pages);
            let expected = has_pages.then_some(pages * PAGE_BYTES);
            let whole = kind.filter(|kind| kind.class().is_none());
            assert_eq!(whole.map(MagazineKind::bytes), expected);
            assert_eq!(kind.and_then(|kind| MagazineKind::of(&kind.layout())), kind);
        }
    }
    assert_eq!(MagazineKind::all().count(), MAGAZINE_KINDS);
}
