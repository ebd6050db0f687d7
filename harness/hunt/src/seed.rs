// SPDX-License-Identifier: GPL-2.0

//! The defect that a seed chooses.

use slablab_trace::rng::mix;

use crate::Defect;

/// The largest seed. The smallest is 1.
pub const SEED_MAX: u64 = 9999;

/// Returns the defect of a seed. The seeds from 1 on are mixed, so that neighbours say nothing about each other.
pub fn defect_of(seed: u64) -> Defect {
    Defect::ALL[(mix(seed) % Defect::ALL.len() as u64) as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_choose_every_defect_about_equally_often() {
        let mut counts = [0; Defect::ALL.len()];
        for seed in 1..=SEED_MAX {
            counts[defect_of(seed) as usize] += 1;
        }
        let mean = SEED_MAX as usize / counts.len();
        for count in counts {
            assert!(count > mean / 2 && count < 2 * mean, "{counts:?}");
        }
    }
}
