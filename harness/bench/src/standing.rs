// SPDX-License-Identifier: GPL-2.0

//! The place of an engine of slablab in a row, compared with the allocators of other projects.

use crate::results::Results;

/// Whether a small value is good, as a time, or a large one, as a utilisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Better {
    /// The smallest value is the best.
    Smaller,
    /// The largest value is the best.
    Larger,
}

impl Better {
    /// Returns whether `one` is at least as good as `other`.
    pub(crate) fn at_least(self, one: f64, other: f64) -> bool {
        match self {
            Self::Smaller => one <= other,
            Self::Larger => one >= other,
        }
    }
}

/// The best allocator of another project in a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct BestPeer<'run> {
    /// The name.
    pub(crate) name: &'run str,
    /// The value.
    pub(crate) value: f64,
}

/// Returns the best thread-safe allocator of another project, or `None` when none of them has a value. `value`
/// returns the value of the allocator at a place.
pub(crate) fn best_peer(
    results: &Results,
    better: Better,
    value: impl Fn(usize) -> Option<f64>,
) -> Option<BestPeer<'_>> {
    let peers = results.allocators.iter().enumerate();
    let peers = peers.filter(|(_, of)| of.threads && !of.baseline && !of.ours);
    let values = peers.filter_map(|(place, of)| {
        let (name, value) = (&*of.name, value(place)?);
        Some(BestPeer { name, value })
    });
    values.reduce(|best, next| match better.at_least(best.value, next.value) {
        true => best,
        false => next,
    })
}

/// The engines whose place is shown. `seed` is the engine for teaching, which competes with nobody.
pub(crate) fn engines(results: &Results) -> impl Iterator<Item = (usize, &str)> {
    let ours = results.allocators.iter().enumerate();
    ours.filter(|(_, of)| of.ours && of.threads && of.name != "seed")
        .map(|(place, of)| (place, &*of.name))
}

/// Describes the place of an engine with a utilisation: `first by 3.1` or `behind by 0.4`, in percentage points.
pub(crate) fn points(share: f64, best: f64) -> String {
    let place = if share >= best { "first" } else { "behind" };
    format!("{place} by {:.1}", (share - best).abs() * 100.0)
}

/// Describes the place of an engine with a time: `first` or `behind glibc by 12 %`.
pub(crate) fn percent(time: f64, best: BestPeer<'_>) -> String {
    if time <= best.value {
        return "first".into();
    }
    // A slower engine is never shown as behind by 0 %.
    let percent = ((time / best.value - 1.0) * 100.0).ceil();
    format!("behind {} by {percent} %", best.name)
}
