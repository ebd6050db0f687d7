// SPDX-License-Identifier: GPL-2.0

//! Size classes.
//!
//! Maps a request to the class of objects that serves it. Larger requests belong to the buddy
//! system.
//!
//! Classes are multiples of 8 up to 64 and four to a doubling from there to 4096, as in jemalloc
//! and the kernel's `kmalloc` with its odd sizes taken further: above 64 bytes, a request wastes at
//! most a fifth of its object, a tenth on average, where powers of two waste up to a half and a quarter.

use core::{
    alloc::Layout,
    hint::assert_unchecked, //
};

use crate::nospec;

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
/// It is kept as its *code*, [`Class::STRIDE`] times its number and one: pages have it in their
/// records, where 0 is none, and it is at once the offset of what there is to know of the class.
///
/// # Invariants
///
/// The code is a multiple of [`Class::STRIDE`], from that to [`CLASSES`] times that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Class(usize);

/// Every class's size is a multiple of this number of bytes, and so are its objects' addresses.
const GRAIN: usize = 8;

/// How many numbers of grains have a class.
const GRAINS: usize = LARGEST / GRAIN + 1;

/// The code for each number of grains, computed once. Zeros follow, up to a power of two, so that a
/// processor that runs ahead of the comparison with [`GRAINS`] finds nothing else.
static BY_GRAINS: [u16; GRAINS.next_power_of_two()] = {
    let mut codes = [0; GRAINS.next_power_of_two()];
    let (mut grains, mut class) = (0, 0);
    while grains < GRAINS {
        if grains * GRAIN > Shape::new(class).bytes as usize {
            class += 1;
        }
        codes[grains] = Class::code_of(class) as u16;
        grains += 1;
    }
    codes
};

/// Returns the grains of a layout's size, rounded up, if a class has so many.
#[inline(always)]
const fn grains(layout: &Layout) -> Option<usize> {
    // A layout's size does not overflow here.
    let grains = layout.size().wrapping_add(GRAIN - 1) / GRAIN;
    if grains < GRAINS { Some(grains) } else { None }
}

/// The properties of a class, computed at compile time.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
struct Shape {
    /// The reciprocal, in the upper half.
    reciprocal_high: u64,
    /// The bound of [`Class::begins`], in the upper half: an object begins at a byte of a slab if and
    /// only if the lower half of byte · reciprocal is below it.
    ///
    /// With e = bytes · reciprocal − 2³², that lower half is number · e where an object begins, and at
    /// least the reciprocal at other bytes (Lemire, Kaser and Kurz, Faster remainder by direct
    /// computation, 2019). The beginnings behind the last object have larger numbers; there are none
    /// where e is 0.
    beginning_high: u64,
    /// ⌈2³² / bytes⌉: a byte in a slab times this, shifted, is the number of its object.
    reciprocal: u32,
    bytes: u16,
    objects: u16,
    pages: u8,
}

/// Every class's shape, behind one that is no class's.
static SHAPES: [Shape; CLASSES + 1] = {
    let mut shapes = [Shape {
        reciprocal_high: 0,
        beginning_high: 0,
        reciprocal: 0,
        bytes: 0,
        objects: 0,
        pages: 0,
    }; CLASSES + 1];
    let mut class = 0;
    while class < CLASSES {
        shapes[class + 1] = Shape::new(class);
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
        let objects = pages * PAGE_BYTES / bytes;
        let reciprocal = (1_u64 << 32).div_ceil(bytes as u64);
        let error = bytes as u64 * reciprocal - (1 << 32);
        let beginning = if error == 0 {
            1
        } else {
            objects as u64 * error
        };
        Self {
            reciprocal_high: reciprocal << 32,
            beginning_high: beginning << 32,
            reciprocal: reciprocal as u32,
            bytes: bytes as u16,
            objects: objects as u16,
            pages: pages as u8,
        }
    }
}

impl Class {
    /// The bytes of a row in the table of classes: a code is the offset of the class's row.
    pub const STRIDE: usize = size_of::<Shape>();

    /// Returns the class that serves a layout, or `None` if that needs pages of its own.
    ///
    /// The size may be one that a program chose.
    #[inline]
    #[must_use]
    pub fn of(layout: &Layout) -> Option<Self> {
        // Rounded up to a multiple of its alignment, a size is served by a class whose size is one
        // too: up to 64 all multiples of 8 are classes, above, of alignments larger than a quarter
        // of the group's start, all multiples in the group. All sizes are multiples of 8.
        if layout.align() <= GRAIN {
            Self::of_chosen_size(layout)
        } else {
            Self::of_aligned(layout)
        }
    }

    /// As [`Class::of_size`], for a size that a program chose.
    #[inline]
    fn of_chosen_size(layout: &Layout) -> Option<Self> {
        let grains = grains(layout)?;
        // INVARIANT: The table has the codes of classes.
        Some(Self(*nospec::entry(&BY_GRAINS, grains) as usize))
    }

