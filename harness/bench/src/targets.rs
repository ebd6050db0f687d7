// SPDX-License-Identifier: GPL-2.0

//! The targets of hybrid, and whether they are met.
//!
//! Hybrid is compared with the other thread-safe allocators. The best allocator without a lock is shown
//! for information.

use slablab_report::figure;

use crate::results::{
    PatternRow,
    Results,
    TargetComparison, //
};

/// The engine that the targets are for.
const OURS: &str = "hybrid";

/// Compares the results with the targets. A target that was not measured is left out.
pub(crate) fn judge(results: &Results) -> Vec<TargetComparison> {
    let time = |pattern, what, share| timed(results, pattern, what, share);
    let free = |pattern, what| freed(results, pattern, what);
    let space = |family, what, min_share| used(results, family, what, min_share);
    [
        time("pair-64", "pair of 64 B, ns", 1.0),
        time("replace-4k", "random replace, 8 B … 4 KiB, ns", 0.85),
        time("replace-64k", "random replace, 8 B … 64 KiB, ns", 0.85),
        time("churn-4160", "churn of 4,160 B, ns", 1.0),
        free("worst-8149", "single free, 8,149 blocks, p99 / max ns"),
        free(
            "worst-100000",
            "single free, 100,000 fragments, p99 / max ns",
        ),
        space("classic", "utilisation, classic traces, mean", 0.92),
        space("newer", "utilisation, newer traces, mean", 0.80),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Returns the smallest value of the other allocators and its name; `threads` selects the thread-safe
/// allocators or those without a lock.
fn best<T>(
    results: &Results,
    row: &PatternRow<T>,
    threads: bool,
    value: impl Fn(&T) -> f64,
) -> Option<(f64, String)> {
    let cells = results.allocators.iter().zip(&row.cells);
    let others = cells.filter(|(of, _)| {
        !of.baseline && of.threads == threads && !(of.ours && of.name.starts_with(OURS))
    });
    let values = others.filter_map(|(of, cell)| Some((value(cell.as_ref()?), of.name.clone())));
    values.min_by(|one, other| one.0.total_cmp(&other.0))
}

/// Formats a value with the name of its allocator.
fn value_and_name(best: Option<&(f64, String)>) -> String {
    best.map_or_else(
        || "–".into(),
        |(value, name)| format!("{} {}", name.replace(" (no lock)", ""), figure(*value)),
    )
}

/// Compares a pattern: hybrid must take at most `share` of the best other time.
fn timed(results: &Results, pattern: &str, what: &str, share: f64) -> Option<TargetComparison> {
    let row = Results::row(&results.times, pattern)?;
    let hybrid = row.cells[results.place(OURS)?].as_ref()?;
    let hybrid = hybrid.nanoseconds.median;
    let best = |threads| best(results, row, threads, |time| time.nanoseconds.median);
    let (other, alone) = (best(true), best(false));
    let limit = other.as_ref()?.0 * share;
    Some(TargetComparison {
        what: what.into(),
        target: if share == 1.0 {
            "fastest".into()
        } else {
            format!("≤ {share} × best = {}", figure(limit))
        },
        hybrid: figure(hybrid),
        best_other: value_and_name(other.as_ref()),
        best_without_lock: value_and_name(alone.as_ref()),
        met: hybrid <= limit,
    })
}

/// Compares single frees: hybrid must be the fastest by p99 and by the maximum.
fn freed(results: &Results, pattern: &str, what: &str) -> Option<TargetComparison> {
    let row = Results::row(&results.frees, pattern)?;
    let hybrid = row.cells[results.place(OURS)?].as_ref()?;
    let both = |threads| {
        [
            best(results, row, threads, |free| free.p99),
            best(results, row, threads, |free| free.max),
        ]
    };
    let (other, alone) = (both(true), both(false));
    let [p99, max] = &other;
    let met = hybrid.p99 <= p99.as_ref()?.0 && hybrid.max <= max.as_ref()?.0;
    let pair = |of: &[Option<(f64, String)>; 2]| {
        let [p99, max] = of.each_ref().map(|best| value_and_name(best.as_ref()));
        format!("{p99} / {max}")
    };
    Some(TargetComparison {
        what: what.into(),
        target: "fastest".into(),
        hybrid: format!("{} / {}", figure(hybrid.p99), figure(hybrid.max)),
        best_other: pair(&other),
        best_without_lock: pair(&alone),
        met,
    })
}

/// Compares the mean utilisation of a family of traces: hybrid must reach `min_share`.
fn used(results: &Results, family: &str, what: &str, min_share: f64) -> Option<TargetComparison> {
    let percent = |share: f64| format!("{:.1} %", share * 100.0);
    let ours = results.place(OURS)?;
    let hybrid = mean_of(results, family, ours)?;
    let others = (0..results.allocators.len()).filter(|place| {
        let of = &results.allocators[*place];
        of.threads && !of.baseline && *place != ours
    });
    let best = others
        .filter_map(|place| Some((mean_of(results, family, place)?.0, place)))
        .max_by(|one, other| one.0.total_cmp(&other.0));
    Some(TargetComparison {
        what: what.into(),
        target: format!("≥ {:.0} %", min_share * 100.0),
        hybrid: format!(
            "{} ({} with metadata)",
            percent(hybrid.0),
            percent(hybrid.1)
        ),
        best_other: best.map_or_else(
            || "–".into(),
            |(share, place)| format!("{} {}", results.allocators[place].name, percent(share)),
        ),
        best_without_lock: "same as best other".into(),
        met: hybrid.0 >= min_share,
    })
}

fn mean_of(results: &Results, family: &str, place: usize) -> Option<(f64, f64)> {
    let means = crate::space::means::of(results, family, 16, place)?;
    Some((means.utilisation, means.utilisation_with_metadata))
}
