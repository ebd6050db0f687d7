// SPDX-License-Identifier: GPL-2.0

//! The grade of a learner's allocator.
//!
//! ```text
//!  lib.rs ─▶ Submission ─▶ Kit::build ─▶ program ─▶ Measurement ─▶ Grade ─▶ table, JSON, JUnit, KTAP
//!            rules         rustc          in a process   points
//!                                         or a machine
//! ```
//!
//! The program that contains the learner's allocator prints a [`Measurement`]: which tests passed, and the figures of
//! each trace. Points are given by another program, which does not contain the learner's code.

pub mod format;
mod measure;
pub mod points;
mod run;
#[cfg(test)]
mod tests;
pub mod workload;

use serde::Serialize;

use self::points::Points;
pub use self::run::{
    Figure,
    Measurement,
    Quantity,
    TestResult, //
};
use crate::{
    exercise::Exercise,
    rubric::Rubric,
    verify::Help, //
};

/// The largest number of characters of a text that comes from a submission.
const TEXT_MAX: usize = 4000;

/// A grade.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Grade {
    /// The number of the exercise.
    pub exercise: usize,
    /// The title of the exercise.
    pub title: String,
    /// The seed, with which the grade can be repeated.
    pub seed: u64,
    /// The reason why the submission was not run or did not end, with the output of the compiler.
    pub refusal: Option<String>,
    /// The points.
    pub points: Points,
    /// The largest number of points.
    pub max: Points,
    /// The points that are enough at a checkpoint, and whether they are reached.
    pub checkpoint: Checkpoint,
    /// The parts of the grade: tests, then measured parts.
    pub parts: Vec<Part>,
}

/// A checkpoint; see [`Rubric::checkpoint`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Checkpoint {
    /// The points that are enough.
    pub points: Points,
    /// Whether the grade has them.
    pub is_reached: bool,
}

/// A part of a grade.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Part {
    /// The sentence of the test, or the name of the measured part.
    pub name: String,
    /// The points.
    pub points: Points,
    /// The largest number of points.
    pub max: Points,
    /// Whether the part passed.
    pub status: Status,
    /// The mean of a measured part, in per cent or in accesses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub figure: Option<String>,
    /// The reason of a failure, or the figures. Contains no control characters but line feeds.
    pub output: String,
}

/// Whether a part passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// All points.
    Passed,
    /// Some of the points: a figure between the thresholds.
    InPart,
    /// No points.
    Failed,
    /// The part was not run.
    NotRun,
}

impl Grade {
    /// Computes the points of a measurement.
    ///
    /// # Errors
    ///
    /// The measurement does not belong to the rubric. The program that printed it contains the learner's code, so each
    /// part of the measurement is checked.
    pub fn of(
        exercise: &Exercise,
        rubric: &Rubric,
        seed: u64,
        measurement: &Measurement,
    ) -> Result<Self, String> {
        if measurement.tests.len() != rubric.tests.len() {
            return Err("the program printed the results of other tests".to_owned());
        }
        let mut parts = Vec::new();
        for (test, result) in rubric.tests.iter().zip(&measurement.tests) {
            let max = Points::whole(test.points);
            let (status, output) = match result {
                TestResult::Passed => (Status::Passed, String::new()),
                TestResult::Failed(failed) => {
                    let reason = harmless(failed.explanation.trim_end());
                    let output = match failed.help(exercise, test.hint) {
                        Help::Hint(hint) => format!(
                            "{reason}\n\nHint {hint} helps: slablab course hint {} {hint}",
                            exercise.number
                        ),
                        Help::Any | Help::None => reason,
                    };
                    (Status::Failed, output)
                }
                TestResult::NotRun => {
                    let parent = test.parent.as_deref().unwrap_or_default();
                    (Status::NotRun, format!("not run (needs: {parent})"))
                }
            };
            let points = if status == Status::Passed {
                max
            } else {
                Points::NONE
            };
            parts.push(Part {
                name: test.sentence.clone(),
                points,
                max,
                status,
                figure: None,
                output,
            });
        }
        let is_open = !rubric.gate
            || measurement
                .tests
                .iter()
                .all(|test| *test == TestResult::Passed);
        if let Some(section) = &rubric.utilisation {
            let figures = measurement.utilisation.as_ref().filter(|_| is_open);
            let figures = Figures::of("utilisation", &section.traces, figures)?;
            parts.push(figures.part(section.points, [section.full, section.zero], utilisation));
        }
        if let Some(section) = &rubric.cost {
            let figures = measurement.cost.as_ref().filter(|_| is_open);
            let figures = Figures::of("cost", &section.traces, figures)?;
            parts.push(figures.part(section.points, [section.full, section.zero], cost));
        }
        Ok(Self::new(exercise, rubric, seed, parts))
    }

    /// Returns the grade of a submission that was not run to its end: 0 points, for this reason.
    pub fn refused(exercise: &Exercise, rubric: &Rubric, seed: u64, reason: &str) -> Self {
        let tests = rubric
            .tests
            .iter()
            .map(|test| (test.sentence.as_str(), test.points));
        let utilisation = rubric
            .utilisation
            .iter()
            .map(|section| ("utilisation", section.points));
        let cost = rubric.cost.iter().map(|section| ("cost", section.points));
        let parts = tests
            .chain(utilisation)
            .chain(cost)
            .map(|(name, points)| Part {
                name: name.to_owned(),
                points: Points::NONE,
                max: Points::whole(points),
                status: Status::NotRun,
                figure: None,
                output: String::new(),
            });
        let mut grade = Self::new(exercise, rubric, seed, parts.collect());
        grade.refusal = Some(harmless(reason));
        grade
    }

