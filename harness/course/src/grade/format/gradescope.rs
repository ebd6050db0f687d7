// SPDX-License-Identifier: GPL-2.0

//! A grade in the form that Gradescope reads: `results.json` (Gradescope, "Autograder Specifications",
//! <https://gradescope-autograders.readthedocs.io/en/latest/specs/>).

use serde::Serialize;

use crate::grade::{
    Grade,
    Status, //
};

/// The file `results.json`.
#[derive(Serialize)]
struct Results<'a> {
    score: f64,
    output: String,
    output_format: &'static str,
    test_output_format: &'static str,
    stdout_visibility: &'static str,
    extra_data: Extra,
    tests: Vec<TestCase<'a>>,
}

/// Data that Gradescope stores and does not interpret.
#[derive(Serialize)]
struct Extra {
    exercise: usize,
    seed: u64,
    checkpoint_is_reached: bool,
}

/// A test case. Gradescope shows a case without `status` as failed unless it has its `max_score`.
#[derive(Serialize)]
struct TestCase<'a> {
    name: &'a str,
    number: String,
    score: f64,
    max_score: f64,
    status: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    output: &'a str,
}

/// Returns a grade as the contents of `results.json`.
///
/// # Errors
///
/// None is known: all values can be written as JSON.
pub fn gradescope(grade: &Grade) -> anyhow::Result<String> {
    let tests = grade.parts.iter().zip(1..).map(|(part, number)| TestCase {
        name: &part.name,
        number: format!("{}.{number}", grade.exercise),
        score: part.points.number(),
        max_score: part.max.number(),
        status: match part.status {
            Status::Passed => "passed",
            Status::InPart | Status::Failed | Status::NotRun => "failed",
        },
        output: &part.output,
    });
    let refusal = grade
        .refusal
        .as_ref()
        .map(|reason| format!("no points:\n{reason}\n\n"));
    let results = Results {
        score: grade.points.number(),
        output: format!(
            "{}exercise {}: {}\n{} of {} points\nrepeat: {}\n",
            refusal.unwrap_or_default(),
            grade.exercise,
            grade.title,
            grade.points,
            grade.max,
            super::repeat(grade)
        ),
        output_format: "text",
        test_output_format: "text",
        stdout_visibility: "hidden",
        extra_data: Extra {
            exercise: grade.exercise,
            seed: grade.seed,
            checkpoint_is_reached: grade.checkpoint.is_reached,
        },
        tests: tests.collect(),
    };
    Ok(serde_json::to_string_pretty(&results)? + "\n")
}
