// SPDX-License-Identifier: GPL-2.0

//! The targets of the engines on the host, and whether they are met.

use slablab_report::figure;

use crate::{
    results::{
        PatternRow,
        Results,
        Space,
        TargetComparison, //
    },
    space::means::{
        self,
        GroupMeans, //
    },
    standing::{
        self,
        Better, //
    },
};

/// The patterns whose times are compared: name and title.
const TIMES: [(&str, &str); 6] = [
    ("pair-64", "pair of 64 B, ns"),
    ("replace-4k", "random replace, 8 B … 4 KiB, ns"),
    ("replace-64k", "random replace, 8 B … 64 KiB, ns"),
    ("churn-4160", "churn of 4,160 B, ns"),
    ("worst-8149", "free among 8,149 blocks, p99, ns"),
    ("worst-100000", "free among 100,000 fragments, p99, ns"),
];

/// The largest time of `hybrid`, as a multiple of the time of the best peer.
const HYBRID_OF_BEST_PEER: f64 = 0.9;

/// The largest time of `extent`, as a multiple of the time of `hybrid`.
const EXTENT_OF_HYBRID: f64 = 1.3;

/// A target for the memory that traces need.
struct SpaceTarget {
    engine: &'static str,
    what: &'static str,
    align: usize,
    figure: SpaceFigure,
    /// The smallest or the largest value, see [`SpaceFigure::better`].
    limit: f64,
}

