// SPDX-License-Identifier: GPL-2.0

//! A grade as KTAP, version 1 (Documentation/dev-tools/ktap.rst of Linux).

use std::fmt::Write as _;

use crate::grade::{
    Grade,
    Status, //
};

/// Returns a grade as KTAP. A part with fewer than all points is not ok, also if it was not run, because no points were
/// given for it. The points are in the comments before the result.
pub fn ktap(grade: &Grade) -> String {
    let mut text = format!("KTAP version 1\n1..{}\n", grade.parts.len());
    for (part, number) in grade.parts.iter().zip(1..) {
        let ok = if part.status == Status::Passed {
            "ok"
        } else {
            "not ok"
        };
        // Writing to a string does not fail.
        let _ = write!(
            text,
            "{}# {} of {} points\n{ok} {number} {}\n",
            comment(&part.output),
            part.points,
            part.max,
            part.name
        );
    }
    if let Some(refusal) = &grade.refusal {
        text += &comment(&format!("no points:\n{refusal}"));
    }
    let _ = write!(
        text,
        "# repeat: {}\n# {} of {} points\n",
        super::repeat(grade),
        grade.points,
        grade.max
    );
    text
}

fn comment(text: &str) -> String {
    text.lines().map(|line| format!("# {line}\n")).collect()
}
