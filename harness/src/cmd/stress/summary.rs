// SPDX-License-Identifier: GPL-2.0

//! The summary of a stress run as text.

use super::outcome::{
    StressOutcome,
    StressReport, //
};
use crate::{
    cmd::stats,
    report::{
        self,
        BAD,
        BOLD,
        Cell,
        GOOD,
        Side,
        Table,
        bytes,
        count, //
    },
    workload::Limit,
};

/// Returns the table, the final statistics if they are reproducible, the failures, and a verdict for each
/// engine.
pub(super) fn text(report: &StressReport) -> String {
    let mut text = format!("{}\n", table(report));
    text += &final_statistics(report);
    for outcome in &report.outcomes {
        if let Err(failure) = &outcome.result {
            text += &format!(
                "{BAD}FAILED{BAD:#} {} {}, seed {}, operation {}\n  {}\n  repeat: {}\n\n",
                outcome.engine,
                outcome.workload.name,
                report.config.seed,
                failure.operation,
                failure.violation,
                outcome.repeat(failure, &report.config)
            );
        }
    }
    for outcomes in report
        .outcomes
        .chunk_by(|one, next| one.engine == next.engine)
    {
        text += &verdict(outcomes);
    }
    text
}

/// Returns the reproducible statistics, one line per workload, suited for `diff`.
fn final_statistics(report: &StressReport) -> String {
    let config = &report.config;
    let Limit::Operations(operations) = config.limit else {
        return String::new();
    };
    let has_lines = report.finals().next().is_some()
        || report
            .outcomes
            .iter()
            .any(|outcome| report.depends_on_order(outcome));
    if !config.are_exact() || !has_lines {
        return String::new();
    }
    let mut text = format!(
        "{BOLD}Final statistics{BOLD:#}, the same on every target with {}:\n",
        depends_on(report, operations)
    );
    for figures in report.finals() {
        text += &format!("  {}\n", figures.line());
    }
    if report
        .outcomes
        .iter()
        .any(|outcome| report.depends_on_order(outcome))
    {
        text += "  ('threads' has no final statistics: the order of its threads decides which requests \
             --fail-* refuses)\n";
    }
    text + "\n"
}

/// Returns the options that the final statistics depend on.
fn depends_on(report: &StressReport, operations: u64) -> String {
    let config = &report.config;
    let mut all = vec![
        "the same engine".to_owned(),
        format!("--seed {}", config.seed),
        format!("--ops {operations}"),
    ];
    let has_threads = |outcome: &StressOutcome| {
        !outcome.workload.is_sequential && !report.depends_on_order(outcome)
    };
    if report.outcomes.iter().any(has_threads) {
        all.push(format!("--threads {}", config.threads));
    }
    all.extend(config.pool_mib.map(|mib| format!("--pool {mib}")));
    let debug = if config.debug {
        "--debug"
    } else {
        "no --debug"
    };
    all.push(debug.to_owned());
    let last = match config.faults.is_any() {
        true => config.faults.options().collect::<Vec<_>>().join(" "),
        false => "no --fail-*".to_owned(),
    };
    format!("{} and {last}", all.join(", "))
}

fn table(report: &StressReport) -> Table {
    let mut table = Table::new([
        ("engine", Side::Left),
        ("workload", Side::Left),
        ("operations", Side::Right),
        ("blocks", Side::Right),
        ("peak live", Side::Right),
        ("checked", Side::Right),
        ("time", Side::Right),
        ("ops/s", Side::Right),
        ("verdict", Side::Left),
        ("refused", Side::Left),
    ]);
    for outcome in &report.outcomes {
        let [allocations, peak, checked, refusals] = match &outcome.result {
            Ok(summary) => [
                count(summary.tally.allocations),
                bytes(summary.peak_live_bytes),
                bytes(summary.checked_bytes),
                refused(&summary.tally.refusals),
            ],
            Err(_) => ["-"; 4].map(str::to_owned),
        };
        table.row([
            outcome.engine.name().into(),
            outcome.workload.name.into(),
            count(outcome.operations).into(),
            allocations.into(),
            peak.into(),
            checked.into(),
            format!("{:.2} s", outcome.elapsed.as_secs_f64()).into(),
            count(outcome.rate() as u64).into(),
            if outcome.result.is_ok() {
                Cell::styled("ok", GOOD)
            } else {
                Cell::styled("FAILED", BAD)
            },
            refusals.into(),
        ]);
    }
    table
}

fn refused(counts: &[u64]) -> String {
    let refusals = stats::refusals(counts);
    if refusals.is_empty() {
        "-".to_owned()
    } else {
        stats::by_cause(&refusals)
    }
}

/// Returns one sentence that sums up all workloads on an engine.
fn verdict(outcomes: &[StressOutcome]) -> String {
    let Some(engine) = outcomes.first().map(|outcome| outcome.engine) else {
        return String::new();
    };
    let failed = outcomes
        .iter()
        .filter(|outcome| outcome.result.is_err())
        .count();
    if failed > 0 {
        return format!(
            "{BAD}{engine} failed {failed} of {} workloads{BAD:#}; the commands above repeat the failures.\n",
            outcomes.len()
        );
    }
    let passed = || {
        outcomes
            .iter()
            .filter_map(|outcome| outcome.result.as_ref().ok())
    };
    let blocks: u64 = passed().map(|summary| summary.tally.allocations).sum();
    let checked: u64 = passed().map(|summary| summary.checked_bytes).sum();
    let peak = passed()
        .map(|summary| summary.peak_live_bytes)
        .max()
        .unwrap_or(0);
    let refused: u64 = passed().flat_map(|summary| summary.tally.refusals).sum();
    let refusals = if refused > 0 {
        format!("; {} requests refused, each with a cause", count(refused))
    } else {
        String::new()
    };
    format!(
        "{GOOD}{engine} passed{GOOD:#}: {} allocated and freed, peak live {}{refusals}; {} read \
         back and compared, 0 bytes wrong.\n",
        report::blocks(blocks),
        bytes(peak),
        bytes(checked)
    )
}
