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

/// Describes the place of an engine with a time: `first, 0.72 × mimalloc` or `behind, 1.20 × mimalloc`.
pub(crate) fn ratio(time: f64, best: BestPeer<'_>) -> String {
    let place = if time <= best.value {
        "first"
    } else {
        "behind"
    };
    format!("{place}, {:.2} × {}", time / best.value, best.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::AllocatorDescription;

    /// Returns results with two engines, two peers, and one peer that is not thread-safe.
    fn results() -> Results {
        let allocator = |name: &str, ours, threads| AllocatorDescription {
            name: name.into(),
            version: String::new(),
            threads,
            baseline: false,
            ours,
            pool: true,
        };
        Results {
            allocators: vec![
                allocator("hybrid", true, true),
                allocator("seed", true, true),
                allocator("talc", false, true),
                allocator("rlsf", false, true),
                allocator("rlsf (no lock)", false, false),
            ],
            ..Results::default()
        }
    }

    #[test]
    fn the_best_peer_is_thread_safe_and_not_an_engine() {
        let results = results();
        let values = [9.0, 1.0, 5.0, 7.0, 0.5];
        let best = |better| best_peer(&results, better, |place| Some(values[place])).unwrap();
        assert_eq!(best(Better::Smaller).name, "talc");
        assert_eq!(best(Better::Larger).name, "rlsf");
        assert_eq!(best_peer(&results, Better::Smaller, |_| None), None);
        let engines: Vec<_> = engines(&results).collect();
        assert_eq!(engines, [(0, "hybrid")]);
    }

    #[test]
    fn a_place_says_by_how_much() {
        let best = |value| BestPeer {
            name: "talc",
            value,
        };
        assert_eq!(points(0.913, 0.882), "first by 3.1");
        assert_eq!(points(0.882, 0.913), "behind by 3.1");
        assert_eq!(ratio(7.2, best(10.0)), "first, 0.72 × talc");
        assert_eq!(ratio(12.0, best(10.0)), "behind, 1.20 × talc");
    }
}
