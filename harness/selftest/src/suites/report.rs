// SPDX-License-Identifier: GPL-2.0

//! The output of results, in KTAP, version 1, or as a list.
//!
//! The shape is that of `Documentation/dev-tools/ktap.rst`: a suite is a subtest, indented by two,
//! with its own version and plan line.

use std::{
    io::{
        self,
        Write, //
    },
    time::Duration,
};

use super::verdict::{
    TestError,
    TestResult, //
};

/// The format of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// KTAP.
    Ktap,
    /// A list.
    Plain,
}

/// The numbers of results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TestCounts {
    /// Tests that passed.
    pub(crate) passed: usize,
    /// Tests that failed.
    pub(crate) failed: usize,
    /// Tests that were not run.
    pub(crate) skipped: usize,
}

/// Prints the result of each test when it ends.
pub(crate) struct TestReport<W> {
    out: W,
    style: Style,
    tally: TestCounts,
    suites: usize,
    /// The numbers of tests of the current suite that ended and that failed.
    suite: (usize, usize),
}

impl<W: Write> TestReport<W> {
    /// Begins a report on `suites` suites.
    pub(crate) fn begin(mut out: W, style: Style, suites: usize) -> io::Result<Self> {
        if style == Style::Ktap {
            writeln!(out, "KTAP version 1\n1..{suites}")?;
        }
        Ok(Self {
            out,
            style,
            tally: TestCounts::default(),
            suites: 0,
            suite: (0, 0),
        })
    }

    /// Begins a suite of `tests` tests.
    pub(crate) fn suite(&mut self, name: &str, tests: usize) -> io::Result<()> {
        self.suite = (0, 0);
        match self.style {
            Style::Ktap => {
                writeln!(
                    self.out,
                    "  KTAP version 1\n  # Subtest: {name}\n  1..{tests}"
                )?;
            }
            Style::Plain => writeln!(self.out, "{name}")?,
        }
        self.out.flush()
    }

    /// Prints the result of a test.
    pub(crate) fn test(
        &mut self,
        name: &str,
        outcome: &TestResult,
        time: Duration,
    ) -> io::Result<()> {
        self.suite.0 += 1;
        let number = self.suite.0;
        let what = match outcome {
            Ok(()) => {
                self.tally.passed += 1;
                None
            }
            Err(TestError::Skipped(reason)) => {
                self.tally.skipped += 1;
                Some(reason.clone())
            }
            Err(TestError::Failed { at, what }) => {
                self.tally.failed += 1;
                self.suite.1 += 1;
                Some(format!("{}:{}: {what}", at.file(), at.line()))
            }
        };
        let what = what.unwrap_or_default().replace('\n', " ");
        match (self.style, outcome) {
            (Style::Ktap, Ok(())) => writeln!(self.out, "  ok {number} {name}")?,
            (Style::Ktap, Err(TestError::Skipped(_))) => {
                writeln!(self.out, "  ok {number} {name} # SKIP {what}")?;
            }
            (Style::Ktap, Err(TestError::Failed { .. })) => {
                writeln!(self.out, "  # {what}\n  not ok {number} {name}")?;
            }
            (Style::Plain, Ok(())) => {
                writeln!(self.out, "  ok       {}{}", words(name), slow(time))?;
            }
            (Style::Plain, Err(TestError::Skipped(_))) => {
                writeln!(self.out, "  skipped  {}: {what}", words(name))?;
            }
            (Style::Plain, Err(TestError::Failed { .. })) => {
                writeln!(self.out, "  FAILED   {}\n           {what}", words(name))?;
            }
        }
        self.out.flush()
    }

    /// Ends a suite.
    pub(crate) fn theme_end(&mut self, name: &str) -> io::Result<()> {
        self.suites += 1;
        if self.style == Style::Ktap {
            let word = if self.suite.1 == 0 { "ok" } else { "not ok" };
            writeln!(self.out, "{word} {} {name}", self.suites)?;
        }
        self.out.flush()
    }

    /// Ends the report and returns the counts.
    pub(crate) fn end(mut self) -> io::Result<TestCounts> {
        let TestCounts {
            passed,
            failed,
            skipped,
        } = self.tally;
        match self.style {
            Style::Ktap => writeln!(
                self.out,
                "# Totals: pass:{passed} fail:{failed} skip:{skipped}"
            )?,
            Style::Plain => {
                writeln!(
                    self.out,
                    "\n{passed} passed, {failed} failed, {skipped} skipped"
                )?;
            }
        }
        self.out.flush()?;
        Ok(self.tally)
    }
}

/// Returns the name of a test as a sentence.
fn words(name: &str) -> String {
    name.replace('_', " ")
}

/// Returns the text for the duration of a test, which is empty below one second.
fn slow(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        return String::new();
    }
    format!(" ({:.1} s)", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(style: Style) -> String {
        let mut text = Vec::new();
        let mut report = TestReport::begin(&mut text, style, 1).unwrap();
        let time = Duration::from_millis(3);
        report.suite("handles", 3).unwrap();
        report.test("zero_is_none.seed", &Ok(()), time).unwrap();
        report
            .test("b", &Err(TestError::skipped("no module")), time)
            .unwrap();
        report
            .test("c", &Err(TestError::failed("one\ntwo")), time)
            .unwrap();
        report.theme_end("handles").unwrap();
        let tally = report.end().unwrap();
        assert_eq!((tally.passed, tally.failed, tally.skipped), (1, 1, 1));
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_machine_is_told_in_ktap() {
        let text = printed(Style::Ktap);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines[..7],
            [
                "KTAP version 1",
                "1..1",
                "  KTAP version 1",
                "  # Subtest: handles",
                "  1..3",
                "  ok 1 zero_is_none.seed",
                "  ok 2 b # SKIP no module",
            ]
        );
        assert!(lines[7].starts_with("  # ") && lines[7].ends_with(": one two"));
        assert_eq!(
            lines[8..],
            [
                "  not ok 3 c",
                "not ok 1 handles",
                "# Totals: pass:1 fail:1 skip:1"
            ]
        );
    }

    #[test]
    fn a_person_is_told_in_sentences() {
        let text = printed(Style::Plain);
        assert!(text.contains("  ok       zero is none.seed\n"), "{text}");
        assert!(text.ends_with("1 passed, 1 failed, 1 skipped\n"), "{text}");
    }
}
