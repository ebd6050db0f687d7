// SPDX-License-Identifier: GPL-2.0

//! The rubric of an exercise: its tests and their points.

use serde::Deserialize;

/// A rubric: the file `rubric.toml` of an exercise.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rubric {
    /// The tests in the order in which they run: the inner layers first.
    #[serde(rename = "test")]
    pub tests: Vec<RubricTest>,
}

/// A test of an exercise.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RubricTest {
    /// The sentence that names the test.
    pub sentence: String,
    /// The points of the test.
    pub points: u32,
    /// The number of the hint that helps a learner whose allocator fails the test.
    pub hint: Option<usize>,
}
