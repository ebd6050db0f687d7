// SPDX-License-Identifier: GPL-2.0

//! Runs the tests of an exercise on the engine `student` of this process.
//!
//! Each test runs in a process of its own on a new pool, so an allocator that panics or never returns fails one test.

use std::time::Duration;

use anyhow::Context;
use serde::{
    Deserialize,
    Serialize, //
};
use slablab_lab::{
    device::Errno,
    isolation::{
        self,
        Patience,
        Watched, //
    },
    oracle::{
        Oracle,
        Violation,
        journal::Journal, //
    },
    sim::Sim,
    target::Target,
    uapi::Engine,
};

use crate::{
    exercise::Exercise,
    failure::{
        Breach,
        Failure,
        explain, //
    },
    suites::{
        self,
        CourseTest, //
    },
};

/// The time after which a request counts as endless.
const PATIENCE: Duration = Duration::from_secs(5);

/// The result of the tests of an exercise, up to the first failure.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The sentences of the tests that passed.
    pub passed: Vec<&'static str>,
    /// The number of tests of the exercise.
    pub tests: usize,
    /// The points of the tests that passed.
    pub points: u32,
    /// The points of all tests.
    pub points_max: u32,
    /// The first test that failed.
    pub failed: Option<FailedTest>,
}

/// A test that failed.
#[derive(Clone, Debug)]
pub struct FailedTest {
    /// The sentence that names the test.
    pub sentence: &'static str,
    /// The operation, what the allocator did, the rule, and the picture of the pool.
    pub explanation: String,
    /// The number of the hint that helps.
    pub hint: Option<usize>,
}

/// Runs the tests of an exercise, up to the first failure.
///
/// # Errors
///
/// The rubric is not readable or names a test that does not exist, or no process can be created.
pub fn verify(exercise: &Exercise) -> anyhow::Result<Verdict> {
    let rubric = exercise.rubric()?;
    let mut verdict = Verdict {
        passed: Vec::new(),
        tests: rubric.tests.len(),
        points: 0,
        points_max: rubric.tests.iter().map(|test| test.points).sum(),
        failed: None,
    };
    for named in &rubric.tests {
        let test = suites::named(&named.sentence)
            .with_context(|| format!("the rubric names an unknown test: {}", named.sentence))?;
        if let Some(explanation) = run(test)? {
            verdict.failed = Some(FailedTest {
                sentence: test.sentence,
                explanation,
                hint: named.hint,
            });
            break;
        }
        verdict.passed.push(test.sentence);
        verdict.points += named.points;
    }
    Ok(verdict)
}

/// Runs a test in a process of its own, and returns the explanation of its failure.
///
/// # Errors
///
/// No process can be created.
pub fn run(test: &CourseTest) -> anyhow::Result<Option<String>> {
    run_prepared(test, PATIENCE, || Ok(()))
}

/// Runs a test in a process of its own, which calls `prepare` first, and returns the explanation of its failure.
///
/// # Errors
///
/// No process can be created.
pub(crate) fn run_prepared(
    test: &CourseTest,
    patience: Duration,
    prepare: fn() -> Result<(), String>,
) -> anyhow::Result<Option<String>> {
    let journal = Journal::new().context("cannot create the journal of a test")?;
    let shared = journal
        .share()
        .context("cannot share the journal of a test")?;
    let ended = isolation::run(Patience::Limited(patience), || match prepare() {
        Ok(()) => in_child(test, shared),
        Err(reason) => Ended::Answer(reason),
    })?;
    let failure = match ended {
        Ok(Ended::Passed) => return Ok(None),
        Ok(Ended::Breach(breach)) => Failure::Breach(breach),
        Ok(Ended::Answer(text)) => Failure::Answer(text),
        Err(death) => Failure::Death(death),
    };
    let history = journal
        .history()
        .context("cannot read the journal of a test")?;
    Ok(Some(explain(&failure, &history, test.pool_bytes)))
}

/// The result that the process of a test sends.
#[derive(Serialize, Deserialize)]
enum Ended {
    Passed,
    Breach(Breach),
    Answer(String),
}

/// Runs a test on a new pool.
fn in_child(test: &CourseTest, journal: Journal) -> Ended {
    let sim = match Sim::private(Engine::Student, test.pool_bytes) {
        Ok(sim) => Watched(Box::new(sim)),
        Err(Errno::OPNOTSUPP) => {
            return Ended::Answer("this program has no engine `student`".to_owned());
        }
        Err(errno) => return Ended::Answer(format!("the pool cannot be created: {errno}")),
    };
    let result = Oracle::new(&sim, 1).and_then(|oracle| {
        let oracle = oracle.with_journal(journal);
        (test.run)(&mut oracle.client())?;
        oracle.check()
    });
    match result {
        Ok(()) => Ended::Passed,
        Err(Violation::Allocator(text)) => match sim.violation() {
            Ok(violation) => Ended::Breach(Breach::from(&violation)),
            Err(_) => Ended::Answer(text),
        },
        Err(violation) => Ended::Answer(violation.to_string()),
    }
}
