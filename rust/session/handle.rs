// SPDX-License-Identifier: GPL-2.0

//! Handles.
//!
//! A handle is a number that names a block within one session: the index of the block's entry in
//! the session's table, and the generation of that entry, which changes whenever a block leaves
//! it. A number kept too long therefore names nothing, until the same entry has been used
//! [`GENERATION_MAX`] more times; entries are used in turn, the longest vacant first, to make that
//! as late as possible. In a table that is full but for one entry it is not late at all.

/// Bits of a handle that are the index.
const INDEX_BITS: u32 = 20;

/// Bits of a handle that are the generation: with the index 31, so that a handle fits the upper
/// half of a file position.
const GENERATION_BITS: u32 = 11;

/// The largest index.
pub const INDEX_MAX: u32 = (1 << INDEX_BITS) - 1;

/// The largest generation; the smallest is 1, so that no handle is 0.
pub(crate) const GENERATION_MAX: u32 = (1 << GENERATION_BITS) - 1;

/// Bits of a handle.
pub const HANDLE_BITS: u32 = INDEX_BITS + GENERATION_BITS;

/// The name of a block in a session.
///
/// # Invariants
///
/// `index` is at most [`INDEX_MAX`], `generation` is in `1..=GENERATION_MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Handle {
    index: u32,
    generation: u32,
}

impl Handle {
    /// Returns the handle of an entry, if there is one with these numbers.
    pub(crate) fn new(index: u32, generation: u32) -> Option<Self> {
        // INVARIANT: Both ranges are checked here.
        (index <= INDEX_MAX && (1..=GENERATION_MAX).contains(&generation))
            .then_some(Self { index, generation })
    }

    /// Returns the handle that a program's number stands for, if it can be one at all.
    #[must_use]
    pub fn from_bits(bits: u32) -> Option<Self> {
        Self::new(bits & INDEX_MAX, bits >> INDEX_BITS)
    }

    /// Returns the number for a program: positive, and below 2³¹.
    #[must_use]
    pub fn to_bits(self) -> u32 {
        (self.generation << INDEX_BITS) | self.index
    }

    /// Returns the index of the entry.
    pub(crate) fn index(self) -> u32 {
        self.index
    }

    /// Returns the generation of the entry.
    pub(crate) fn generation(self) -> u32 {
        self.generation
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_survive_the_way_to_a_program_and_back() {
        for (index, generation) in [(0, 1), (INDEX_MAX, 1), (0, GENERATION_MAX), (77, 1234)] {
            let handle = Handle::new(index, generation).unwrap();
            assert!(handle.to_bits() > 0 && handle.to_bits() < 1 << 31);
            assert_eq!(Handle::from_bits(handle.to_bits()), Some(handle));
        }
    }

    #[test]
    fn numbers_that_are_no_handle_are_told() {
        for bits in [0, INDEX_MAX, 1 << 31, u32::MAX] {
            assert_eq!(Handle::from_bits(bits), None, "{bits:#x}");
        }
    }
}
