// SPDX-License-Identifier: GPL-2.0

//! Size classes: the sizes of the blocks in magazines, in granules.
//!
//! A magazine needs sizes that repeat, so a request up to 4096 bytes is rounded up to a class. Classes are multiples of
//! a granule up to 8 granules, and eight to a doubling from there to a page. A request wastes at most a ninth of its
//! block above 128 bytes. The classes only round sizes: a block of any class lies anywhere.
//!
//! ```text
//! class     0   1   2 …   7    8    9 …   15   16   17 …    47
//! granules  1   2   3 …   8    9   10 …   16   18   20 …   256
//! bytes    16  32  48 … 128  144  160 …  256  288  320 …  4096
//! ```

use core::hint::assert_unchecked;

use super::place::{
    GRANULE_SHIFT,
    PAGE_GRANULES, //
};
use crate::{
    nospec,
    size_class::MagazineKind,
    stats::CLASSES_MAX, //
};

/// The number of classes.
pub(super) const CLASSES: usize = 48;

const _: () = assert!(CLASSES <= CLASSES_MAX);

/// A size class.
///
/// # Invariants
///
/// The number is below [`CLASSES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Class(u8);

/// The granules of a block of each class.
static GRANULES: [u16; CLASSES] = {
    let mut granules = [0; CLASSES];
    let mut class = 0;
    while class < CLASSES {
        granules[class] = granules_of(class);
        class += 1;
    }
    granules
};

/// The bytes of a block of each class.
pub(super) const CLASS_BYTES: [u16; CLASSES] = {
    let mut bytes = [0; CLASSES];
    let mut class = 0;
    while class < CLASSES {
        bytes[class] = granules_of(class) << GRANULE_SHIFT;
        class += 1;
    }
    bytes
};

/// The class for each number of granules. The length of the table is a power of two, as [`nospec::entry`] requires.
static CLASS_BY_GRANULES: [u8; 2 * PAGE_GRANULES] = {
    let mut classes = [0; 2 * PAGE_GRANULES];
    let (mut granules, mut class) = (0, 0);
    while granules <= PAGE_GRANULES {
        if granules > granules_of(class) as usize {
            class += 1;
        }
        classes[granules] = class as u8;
        granules += 1;
    }
    classes
};

/// Returns the granules of a block of a class.
const fn granules_of(class: usize) -> u16 {
    if class < 8 {
        class as u16 + 1
    } else {
        let (doubling, eighth) = (class / 8 - 1, class % 8 + 1);
        ((8 + eighth) << doubling) as u16
    }
}

impl Class {
    /// Returns the smallest class whose blocks have at least `granules` granules, if there is one. O(1).
    #[inline(always)]
    pub(super) fn of_granules(granules: usize) -> Option<Self> {
        // INVARIANT: The table contains numbers of classes.
        (granules <= PAGE_GRANULES).then(|| Self(*nospec::entry(&CLASS_BY_GRANULES, granules)))
    }

    /// Returns all classes, smallest first.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        // INVARIANT: The range ends at `CLASSES`.
        (0..CLASSES as u8).map(Self)
    }

    /// Returns the number of the class.
    #[inline]
    pub(super) const fn number(self) -> u8 {
        self.0
    }

    /// Returns the number as an index of an array with an element for each class.
    #[inline]
    pub(super) const fn index(self) -> usize {
        // SAFETY: `assert_unchecked` requires a true condition: by the type invariant the number is below `CLASSES`.
        unsafe { assert_unchecked((self.0 as usize) < CLASSES) };
        self.0 as usize
    }

    /// Returns the granules of a block.
    #[inline]
    pub(super) const fn granules(self) -> usize {
        GRANULES[self.index()] as usize
    }

    /// Returns the magazine of the class.
    #[inline(always)]
    pub(super) fn kind(self) -> Option<MagazineKind> {
        MagazineKind::new(self.index())
    }
}

/// Returns the granules of a block of a kind of magazine.
#[inline]
pub(super) const fn granules_of_kind(kind: MagazineKind) -> usize {
    match kind.pages() {
        Some(pages) => pages * PAGE_GRANULES,
        None => {
            let number = kind.number();
            // Kinds of classes that do not exist have no magazine.
            if number < CLASSES {
                GRANULES[number] as usize
            } else {
                1
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn classes_are_multiples_of_a_granule_and_eight_to_a_doubling() {
        let granules: Vec<_> = Class::all().map(Class::granules).collect();
        let mut expected: Vec<_> = (1..=16).collect();
        for doubling in 1..5 {
            expected.extend((9..=16).map(|eighth| eighth << doubling));
        }
        assert_eq!(granules, expected);
        assert_eq!(granules.last(), Some(&PAGE_GRANULES));
    }

    #[test]
    fn a_size_gets_the_smallest_class_that_fits() {
        for granules in 1..=PAGE_GRANULES + 3 {
            let expected = Class::all().find(|class| class.granules() >= granules);
            assert_eq!(Class::of_granules(granules), expected, "{granules}");
        }
    }
}
