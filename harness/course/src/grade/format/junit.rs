// SPDX-License-Identifier: GPL-2.0

//! A grade as JUnit XML.

use quick_junit::{
    NonSuccessKind,
    Property,
    Report,
    TestCase,
    TestCaseStatus,
    TestSuite, //
};

use crate::grade::{
    Grade,
    Part,
    Status, //
};

/// Returns a grade as JUnit XML. It has no times, so the same grade gives the same file.
///
/// # Errors
///
/// None is known: the text is written to memory.
pub fn junit(grade: &Grade) -> anyhow::Result<String> {
    let mut suite = TestSuite::new(format!("exercise {}: {}", grade.exercise, grade.title));
    for (name, value) in [
        ("points", grade.points.to_string()),
        ("max_points", grade.max.to_string()),
        ("seed", grade.seed.to_string()),
    ] {
        suite.add_property(Property::new(name, value));
    }
    suite.add_test_cases(grade.parts.iter().map(|part| case(grade, part)));
    let mut report = Report::new("slablab course grade");
    report.add_test_suite(suite);
    Ok(report.to_string()?)
}

fn case(grade: &Grade, part: &Part) -> TestCase {
    let points = format!("{} of {} points", part.points, part.max);
    let status = match (part.status, &grade.refusal) {
        (Status::Passed, _) => TestCaseStatus::success(),
        (Status::NotRun, None) => {
            let mut skipped = TestCaseStatus::skipped();
            skipped.set_message(part.output.clone());
            skipped
        }
        (Status::InPart | Status::Failed | Status::NotRun, refusal) => {
            let mut failure = TestCaseStatus::non_success(NonSuccessKind::Failure);
            failure.set_message(points.clone());
            failure.set_description(refusal.clone().unwrap_or_else(|| part.output.clone()));
            failure
        }
    };
    let mut case = TestCase::new(part.name.clone(), status);
    case.set_classname(format!("exercise-{}", grade.exercise));
    case.add_property(Property::new("points", part.points.to_string()));
    case.add_property(Property::new("max_points", part.max.to_string()));
    case
}
