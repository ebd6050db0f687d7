// SPDX-License-Identifier: GPL-2.0

//! Tests of the contract of the device.
//!
//! A suite is a file, and a test is a function whose name is a sentence. A test opens its own sessions. If
//! the engine has pools, these are private, unless the test is about the shared pool. After each suite, the
//! shared pools must be as they were before the suite.

mod access;
mod arguments;
mod bench;
mod blocks;
mod budgets;
mod call;
mod child;
mod cpus;
mod events;
mod fail;
mod faults;
mod fixture;
mod handles;
mod kmsg;
mod life;
mod lockstep;
mod map;
mod mapping;
mod memory;
mod misuse;
mod mmap;
mod module;
mod patience;
mod pools;
mod prelude;
mod processes;
mod quotas;
mod reclaim;
mod replay;
mod report;
mod requests;
mod roles;
mod statistics;
mod submit;
mod verdict;
mod zeros;

use std::{
    io,
    panic::{
        self,
        AssertUnwindSafe, //
    },
    path::PathBuf,
    time::Instant, //
};

use crate::{
    target::Target,
    uapi::Engine, //
};

pub(crate) use child::{
    ChildRole,
    start_children_with, //
};
pub(crate) use report::{
    Style,
    TestCounts,
    TestReport, //
};
pub(crate) use roles::play;

use fixture::{
    ENGINES,
    MAGAZINE_ENGINES,
    POOL_ENGINES, //
};
use kmsg::KernelLog;
use module::Module;
use verdict::{
    ErrorContext,
    TestError,
    TestResult,
    check,
    check_eq, //
};

/// The function of a test, and the engines on which the test runs.
#[derive(Clone, Copy)]
enum Body {
    /// The test runs once.
    Once(fn() -> TestResult),
    /// The test runs on each engine.
    Each(fn(Engine) -> TestResult),
    /// The test runs on each engine that has pools.
    Pools(fn(Engine) -> TestResult),
    /// The test runs on each engine that has magazines.
    Magazines(fn(Engine) -> TestResult),
    /// The test runs once, with the file of the module, which the test loads and unloads.
    Life(fn(&Module) -> TestResult),
}

/// A test.
struct Test {
    name: &'static str,
    body: Body,
}

/// The tests of one file.
struct Suite {
    name: &'static str,
    tests: &'static [Test],
}

/// Declares the tests of a file. Each test has a variant of [`Body`] and a function.
macro_rules! suite {
    ($name:literal { $($body:ident $test:ident),* $(,)? }) => {
        /// The tests of this file.
        pub(in crate::suites) const SUITE: $crate::suites::Suite = $crate::suites::Suite {
            name: $name,
            tests: &[$($crate::suites::Test {
                name: stringify!($test),
                body: $crate::suites::Body::$body($test),
            }),*],
        };
    };
}
use suite;

/// All suites in the order of execution: tests of single calls first.
const SUITES: &[Suite] = &[
    arguments::SUITE,
    access::SUITE,
    requests::SUITE,
    handles::SUITE,
    blocks::SUITE,
    zeros::SUITE,
    statistics::SUITE,
    pools::SUITE,
    map::SUITE,
    mmap::SUITE,
    mmap::area::SUITE,
    quotas::SUITE,
    budgets::SUITE,
    submit::SUITE,
    submit::arrays::SUITE,
    submit::equivalence::SUITE,
    submit::concurrency::SUITE,
    events::SUITE,
    events::ring::SUITE,
    events::requests::SUITE,
    events::concurrency::SUITE,
    lockstep::SUITE,
    reclaim::SUITE,
    replay::SUITE,
    misuse::SUITE,
    misuse::refusals::SUITE,
    fail::SUITE,
    bench::SUITE,
    faults::SUITE,
    processes::SUITE,
    cpus::SUITE,
    patience::SUITE,
    life::SUITE,
];

/// A test that is bound to its engine or module.
struct Case {
    name: String,
    run: Box<dyn Fn() -> TestResult>,
}

impl Case {
    /// Runs the test; a panic counts as a failure.
    fn outcome(&self) -> TestResult {
        panic::catch_unwind(AssertUnwindSafe(&self.run))
            .unwrap_or_else(|_| Err(TestError::failed("the test panicked")))
    }
}

impl Suite {
    /// Returns the suite's tests, once for each engine on which they run.
    fn cases(&self, module: Option<&PathBuf>) -> Vec<Case> {
        let mut cases = Vec::new();
        for test in self.tests {
            let name = test.name.to_owned();
            let on = |engine, run: fn(Engine) -> TestResult| Case {
                name: format!("{}.{engine}", test.name),
                run: Box::new(move || run(engine)),
            };
            match test.body {
                Body::Once(run) => cases.push(Case {
                    name,
                    run: Box::new(run),
                }),
                Body::Each(run) => cases.extend(ENGINES.map(|engine| on(engine, run))),
                Body::Pools(run) => cases.extend(POOL_ENGINES.map(|engine| on(engine, run))),
                Body::Magazines(run) => {
                    cases.extend(MAGAZINE_ENGINES.map(|engine| on(engine, run)));
                }
                Body::Life(run) => {
                    let module = module.cloned().map(Module::new);
                    cases.push(Case {
                        name,
                        run: Box::new(move || match &module {
                            Some(module) => run(module),
                            None => Err(TestError::skipped("the test needs --module FILE")),
                        }),
                    });
                }
            }
        }
        cases
    }
}

