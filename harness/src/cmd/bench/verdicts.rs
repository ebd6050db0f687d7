// SPDX-License-Identifier: GPL-2.0

//! Which targets of the engines a run has met.

use super::{
    calls::{
        BATCH,
        NULL_IOCTL,
        alloc_free_of,
        batch, //
    },
    document::{
        BenchDocument,
        BenchRow, //
    },
    standing::{
        RowFigure,
        Standing, //
    },
    targets::{
        Figure,
        TARGETS,
        Target, //
    },
};
use crate::{
    clock::Clock,
    uapi::{
        BenchSubject,
        Engine, //
    },
};

/// A target of one engine, and the measured value.
pub(super) struct Verdict {
    pub(super) what: &'static str,
    pub(super) engine: BenchSubject,
    pub(super) limit: String,
    /// `None` if nothing was measured.
    pub(super) found: Option<Found>,
}

/// The measured value of a target.
pub(super) struct Found {
    /// The value, with the row in which it is the worst.
    pub(super) value: String,
    pub(super) met: bool,
    /// The place of the engine among Linux's allocators, in the row where it is the farthest behind.
    pub(super) standing: Option<Standing>,
}

/// Returns every target of the engines that were measured. Only runs that count instructions are compared with the
/// limits.
pub(super) fn verdicts(documents: &[BenchDocument], lock_prefixes: Option<u32>) -> Vec<Verdict> {
    let counted: Vec<_> = documents
        .iter()
        .filter(|document| document.clock == Clock::Instructions)
        .collect();
    let rows: Vec<_> = counted.iter().flat_map(|document| &document.rows).collect();
    let measured = |engine: &&BenchSubject| {
        // The default engine has its rows also where nothing was measured, so that the report can name them.
        **engine == BenchSubject::Hybrid || rows.iter().any(|row| row.of(**engine).is_some())
    };
    let mut verdicts = Vec::new();
    for target in &TARGETS {
        let rows: Vec<_> = (rows.iter().copied())
            .filter(|row| (target.rows)(row))
            .collect();
        for engine in target.engines.iter().filter(measured) {
            verdicts.push(Verdict {
                what: target.what,
                engine: *engine,
                limit: target.limit_text(),
                found: target.judge(&rows, *engine),
            });
        }
    }
    let of_hybrid = |what, limit: f64, decimals, value: Option<f64>| Verdict {
        what,
        engine: BenchSubject::Hybrid,
        limit: format!("≤ {limit}"),
        found: value.map(|value| Found {
            value: format!("{value:.decimals$}"),
            met: value <= limit,
            standing: None,
        }),
    };
    let calls = |name: &str, nulls: f64| {
        let document = counted.iter().find(|document| !document.calls.is_empty())?;
        let cost = |name: &str| document.calls.iter().find(|call| call.name == name);
        Some(cost(name)?.cost / (nulls * cost(NULL_IOCTL)?.cost))
    };
    verdicts.extend([
        of_hybrid(
            "instructions with a lock prefix in a pair",
            0.0,
            0,
            lock_prefixes.map(f64::from),
        ),
        of_hybrid(
            "ALLOC and FREE of 64 B / two null ioctls",
            1.65,
            2,
            calls(&alloc_free_of(Engine::Hybrid), 2.0),
        ),
        of_hybrid(
            "one operation of a SUBMIT of 64 / a null ioctl",
            0.45,
            2,
            calls(&batch(BATCH), 1.0),
        ),
    ]);
    verdicts
}

