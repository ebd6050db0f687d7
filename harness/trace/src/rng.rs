// SPDX-License-Identifier: GPL-2.0

//! Seeded random numbers.
//!
//! A seed in a bug report must reproduce the same workload in every later version and on every
//! platform, so the generator does not come from a library, and a test compares it with reference
//! values. The algorithm is SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number
//! generators", OOPSLA 2014).

/// The increment of the state: 2⁶⁴ divided by the golden ratio, made odd.
pub const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// A stream of random numbers that depends on its seed alone.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// Returns the stream of `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns the stream number `stream` of `seed`. Streams of one seed are independent of each other.
    pub fn split(seed: u64, stream: u64) -> Self {
        Self(mix(mix(seed) ^ stream.wrapping_mul(GAMMA)))
    }

    /// Returns the next number.
    #[expect(
        clippy::should_implement_trait,
        reason = "the stream is endless, so `Option` and the adapters of `Iterator` are of no use"
    )]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GAMMA);
        mix(self.0)
    }

    /// Returns a number below `end`, which must not be 0. The bias is at most `end` in 2⁶⁴.
    pub fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }

    /// Returns an index into `len` items; `len` must not be 0.
    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// Returns `true` with the probability `count` / `of`.
    pub fn chance(&mut self, count: u64, of: u64) -> bool {
        self.below(of) < count
    }

    /// Returns a number from `low` to `high`, log-uniform: each power-of-two interval is equally
    /// likely. `low` must not be 0 or above `high`.
    pub fn doubling(&mut self, low: u64, high: u64) -> u64 {
        let bits = u64::from(low.ilog2()) + self.below(u64::from(high.ilog2() - low.ilog2()) + 1);
        let first = (1 << bits).max(low);
        let last = ((1 << bits) - 1 + (1 << bits)).min(high);
        first + self.below(last - first + 1)
    }
}

/// Mixes the bits of `z`: each input bit affects every output bit (the finalizer of SplitMix64).
pub const fn mix(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_equals_the_reference() {
        // The first numbers of the authors' generator; Java's SplittableRandom and Vigna's
        // splitmix64.c agree on them.
        let mut rng = Rng::new(1_234_567);
        assert_eq!(
            [rng.next(), rng.next(), rng.next(), rng.next(), rng.next()],
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423,
                4_593_380_528_125_082_431,
                16_408_922_859_458_223_821,
            ]
        );
    }

    #[test]
    fn numbers_stay_in_their_range_and_cover_it() {
        let mut rng = Rng::new(7);
        let mut seen = [false; 5];
        for _ in 0..1000 {
            seen[rng.index(5)] = true;
            let size = rng.doubling(3, 100);
            assert!((3..=100).contains(&size));
        }
        assert_eq!(seen, [true; 5]);
        assert_eq!(rng.doubling(1, 1), 1);
        assert_eq!(Rng::new(1).doubling(4096, 4096), 4096);
    }

    #[test]
    fn streams_of_one_seed_differ() {
        assert_ne!(Rng::split(1, 0).next(), Rng::split(1, 1).next());
        assert_ne!(Rng::split(1, 0).next(), Rng::split(2, 0).next());
    }
}
