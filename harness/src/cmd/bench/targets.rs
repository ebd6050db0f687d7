// SPDX-License-Identifier: GPL-2.0

//! The performance targets of `hybrid`, and whether they are met.

use super::{
    calls::{
        BATCH,
        NULL_IOCTL,
        alloc_free_of,
        batch, //
    },
    document::{
        BenchDocument,
        BenchRow,
        Measured, //
    },
    suite::Group,
};
use crate::{
    clock::Clock,
    uapi::{
        BenchSubject,
        Engine, //
    },
};

/// A target and the measured value.
pub(super) struct PerformanceTarget {
    /// The name and the limit of the target.
    pub(super) what: &'static str,
    pub(super) limit: &'static str,
    /// The measured value and whether it is within the limit; `None` if it was not measured.
    pub(super) found: Option<(String, bool)>,
}

/// Returns every target. Only runs that count instructions are compared with the limits.
pub(super) fn targets(
    documents: &[BenchDocument],
    lock_prefixes: Option<u32>,
) -> Vec<PerformanceTarget> {
    let counted: Vec<_> = documents
        .iter()
        .filter(|document| document.clock == Clock::Instructions)
        .collect();
    let rows = || counted.iter().flat_map(|document| &document.rows);
    let of = |group: Group| rows().filter(move |row| row.group == group);
    let classes = || of(Group::Pair).filter(|row| row.block_bytes <= 4096);
    let pair_of = |bytes: u64| {
        let rows = of(Group::Pair).filter(|row| row.block_bytes == bytes);
        most(rows, |row| row.net(BenchSubject::Hybrid)).map(|(cost, _)| cost)
    };
    let worst_free = |group: Group| {
        of(group)
            .filter_map(|row| row.of(BenchSubject::Hybrid)?.singly)
            .map(|singly| singly.max as f64)
            .reduce(f64::max)
    };
    let two_cpus: Vec<_> = of(Group::TwoCpus).collect();
    vec![
        PerformanceTarget {
            what: "pair of each size class, instructions",
            limit: "≤ 80",
            found: most(classes(), |row| row.net(BenchSubject::Hybrid))
                .map(|(cost, row)| (tenths(cost), row))
                .map(|(cost, row)| (format!("{cost:.1} ({})", row.name), cost <= 80.0)),
        },
        PerformanceTarget {
            what: "pair of each size class, divided by kmem_cache",
            limit: "≤ 0.57",
            found: most(classes(), |row| {
                Some(row.net(BenchSubject::Hybrid)? / row.net(BenchSubject::KmemCache)?)
            })
            .map(|(ratio, row)| (format!("{ratio:.3} ({})", row.name), ratio <= 0.57)),
        },
        PerformanceTarget {
            what: "instructions with a lock prefix in a pair",
            limit: "0",
            found: lock_prefixes.map(|count| (count.to_string(), count == 0)),
        },
        at_most("pair of 8 KiB, instructions", "≤ 200", 200.0, pair_of(8192)),
        at_most(
            "pair of 64 KiB, instructions",
            "≤ 200",
            200.0,
            pair_of(65536),
        ),
        at_most(
            "one free of 8 KiB among 8,149 blocks, maximum",
            "≤ 1,500",
            1500.0,
            worst_free(Group::Fragments),
        ),
        at_most(
            "one free of 8 KiB among 100,000 blocks, maximum",
            "≤ 1,500",
            1500.0,
            worst_free(Group::ManyFragments),
        ),
        PerformanceTarget {
            what: "pair on two CPUs at once, divided by the pair on one CPU",
            limit: "≤ 1.05",
            found: most(two_cpus.iter().copied(), |row| {
                let alone = two_cpus
                    .iter()
                    .find(|other| other.threads == 1 && other.block_bytes == row.block_bytes)?;
                let ratio = row.net(BenchSubject::Hybrid)? / alone.net(BenchSubject::Hybrid)?;
                (row.threads == 2).then_some(ratio)
            })
            .map(|(ratio, row)| (format!("{ratio:.3} ({})", row.name), ratio <= 1.05)),
        },
        PerformanceTarget {
            what: "lock acquisitions per pair on two CPUs",
            limit: "≤ 1/32",
            found: most(two_cpus.iter().copied(), |row| {
                row.of(BenchSubject::Hybrid)
                    .map(|result: &Measured| result.locks)
            })
            .map(|(locks, row)| (format!("{locks:.3} ({})", row.name), locks <= 1.0 / 32.0)),
        },
        at_most(
            "ALLOC and FREE of 64 B, divided by two null ioctls",
            "≤ 1.65",
            1.65,
            counted.iter().find_map(|document| {
                let cost = |name: &str| document.calls.iter().find(|call| call.name == name);
                Some(cost(&alloc_free_of(Engine::Hybrid))?.cost / (2.0 * cost(NULL_IOCTL)?.cost))
            }),
        ),
        at_most(
            "one operation in a SUBMIT of 64, divided by a null ioctl",
            "≤ 0.45",
            0.45,
            counted.iter().find_map(|document| {
                let cost = |name: &str| document.calls.iter().find(|call| call.name == name);
                Some(cost(&batch(BATCH))?.cost / cost(NULL_IOCTL)?.cost)
            }),
        ),
    ]
}

