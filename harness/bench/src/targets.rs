// SPDX-License-Identifier: GPL-2.0

//! What is to be reached, and whether it is.
//!
//! The hybrid is compared with everybody else who is safe to use from several threads, as it is.
//! Who is best without a lock stands beside it.

use slablab_report::figure;

use crate::{
    results::{
        Results,
        Row,
        Target, //
    },
    statistics::mean,
};

/// Who is judged.
const OURS: &str = "hybrid";

/// Judges what was measured; what was not is left out.
pub(crate) fn judge(results: &Results) -> Vec<Target> {
    let time = |pattern, what, share| timed(results, pattern, what, share);
    let free = |pattern, what| freed(results, pattern, what);
    let space = |family, what, least| used(results, family, what, least);
    [
        time("pair-64", "pair of 64 B, ns", 1.0),
        time("replace-4k", "random replace, 8 B … 4 KiB, ns", 0.85),
        time("replace-64k", "random replace, 8 B … 64 KiB, ns", 0.85),
        time("churn-4160", "churn of 4,160 B, ns", 1.0),
        free("worst-8149", "worst single free of 8,149, p99 / max ns"),
        free("worst-100000", "worst of 100,000 fragments, p99 / max ns"),
        space("classic", "utilisation, classic traces, mean", 0.92),
        space("newer", "utilisation, newer traces, mean", 0.80),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Returns the best of the others, with or without a lock.
fn best<T>(
    results: &Results,
    row: &Row<T>,
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

/// Tells a value and whose it is.
fn told(best: Option<&(f64, String)>) -> String {
    best.map_or_else(
        || "–".into(),
        |(value, name)| format!("{} {}", name.replace(" (no lock)", ""), figure(*value)),
    )
}

/// Judges a pattern: `share` of the best other is enough.
fn timed(results: &Results, pattern: &str, what: &str, share: f64) -> Option<Target> {
    let row = Results::row(&results.times, pattern)?;
    let hybrid = row.cells[results.place(OURS)?].as_ref()?;
    let hybrid = hybrid.nanoseconds.median;
    let best = |threads| best(results, row, threads, |time| time.nanoseconds.median);
    let (other, alone) = (best(true), best(false));
    let limit = other.as_ref()?.0 * share;
    Some(Target {
        what: what.into(),
        target: if share == 1.0 {
            "first".into()
        } else {
            format!("≤ {share} × best = {}", figure(limit))
        },
        hybrid: figure(hybrid),
        best_other: told(other.as_ref()),
        best_without_lock: told(alone.as_ref()),
        met: hybrid <= limit,
    })
}

/// Judges single frees: first by both figures.
fn freed(results: &Results, pattern: &str, what: &str) -> Option<Target> {
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
        let [p99, max] = of.each_ref().map(|best| told(best.as_ref()));
        format!("{p99} / {max}")
    };
    Some(Target {
        what: what.into(),
        target: "first".into(),
        hybrid: format!("{} / {}", figure(hybrid.p99), figure(hybrid.max)),
        best_other: pair(&other),
        best_without_lock: pair(&alone),
        met,
    })
}

/// Judges the mean utilisation of a family of traces.
fn used(results: &Results, family: &str, what: &str, least: f64) -> Option<Target> {
    let percent = |share: f64| format!("{:.1} %", share * 100.0);
    let ours = results.place(OURS)?;
    let hybrid = utilisation(results, family, ours)?;
    let others = (0..results.allocators.len()).filter(|place| {
        let of = &results.allocators[*place];
        of.threads && !of.baseline && *place != ours
    });
    let best = others
        .filter_map(|place| Some((utilisation(results, family, place)?.0, place)))
        .max_by(|one, other| one.0.total_cmp(&other.0));
    Some(Target {
        what: what.into(),
        target: format!("≥ {:.0} %", least * 100.0),
        hybrid: format!("{} ({} with tables)", percent(hybrid.0), percent(hybrid.1)),
        best_other: best.map_or_else(
            || "–".into(),
            |(share, place)| format!("{} {}", results.allocators[place].name, percent(share)),
        ),
        best_without_lock: "the same".into(),
        met: hybrid.0 >= least,
    })
}

/// Returns an allocator's mean utilisation in a family, without and with what is beside its pool;
/// `None` when it failed at one of the traces.
pub(crate) fn utilisation(results: &Results, family: &str, place: usize) -> Option<(f64, f64)> {
    let rows = results.space.iter().filter(|space| space.family == family);
    let pools: Option<Vec<_>> = rows.map(|space| space.cells[place].as_ref()).collect();
    let pools = pools.filter(|pools| !pools.is_empty())?;
    let over = |share: fn(&crate::results::Pool) -> f64| {
        mean(&pools.iter().map(|pool| share(pool)).collect::<Vec<_>>())
    };
    Some((
        over(|pool| pool.utilisation),
        over(|pool| pool.utilisation_with_beside),
    ))
}

/// Returns what an allocator's mean utilisation would be without fragmentation and records: what
/// the rounding of sizes alone allows.
pub(crate) fn utilisation_at_most(results: &Results, family: &str, place: usize) -> Option<f64> {
    let rows = results.space.iter().filter(|space| space.family == family);
    let shares = rows.map(|space| Some(space.cells[place].as_ref()?.utilisation_at_most));
    let shares: Option<Vec<_>> = shares.collect();
    shares
        .filter(|shares| !shares.is_empty())
        .map(|shares| mean(&shares))
}
