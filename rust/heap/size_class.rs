// SPDX-License-Identifier: GPL-2.0

//! Size classes: the sizes of objects in slabs, and the sizes of blocks in magazines.
//!
//! Classes are multiples of 8 up to 64 bytes, and four to a doubling from there to 4096, as in jemalloc.
//! Above 64 bytes a request wastes at most a fifth of its object, and on average 8 % if all sizes are equally
//! frequent. With powers of two, a request would waste up to a half, and a quarter on average.
//!
//! ```text
//! class    0   1   2 …  7   8   9  10  11  12  13 …  27   28   29   30   31
//! bytes    8  16  24 … 64  80  96 112 128 160 192 … 2048 2560 3072 3584 4096
//! ```

use core::{
    alloc::Layout,
    hint::assert_unchecked, //
};

use crate::{
    PAGE_BYTES,
    nospec,
    stats::CLASSES_MAX, //
};

const _: () = assert!(CLASSES <= CLASSES_MAX);

/// The number of classes.
pub const CLASSES: usize = 32;

/// The number of bytes of an object of the largest class.
pub const OBJECT_BYTES_MAX: usize = PAGE_BYTES;

/// The size of every class is a multiple of this number of bytes.
const CLASS_STEP: usize = 8;

/// The first classes are the multiples of [`CLASS_STEP`].
const LINEAR_CLASSES: usize = 8;

/// A size class.
///
/// # Invariants
///
/// The number is below [`CLASSES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Class(u8);

/// The geometry of the slabs of a class, computed at compile time.
// The size is 8 bytes, so that one instruction addresses an entry of a table.
#[derive(Clone, Copy)]
#[repr(align(8))]
struct SlabGeometry {
    /// The bytes of an object.
    bytes: u16,
    /// The number of objects.
    objects: u16,
    /// The number of pages.
    pages: u8,
}

/// The constants that replace the division of a byte of a slab by the bytes of an object (Lemire, Kaser and
/// Kurz, Faster remainder by direct computation, 2019).
#[derive(Clone, Copy)]
struct Divisor {
    /// ⌈2³² / bytes⌉: byte · reciprocal / 2³² is the number of the object that contains the byte.
    reciprocal: u32,
    /// The lower half of byte · reciprocal is below this bound if and only if an object begins at the byte.
    ///
    /// Let e = bytes · reciprocal − 2³². The lower half is number · e at the beginning of an object, and at
    /// least the reciprocal at other bytes.
    begin_bound: u32,
}

static SLAB_GEOMETRIES: [SlabGeometry; CLASSES] = {
    let mut geometries = [SlabGeometry::new(0); CLASSES];
    let mut class = 0;
    while class < CLASSES {
        geometries[class] = SlabGeometry::new(class);
        class += 1;
    }
    geometries
};

// The divisors are in a table of their own, whose entries have 8 bytes, so that one instruction addresses an
// entry.
static DIVISORS: [Divisor; CLASSES] = {
    let mut divisors = [Divisor::new(&SLAB_GEOMETRIES[0]); CLASSES];
    let mut class = 0;
    while class < CLASSES {
        divisors[class] = Divisor::new(&SLAB_GEOMETRIES[class]);
        class += 1;
    }
    divisors
};

/// The class for each number of steps of [`CLASS_STEP`] bytes. The length of the table is a power of two, as
/// [`nospec::entry`] requires.
static CLASS_BY_STEPS: [u8; 1024] = {
    let mut classes = [0; 1024];
    let (mut steps, mut class) = (0, 0);
    while steps <= OBJECT_BYTES_MAX / CLASS_STEP {
        if steps * CLASS_STEP > SlabGeometry::new(class).bytes as usize {
            class += 1;
        }
        classes[steps] = class as u8;
        steps += 1;
    }
    classes
};

/// The bytes of an object of each class.
pub const CLASS_BYTES: [u16; CLASSES] = {
    let mut bytes = [0; CLASSES];
    let mut class = 0;
    while class < CLASSES {
        bytes[class] = SlabGeometry::new(class).bytes;
        class += 1;
    }
    bytes
};

impl SlabGeometry {
    const fn new(class: usize) -> Self {
        let bytes = if class < LINEAR_CLASSES {
            CLASS_STEP * (class + 1)
        } else {
            let (group, quarter) = ((class - LINEAR_CLASSES) / 4, (class - LINEAR_CLASSES) % 4);
            (64 << group) + (quarter + 1) * (16 << group)
        };
        // A slab has the fewest pages of which at most an eighth is wasted.
        let mut pages = 1;
        while (pages * PAGE_BYTES) % bytes * 8 > pages * PAGE_BYTES {
            pages += 1;
        }
        Self {
            bytes: bytes as u16,
            objects: (pages * PAGE_BYTES / bytes) as u16,
            pages: pages as u8,
        }
    }
}