/// Rounds a figure to one decimal, for the output and the verdict: timer ticks add some thousandths.
fn tenths(figure: f64) -> f64 {
    (figure * 10.0).round() / 10.0
}

/// Returns a target for one figure.
fn at_most(
    what: &'static str,
    limit: &'static str,
    most: f64,
    found: Option<f64>,
) -> PerformanceTarget {
    let (decimals, found) = if most < 10.0 {
        (2, found)
    } else {
        (1, found.map(tenths))
    };
    PerformanceTarget {
        what,
        limit,
        found: found.map(|found| (format!("{found:.decimals$}"), found <= most)),
    }
}

/// Returns the largest figure of some rows, and the row.
fn most<'a>(
    rows: impl Iterator<Item = &'a BenchRow>,
    figure: impl Fn(&BenchRow) -> Option<f64>,
) -> Option<(f64, &'a BenchRow)> {
    rows.filter_map(|row| Some((figure(row)?, row)))
        .max_by(|one, other| one.0.total_cmp(&other.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a run with one row: a pair of 64 bytes that takes `hybrid` instructions, and 9 more for the loop.
    fn run(clock: Clock, hybrid: f64) -> BenchDocument {
        let measured = |subject, cost| Measured {
            subject,
            cost,
            singly: None,
            locks: 0.0,
            operations: 1024,
            refusals: 0,
            checked_blocks: 1024,
            wrong_blocks: 0,
            rule: 0,
        };
        BenchDocument {
            clock,
            cpus: 1,
            kernel: "7.3.4".to_owned(),
            rows: vec![BenchRow {
                group: Group::Pair,
                name: "64 B".to_owned(),
                block_bytes: 64,
                threads: 1,
                results: vec![
                    measured(BenchSubject::Nothing, 9.0),
                    measured(BenchSubject::Hybrid, 9.0 + hybrid),
                    measured(BenchSubject::KmemCache, 9.0 + 141.0),
                ],
            }],
            calls: Vec::new(),
            left_out: Vec::new(),
        }
    }

    /// Returns the verdicts on the first three targets: the instructions of a pair, their ratio to those of
    /// kmem_cache, and the lock prefixes.
    fn verdicts(documents: &[BenchDocument]) -> Vec<Option<bool>> {
        let targets = targets(documents, None);
        let verdict = |target: &PerformanceTarget| target.found.as_ref().map(|(_, met)| *met);
        targets.iter().take(3).map(verdict).collect()
    }

    #[test]
    fn the_loop_does_not_count() {
        let met = verdicts(&[run(Clock::Instructions, 80.0)]);
        assert_eq!(met, [Some(true), Some(true), None]);
        let missed = verdicts(&[run(Clock::Instructions, 81.0)]);
        assert_eq!(missed, [Some(false), Some(false), None]);
    }

    #[test]
    fn the_worst_run_decides() {
        let runs = [50.0, 90.0, 60.0].map(|cost| run(Clock::Instructions, cost));
        assert_eq!(verdicts(&runs)[0], Some(false));
    }

    #[test]
    fn nanoseconds_are_not_judged_as_instructions() {
        assert_eq!(verdicts(&[run(Clock::Nanoseconds, 20.0)]), [None; 3]);
        assert_eq!(verdicts(&[]), [None; 3]);
    }

    #[test]
    fn only_targets_that_were_measured_have_a_row() {
        let rendered = |documents: &[BenchDocument]| {
            let text = crate::report::plain(&super::super::render::text(documents, None));
            text.split_once("Targets of hybrid\n").unwrap().1.to_owned()
        };
        let counted = rendered(&[run(Clock::Instructions, 67.0)]);
        let rows: Vec<_> = counted.lines().take(4).collect();
        assert!(
            rows[1].starts_with("pair of each size class, instructions"),
            "{counted}"
        );
        assert!(
            rows[2].starts_with("pair of each size class, divided by kmem_cache"),
            "{counted}"
        );
        let rest = "Not part of this run ('make bench' measures all): instructions with";
        assert!(rows[3].starts_with(rest), "{counted}");
        // A run in nanoseconds has no verdicts, so the text is one line without a table.
        let timed = rendered(&[run(Clock::Nanoseconds, 20.0)]);
        assert!(
            timed.starts_with("The targets were not checked: they are in instr"),
            "{timed}"
        );
        assert!(!timed.contains("limit"), "{timed}");
    }

    #[test]
    fn a_report_survives_its_way_through_json() {
        let documents = [run(Clock::Instructions, 67.0)];
        let text = serde_json::to_string(&documents).unwrap();
        let again: Vec<BenchDocument> = serde_json::from_str(&text).unwrap();
        let report = super::super::render::text(&again, Some(0));
        assert_eq!(report, super::super::render::text(&documents, Some(0)));
        assert!(report.contains("67.0 (64 B)"), "{report}");
        assert!(documents[0].is_right());
    }

    #[test]
    fn one_wrong_block_is_told_and_fails() {
        let mut document = run(Clock::Instructions, 67.0);
        document.rows[0].results[1].wrong_blocks = 1;
        assert!(!document.is_right());
        let report = super::super::render::text(&[document], None);
        assert!(report.contains("hybrid: 1 wrong blocks"), "{report}");
    }
}
