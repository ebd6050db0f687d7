// SPDX-License-Identifier: GPL-2.0

//! A seeded random number generator.
//!
//! SplitMix64 (Steele, Lea, Flood, OOPSLA 2014). The command uses the same generator: the same seed
//! gives the same run.

/// The increment of the state: 2⁶⁴ divided by the golden ratio, rounded to an odd number.
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// A sequence of numbers that depends on its seed only.
pub(super) struct Random(u64);

impl Random {
    /// Starts the sequence of a seed, for one of several threads.
    pub(super) fn new(seed: u64, thread: u32) -> Self {
        Self(mix(seed) ^ u64::from(thread).wrapping_mul(GAMMA))
    }

    /// Returns the next number.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GAMMA);
        mix(self.0)
    }

    /// Returns a number below `end`. `end` must not be 0.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }

    /// Returns a number from `low` to `high`. Each power-of-two interval of this range is equally likely.
    /// `low` must not be 0 or above `high`, and `high` must be below 2⁶³.
    pub(super) fn doubling(&mut self, low: u64, high: u64) -> u64 {
        let bits = u64::from(low.ilog2()) + self.below(u64::from(high.ilog2() - low.ilog2()) + 1);
        let (first, last) = ((1 << bits).max(low), ((2 << bits) - 1).min(high));
        first + self.below(last - first + 1)
    }
}

/// Mixes the bits of `z`: each bit of the argument affects every bit of the result.
pub(super) const fn mix(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