    /// Returns the reasons of failures and of a refusal.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        let outputs = self.parts.iter().map(|part| part.output.as_str());
        outputs.chain(self.refusal.as_deref())
    }

    fn new(exercise: &Exercise, rubric: &Rubric, seed: u64, parts: Vec<Part>) -> Self {
        let points = parts.iter().map(|part| part.points).sum();
        Self {
            exercise: exercise.number,
            title: exercise.title.clone(),
            seed,
            refusal: None,
            points,
            max: parts.iter().map(|part| part.max).sum(),
            checkpoint: Checkpoint {
                points: Points::whole(rubric.checkpoint),
                is_reached: rubric.reaches_checkpoint(points),
            },
            parts,
        }
    }
}

/// The figures of a measured part.
struct Figures<'a> {
    name: &'static str,
    /// `None` if the gate is closed.
    figures: Option<&'a [Figure]>,
}

/// The description of a kind of figures: the scaled mean, and its text.
struct Scale {
    /// The factor of thresholds.
    factor: u64,
    /// The digits after the decimal point that the factor stands for.
    digits: usize,
    /// The mean of quantities that are not empty, in units of 1 / `factor`.
    mean: fn(&[Quantity]) -> u64,
    unit: &'static str,
}

/// Returns the scale of utilisation. The mean of the traces counts, so that a trace with a large pool counts no more
/// than the others.
fn utilisation() -> Scale {
    Scale {
        factor: 10,
        digits: 1,
        mean: |figures| {
            figures
                .iter()
                .map(|figure| figure.amount.min(1000))
                .sum::<u64>()
                / figures.len() as u64
        },
        unit: "%",
    }
}

/// Returns the scale of cost. The sum of all accesses counts, divided by the sum of all operations.
fn cost() -> Scale {
    Scale {
        factor: 100,
        digits: 2,
        mean: |figures| {
            let amount: u128 = figures.iter().map(|figure| u128::from(figure.amount)).sum();
            let of: u128 = figures.iter().map(|figure| u128::from(figure.of)).sum();
            u64::try_from(amount * 100 / of.max(1)).unwrap_or(u64::MAX)
        },
        unit: "accesses for each operation",
    }
}

impl<'a> Figures<'a> {
    /// Returns the figures of a part, which must be those of its traces.
    fn of(
        name: &'static str,
        traces: &[String],
        figures: Option<&'a Vec<Figure>>,
    ) -> Result<Self, String> {
        if let Some(figures) = figures {
            if !figures.iter().map(|figure| &figure.trace).eq(traces) {
                return Err("the program printed the figures of other traces".to_owned());
            }
        }
        Ok(Self {
            name,
            figures: figures.map(Vec::as_slice),
        })
    }

    /// Returns the part of a grade. A trace without a figure leaves no points, because the mean of the others would be
    /// better than the allocator is.
    fn part(&self, points: u32, [full, zero]: [u32; 2], scale: fn() -> Scale) -> Part {
        let scale = scale();
        let max = Points::whole(points);
        let mut part = Part {
            name: self.name.to_owned(),
            points: Points::NONE,
            max,
            status: Status::NotRun,
            figure: None,
            output: "not run (needs all tests)".to_owned(),
        };
        let Some(figures) = self.figures else {
            return part;
        };
        let text = |figure: u64| {
            let (whole, rest) = (figure / scale.factor, figure % scale.factor);
            format!("{whole}.{rest:0digits$}", digits = scale.digits)
        };
        let lines = figures.iter().map(|figure| match &figure.result {
            Ok(quantity) => format!("{}: {}", figure.trace, text((scale.mean)(&[*quantity]))),
            Err(reason) => format!("{}: {}", figure.trace, harmless(reason)),
        });
        let lines = lines.collect::<Vec<_>>().join("\n");
        let complete: Result<Vec<_>, _> = figures
            .iter()
            .map(|figure| figure.result.as_ref().copied())
            .collect();
        (part.status, part.output) = (Status::Failed, lines);
        if let Ok(quantities) = complete {
            let mean = (scale.mean)(&quantities);
            let [full_scaled, zero_scaled] =
                [full, zero].map(|threshold| u64::from(threshold) * scale.factor);
            part.points = Points::between(points, mean, full_scaled, zero_scaled);
            let thresholds = format!("full points at {full}, none at {zero}");
            part.output = format!(
                "{} {}; {thresholds}\n{}",
                text(mean),
                scale.unit,
                part.output
            );
            part.figure = Some(text(mean));
            if part.points == max {
                part.status = Status::Passed;
            } else if part.points > Points::NONE {
                part.status = Status::InPart;
            }
        }
        part
    }
}

/// Returns a text that comes from a submission without control characters, and not too long. Such a text cannot move
/// the cursor of a terminal or begin a line of a report.
fn harmless(text: &str) -> String {
    let is_harmful = |letter: char| letter != '\n' && letter.is_control();
    let mut harmless: String = text
        .chars()
        .take(TEXT_MAX)
        .map(|letter| {
            if is_harmful(letter) {
                '\u{fffd}'
            } else {
                letter
            }
        })
        .collect();
    if text.chars().nth(TEXT_MAX).is_some() {
        harmless.push_str("…\n(the text is longer)");
    }
    harmless
}
