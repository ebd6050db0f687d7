// SPDX-License-Identifier: GPL-2.0

//! Seeded numbers.
//!
//! What a workload does for a seed is part of every bug report, so it must never change: not with
//! a library's version, not with the platform. The generator is therefore here, whole, and held
//! in place by its reference values: SplitMix64 (Steele, Lea, Flood, "Fast splittable
//! pseudorandom number generators", OOPSLA 2014).

/// What the state advances by: 2⁶⁴ divided by the golden ratio, odd.
pub const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// A stream of numbers that only depends on its seed.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// Begins the stream of `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Begins a stream for one of the things that `seed` is for, unrelated to the others.
    pub fn split(seed: u64, stream: u64) -> Self {
        Self(mix(mix(seed) ^ stream.wrapping_mul(GAMMA)))
    }

    /// Returns the next number.
    #[expect(
        clippy::should_implement_trait,
        reason = "an endless stream whose every item is wanted is no use as an iterator"
    )]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GAMMA);
        mix(self.0)
    }

    /// Returns a number below `end`, which is not 0; all are equally likely but for 1 in 2⁶⁴ / end.
    pub fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }

    /// Returns an index of something with `len` items, which is not 0.
    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// Returns `true` `count` times out of `of`.
    pub fn chance(&mut self, count: u64, of: u64) -> bool {
        self.below(of) < count
    }

    /// Returns a number from `low` to `high`, every doubling as likely as every other; `low` is not
    /// 0 and not above `high`.
    pub fn doubling(&mut self, low: u64, high: u64) -> u64 {
        let bits = u64::from(low.ilog2()) + self.below(u64::from(high.ilog2() - low.ilog2()) + 1);
        let first = (1 << bits).max(low);
        let last = ((1 << bits) - 1 + (1 << bits)).min(high);
        first + self.below(last - first + 1)
    }
}

/// Spreads every bit of `z` over the result.
pub const fn mix(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_that_of_the_reference() {
        // The first numbers of the authors' generator, from Java's SplittableRandom and from
        // Vigna's splitmix64.c alike.
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
    fn ranges_are_kept_and_reached() {
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
