// SPDX-License-Identifier: GPL-2.0

//! Handles: the names of blocks.
//!
//! A handle names a block within one session. The handle consists of the index of the block's entry in the
//! handle table and the generation of that entry, which increases each time the entry is released:
//!
//! ```text
//!  31  30              20  19                    0
//! ┌───┬──────────────────┬────────────────────────┐
//! │ 0 │ generation, 1 …  │ index                  │
//! └───┴──────────────────┴────────────────────────┘
//! ```
//!
//! A stale handle therefore names no block until its entry has been reused [`GENERATION_MAX`] times.
//! The table reuses vacant entries in rounds, so that an entry is reused as rarely as possible. In a
//! table with only one vacant entry, each allocation reuses that entry.

use core::num::NonZeroU32;

/// Bits of the index in a handle.
const INDEX_BITS: u32 = 20;

/// Bits of the generation in a handle. Index and generation take 31 bits together, so a handle fits
/// into the upper half of a file position.
const GENERATION_BITS: u32 = 11;

/// The largest index.
pub const INDEX_MAX: u32 = (1 << INDEX_BITS) - 1;

/// The largest generation. The smallest is 1, so no handle is 0.
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "tests and the documentation use it")
)]
pub(crate) const GENERATION_MAX: u32 = (1 << GENERATION_BITS) - 1;

/// Bits of a whole handle.
pub const HANDLE_BITS: u32 = INDEX_BITS + GENERATION_BITS;

/// The name of a block in a session.
///
/// The type stores the number that programs see, so one comparison checks index and generation.
///
/// # Invariants
///
/// The generation, in the bits from `INDEX_BITS` on, is in `1..=GENERATION_MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Handle(NonZeroU32);

impl Handle {
    /// Returns the first handle of the entry with this index, or `None` for an index that is too large.
    pub(crate) const fn first(index: u32) -> Option<Self> {
        if index > INDEX_MAX {
            return None;
        }
        // INVARIANT: The index is at most `INDEX_MAX`, so the generation is 1.
        Self::new((1 << INDEX_BITS) | index)
    }

    /// Returns the handle with the number `bits`, or `None` if no handle has this number.
    #[inline]
    #[must_use]
    pub fn from_bits(bits: u32) -> Option<Self> {
        // INVARIANT: The condition checks both ends of the range of the generation.
        if bits > INDEX_MAX && bits >> HANDLE_BITS == 0 {
            Self::new(bits)
        } else {
            None
        }
    }

    /// Returns the handle with these bits, which satisfy the invariant, or `None` for 0.
    #[inline]
    const fn new(bits: u32) -> Option<Self> {
        match NonZeroU32::new(bits) {
            Some(bits) => Some(Self(bits)),
            None => None,
        }
    }

    /// Returns the number that programs see, in `1..1 << 31`.
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

    /// Returns the next handle of the entry. The first generation follows the last.
    #[inline]
    pub(crate) fn next(self) -> Self {
        match self.0.checked_add(1 << INDEX_BITS) {
            // INVARIANT: The generation increased by 1 and did not overflow its bits.
            Some(next) if next.get() >> HANDLE_BITS == 0 => Self(next),
            _ => self.wrap(),
        }
    }

    /// Returns the first handle of the entry again.
    #[cold]
    fn wrap(self) -> Self {
        Self::first(self.index()).unwrap_or(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_round_trips_through_its_number() {
        for (index, generation) in [(0, 1), (INDEX_MAX, 1), (0, GENERATION_MAX), (77, 1234)] {
            let bits = (generation << INDEX_BITS) | index;
            let handle = Handle::from_bits(bits).unwrap();
            assert!(bits > 0 && bits < 1 << 31);
            assert_eq!((handle.to_bits(), handle.index()), (bits, index));
        }
    }

    #[test]
    fn generations_wrap_and_preserve_the_index() {
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
    fn numbers_without_a_valid_generation_are_rejected() {
        for bits in [0, INDEX_MAX, 1 << 31, u32::MAX] {
            assert_eq!(Handle::from_bits(bits), None, "{bits:#x}");
        }
    }
}
