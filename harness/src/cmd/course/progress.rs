// SPDX-License-Identifier: GPL-2.0

//! The progress of a learner, in `.course/progress.json`.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf, //
};

use anyhow::Context;
use serde::{
    Deserialize,
    Serialize, //
};
use slablab_course::{
    Exercise,
    verify::Verdict, //
};

use super::{
    Checkout,
    files::alias, //
};

/// The progress in all exercises.
#[derive(Default)]
pub(super) struct Progress {
    path: PathBuf,
    state: State,
}

/// The contents of the file.
#[derive(Default, Serialize, Deserialize)]
struct State {
    /// The number of the exercise that was started last.
    last: Option<usize>,
    /// The exercises that were started or checked, by number.
    exercises: BTreeMap<usize, ExerciseProgress>,
}

/// The progress in an exercise.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
struct ExerciseProgress {
    /// The tests that passed in the best check, and their points.
    passed: usize,
    points: u32,
    /// Whether all tests passed once.
    done: bool,
    /// The number of the last hint that was shown.
    hint: usize,
}

impl Progress {
    /// Reads the progress. A file that is missing or damaged counts as no progress.
    pub(super) fn read(checkout: &Checkout) -> Self {
        let path = checkout.state().join("progress.json");
        let text = fs::read_to_string(&path).unwrap_or_default();
        let state = serde_json::from_str(&text).unwrap_or_default();
        Self { path, state }
    }

    fn write(&self) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(&self.state)? + "\n";
        let written = fs::create_dir_all(self.path.parent().unwrap_or(&self.path))
            .and_then(|()| fs::write(&self.path, text));
        written.with_context(|| format!("cannot write {}", self.path.display()))
    }

    fn of(&self, number: usize) -> Option<ExerciseProgress> {
        self.state.exercises.get(&number).copied()
    }

    fn of_mut(&mut self, number: usize) -> &mut ExerciseProgress {
        self.state.exercises.entry(number).or_default()
    }

    /// Returns the number of the exercise that was started last, if any.
    pub(super) fn last(&self) -> Option<usize> {
        self.state.last
    }

    /// Returns the number of the exercise that was started last.
    pub(super) fn last_started(&self) -> anyhow::Result<usize> {
        let message =
            "no exercise was started: begin with 'slablab course start 1', or name an exercise";
        self.state.last.context(message)
    }

    /// Records that an exercise is started.
    pub(super) fn start(&mut self, number: usize) -> anyhow::Result<()> {
        self.state.last = Some(number);
        self.of_mut(number);
        self.write()
    }

    /// Records the result of a check.
    pub(super) fn record(&mut self, number: usize, verdict: &Verdict) -> anyhow::Result<()> {
        let exercise = self.of_mut(number);
        exercise.done |= verdict.failed.is_none();
        exercise.passed = exercise.passed.max(verdict.passed.len());
        exercise.points = exercise.points.max(verdict.points);
        self.write()
    }

    /// Returns the number of the last hint that was shown; 0 if none was.
    pub(super) fn hint(&self, number: usize) -> usize {
        self.of(number).map_or(0, |exercise| exercise.hint)
    }

    /// Records that a hint was shown.
    pub(super) fn set_hint(&mut self, number: usize, hint: usize) -> anyhow::Result<()> {
        let exercise = self.of_mut(number);
        exercise.hint = exercise.hint.max(hint);
        self.write()
    }

    /// Prints the exercises and what was done.
    pub(super) fn print(&self, exercises: &[Exercise]) {
        let titles = exercises
            .iter()
            .map(|exercise| exercise.title.chars().count());
        let width = titles.max().unwrap_or(0);
        for exercise in exercises {
            let state = self.of(exercise.number);
            let title = &exercise.title;
            let line = format!(
                "{:>2}  {title:width$}  {}",
                exercise.number,
                words(exercise, state)
            );
            println!("{}", line.trim_end());
        }
        let alias = alias().map(|alias| format!("your shell does not find slablab yet: {alias}"));
        match self.state.last {
            Some(last) => {
                println!("\nexercise {last} was started last: 'slablab course check' tests it");
                println!(
                    "these points are for tests: 'slablab course grade' gives the others, up to 100 for each exercise"
                );
            }
            None => println!("\nbegin with: slablab course start 1"),
        }
        if let Some(alias) = alias {
            println!("{alias}");
        }
    }
}

/// Returns the progress in an exercise, in words.
fn words(exercise: &Exercise, state: Option<ExerciseProgress>) -> String {
    let Some(state) = state else {
        return String::new();
    };
    let word = if state.done { "done" } else { "started" };
    let Ok(rubric) = exercise.rubric() else {
        return word.to_owned();
    };
    let points: u32 = rubric.tests.iter().map(|test| test.points).sum();
    format!(
        "{word:7}  {:>2} of {:>2} tests  {:>3} of {points} points",
        state.passed,
        rubric.tests.len(),
        state.points
    )
}
