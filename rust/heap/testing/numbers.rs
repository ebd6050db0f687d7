// SPDX-License-Identifier: GPL-2.0

//! Pseudo-random numbers, the same in every run.

/// A generator of pseudo-random numbers (Marsaglia, Xorshift RNGs, 2003). The seed must not be 0.
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    /// Returns the next number, modulo `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}
