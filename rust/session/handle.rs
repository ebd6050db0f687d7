// SPDX-License-Identifier: GPL-2.0

//! Handles.
//!
//! A handle is a number that names a block within one session: the index of the block's entry in
//! the session's table, and the generation of that entry, which changes whenever a block leaves
//! it. A number kept too long therefore names nothing, until the same entry has been used
//! [`GENERATION_MAX`] more times; entries are used in turn, the longest vacant first, to make that
//! as late as possible. In a table that is full but for one entry it is not late at all.

use core::num::NonZeroU32;

/// Bits of a handle that are the index.
const INDEX_BITS: u32 = 20;

/// Bits of a handle that are the generation: with the index 31, so that a handle fits the upper
/// half of a file position.
const GENERATION_BITS: u32 = 11;

/// The largest index.
pub const INDEX_MAX: u32 = (1 << INDEX_BITS) - 1;

/// The largest generation; the smallest is 1, so that no handle is 0.
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "tests and the documentation name it")
)]
pub(crate) const GENERATION_MAX: u32 = (1 << GENERATION_BITS) - 1;

/// Bits of a handle.
pub const HANDLE_BITS: u32 = INDEX_BITS + GENERATION_BITS;

/// The name of a block in a session.
///
/// It is kept as the number that programs see, so that an entry and a number are compared at once.
///
/// # Invariants
///
/// The generation, which is in the upper bits, is in `1..=GENERATION_MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Handle(NonZeroU32);

impl Handle {
    /// Returns the first handle of an entry, if there can be one with this index.
    pub(crate) const fn first(index: u32) -> Option<Self> {
        if index > INDEX_MAX {
            return None;
        }
        // INVARIANT: The index leaves the upper bits alone, and 1 is the first generation.
        Self::new((1 << INDEX_BITS) | index)
    }

    /// Returns the handle that a program's number stands for, if it can be one at all.
    #[inline]
    #[must_use]
    pub fn from_bits(bits: u32) -> Option<Self> {
        // INVARIANT: Both ends of the generation's range are checked here.
        if bits > INDEX_MAX && bits >> HANDLE_BITS == 0 {
            Self::new(bits)
        } else {
            None
        }
    }

    /// Returns the handle with these bits, which keep the invariant or are 0.
    #[inline]
    const fn new(bits: u32) -> Option<Self> {
        match NonZeroU32::new(bits) {
            Some(bits) => Some(Self(bits)),
            None => None,
        }
    }

    /// Returns the number for a program: positive, and below 2³¹.
    #[inline]
    #[must_use]
    pub fn to_bits(self) -> u32 {
        self.0.get()
    }

    /// Returns the index of the entry.
    #[inline]
    pub(crate) fn index(self) -> u32 {
        self.0.get() & INDEX_MAX
    }

    /// Returns the entry's next handle, which comes back to the first generation after the last.
    #[inline]
    pub(crate) fn next(self) -> Self {
        match self.0.checked_add(1 << INDEX_BITS) {
            // INVARIANT: The generation is one more, and so not 0.
            Some(next) if next.get() >> HANDLE_BITS == 0 => Self(next),
            _ => self.around(),
        }
    }

    /// Returns the entry's first handle once more.
    #[cold]
    fn around(self) -> Self {
        Self::first(self.index()).unwrap_or(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_survive_the_way_to_a_program_and_back() {
        for (index, generation) in [(0, 1), (INDEX_MAX, 1), (0, GENERATION_MAX), (77, 1234)] {
            let bits = (generation << INDEX_BITS) | index;
            let handle = Handle::from_bits(bits).unwrap();
            assert!(bits > 0 && bits < 1 << 31);
            assert_eq!((handle.to_bits(), handle.index()), (bits, index));
        }
    }

    #[test]
    fn generations_go_round_and_keep_the_index() {
        for index in [0, 77, INDEX_MAX] {
            let first = Handle::first(index).unwrap();
            let mut handle = first;
            for generation in 1..=GENERATION_MAX {
                assert_eq!(handle.to_bits(), (generation << INDEX_BITS) | index);
                handle = handle.next();
            }
            assert_eq!(handle, first);
        }
        assert_eq!(Handle::first(INDEX_MAX + 1), None);
    }

    #[test]
    fn numbers_that_are_no_handle_are_told() {
        for bits in [0, INDEX_MAX, 1 << 31, u32::MAX] {
            assert_eq!(Handle::from_bits(bits), None, "{bits:#x}");
        }
    }
}
