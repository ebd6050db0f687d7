// SPDX-License-Identifier: GPL-2.0

//! The rubric of an exercise: its tests, their points, and the thresholds of the measured parts.
//!
//! ```toml
//! checkpoint = 60                  # points; see `Rubric::checkpoint`
//!
//! [[test]]
//! sentence = "freed memory is used again"
//! points = 20
//!
//! [[test]]
//! sentence = "after all blocks of 1024 bytes are freed, one block takes the whole pool"
//! points = 50
//! parent = "freed memory is used again"
//! hint = 3
//!
//! [utilisation]                    # per cent of the computed bound
//! points = 20
//! traces = ["random", "phases"]
//! full = 85
//! zero = 45
//!
//! [cost]                           # accesses for each operation
//! points = 10
//! measure = "accesses"
//! traces = ["random", "phases"]
//! full = 40
//! zero = 400
//! ```

use anyhow::{
    Context,
    bail,
    ensure, //
};
use serde::{
    Deserialize,
    Serialize, //
};

use crate::{
    grade::{
        points::Points,
        workload, //
    },
    suites,
};

/// The points of each rubric.
pub const TOTAL: u32 = 100;

/// A rubric: the file `rubric.toml` of an exercise.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Rubric {
    /// The number of points that is enough at a checkpoint: a date, set by the teacher, at which a part of the work is
    /// enough. A grade says whether this number is reached. The points of a grade do not depend on the checkpoint.
    #[serde(default = "default_checkpoint")]
    pub checkpoint: u32,
    /// Whether the measured parts have 0 points unless all tests pass.
    #[serde(default = "default_gate")]
    pub gate: bool,
    /// Whether the picture of a failure shows room for a request only in whole free pages: the exercise has slabs, and
    /// no correct allocator serves a request from the free memory of any slab.
    #[serde(default)]
    pub whole_pages: bool,
    /// The tests in the order in which they run: basic behaviour first.
    #[serde(rename = "test")]
    pub tests: Vec<RubricTest>,
    /// The points for the use of the pool, in per cent of the computed bound.
    pub utilisation: Option<Utilisation>,
    /// The points for the number of accesses.
    pub cost: Option<Cost>,
}

/// A test of an exercise.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RubricTest {
    /// The sentence that names the test.
    pub sentence: String,
    /// The points of the test.
    pub points: u32,
    /// The sentence of an earlier test. If that test fails or is not run, this one is not run and has 0 points, because
    /// its failure would say the same again.
    pub parent: Option<String>,
    /// The number of the hint for a learner whose allocator fails the test.
    pub hint: Option<usize>,
}

/// The points for utilisation: the bound of a trace, divided by the smallest pool in which the trace is served.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Utilisation {
    /// The points.
    pub points: u32,
    /// The names of the workloads; see [`workload`].
    pub traces: Vec<String>,
    /// The per cent from which on there are full points.
    pub full: u32,
    /// The per cent up to which there are no points.
    pub zero: u32,
}

/// The points for cost: accesses divided by operations, over all traces.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    /// The points.
    pub points: u32,
    /// The unit of the cost.
    pub measure: Measure,
    /// The largest size of the allocator's type, in bytes. Accesses to the type are not counted, and 1024 bytes have room
    /// for a bitmap of the whole pool. A larger type leaves no points.
    #[serde(default = "default_type_bytes")]
    pub type_bytes: usize,
    /// The names of the workloads.
    pub traces: Vec<String>,
    /// The accesses for each operation up to which there are full points.
    pub full: u32,
    /// The accesses for each operation from which on there are no points.
    pub zero: u32,
}

/// The unit of a cost. It is the same on every machine, so it is not a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Measure {
    /// Accesses to words of the pool and to notes, which `Memory` counts.
    Accesses,
}

fn default_checkpoint() -> u32 {
    60
}

/// The frame refuses a type that is larger.
fn default_type_bytes() -> usize {
    1024
}

fn default_gate() -> bool {
    true
}

