// SPDX-License-Identifier: GPL-2.0

//! Statistics of samples.

use serde::Serialize;

/// Summary statistics of a set of samples.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct SampleSummary {
    /// The median.
    pub(crate) median: f64,
    /// The first quartile.
    pub(crate) low_quartile: f64,
    /// The third quartile.
    pub(crate) high_quartile: f64,
    /// The minimum.
    pub(crate) min: f64,
    /// The number of samples.
    pub(crate) samples: usize,
}

impl SampleSummary {
    /// Summarizes samples. There must be at least one.
    pub(crate) fn of(mut samples: Vec<f64>) -> Self {
        samples.sort_unstable_by(f64::total_cmp);
        Self {
            median: quantile(&samples, 0.5),
            low_quartile: quantile(&samples, 0.25),
            high_quartile: quantile(&samples, 0.75),
            min: samples[0],
            samples: samples.len(),
        }
    }

    /// Returns half of the interquartile range.
    pub(crate) fn spread(&self) -> f64 {
        (self.high_quartile - self.low_quartile) / 2.0
    }
}

/// Returns the quantile `share` of sorted samples, with linear interpolation. There must be at least one
/// sample.
pub(crate) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let below = sorted[place.floor() as usize];
    let above = sorted[place.ceil() as usize];
    below + (above - below) * place.fract()
}

/// Returns the arithmetic mean.
pub(crate) fn mean(samples: &[f64]) -> f64 {
    samples.iter().sum::<f64>() / samples.len() as f64
}