impl Target {
    /// Compares an engine with the target.
    fn judge(&self, rows: &[&BenchRow], engine: BenchSubject) -> Option<Found> {
        let values = rows
            .iter()
            .filter_map(|row| Some((self.figure.of(rows, row, engine)?, row)));
        let (value, row) = values.max_by(|one, other| one.0.total_cmp(&other.0))?;
        let compared = match self.figure {
            Figure::Cost | Figure::OfKmemCache => Some(RowFigure::Cost),
            Figure::Longest => Some(RowFigure::Longest),
            Figure::OfOneCpu | Figure::Locks => None,
        };
        let standing = compared.and_then(|figure| {
            let places = rows.iter().filter_map(|row| figure.standing(row, engine));
            places.max_by(|one, other| one.ratio().total_cmp(&other.ratio()))
        });
        let decimals = match self.figure {
            Figure::Cost => 1,
            Figure::Longest => 0,
            Figure::OfKmemCache | Figure::OfOneCpu | Figure::Locks => 3,
        };
        let is_first = standing.as_ref().is_some_and(Standing::is_first);
        Some(Found {
            value: format!("{value:.decimals$} ({})", row.name),
            met: value <= self.limit && (is_first || !self.first),
            standing,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmd::bench::{
        document::Measured,
        suite::Group, //
    };

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

    /// Returns the verdicts on the first two targets: the instructions of a pair, and their ratio to those of
    /// kmem_cache.
    fn met(documents: &[BenchDocument]) -> Vec<Option<bool>> {
        let verdicts = verdicts(documents, None);
        let met = |verdict: &Verdict| verdict.found.as_ref().map(|found| found.met);
        verdicts.iter().take(2).map(met).collect()
    }

    #[test]
    fn the_loop_does_not_count() {
        let at = |cost| met(&[run(Clock::Instructions, cost)]);
        assert_eq!(at(80.0), [Some(true), Some(true)]);
        assert_eq!(at(81.0), [Some(false), Some(false)]);
    }

    #[test]
    fn the_worst_run_decides() {
        let runs = [50.0, 90.0, 60.0].map(|cost| run(Clock::Instructions, cost));
        assert_eq!(met(&runs)[0], Some(false));
    }

    #[test]
    fn nanoseconds_are_not_judged_as_instructions() {
        assert_eq!(met(&[run(Clock::Nanoseconds, 20.0)]), [None; 2]);
        assert_eq!(met(&[]), [None; 2]);
    }

    /// Returns a run with a row of the group `handover`, in which `kmem_cache` takes 200 and `__kmalloc` 100
    /// instructions.
    fn handover(hybrid: f64) -> BenchDocument {
        let mut document = run(Clock::Instructions, hybrid);
        let row = &mut document.rows[0];
        row.group = Group::Handover;
        row.results[2].cost = 9.0 + 200.0;
        let kmalloc = Measured {
            subject: BenchSubject::Kmalloc,
            cost: 9.0 + 100.0,
            ..row.results[2].clone()
        };
        row.results.push(kmalloc);
        document
    }

    #[test]
    fn a_target_may_demand_the_first_place() {
        let found = |hybrid| {
            let all = verdicts(&[handover(hybrid)], None);
            let mut handovers = all.into_iter().filter(|of| of.limit.contains("first"));
            handovers.find_map(|of| of.found).unwrap()
        };
        let (first, second) = (found(99.0), found(104.0));
        assert_eq!((&*first.value, first.met), ("0.495 (64 B)", true));
        assert_eq!((&*second.value, second.met), ("0.520 (64 B)", false));
        let behind = second.standing.unwrap().to_string();
        assert_eq!(behind, "behind __kmalloc by 4 %");
    }

    #[test]
    fn an_engine_appears_when_it_was_measured() {
        let engines = |document: &BenchDocument| {
            let verdicts = verdicts(std::slice::from_ref(document), None);
            let mut engines: Vec<_> = verdicts.iter().map(|of| of.engine).collect();
            engines.sort_unstable_by_key(|engine| engine.raw());
            engines.dedup();
            engines
        };
        let mut document = run(Clock::Instructions, 67.0);
        assert_eq!(engines(&document), [BenchSubject::Hybrid]);
        let extent = Measured {
            subject: BenchSubject::Extent,
            ..document.rows[0].results[1].clone()
        };
        document.rows[0].results.push(extent);
        assert_eq!(engines(&document).len(), 2);
    }

    #[test]
    fn only_targets_that_were_measured_have_a_row() {
        let rendered = |documents: &[BenchDocument]| {
            let text = crate::report::plain(&super::super::render::text(documents, None));
            text.split_once("Targets\n").unwrap().1.to_owned()
        };
        let counted = rendered(&[run(Clock::Instructions, 67.0)]);
        let rows: Vec<_> = counted.lines().take(4).collect();
        assert!(
            rows[1].starts_with("pair of each size that a magazine serves"),
            "{counted}"
        );
        assert!(
            rows[1].contains("met") && rows[1].ends_with("first"),
            "{counted}"
        );
        assert!(
            rows[2].starts_with("pair of each size class / kmem_cache"),
            "{counted}"
        );
        let rest = "Not part of this run ('make bench' measures all): LIFO batch";
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
