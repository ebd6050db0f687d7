// SPDX-License-Identifier: GPL-2.0

//! Runs the tests of an exercise on the engine `student` of this process.
//!
//! Each test runs in a process of its own on a new pool, so an allocator that panics or never returns fails one test.

use std::time::Duration;

use anyhow::{
    Context,
    bail, //
};
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
        journal::{
            History,
            Journal, //
        }, //
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
        TestPool,
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
    /// The help of the hints.
    pub help: Help,
}

/// The help that the hints of an exercise give after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Help {
    /// The hint with this number helps.
    Hint(usize),
    /// One of the hints may help.
    Any,
    /// No hint helps: the allocator did not return, or its own check failed.
    None,
}

/// Runs the tests of an exercise, up to the first failure, or only the test with the number `only`, from 1.
///
/// # Errors
///
/// The rubric is not readable or names a test that does not exist, there is no test `only`, or no process can be
/// created.
pub fn verify(exercise: &Exercise, only: Option<usize>) -> anyhow::Result<Verdict> {
    let mut rubric = exercise.rubric()?;
    if let Some(only) = only {
        let (number, tests) = (exercise.number, rubric.tests.len());
        if !(1..=tests).contains(&only) {
            bail!("exercise {number} has the tests 1 to {tests}");
        }
        rubric.tests = vec![rubric.tests.swap_remove(only - 1)];
    }
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
        if let Some(failed) = run_prepared(test, PATIENCE, rubric.whole_pages, || Ok(()))? {
            verdict.failed = Some(FailedTest {
                sentence: test.sentence,
                help: failed.help(exercise, named.hint),
                explanation: failed.explanation,
            });
            break;
        }
        verdict.passed.push(test.sentence);
        verdict.points += named.points;
    }
    Ok(verdict)
}

/// The failure of a test, in words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explained {
    /// The operation, what the allocator did, the rule, and the picture of the pool.
    pub explanation: String,
    /// Whether the allocator did not return.
    pub is_crash: bool,
    /// The sentence of the allocator's own check, if that failed.
    pub own_check: Option<String>,
}

impl Explained {
    /// Returns the help of an exercise's hints, where `hint` is the one that the rubric names. The hints know the checks of
    /// the course, and not a check that the learner wrote, which may itself be wrong.
    pub(crate) fn help(&self, exercise: &Exercise, hint: Option<usize>) -> Help {
        let is_of_course = |sentence: &String| {
            ["start.rs", "solution.rs"].into_iter().any(|name| {
                exercise
                    .file(name)
                    .is_ok_and(|code| code.contains(sentence))
            })
        };
        match hint {
            _ if self.is_crash => Help::None,
            _ if self
                .own_check
                .as_ref()
                .is_some_and(|own| !is_of_course(own)) =>
            {
                Help::None
            }
            Some(hint) => Help::Hint(hint),
            None => Help::Any,
        }
    }
}

/// Runs a test in a process of its own, which calls `prepare` first, and returns the explanation of its failure.
///
/// # Errors
///
/// No process can be created.
pub(crate) fn run_prepared(
    test: &CourseTest,
    patience: Duration,
    whole_pages: bool,
    prepare: fn() -> Result<(), String>,
) -> anyhow::Result<Option<Explained>> {
    let Some((mut failure, mut history)) = run_once(test, patience, false, prepare)? else {
        return Ok(None);
    };
    // A test calls the allocator's own check at its end, long after the request that made it fail.
    if failure.own_check().is_some() {
        if let Some((earlier, then)) = run_once(test, patience, true, prepare)? {
            if earlier.own_check().is_some() {
                (failure, history) = (earlier, then);
            }
        }
    }
    let pool = TestPool {
        bytes: test.pool_bytes,
        whole_pages,
    };
    Ok(Some(Explained {
        explanation: explain(&failure, &history, pool),
        is_crash: failure.is_crash(),
        own_check: failure.own_check().map(str::to_owned),
    }))
}

/// Runs a test in a process of its own, with the allocator's own check after each request if `checks_each`. Returns the
/// failure and the requests up to it.
fn run_once(
    test: &CourseTest,
    patience: Duration,
    checks_each: bool,
    prepare: fn() -> Result<(), String>,
) -> anyhow::Result<Option<(Failure, History)>> {
    let journal = Journal::new().context("cannot create the journal of a test")?;
    let shared = journal
        .share()
        .context("cannot share the journal of a test")?;
    let ended = isolation::run(Patience::Limited(patience), || match prepare() {
        Ok(()) => in_child(test, shared, checks_each),
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
    Ok(Some((failure, history)))
}

/// The result that the process of a test sends.
#[derive(Serialize, Deserialize)]
enum Ended {
    Passed,
    Breach(Breach),
    Answer(String),
}

/// Runs a test on a new pool, with the allocator's own check after each request if `checks_each`.
fn in_child(test: &CourseTest, journal: Journal, checks_each: bool) -> Ended {
    let sim = match Sim::private(Engine::Student, test.pool_bytes) {
        Ok(sim) => Watched(Box::new(sim)),
        Err(Errno::OPNOTSUPP) => {
            return Ended::Answer("this program has no engine `student`".to_owned());
        }
        Err(errno) => return Ended::Answer(format!("the pool cannot be created: {errno}")),
    };
    let result = Oracle::new(&sim, 1).and_then(|oracle| {
        let mut oracle = oracle.with_journal(journal);
        if checks_each {
            oracle = oracle.checking_each_request();
        }
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