impl Divisor {
    const fn new(geometry: &SlabGeometry) -> Self {
        let reciprocal = (1_u64 << 32).div_ceil(geometry.bytes as u64);
        let error = geometry.bytes as u64 * reciprocal - (1 << 32);
        // If the error is 0, the lower half is 0 at the beginning of every object, and would be 0 also past
        // the last object. A slab of such a class has no bytes past the last object.
        let begin_bound = if error == 0 {
            1
        } else {
            geometry.objects as u64 * error
        };
        Self {
            reciprocal: reciprocal as u32,
            begin_bound: begin_bound as u32,
        }
    }
}

impl Class {
    /// Returns the class that serves a layout, or `None` if the layout needs whole pages. O(1).
    ///
    /// A program may have chosen the size, so the table look-up is also bounded under speculation: see
    /// `nospec`.
    #[inline]
    #[must_use]
    pub fn of(layout: &Layout) -> Option<Self> {
        // If a size is a multiple of the alignment, the size of its class is also a multiple of the
        // alignment. The classes above 2ᵏ and up to 2ᵏ⁺¹ are the multiples of 2ᵏ/4 there. An alignment up to
        // 2ᵏ/4 divides all of them. A larger alignment is a multiple of 2ᵏ/4, so each of its multiples there
        // is a class itself.
        if layout.align() > CLASS_STEP {
            let padded = layout.pad_to_align().size();
            // A request of 0 bytes is served like a request of 1 byte.
            return Self::of_size(padded.max(layout.align()));
        }
        Self::of_size(layout.size())
    }

    #[inline(always)]
    pub(crate) fn of_size(size: usize) -> Option<Self> {
        // The size of a layout is at most `isize::MAX`, so the sum does not wrap.
        let steps = size.wrapping_add(CLASS_STEP - 1) / CLASS_STEP;
        // INVARIANT: The table contains numbers of classes.
        (steps <= OBJECT_BYTES_MAX / CLASS_STEP)
            .then(|| Self(*nospec::entry(&CLASS_BY_STEPS, steps)))
    }

    /// Returns the class with this number, if there is one.
    #[must_use]
    pub const fn new(number: u8) -> Option<Self> {
        // INVARIANT: The comparison ensures that the number is below the limit.
        if (number as usize) < CLASSES {
            Some(Self(number))
        } else {
            None
        }
    }

    /// Returns all classes, smallest first.
    pub fn all() -> impl Iterator<Item = Self> {
        // INVARIANT: The range ends at `CLASSES`.
        (0..CLASSES as u8).map(Self)
    }

    /// Returns the number of the class.
    #[inline]
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// Returns the number as an index of an array with an element for each class.
    #[inline]
    #[must_use]
    pub const fn index(self) -> usize {
        // SAFETY: `assert_unchecked` requires a true condition: by the type invariant the number is below
        // `CLASSES`.
        unsafe { assert_unchecked((self.0 as usize) < CLASSES) };
        self.0 as usize
    }

    #[inline]
    const fn geometry(self) -> &'static SlabGeometry {
        &SLAB_GEOMETRIES[self.index()]
    }

    #[inline]
    const fn divisor(self) -> &'static Divisor {
        &DIVISORS[self.index()]
    }

    /// Returns the bytes of an object.
    #[inline]
    #[must_use]
    pub const fn bytes(self) -> usize {
        self.geometry().bytes as usize
    }

    /// Returns the pages of a slab: 1 to 3.
    #[inline]
    #[must_use]
    pub const fn pages(self) -> usize {
        self.geometry().pages as usize
    }

    /// Returns the objects of a slab: 1 to 512.
    #[inline]
    #[must_use]
    pub const fn objects(self) -> usize {
        self.geometry().objects as usize
    }

    /// Returns whether an object begins at this byte of a slab. O(1), one multiplication.
    #[inline]
    #[must_use]
    pub const fn begins(self, byte: usize) -> bool {
        let divisor = self.divisor();
        (byte as u32).wrapping_mul(divisor.reciprocal) < divisor.begin_bound
    }

    /// Returns the number of the object that begins at this byte of a slab, if an object begins there.
    #[inline]
    #[must_use]
    pub const fn object(self, byte: usize) -> Option<usize> {
        // The quotient is exact for all bytes of a slab: `an_object_begins_at_the_multiples_of_its_size_only`
        // tests all of them.
        let number = ((byte as u64).wrapping_mul(self.divisor().reciprocal as u64) >> 32) as usize;
        if self.begins(byte) && number < self.objects() {
            Some(number)
        } else {
            None
        }
    }
}

