// SPDX-License-Identifier: GPL-2.0

//! Bins: free runs by length.
//!
//! A bin has the free runs of similar length, as in TLSF (Masmano and others, 2004). The bins below 16 granules have
//! one length each. There are 8 bins to a doubling up to 512 granules (8 KiB), and 16 above.
//!
//! ```text
//! granules  1  2 …  15   16  18  20 …  30   32  36 …   480   512  544 …
//! bin       1  2 …  15   16  17  18 …  23   24  25 …    55    56   57 …
//! ```

/// The number of bins of runs below 512 granules.
pub(super) const SHORT_BINS: usize = 56;

/// The number of granules from which on runs are long.
pub(super) const LONG: usize = 512;

/// The number of bins. The longest run has 2²⁸ granules.
pub(super) const BINS: usize = SHORT_BINS + 16 * 20;

const WORDS: usize = BINS.div_ceil(64);

/// Returns the bin of a run of `len` granules, which is not 0. O(1).
#[inline]
pub(super) const fn bin_of(len: usize) -> usize {
    let log = len.ilog2() as usize;
    if len < 16 {
        len
    } else if len < LONG {
        16 + (log - 4) * 8 + (len >> (log - 3)) % 8
    } else {
        SHORT_BINS + (log - 9) * 16 + (len >> (log - 4)) % 16
    }
}

/// A set of bins.
pub(super) struct BinSet([u64; WORDS]);

impl BinSet {
    pub(super) const EMPTY: Self = Self([0; WORDS]);

    #[inline]
    pub(super) fn insert(&mut self, bin: usize) {
        self.0[bin / 64] |= 1 << (bin % 64);
    }

    #[inline]
    pub(super) fn remove(&mut self, bin: usize) {
        self.0[bin / 64] &= !(1 << (bin % 64));
    }

    /// Returns the first bin of the set from `bin` on. O(1): at most 6 words.
    #[inline]
    pub(super) fn next(&self, bin: usize) -> Option<usize> {
        let mut bin = bin;
        while bin < BINS {
            let word = self.0[bin / 64] >> (bin % 64);
            if word != 0 {
                return Some(bin + word.trailing_zeros() as usize);
            }
            bin = (bin / 64 + 1) * 64;
        }
        None
    }

    /// Returns the last bin of the set. O(1): at most 6 words.
    pub(super) fn last(&self) -> Option<usize> {
        let words = self.0.iter().enumerate().rev();
        let mut set = words.filter(|(_, word)| **word != 0);
        let (index, word) = set.next()?;
        Some(index * 64 + 63 - word.leading_zeros() as usize).filter(|bin| *bin < BINS)
    }

    /// Returns whether the set consists of the bins for which `is_member` returns `true`.
    pub(super) fn equals(&self, is_member: impl Fn(usize) -> bool) -> bool {
        self.0.iter().enumerate().all(|(index, word)| {
            let bit = |bit: usize| index * 64 + bit < BINS && is_member(index * 64 + bit);
            (0..64).all(|number| bit(number) == (word >> number & 1 != 0))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_are_ordered_and_begin_where_the_drawing_says() {
        for (len, bin) in [
            (1, 1),
            (15, 15),
            (16, 16),
            (18, 17),
            (30, 23),
            (32, 24),
            (36, 25),
            (511, 55),
            (512, 56),
            (543, 56),
            (544, 57),
        ] {
            assert_eq!(bin_of(len), bin, "{len}");
        }
        for len in 1..1 << 16 {
            let step = bin_of(len + 1) - bin_of(len);
            assert!(step <= 1, "{len}");
        }
        assert!(bin_of(1 << 28) < BINS);
    }

    #[test]
    fn a_set_finds_the_next_bin() {
        let mut set = BinSet::EMPTY;
        for bin in [3, 63, 64, 300] {
            set.insert(bin);
        }
        assert_eq!(
            [0, 3, 4, 64, 65, 301].map(|bin| set.next(bin)),
            [Some(3), Some(3), Some(63), Some(64), Some(300), None]
        );
        set.remove(63);
        assert_eq!(set.next(4), Some(64));
    }
}