    /// Returns the class that serves a layout's size, whatever its alignment.
    ///
    /// The size is that of a block, so it was compared with the sizes of classes before.
    #[inline]
    #[must_use]
    pub const fn of_size(layout: &Layout) -> Option<Self> {
        match grains(layout) {
            // INVARIANT: The table has the codes of classes.
            Some(grains) => Some(Self(BY_GRAINS[grains] as usize)),
            None => None,
        }
    }

    /// As [`Class::of`], for alignments of more than a grain.
    #[cold]
    fn of_aligned(layout: &Layout) -> Option<Self> {
        Self::of_chosen_size(&layout.pad_to_align())
    }

    /// Returns the class with a number.
    #[must_use]
    pub const fn new(number: u8) -> Option<Self> {
        // INVARIANT: Checked here.
        if (number as usize) < CLASSES {
            Some(Self(Self::code_of(number as usize)))
        } else {
            None
        }
    }

    /// Returns all classes, smallest first.
    pub fn all() -> impl Iterator<Item = Self> {
        // INVARIANT: The range ends below `CLASSES`.
        (0..CLASSES).map(|number| Self(Self::code_of(number)))
    }

    /// Returns the number of the class.
    #[inline]
    #[must_use]
    pub const fn number(self) -> u8 {
        self.index() as u8
    }

    /// Returns the number as an index, which is known to be in the bounds of any array of classes.
    #[inline]
    #[must_use]
    pub const fn index(self) -> usize {
        // SAFETY: By the type invariant.
        unsafe { assert_unchecked(self.0 % Self::STRIDE == 0) };
        let number = (self.0 / Self::STRIDE).wrapping_sub(1);
        // SAFETY: By the type invariant.
        unsafe { assert_unchecked(number < CLASSES) };
        number
    }

    /// Returns the code of the class with a number.
    const fn code_of(number: usize) -> usize {
        Self::STRIDE * (number + 1)
    }

    /// Returns the code.
    #[inline]
    #[must_use]
    pub const fn code(self) -> u16 {
        self.0 as u16
    }

    /// Returns the class that has a code, or `None` where that is none.
    #[inline]
    #[must_use]
    pub const fn of_code(code: u16) -> Option<Self> {
        let code = code as usize;
        // INVARIANT: Checked here.
        if code % Self::STRIDE == 0 && Self::STRIDE <= code && code <= Self::STRIDE * CLASSES {
            Some(Self(code))
        } else {
            None
        }
    }

    #[inline]
    const fn shape(self) -> &'static Shape {
        // Not by an index, which would be the code divided and multiplied again.
        //
        // SAFETY: By the type invariant it is the offset of one of them.
        unsafe { &*SHAPES.as_ptr().byte_add(self.0) }
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

    /// Returns the phase of a page for [`Class::begins`], from the byte of the region at which the page's
    /// slab begins.
    #[inline]
    #[must_use]
    pub const fn phase(self, slab_byte: usize) -> u32 {
        (slab_byte as u32)
            .wrapping_mul(self.shape().reciprocal)
            .wrapping_neg()
    }

    /// Says whether an object begins at a byte of the region, in a page whose phase is the upper half
    /// of `phase`. The lower half may be anything.
    #[inline]
    #[must_use]
    pub const fn begins(self, byte: usize, phase: u64) -> bool {
        let shape = self.shape();
        // The lower half of the product is 0, so nothing is carried from there.
        let product = (byte as u64).wrapping_mul(shape.reciprocal_high);
        product.wrapping_add(phase) < shape.beginning_high
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
                for slab in [0, 5 << PAGE_SHIFT, (4 << 30) - (3 << PAGE_SHIFT)] {
                    for rest in [0, u64::from(u32::MAX)] {
                        let phase = u64::from(class.phase(slab)) << 32 | rest;
                        assert_eq!(class.begins(slab + byte, phase), begins);
                    }
                }
            }
        }
    }

    #[test]
    fn sizes_alone_are_served_as_if_aligned_to_8() {
        let large = [1 << 32, (1 << 32) + 64, isize::MAX as usize - 63];
        for size in (0..=5000).chain(large) {
            for align in [1, 8, 64] {
                let layout = Layout::from_size_align(size, align).unwrap();
                assert_eq!(Class::of_size(&layout), of(size, 8));
            }
        }
    }

    #[test]
    fn codes_are_those_of_classes_and_no_others() {
        let classes: Vec<_> = (0..=u16::MAX).filter_map(Class::of_code).collect();
        assert_eq!(classes, Class::all().collect::<Vec<_>>());
        for class in classes {
            assert_eq!(Class::of_code(class.code()), Some(class));
            assert_eq!(Class::new(class.number()), Some(class));
        }
    }
}