/// The largest blocks of whole pages for which there are magazines.
const MAGAZINE_PAGES_MAX: usize = 16;

/// The number of kinds of magazines.
pub const MAGAZINE_KINDS: usize = CLASSES_MAX + MAGAZINE_PAGES_MAX - 1;

/// A size of blocks for which each CPU has a magazine: a size class of the heap, or 2 to 16 whole pages.
///
/// Heaps have different size classes: see [`BackingHeap::block_bytes`](crate::backing_heap::BackingHeap::block_bytes).
///
/// # Invariants
///
/// The number is below [`MAGAZINE_KINDS`]: up to [`CLASSES_MAX`] classes first, then numbers of pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MagazineKind(u8);

impl From<Class> for MagazineKind {
    #[inline(always)]
    fn from(class: Class) -> Self {
        // INVARIANT: The number of a class is below `CLASSES`, which is at most `MAGAZINE_KINDS`.
        Self(class.index() as u8)
    }
}

impl MagazineKind {
    /// Returns the kind that serves a layout with whole pages, or `None` for a layout that needs fewer than 2 or more
    /// than 16 pages, or an alignment of more than a page. O(1).
    ///
    /// A program may have chosen the size, so the number is also bounded under speculation: see `nospec`.
    #[inline]
    #[must_use]
    pub fn of_whole_pages(layout: &Layout) -> Option<Self> {
        let pages = layout.size().wrapping_add(PAGE_BYTES - 1) / PAGE_BYTES;
        let has_magazine =
            layout.align() <= PAGE_BYTES && (2..=MAGAZINE_PAGES_MAX).contains(&pages);
        // INVARIANT: The number of pages is between 2 and 16, as compared above. `nospec` bounds the number
        // if the processor executes this speculatively, before the comparison.
        has_magazine.then(|| Self((CLASSES_MAX - 2 + nospec::below::<32>(pages)) as u8))
    }

    /// Returns the kind with this number, if there is one.
    #[must_use]
    pub const fn new(number: usize) -> Option<Self> {
        // INVARIANT: The comparison ensures that the number is below the limit.
        if number < MAGAZINE_KINDS {
            Some(Self(number as u8))
        } else {
            None
        }
    }

    /// Returns all kinds, in the order of their numbers.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..MAGAZINE_KINDS).filter_map(Self::new)
    }

    /// Returns the number of the kind.
    #[inline]
    #[must_use]
    pub const fn number(self) -> usize {
        // SAFETY: `assert_unchecked` requires a true condition: by the type invariant the number is below
        // `MAGAZINE_KINDS`.
        unsafe { assert_unchecked((self.0 as usize) < MAGAZINE_KINDS) };
        self.0 as usize
    }

    /// Returns the number of the class, or `None` for whole pages.
    #[inline]
    #[must_use]
    pub const fn class_number(self) -> Option<u8> {
        if self.number() < CLASSES_MAX {
            Some(self.0)
        } else {
            None
        }
    }

    /// Returns the number of pages, or `None` for a class.
    #[inline]
    #[must_use]
    pub const fn pages(self) -> Option<usize> {
        match self.number().checked_sub(CLASSES_MAX) {
            Some(number) => Some(number + 2),
            None => None,
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
            for size in 0..=5000 {
                let fits =
                    |class: &Class| class.bytes() >= size.max(1) && class.bytes() % align == 0;
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
    fn an_object_begins_at_the_multiples_of_its_size_only() {
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
    fn magazines_of_whole_pages_are_for_2_to_16_pages() {
        for align in (0..=13).map(|order| 1 << order) {
            for size in 1..=18 * PAGE_BYTES {
                let layout = Layout::from_size_align(size, align).unwrap();
                let pages = size.div_ceil(PAGE_BYTES);
                let has_kind = align <= PAGE_BYTES && (2..=16).contains(&pages);
                let kind = MagazineKind::of_whole_pages(&layout);
                assert_eq!(
                    kind.and_then(MagazineKind::pages),
                    has_kind.then_some(pages)
                );
                assert_eq!(kind.and_then(MagazineKind::class_number), None);
            }
        }
    }

    #[test]
    fn a_kind_is_a_class_or_a_number_of_pages() {
        let kinds: Vec<_> = MagazineKind::all().collect();
        assert_eq!(kinds.len(), MAGAZINE_KINDS);
        let classes = kinds.iter().filter_map(|kind| kind.class_number());
        assert!(classes.eq(0..CLASSES_MAX as u8));
        let pages = kinds.iter().filter_map(|kind| kind.pages());
        assert!(pages.eq(2..=16));
        for class in Class::all() {
            assert_eq!(
                MagazineKind::from(class).class_number(),
                Some(class.number())
            );
        }
    }
}