impl Rubric {
    /// Reads a rubric and checks it.
    ///
    /// # Errors
    ///
    /// The text is not a rubric, or breaks a rule of [`Self::check`].
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let rubric: Self = toml::from_str(text).context("this is not a rubric")?;
        rubric.check()?;
        Ok(rubric)
    }

    /// Returns the sum of all points.
    pub fn total(&self) -> u32 {
        let tests = self.tests.iter().map(|test| test.points);
        let utilisation = self.utilisation.as_ref().map(|section| section.points);
        let cost = self.cost.as_ref().map(|section| section.points);
        tests.chain(utilisation).chain(cost).sum()
    }

    /// Returns the points of the measured parts, which `slablab course check` does not give, and the names of these parts.
    /// The result is `None` if the exercise has none.
    pub fn measured(&self) -> Option<(u32, &'static str)> {
        match (&self.utilisation, &self.cost) {
            (Some(utilisation), Some(cost)) => {
                Some((utilisation.points + cost.points, "utilisation and cost"))
            }
            (Some(utilisation), None) => Some((utilisation.points, "utilisation")),
            (None, Some(cost)) => Some((cost.points, "cost")),
            (None, None) => None,
        }
    }

    /// Returns whether a grade of `points` reaches the checkpoint.
    pub fn reaches_checkpoint(&self, points: Points) -> bool {
        points >= Points::whole(self.checkpoint)
    }

    /// Checks the rules of a rubric: the points have the sum [`TOTAL`], all tests and workloads exist, a parent is an
    /// earlier test, and the thresholds are in order.
    ///
    /// # Errors
    ///
    /// A sentence that names the first broken rule.
    pub fn check(&self) -> anyhow::Result<()> {
        for (index, test) in self.tests.iter().enumerate() {
            let sentence = &test.sentence;
            if suites::named(sentence).is_none() {
                bail!("there is no test \"{sentence}\"");
            }
            let before = &self.tests[..index];
            let is_before = |name: &String| before.iter().any(|other| other.sentence == *name);
            ensure!(!is_before(sentence), "\"{sentence}\" is named twice");
            if let Some(parent) = &test.parent {
                ensure!(
                    is_before(parent),
                    "the parent of \"{sentence}\" is not an earlier test: \"{parent}\""
                );
            }
        }
        if let Some(Utilisation {
            traces, full, zero, ..
        }) = &self.utilisation
        {
            known("utilisation", traces)?;
            ensure!(
                zero < full && *full <= 100,
                "[utilisation]: zero must be below full, and full at most 100 per cent"
            );
        }
        if let Some(Cost {
            traces, full, zero, ..
        }) = &self.cost
        {
            known("cost", traces)?;
            ensure!(full < zero, "[cost]: full must be below zero");
        }
        ensure!(
            (1..=TOTAL).contains(&self.checkpoint),
            "checkpoint must be 1 to {TOTAL} per cent"
        );
        let total = self.total();
        ensure!(
            total == TOTAL,
            "the points have the sum {total}, not {TOTAL}"
        );
        Ok(())
    }
}

/// Checks that a section names workloads that exist.
fn known(section: &str, traces: &[String]) -> anyhow::Result<()> {
    ensure!(!traces.is_empty(), "[{section}] has no traces");
    for name in traces {
        if workload::named(name).is_none() {
            let names: Vec<_> = workload::ALL.iter().map(|known| known.name).collect();
            bail!(
                "[{section}]: there is no trace {name}; the traces are: {}",
                names.join(" ")
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::exercise;

    const SOUND: &str = r#"
        [[test]]
        sentence = "freed memory is used again"
        points = 70

        [[test]]
        sentence = "after all blocks of 1024 bytes are freed, one block takes the whole pool"
        points = 10
        parent = "freed memory is used again"

        [utilisation]
        points = 10
        traces = ["random"]
        full = 85
        zero = 45

        [cost]
        points = 10
        measure = "accesses"
        traces = ["random"]
        full = 4
        zero = 40
    "#;

    #[test]
    fn each_rubric_of_the_course_is_sound() {
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        for exercise in exercise::all(&checkout).unwrap() {
            let number = exercise.number;
            let rubric = exercise.rubric().unwrap();
            rubric
                .check()
                .map_err(|error| format!("exercise {number}: {error}"))
                .unwrap();
            let hints = exercise.hints().unwrap().len();
            for test in rubric.tests {
                let hint = test.hint.unwrap_or(1);
                assert!(
                    (1..=hints).contains(&hint),
                    "exercise {number}: hint {hint} of {}",
                    test.sentence
                );
            }
        }
    }

    #[test]
    fn each_broken_rule_of_a_rubric_is_named() {
        Rubric::parse(SOUND).unwrap();
        let cases = [
            ("points = 70", "points = 71", "the sum 101, not 100"),
            (
                "\"freed memory is used again\"\n        points",
                "\"it works\"\n        points",
                "no test \"it works\"",
            ),
            (
                "parent = \"freed memory is used again\"",
                "parent = \"after all blocks of 1024 bytes are freed, one block takes the whole pool\"",
                "not an earlier test",
            ),
            (
                "sentence = \"after all blocks of 1024 bytes are freed, one block takes the whole pool\"",
                "sentence = \"freed memory is used again\"",
                "named twice",
            ),
            (
                "traces = [\"random\"]\n        full = 4",
                "traces = []\n        full = 4",
                "[cost] has no traces",
            ),
            (
                "traces = [\"random\"]\n        full = 85",
                "traces = [\"waltz\"]\n        full = 85",
                "no trace waltz",
            ),
            ("full = 85", "full = 45", "zero must be below full"),
            ("full = 85", "full = 101", "at most 100"),
            ("zero = 40", "zero = 4", "full must be below zero"),
            ("\"accesses\"", "\"seconds\"", "not a rubric"),
            ("[cost]", "checkpoint = 1\n[cost]", "not a rubric"),
        ];
        for (before, after, expected) in cases {
            let changed = SOUND.replacen(before, after, 1);
            assert_ne!(changed, SOUND, "{before}");
            let message = format!("{:#}", Rubric::parse(&changed).unwrap_err());
            assert!(message.contains(expected), "{after}: {message}");
        }
        let late = Rubric::parse(&format!("checkpoint = 0\n{SOUND}")).unwrap_err();
        assert!(late.to_string().contains("checkpoint"), "{late}");
    }
}
