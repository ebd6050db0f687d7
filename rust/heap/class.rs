// SPDX-License-Identifier: GPL-2.0

//! Size classes.
//!
//! Maps a request to the class of objects that serves it. Larger requests belong to the buddy
//! system.
//!
//! Classes are multiples of 8 up to 64 and four to a doubling from there to 4096, as in jemalloc
//! and the kernel's `kmalloc` with its odd sizes taken further: a request wastes at most a fifth of
//! its object, a tenth on average, where powers of two waste up to a half and a quarter.

use core::alloc::Layout;

/// log2 of a page's bytes.
pub const PAGE_SHIFT: u32 = 12;

/// The bytes of a page.
pub const PAGE_BYTES: usize = 1 << PAGE_SHIFT;

/// The number of classes.
pub const CLASSES: usize = 32;

/// The bytes of the largest class's objects.
pub const LARGEST: usize = PAGE_BYTES;

/// Classes that are multiples of 8.
const LINEAR: usize = 8;

/// A size class.
///
/// # Invariants
///
/// The number is below [`CLASSES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Class(u8);

/// What there is to know of a class, computed once.
#[derive(Clone, Copy)]
struct Shape {
    bytes: u16,
    pages: u8,
    objects: u16,
    /// ⌈2³² / bytes⌉: a byte in a slab times this, shifted, is the number of its object.
    reciprocal: u32,
}

/// Every class's shape.
const SHAPES: [Shape; CLASSES] = {
    let mut shapes = [Shape {
        bytes: 0,
        pages: 0,
        objects: 0,
        reciprocal: 0,
    }; CLASSES];
    let mut class = 0;
    while class < CLASSES {
        shapes[class] = Shape::new(class);
        class += 1;
    }
    shapes
};

impl Shape {
    const fn new(class: usize) -> Self {
        let bytes = if class < LINEAR {
            8 * (class + 1)
        } else {
            // The group from 2ⁿ to 2ⁿ⁺¹ is cut into four.
            let (group, quarter) = ((class - LINEAR) / 4, (class - LINEAR) % 4);
            (64 << group) + (quarter + 1) * (16 << group)
        };
        // The fewest pages that waste at most an eighth.
        let mut pages = 1;
        while (pages * PAGE_BYTES) % bytes * 8 > pages * PAGE_BYTES {
            pages += 1;
        }
        Self {
            bytes: bytes as u16,
            pages: pages as u8,
            objects: (pages * PAGE_BYTES / bytes) as u16,
            reciprocal: (1_u64 << 32).div_ceil(bytes as u64) as u32,
        }
    }
}

impl Class {
    /// Returns the class that serves a layout, or `None` if that needs pages of its own.
    #[inline]
    #[must_use]
    pub const fn of(layout: &Layout) -> Option<Self> {
        // Rounded up to a multiple of its alignment, a size is served by a class whose size is one
        // too: up to 64 all multiples of 8 are classes, above, of alignments larger than a quarter
        // of the group's start, all multiples in the group.
        let bytes = layout.pad_to_align().size();
        if bytes > LARGEST {
            return None;
        }
        // INVARIANT: 64 bytes are class 7, 4096 are class 31.
        Some(Self(if bytes <= 64 {
            (bytes.saturating_sub(1) / 8) as u8
        } else {
            let last = bytes - 1;
            let log2 = last.ilog2();
            let quarter = (last >> (log2 - 2)) & 3;
            (LINEAR + 4 * (log2 as usize - 6) + quarter) as u8
        }))
    }

    /// Returns the class with a number.
    #[must_use]
    pub const fn new(number: u8) -> Option<Self> {
        // INVARIANT: Checked here.
        if (number as usize) < CLASSES {
            Some(Self(number))
        } else {
            None
        }
    }

    /// Returns all classes, smallest first.
    pub fn all() -> impl Iterator<Item = Self> {
        // INVARIANT: The range ends below `CLASSES`.
        (0..CLASSES as u8).map(Self)
    }

    /// Returns the number of the class.
    #[inline]
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    #[inline]
    const fn shape(self) -> Shape {
        SHAPES[self.0 as usize & (CLASSES - 1)]
    }

    /// Returns the bytes of an object.
    #[inline]
    #[must_use]
    pub const fn bytes(self) -> usize {
        self.shape().bytes as usize
    }

    /// Returns the pages of a slab.
    #[inline]
    #[must_use]
    pub const fn pages(self) -> usize {
        self.shape().pages as usize
    }

    /// Returns the objects of a slab.
    #[inline]
    #[must_use]
    pub const fn objects(self) -> usize {
        self.shape().objects as usize
    }

    /// Returns which object of a slab begins at this byte of it, if one does.
    #[inline]
    #[must_use]
    pub const fn object(self, byte: usize) -> Option<usize> {
        let shape = self.shape();
        // Exact for all bytes of a slab, which the tests try.
        let object = ((byte as u64 * shape.reciprocal as u64) >> 32) as usize;
        if object < shape.objects as usize && object * shape.bytes as usize == byte {
            Some(object)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn of(size: usize, align: usize) -> Option<Class> {
        Class::of(&Layout::from_size_align(size, align).unwrap())
    }

    #[test]
    fn classes_are_multiples_of_8_and_four_to_a_doubling() {
        let bytes: Vec<_> = Class::all().map(Class::bytes).collect();
        let expected = [
            8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448,
            512, 640, 768, 896, 1024, 1280, 1536, 1792, 2048, 2560, 3072, 3584, 4096,
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
            }
        }
    }
}
