// SPDX-License-Identifier: GPL-2.0

//! The exercises: one folder each, in `harness/course/`.

use std::{
    fs,
    path::{
        Path,
        PathBuf, //
    },
};

use anyhow::{
    Context,
    bail, //
};

use crate::rubric::Rubric;

/// An exercise.
pub struct Exercise {
    /// The number, from 1.
    pub number: usize,
    /// The title: the first line of the page, without the number.
    pub title: String,
    folder: PathBuf,
}

impl Exercise {
    /// Returns the name of the exercise's folder, for example `02-first-fit`.
    #[must_use]
    pub fn name(&self) -> String {
        let name = self.folder.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// Reads a file of the exercise.
    ///
    /// # Errors
    ///
    /// The file is not readable.
    pub fn file(&self, name: &str) -> anyhow::Result<String> {
        let path = self.folder.join(name);
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    }

    /// Reads the rubric.
    ///
    /// # Errors
    ///
    /// The file is not readable, or is not a rubric.
    pub fn rubric(&self) -> anyhow::Result<Rubric> {
        let text = self.file("rubric.toml")?;
        let folder = self.folder.display();
        toml::from_str(&text).with_context(|| format!("{folder}/rubric.toml is not a rubric"))
    }

    /// Returns the hints, the vaguest first.
    ///
    /// # Errors
    ///
    /// The file is not readable.
    pub fn hints(&self) -> anyhow::Result<Vec<String>> {
        let text = self.file("hints.md")?;
        let hints = text.split("\n## ").map(|hint| {
            // The first line is the number.
            let (_, hint) = hint.split_once('\n').unwrap_or_default();
            hint.trim().to_owned()
        });
        Ok(hints.filter(|hint| !hint.is_empty()).collect())
    }
}

/// Returns the exercises of a checkout, in their order.
///
/// # Errors
///
/// The folder of the course is not readable.
pub fn all(checkout: &Path) -> anyhow::Result<Vec<Exercise>> {
    let folder = checkout.join("harness/course");
    let entries =
        fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut exercises = Vec::new();
    for entry in entries {
        let folder = entry?.path();
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let number = name
            .split('-')
            .next()
            .and_then(|number| number.parse().ok());
        let (Some(number), true) = (number, folder.join("page.md").exists()) else {
            continue;
        };
        let mut exercise = Exercise {
            number,
            title: String::new(),
            folder,
        };
        let page = exercise.file("page.md")?;
        let title = page.lines().next().unwrap_or_default();
        title
            .trim_start_matches(|letter: char| !letter.is_alphabetic())
            .clone_into(&mut exercise.title);
        exercises.push(exercise);
    }
    exercises.sort_by_key(|exercise| exercise.number);
    Ok(exercises)
}

/// Returns the exercise with this number.
///
/// # Errors
///
/// There is no exercise with this number.
pub fn numbered(exercises: &[Exercise], number: usize) -> anyhow::Result<&Exercise> {
    let found = exercises.iter().find(|exercise| exercise.number == number);
    match found {
        Some(exercise) => Ok(exercise),
        None => bail!("there is no exercise {number}: 'slablab course list' lists them"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suites;

    #[test]
    fn each_exercise_is_complete() {
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let exercises = all(&checkout).unwrap();
        assert!(exercises.len() >= 4);
        for exercise in &exercises {
            let name = exercise.name();
            // A ladder of three hints, or one hint for each topic if the tests do not depend on each other.
            let (hints, tests) = (
                exercise.hints().unwrap().len(),
                exercise.rubric().unwrap().tests,
            );
            let is_named = |hint| tests.iter().any(|test| test.hint == Some(hint));
            assert!(hints == 3 || (1..=hints).all(is_named), "hints of {name}");
            for file in ["start.rs", "solution.rs"] {
                exercise.file(file).unwrap();
            }
            let (page, answers) = (
                exercise.file("page.md").unwrap(),
                exercise.file("answers.md").unwrap(),
            );
            for heading in ["## Before you code", "## After"] {
                assert!(page.contains(heading), "{heading} on the page of {name}");
                assert!(
                    answers.contains(heading),
                    "{heading} in the answers of {name}"
                );
            }
            for test in tests {
                assert!(
                    suites::named(&test.sentence).is_some(),
                    "{name}: {}",
                    test.sentence
                );
                assert!(
                    (1..=hints).contains(&test.hint.unwrap_or(1)),
                    "{name}: {}",
                    test.sentence
                );
            }
            let wrong = fs::read_dir(exercise.folder.join("wrong")).unwrap();
            assert!(wrong.count() >= 2, "wrong solutions of {name}");
        }
    }
}