/// A figure in percentage points, or a number of traces.
#[derive(Clone, Copy)]
enum SpaceFigure {
    /// The utilisation of a trace.
    Trace(&'static str),
    /// A mean over a group.
    Mean(&'static str, fn(&GroupMeans) -> f64),
    /// The metadata without the caches of CPUs in % of the pool, mean over a group. A small value is good.
    Metadata(&'static str),
    /// The lowest utilisation in a group.
    Lowest(&'static str),
    /// The points by which the mean of a group is below the bound. A small value is good.
    MeanBelowBound(&'static str),
    /// The most points by which the utilisation of a trace of a group is below the bound. A small value is good.
    MostBelowBound(&'static str),
    /// The most points by which the utilisation of a trace of a group is below that of the best peer. A small value
    /// is good.
    MostBehindPeers(&'static str),
    /// The same for one peer.
    MostBehind(&'static str, &'static str),
    /// The number of traces of a group in which no peer is better.
    Firsts(&'static str),
}

/// The targets for the memory that traces need.
const SPACE: [SpaceTarget; 15] = [
    space(
        "extent",
        "mean of twelve, with tables and state",
        16,
        SpaceFigure::Mean("twelve", |means| means.with_metadata),
        89.0,
    ),
    space(
        "extent",
        "each of twelve, points behind the best peer",
        16,
        SpaceFigure::MostBehindPeers("twelve"),
        2.5,
    ),
    space(
        "extent",
        "first among twelve, number of traces",
        16,
        SpaceFigure::Firsts("twelve"),
        10.0,
    ),
    space(
        "extent",
        "log-uniform",
        16,
        SpaceFigure::Trace("log-uniform"),
        88.0,
    ),
    space("extent", "pareto", 16, SpaceFigure::Trace("pareto"), 80.0),
    space(
        "extent",
        "random-large",
        16,
        SpaceFigure::Trace("random-large"),
        92.0,
    ),
    space(
        "extent",
        "documents",
        16,
        SpaceFigure::Trace("documents"),
        79.0,
    ),
    space(
        "extent",
        "mean of small, points below the bound",
        16,
        SpaceFigure::MeanBelowBound("small"),
        2.0,
    ),
    space(
        "extent",
        "mean of small, points below the bound",
        8,
        SpaceFigure::MeanBelowBound("small"),
        4.0,
    ),
    space(
        "extent",
        "mean of classic",
        16,
        SpaceFigure::Mean("classic", |means| means.utilisation),
        96.0,
    ),
    space(
        "extent",
        "each of checkerboards",
        16,
        SpaceFigure::Lowest("checkerboards"),
        94.0,
    ),
    space(
        "extent",
        "each of phases, points below the bound",
        16,
        SpaceFigure::MostBelowBound("phases"),
        2.0,
    ),
    space(
        "extent",
        "tables and state, % of the pool, mean of twelve",
        16,
        SpaceFigure::Metadata("twelve"),
        2.0,
    ),
    space(
        "hybrid",
        "tables and state, % of the pool, mean of twelve",
        16,
        SpaceFigure::Metadata("twelve"),
        0.6,
    ),
    space(
        "hybrid",
        "each of twelve, points behind buddy",
        16,
        SpaceFigure::MostBehind("twelve", "buddy"),
        2.0,
    ),
];

/// Returns a target for the memory that traces need.
const fn space(
    engine: &'static str,
    what: &'static str,
    align: usize,
    figure: SpaceFigure,
    limit: f64,
) -> SpaceTarget {
    SpaceTarget {
        engine,
        what,
        align,
        figure,
        limit,
    }
}

/// Compares the results with the targets. A target that was not measured is left out. `all_peers` says whether all
/// allocators were measured; without all, only targets that compare with no peer remain.
pub(crate) fn judge(results: &Results, all_peers: bool) -> Vec<TargetComparison> {
    let times = TIMES
        .iter()
        .filter(|_| all_peers)
        .flat_map(|(pattern, what)| {
            ["hybrid", "extent"].map(|engine| timed(results, engine, pattern, what))
        });
    let spaces = SPACE
        .iter()
        .filter(|target| all_peers || !target.figure.needs_peers());
    let spaces = spaces.map(|target| target.judge(results));
    times.chain(spaces).flatten().collect()
}

/// Returns the value of a timed pattern or of a pattern of single frees, for the allocator at a place.
fn time(results: &Results, pattern: &str, place: usize) -> Option<f64> {
    fn cell<'rows, T>(
        rows: &'rows [PatternRow<T>],
        pattern: &str,
        place: usize,
    ) -> Option<&'rows T> {
        Results::row(rows, pattern)?.cells[place].as_ref()
    }
    let timed = cell(&results.times, pattern, place).map(|time| time.nanoseconds.median);
    timed.or_else(|| Some(cell(&results.frees, pattern, place)?.p99))
}

/// Compares the time of an engine with that of the best peer or of `hybrid`.
fn timed(results: &Results, engine: &str, pattern: &str, what: &str) -> Option<TargetComparison> {
    let value = |place| time(results, pattern, place);
    let own = value(results.place(engine)?)?;
    let best = standing::best_peer(results, Better::Smaller, value)?;
    let (limit, target) = match engine {
        "hybrid" => (HYBRID_OF_BEST_PEER * best.value, HYBRID_OF_BEST_PEER),
        _ => (
            EXTENT_OF_HYBRID * value(results.place("hybrid")?)?,
            EXTENT_OF_HYBRID,
        ),
    };
    let of = if engine == "hybrid" {
        "best peer"
    } else {
        "hybrid"
    };
    Some(TargetComparison {
        what: what.into(),
        engine: engine.into(),
        target: format!("≤ {target} × {of} = {}", figure(limit)),
        measured: figure(own),
        met: own <= limit,
        best_peer: format!("{} {}", best.name, figure(best.value)),
        standing: standing::ratio(own, best),
    })
}

impl SpaceFigure {
    /// Returns whether the limit is the smallest or the largest value.
    fn better(self) -> Better {
        match self {
            Self::Trace(_) | Self::Mean(..) | Self::Lowest(_) | Self::Firsts(_) => Better::Larger,
            Self::Metadata(_)
            | Self::MeanBelowBound(_)
            | Self::MostBelowBound(_)
            | Self::MostBehindPeers(_)
            | Self::MostBehind(..) => Better::Smaller,
        }
    }

    /// Returns whether the figure compares an engine with peers.
    fn needs_peers(self) -> bool {
        matches!(
            self,
            Self::MostBehindPeers(_) | Self::MostBehind(..) | Self::Firsts(_)
        )
    }
}

impl SpaceTarget {
    /// Compares the results with the target.
    fn judge(&self, results: &Results) -> Option<TargetComparison> {
        let place = results.place(self.engine)?;
        let (value, trace) = self.measure(results, place)?;
        let better = self.figure.better();
        let sign = if better == Better::Larger {
            "≥"
        } else {
            "≤"
        };
        let decimals = if let SpaceFigure::Firsts(_) = self.figure {
            0
        } else {
            1
        };
        let peers = match self.figure {
            SpaceFigure::Trace(name) => {
                let row = row(results, name, self.align)?;
                compared(results, place, |of| {
                    Some(row.cells[of].as_ref()?.utilisation)
                })
            }
            SpaceFigure::Mean(group, mean) => compared(results, place, |of| {
                Some(mean(&means::of(results, group, self.align, of)?))
            }),
            _ => None,
        };
        let (best_peer, standing) = peers.unwrap_or_default();
        Some(TargetComparison {
            what: format!("alignment {}: {}", self.align, self.what),
            engine: self.engine.into(),
            target: format!("{sign} {}", self.limit),
            measured: match trace {
                Some(trace) => format!("{value:.decimals$} ({trace})"),
                None => format!("{value:.decimals$}"),
            },
            met: better.at_least(value, self.limit),
            best_peer,
            standing,
        })
    }

    /// Returns the value, and the trace where it is the worst.
    fn measure<'run>(
        &self,
        results: &'run Results,
        place: usize,
    ) -> Option<(f64, Option<&'run str>)> {
        let group_means = |group| means::of(results, group, self.align, place);
        let used = |row: &Space, place: usize| Some(100.0 * row.cells[place].as_ref()?.utilisation);
        // The largest value of a group, and its trace.
        let most = |group, value: &dyn Fn(&Space) -> Option<f64>| {
            let rows = means::rows(results, group, self.align).into_iter();
            let values: Option<Vec<_>> = rows.map(|row| Some((value(row)?, &*row.trace))).collect();
            let most = values?
                .into_iter()
                .max_by(|one, other| one.0.total_cmp(&other.0));
            most.map(|(value, trace)| (value, Some(trace)))
        };
        let behind_peers = |row: &Space| {
            let best = standing::best_peer(results, Better::Larger, |of| used(row, of))?;
            Some(best.value - used(row, place)?)
        };
        match self.figure {
            SpaceFigure::Trace(name) => Some((used(row(results, name, self.align)?, place)?, None)),
            SpaceFigure::Mean(group, mean) => Some((100.0 * mean(&group_means(group)?), None)),
            SpaceFigure::Metadata(group) => Some((100.0 * group_means(group)?.metadata, None)),
            SpaceFigure::Lowest(group) => {
                let (loss, trace) = most(group, &|row| Some(-used(row, place)?))?;
                Some((-loss, trace))
            }
            SpaceFigure::MeanBelowBound(group) => {
                let bound = means::bound(results, group, self.align)?;
                Some((100.0 * (bound - group_means(group)?.utilisation), None))
            }
            SpaceFigure::MostBelowBound(group) => {
                most(group, &|row| Some(100.0 * row.bound - used(row, place)?))
            }
            SpaceFigure::MostBehindPeers(group) => most(group, &behind_peers),
            SpaceFigure::MostBehind(group, peer) => {
                let peer = results.place(peer)?;
                most(group, &|row| Some(used(row, peer)? - used(row, place)?))
            }
            SpaceFigure::Firsts(group) => {
                let rows = means::rows(results, group, self.align).into_iter();
                let behind: Option<Vec<_>> = rows.map(behind_peers).collect();
                let behind = behind.filter(|behind| !behind.is_empty())?;
                let firsts = behind.iter().filter(|points| **points <= 0.0);
                Some((firsts.count() as f64, None))
            }
        }
    }
}

/// Returns the row of a trace.
fn row<'run>(results: &'run Results, trace: &str, align: usize) -> Option<&'run Space> {
    let mut rows = results.space.iter();
    rows.find(|row| row.trace == trace && row.align == align)
}

/// Returns the best peer and the place of an engine as text. `share` returns the utilisation of an allocator.
fn compared(
    results: &Results,
    place: usize,
    share: impl Fn(usize) -> Option<f64>,
) -> Option<(String, String)> {
    let best = standing::best_peer(results, Better::Larger, &share)?;
    let peer = format!("{} {:.1}", best.name, best.value * 100.0);
    Some((peer, standing::points(share(place)?, best.value)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        results::{
            AllocatorDescription,
            SmallestPool,
            Time, //
        },
        space::groups,
        statistics::SampleSummary,
    };

    /// Returns results of `hybrid`, `extent` and `buddy` without any figure.
    fn results() -> Results {
        let allocator = |name: &str| AllocatorDescription {
            name: name.into(),
            version: String::new(),
            threads: true,
            baseline: false,
            ours: name != "buddy",
            pool: true,
        };
        Results {
            allocators: ["hybrid", "extent", "buddy"].map(allocator).into(),
            ..Results::default()
        }
    }

    /// Adds all traces of a group at alignment 16, with the bound 1 and the given utilisations of the allocators.
    /// The first trace has the utilisations `first`.
    fn add(results: &mut Results, group: &str, first: [f64; 3], others: [f64; 3]) {
        let patterns = groups::patterns(&[group.into()]);
        for (index, pattern) in patterns.iter().enumerate() {
            let cell = |utilisation: f64| {
                Some(SmallestPool {
                    pool_bytes: 100_000,
                    metadata_bytes: 1_000,
                    cache_bytes: 2_000,
                    utilisation,
                    utilisation_bound: 1.0,
                    utilisation_with_metadata: utilisation / 1.01,
                    utilisation_with_caches: utilisation / 1.03,
                })
            };
            results.space.push(Space {
                trace: pattern.name.into(),
                groups: groups::of(pattern).map(Into::into).collect(),
                align: 16,
                operations: 1,
                peak_bytes: 1,
                bound: 1.0,
                cells: if index == 0 { first } else { others }.map(cell).into(),
            });
        }
    }

    /// Returns engine, measured value and verdict of the targets whose title contains `what`.
    fn judged(results: &Results, what: &str) -> Vec<(String, String, bool)> {
        let all = judge(results, true).into_iter();
        let found = all.filter(|target| target.what.contains(what));
        found.map(|of| (of.engine, of.measured, of.met)).collect()
    }

    #[test]
    fn the_worst_trace_of_a_group_decides() {
        let mut results = results();
        add(
            &mut results,
            "checkerboards",
            [0.0, 0.939, 0.5],
            [0.0, 0.95, 0.5],
        );
        add(&mut results, "phases", [0.9, 0.981, 0.0], [0.5, 0.99, 0.0]);
        let expected = ("extent".into(), "93.9 (checkerboard-96-416)".into(), false);
        assert_eq!(judged(&results, "checkerboards"), [expected]);
        let expected = ("extent".into(), "1.9 (phases-rising)".into(), true);
        assert_eq!(judged(&results, "phases"), [expected]);
        assert_eq!(judged(&results, "small"), []);
    }

    #[test]
    fn engines_are_compared_with_peers_and_with_their_metadata() {
        let mut results = results();
        add(&mut results, "twelve", [0.7, 0.6, 0.61], [0.8, 0.99, 0.81]);
        assert_eq!(
            judged(&results, "best peer"),
            [("extent".into(), "1.0 (random-large)".into(), true)]
        );
        assert_eq!(
            judged(&results, "first"),
            [("extent".into(), "11".into(), true)]
        );
        assert_eq!(
            judged(&results, "behind buddy"),
            [("hybrid".into(), "1.0 (sawtooth)".into(), true)]
        );
        let mean = 100.0 * (0.6 + 11.0 * 0.99) / 12.0 / 1.01;
        assert_eq!(
            judged(&results, "mean of twelve, with"),
            [("extent".into(), format!("{mean:.1}"), mean >= 89.0)]
        );
        let metadata: Vec<_> = judged(&results, "% of the pool").into_iter().collect();
        assert_eq!(metadata[0], ("extent".into(), "1.0".into(), true));
        assert_eq!(metadata[1], ("hybrid".into(), "1.0".into(), false));
        // Without peers, only targets that compare with no peer remain.
        assert!(
            judge(&results, false)
                .iter()
                .all(|of| !of.what.contains("behind"))
        );
    }

    #[test]
    fn times_are_compared_with_the_best_peer_and_with_hybrid() {
        let mut results = results();
        let time = |nanoseconds| {
            Some(Time {
                nanoseconds: SampleSummary::of(vec![nanoseconds]),
                pairs: 1,
                redone: 0,
                disturbed: 0,
            })
        };
        results.times.push(PatternRow {
            pattern: "pair-64".into(),
            title: String::new(),
            cells: [9.0, 11.0, 10.0].map(time).into(),
        });
        let [hybrid, extent] = &judge(&results, true)[..] else {
            panic!("two engines are compared")
        };
        assert_eq!(
            (&*hybrid.target, hybrid.met),
            ("≤ 0.9 × best peer = 9.00", true)
        );
        assert_eq!(hybrid.standing, "first, 0.90 × buddy");
        assert_eq!(
            (&*extent.target, extent.met),
            ("≤ 1.3 × hybrid = 11.7", true)
        );
        assert_eq!(extent.standing, "behind, 1.10 × buddy");
    }
}
