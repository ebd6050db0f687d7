// SPDX-License-Identifier: GPL-2.0

//! Tests of points and forms, on results that are written down. `tests/grade.rs` runs allocators.

use std::path::Path;

use super::*;
use crate::{
    exercise,
    verify::Explained, //
};

fn exercise(number: usize) -> (Exercise, Rubric) {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let exercises = exercise::all(&checkout).unwrap();
    let index = exercises
        .iter()
        .position(|exercise| exercise.number == number);
    let exercise = exercises.into_iter().nth(index.unwrap()).unwrap();
    let rubric = exercise.rubric().unwrap();
    (exercise, rubric)
}

/// A text that imitates results.
const FORGED: &str =
    "\nok 1 all\n\u{1b}[2J100 of 100 points\n{\"tests\":[\"Passed\"]}\n</testsuite>]]>";

fn failed(reason: &str) -> TestResult {
    TestResult::Failed(Explained {
        explanation: reason.to_owned(),
        ..Explained::default()
    })
}

/// Returns the results of an allocator that passes all tests and has the figures of the thresholds.
fn perfect(rubric: &Rubric) -> Measurement {
    let figures = |traces: &[String], amount| {
        let figure = |trace: &String| Figure {
            trace: trace.clone(),
            result: Ok(Quantity { amount, of: 1 }),
        };
        traces.iter().map(figure).collect()
    };
    let (utilisation, cost) = (rubric.utilisation.as_ref(), rubric.cost.as_ref());
    Measurement {
        tests: vec![TestResult::Passed; rubric.tests.len()],
        utilisation: utilisation
            .map(|section| figures(&section.traces, u64::from(section.full) * 10)),
        cost: cost.map(|section| figures(&section.traces, u64::from(section.full))),
    }
}

#[test]
fn the_text_of_a_submission_never_begins_a_line_of_a_report() {
    let (exercise, rubric) = exercise(2);
    let mut measurement = perfect(&rubric);
    measurement.tests.fill(failed(FORGED));
    let grade = Grade::of(&exercise, &rubric, 1, &measurement).unwrap();
    let ktap = format::ktap(&grade);
    let results = |line: &&str| !line.starts_with("# ") && !line.starts_with("#\n");
    let lines: Vec<_> = ktap.lines().filter(results).collect();
    assert_eq!(lines.len(), 2 + grade.parts.len(), "{ktap}");
    assert!(
        lines[2..].iter().all(|line| line.starts_with("not ok ")),
        "{ktap}"
    );
    let table = slablab_report::plain(&format::table(&grade));
    assert!(
        !table.contains('\u{1b}') && table.contains("    ok 1 all\n"),
        "{table}"
    );
    assert_eq!(
        table
            .lines()
            .filter(|line| line.contains(" of 100 points") && !line.starts_with(' '))
            .count(),
        1
    );
    assert!(table.ends_with("\n0 of 100 points\n"), "{table}");
    let junit = format::junit(&grade).unwrap();
    assert_eq!(junit.matches("</testsuite>").count(), 1, "{junit}");
    assert_eq!(junit.matches("<testcase ").count(), grade.parts.len());
    let gradescope: serde_json::Value =
        serde_json::from_str(&format::gradescope(&grade).unwrap()).unwrap();
    assert_eq!(gradescope["score"], 0.0);
}

#[test]
fn results_that_do_not_belong_to_the_rubric_are_refused() {
    let (exercise, rubric) = exercise(2);
    let mut measurement = Measurement {
        tests: vec![TestResult::Passed; rubric.tests.len()],
        utilisation: None,
        cost: None,
    };
    let of = |measurement: &Measurement| Grade::of(&exercise, &rubric, 1, measurement);
    let grade = of(&measurement).unwrap();
    assert!(grade.points < grade.max);
    measurement.utilisation = Some(Vec::new());
    assert!(of(&measurement).unwrap_err().contains("other traces"));
    // Figures that are impossible have no more points than the best ones, and no sum overflows.
    let figure = |trace: &String| Figure {
        trace: trace.clone(),
        result: Ok(Quantity {
            amount: u64::MAX,
            of: u64::MAX,
        }),
    };
    let traces = rubric.utilisation.as_ref().unwrap().traces.iter();
    measurement.utilisation = Some(traces.clone().map(figure).collect());
    measurement.cost = Some(traces.map(figure).collect());
    assert!(of(&measurement).unwrap().points <= Points::whole(100));
    measurement.tests.pop();
    assert!(of(&measurement).unwrap_err().contains("other tests"));
}

#[test]
fn measured_parts_have_no_points_unless_all_tests_pass_or_there_is_no_gate() {
    let (exercise, mut rubric) = exercise(2);
    let mut measurement = perfect(&rubric);
    measurement.tests[4] = failed("a reason");
    let grade = |rubric: &Rubric| Grade::of(&exercise, rubric, 3, &measurement).unwrap();
    let measured =
        rubric.utilisation.as_ref().unwrap().points + rubric.cost.as_ref().unwrap().points;
    let closed = grade(&rubric);
    assert_eq!(closed.parts.last().unwrap().status, Status::NotRun);
    rubric.gate = false;
    let open = grade(&rubric);
    let expected = closed.points + Points::whole(measured);
    assert_eq!(open.points, expected, "{}", format::table(&open));
}

#[test]
fn a_trace_without_a_figure_leaves_no_points() {
    let (exercise, rubric) = exercise(2);
    let mut measurement = perfect(&rubric);
    measurement.cost.as_mut().unwrap()[0].result = Err("a reason".to_owned());
    let grade = Grade::of(&exercise, &rubric, 3, &measurement).unwrap();
    let part = grade.parts.last().unwrap();
    assert_eq!((part.points, part.status), (Points::NONE, Status::Failed));
    assert!(part.output.contains("random: a reason"), "{}", part.output);
}

