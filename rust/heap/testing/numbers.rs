// SPDX-License-Identifier: GPL-2.0

//! Numbers that look random and are the same in every run.

/// A generator of numbers (Marsaglia's xorshift). The seed is not 0.
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}