/// The tests to run, and their parameters.
pub(crate) struct TestPlan {
    /// The file of the module; without it, tests that load the module are skipped.
    pub(crate) module: Option<PathBuf>,
    /// Parts of the names of the tests to run, which have the form `suite/test.engine`. An empty list selects
    /// all tests.
    pub(crate) filters: Vec<String>,
    /// Whether slow tests have a thousand repetitions.
    pub(crate) long: bool,
}

impl TestPlan {
    /// Returns whether the test with this name is selected.
    fn chooses(&self, name: &str) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|filter| name.contains(filter))
    }

    /// Returns the selected tests by suite.
    fn chosen(&self) -> Vec<(&'static str, Vec<Case>)> {
        let mut chosen = Vec::new();
        for suite in SUITES {
            let mut cases = suite.cases(self.module.as_ref());
            cases.retain(|case| self.chooses(&format!("{}/{}", suite.name, case.name)));
            if !cases.is_empty() {
                chosen.push((suite.name, cases));
            }
        }
        chosen
    }

    /// Returns the names of the selected tests.
    pub(crate) fn names(&self) -> Vec<String> {
        let named = |(suite, cases): (&str, Vec<Case>)| {
            cases
                .into_iter()
                .map(move |case| format!("{suite}/{}", case.name))
                .collect::<Vec<_>>()
        };
        self.chosen().into_iter().flat_map(named).collect()
    }

    /// Runs the selected tests and reports each.
    pub(crate) fn run(&self, out: impl io::Write, style: Style) -> io::Result<TestCounts> {
        fixture::set_long(self.long);
        let suites = self.chosen();
        let mut report = TestReport::begin(out, style, suites.len())?;
        for (suite, cases) in suites {
            report.suite(suite, cases.len() + 1)?;
            let before = LeakCheck::expect();
            for case in cases {
                let begin = Instant::now();
                report.test(&case.name, &case.outcome(), begin.elapsed())?;
            }
            let begin = Instant::now();
            // Loading and unloading write to the log, and the tests of this suite check the log.
            let quiet = suite != life::SUITE.name;
            let outcome = before.and_then(|before| before.check(quiet));
            report.test("all_is_as_before", &outcome, begin.elapsed())?;
            report.theme_end(suite)?;
        }
        report.end()
    }
}

/// State that the tests of a suite must not change.
struct LeakCheck {
    live_blocks: [u64; ENGINES.len()],
    private_bytes: u64,
    log: KernelLog,
}

impl LeakCheck {
    /// Reads the state before a suite.
    fn expect() -> TestResult<Self> {
        let mut live_blocks = [0; ENGINES.len()];
        for (live_blocks, engine) in live_blocks.iter_mut().zip(ENGINES) {
            *live_blocks = fixture::shared(engine)?.stats()?.live_blocks;
        }
        Ok(Self {
            live_blocks,
            private_bytes: fixture::shared(Engine::Seed)?.info()?.private_bytes_used,
            log: KernelLog::follow()?,
        })
    }

    /// Checks that the state is the same as before, that CHECK finds no violation, and, if `quiet`, that
    /// the kernel's log has no new report.
    fn check(mut self, quiet: bool) -> TestResult {
        let now = Self::expect()?;
        check_eq("live blocks", now.live_blocks, self.live_blocks)?;
        check_eq("private_bytes_used", now.private_bytes, self.private_bytes)?;
        for engine in POOL_ENGINES {
            fixture::sound(&fixture::shared(engine)?).about(engine)?;
        }
        let complaints = self.log.complaints()?;
        check(
            !quiet || complaints.is_empty(),
            format_args!("the kernel log has no new message: {complaints:?}"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn plan<const N: usize>(filters: [&str; N]) -> TestPlan {
        TestPlan {
            module: None,
            filters: filters.map(str::to_owned).to_vec(),
            long: false,
        }
    }

    #[test]
    fn every_test_has_a_name_of_its_own() {
        let names = plan([]).names();
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
    }

    #[test]
    fn a_filter_chooses_by_theme_test_and_engine() {
        assert!(
            plan(["handles/"])
                .names()
                .iter()
                .all(|name| name.starts_with("handles/"))
        );
        assert!(
            plan([".slub"])
                .names()
                .iter()
                .all(|name| name.ends_with(".slub"))
        );
        assert_eq!(plan(["no such test"]).names(), Vec::<String>::new());
        let (handles, zeros) = (plan(["handles/"]).names(), plan(["zeros/"]).names());
        assert_eq!(
            plan(["zeros/", "handles/"]).names(),
            [handles, zeros].concat()
        );
    }
}
