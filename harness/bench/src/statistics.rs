// SPDX-License-Identifier: GPL-2.0

//! Figures of many samples.

use serde::Serialize;

/// What repetitions say together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Summary {
    /// Half are below.
    pub(crate) median: f64,
    /// A quarter are below.
    pub(crate) low_quartile: f64,
    /// Three quarters are below.
    pub(crate) high_quartile: f64,
    /// The least.
    pub(crate) least: f64,
    /// How many there are.
    pub(crate) samples: usize,
}

impl Summary {
    /// Sums up samples, of which there is at least one.
    pub(crate) fn of(mut samples: Vec<f64>) -> Self {
        samples.sort_unstable_by(f64::total_cmp);
        Self {
            median: quantile(&samples, 0.5),
            low_quartile: quantile(&samples, 0.25),
            high_quartile: quantile(&samples, 0.75),
            least: samples[0],
            samples: samples.len(),
        }
    }

    /// Returns half of what lies between the quartiles.
    pub(crate) fn spread(&self) -> f64 {
        (self.high_quartile - self.low_quartile) / 2.0
    }
}

/// Returns the value below which `share` of the sorted samples are; there is at least one.
pub(crate) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let below = sorted[place.floor() as usize];
    let above = sorted[place.ceil() as usize];
    below + (above - below) * place.fract()
}

/// Returns the mean.
pub(crate) fn mean(samples: &[f64]) -> f64 {
    samples.iter().sum::<f64>() / samples.len() as f64
}