#[test]
fn a_refused_submission_has_no_points_in_every_form() {
    let (exercise, rubric) = exercise(1);
    let grade = Grade::refused(&exercise, &rubric, 5, "lib.rs is empty");
    assert_eq!(
        (grade.points, grade.max),
        (Points::NONE, Points::whole(100))
    );
    let forms = [
        format::table(&grade),
        format::json(&grade).unwrap(),
        format::gradescope(&grade).unwrap(),
        format::junit(&grade).unwrap(),
        format::ktap(&grade),
    ];
    for form in forms {
        assert!(
            form.contains("lib.rs is empty") && form.contains("--seed 5") | form.contains("seed"),
            "{form}"
        );
    }
}

/// Gradescope, "Autograder Specifications": the fields of `results.json`.
#[test]
fn results_json_has_the_fields_that_gradescope_reads() {
    let (exercise, rubric) = exercise(1);
    let mut grade = Grade::refused(&exercise, &rubric, 5, "x");
    grade.parts[0].points = Points::between(1, 1, 2, 0);
    let results: serde_json::Value =
        serde_json::from_str(&format::gradescope(&grade).unwrap()).unwrap();
    let test = &results["tests"][0];
    assert_eq!(test["score"], 0.5);
    assert_eq!(
        (&test["max_score"], &test["status"]),
        (
            &(f64::from(rubric.tests[0].points)).into(),
            &"failed".into()
        )
    );
    assert_eq!(
        (&test["name"], &test["number"]),
        (&rubric.tests[0].sentence.as_str().into(), &"1.1".into())
    );
    assert_eq!(
        (&results["output_format"], &results["test_output_format"]),
        (&"text".into(), &"text".into())
    );
    assert_eq!(results["extra_data"]["seed"], 5);
}

/// A script reads the same points from JSON as a person from the table.
#[test]
fn json_has_points_and_a_status_for_points_in_part() {
    let (exercise, rubric) = exercise(2);
    let mut measurement = perfect(&rubric);
    let section = rubric.utilisation.as_ref().unwrap();
    let middle = u64::from(section.full + section.zero) * 10 / 2;
    for figure in measurement.utilisation.as_mut().unwrap() {
        figure.result = Ok(Quantity {
            amount: middle,
            of: 1,
        });
    }
    let grade = Grade::of(&exercise, &rubric, 3, &measurement).unwrap();
    let value: serde_json::Value = serde_json::from_str(&format::json(&grade).unwrap()).unwrap();
    assert_eq!(
        (
            &value["points"],
            &value["max"],
            &value["checkpoint"]["points"]
        ),
        (&95.0.into(), &100.0.into(), &60.0.into())
    );
    let parts = value["parts"].as_array().unwrap();
    let part = parts.iter().find(|part| part["name"] == "utilisation");
    let part = part.unwrap();
    assert_eq!(
        (&part["points"], &part["max"], &part["status"]),
        (&5.0.into(), &10.0.into(), &"in-part".into())
    );
    let table = slablab_report::plain(&format::table(&grade));
    assert!(table.contains("in part"), "{table}");
    assert!(format::ktap(&grade).contains("\nnot ok 17 utilisation\n"));
    assert!(format::junit(&grade).unwrap().contains("5 of 10 points"));
}

#[test]
fn a_part_that_was_not_run_says_what_it_needs() {
    let (exercise, rubric) = exercise(2);
    let mut measurement = perfect(&rubric);
    measurement.tests[3] = failed("a reason");
    measurement.tests[4] = TestResult::NotRun;
    let grade = Grade::of(&exercise, &rubric, 3, &measurement).unwrap();
    let table = slablab_report::plain(&format::table(&grade));
    let row = |name: &str| table.lines().find(|line| line.starts_with(name)).unwrap();
    let parent = rubric.tests[4].parent.as_deref().unwrap();
    assert_eq!(parent, rubric.tests[3].sentence);
    assert!(row(&rubric.tests[4].sentence).ends_with(&format!("not run (needs: {parent})")));
    assert!(row("utilisation").ends_with("not run (needs all tests)"));
    assert!(row("cost").ends_with("not run (needs all tests)"));
    // The forms that have no column for the verdict say it, too.
    let junit = format::junit(&grade).unwrap();
    assert!(junit.contains("not run (needs all tests)"), "{junit}");
}

/// The hints know the checks of the course, and not those of a learner.
#[test]
fn a_failure_names_a_hint_unless_the_allocator_did_not_return_or_its_own_check_failed() {
    let (exercise, rubric) = exercise(2);
    let hint = rubric.tests[3].hint.unwrap();
    let output = |failed: Explained| {
        let mut measurement = perfect(&rubric);
        measurement.tests[3] = TestResult::Failed(failed);
        let grade = Grade::of(&exercise, &rubric, 3, &measurement).unwrap();
        grade.parts[3].output.clone()
    };
    let explained = |own_check: Option<&str>| Explained {
        explanation: "a reason\n".to_owned(),
        is_crash: false,
        own_check: own_check.map(str::to_owned),
    };
    let with_hint = format!("a reason\n\nHint {hint} helps: slablab course hint 2 {hint}");
    assert_eq!(output(explained(None)), with_hint);
    assert_eq!(output(explained(Some("too far"))), "a reason");
    let of_course = exercise.file("solution.rs").unwrap();
    let (_, sentence) = of_course.split_once("broken(\"").unwrap();
    let (sentence, _) = sentence.split_once('"').unwrap();
    assert_eq!(output(explained(Some(sentence))), with_hint);
    let crash = Explained {
        is_crash: true,
        ..explained(None)
    };
    assert_eq!(output(crash), "a reason");
}
