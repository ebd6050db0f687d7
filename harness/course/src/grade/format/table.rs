// SPDX-License-Identifier: GPL-2.0

//! A grade as a table, with the number of points in its last line.

use std::fmt::Write as _;

use slablab_report::{
    BAD,
    BOLD,
    Cell,
    GOOD,
    Side,
    Table, //
};

use crate::grade::{
    Grade,
    Status, //
};

/// Returns a grade as a table.
pub fn table(grade: &Grade) -> String {
    let mut table = Table::new([
        ("part", Side::Left),
        ("points", Side::Right),
        ("of", Side::Right),
        ("", Side::Left),
    ]);
    for part in &grade.parts {
        let verdict = match part.status {
            Status::Passed => Cell::styled("ok", GOOD),
            Status::InPart => "in part".into(),
            Status::Failed => Cell::styled("FAILED", BAD),
            // A refused submission has its reason below.
            Status::NotRun if part.output.is_empty() => "not run".into(),
            Status::NotRun => part.output.clone().into(),
        };
        table.row([
            part.name.clone().into(),
            part.points.to_string().into(),
            part.max.to_string().into(),
            verdict,
        ]);
    }
    let mut text = format!(
        "{BOLD}exercise {}: {}{BOLD:#}\n\n{table}",
        grade.exercise, grade.title
    );
    for part in &grade.parts {
        if part.status == Status::NotRun || part.output.is_empty() {
            continue;
        }
        // Writing to a string does not fail.
        let _ = write!(text, "\n{}:\n{}", part.name, indented(&part.output));
    }
    if let Some(refusal) = &grade.refusal {
        let _ = write!(text, "\nno points:\n{}", indented(refusal));
    }
    let reached = if grade.checkpoint.is_reached {
        "reached"
    } else {
        "not reached"
    };
    let _ = write!(
        text,
        "\nthe checkpoint of {} points is {reached}\nrepeat: {}\n{BOLD}{} of {} points{BOLD:#}\n",
        grade.checkpoint.points,
        super::repeat(grade),
        grade.points,
        grade.max
    );
    text
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}
