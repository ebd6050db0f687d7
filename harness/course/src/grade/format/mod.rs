// SPDX-License-Identifier: GPL-2.0

//! The forms in which a grade is printed.
//!
//! A text that comes from a submission never begins a line of a report: it is indented, is a string of JSON or XML, or
//! follows the mark of a comment.

mod gradescope;
mod junit;
mod ktap;
mod table;

pub use self::{
    gradescope::gradescope,
    junit::junit,
    ktap::ktap,
    table::table, //
};
use super::Grade;

/// Returns a grade as JSON, with all its fields.
///
/// # Errors
///
/// None is known: all values can be written as JSON.
pub fn json(grade: &Grade) -> anyhow::Result<String> {
    Ok(serde_json::to_string_pretty(grade)? + "\n")
}

/// Returns the command that repeats a grade.
fn repeat(grade: &Grade) -> String {
    format!(
        "slablab course grade {} --seed {}",
        grade.exercise, grade.seed
    )
}
