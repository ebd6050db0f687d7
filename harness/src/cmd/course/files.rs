// SPDX-License-Identifier: GPL-2.0

//! `slablab course start` and `resume`: exchange the learner's file, and keep the old one.

use std::{
    env, fs,
    io::{
        self,
        IsTerminal,
        Write, //
    },
    path::{
        Path,
        PathBuf, //
    },
    process::ExitCode,
};

use anyhow::{
    Context,
    bail, //
};
use slablab_course::{
    Exercise,
    exercise, //
};

use super::{
    Progress,
    checkout::{
        Checkout,
        STUDENT, //
    },
};

/// The learner's file, and the files that were kept.
pub(super) struct Files<'c> {
    checkout: &'c Checkout,
    exercises: &'c [Exercise],
}

impl<'c> Files<'c> {
    pub(super) fn new(checkout: &'c Checkout, exercises: &'c [Exercise]) -> Self {
        Self {
            checkout,
            exercises,
        }
    }

    /// Returns the exercises.
    pub(super) fn exercises(&self) -> &'c [Exercise] {
        self.exercises
    }

    /// Puts the starting code of an exercise in place, or the solution of the exercise before, and prints the page.
    pub(super) fn start(
        &self,
        progress: &mut Progress,
        number: usize,
        solution: bool,
        yes: bool,
    ) -> anyhow::Result<ExitCode> {
        let chosen = exercise::numbered(self.exercises, number)?;
        let (code, name) = match solution {
            false => (
                chosen.file("start.rs")?,
                format!("the starting code of exercise {number}"),
            ),
            true if number > 1 => (
                exercise::numbered(self.exercises, number - 1)?.file("solution.rs")?,
                format!("the model solution of exercise {}", number - 1),
            ),
            true => bail!("there is no exercise before exercise {number}"),
        };
        let page = chosen.file("page.md")?;
        if !self.replace(progress, &code, &name, yes)? {
            return Ok(ExitCode::FAILURE);
        }
        progress.start(number)?;
        if let Some((_, path)) = self.kept(chosen)?.last() {
            println!(
                "'slablab course resume {number}' puts your own file back: {}",
                self.shown(path)
            );
        }
        println!("\n{page}");
        println!(
            "Write your allocator in {STUDENT}. The functions are described in\n\
             rust/student/engine/allocator.rs, and the memory in rust/student/engine/memory.rs.\n\n\
             slablab course check   tests the file, up to the first failure\n\
             slablab course watch   does so whenever you save it\n\
             slablab course hint    helps, each time with one hint more"
        );
        if let Some(alias) = alias() {
            println!("\nYour shell does not find slablab yet: {alias}");
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Puts the file back that was kept last for an exercise, or the one that passed all tests.
    pub(super) fn resume(
        &self,
        progress: &mut Progress,
        number: usize,
        done: bool,
        yes: bool,
    ) -> anyhow::Result<ExitCode> {
        let chosen = exercise::numbered(self.exercises, number)?;
        let mut paths: Vec<PathBuf> = (self.kept(chosen)?.into_iter())
            .map(|(_, path)| path)
            .collect();
        let path_done = self.path_done(chosen);
        let has_done = path_done.exists();
        if done && !has_done {
            bail!("no file of yours has passed all tests of exercise {number}");
        }
        // Without another file, the one that passed is the learner's last.
        if has_done && !done && !paths.is_empty() {
            paths.insert(0, path_done);
        } else if has_done {
            paths.push(path_done);
        }
        let Some(path) = paths.pop() else {
            bail!(
                "no file of exercise {number} was kept: 'slablab course start {number}' begins it"
            );
        };
        let path = &path;
        let code =
            fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let name = format!("your file of exercise {number}");
        if !self.replace(progress, &code, &name, yes)? {
            return Ok(ExitCode::FAILURE);
        }
        progress.start(number)?;
        println!("it was kept as {}", self.shown(path));
        for other in &paths {
            println!("another one is {}", self.shown(other));
        }
        if has_done && !done && !paths.is_empty() {
            println!(
                "'slablab course resume {number} --done' puts back the one that passed all tests"
            );
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Keeps the learner's file as the one that passed all tests of an exercise, unless it is a part of the course.
    pub(super) fn keep_done(&self, exercise: &Exercise) -> anyhow::Result<()> {
        let text = self.checkout.read_student()?;
        let Some(text) = text.filter(|text| !self.is_known(text)) else {
            return Ok(());
        };
        let path = self.path_done(exercise);
        fs::create_dir_all(self.checkout.state())
            .and_then(|()| fs::write(&path, text))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// Returns the path of the file that passed all tests of an exercise.
    fn path_done(&self, exercise: &Exercise) -> PathBuf {
        let name = format!("{}.done.rs", exercise.name());
        self.checkout.state().join(name)
    }

    /// Returns a path as it is shown: from the top of the checkout.
    fn shown(&self, path: &Path) -> String {
        let path = path.strip_prefix(self.checkout.top()).unwrap_or(path);
        path.display().to_string()
    }

    /// Replaces the learner's file by `code`, and returns whether it did. The old file is kept, and the learner is
    /// asked before, unless the old file is a part of the course.
    fn replace(
        &self,
        progress: &Progress,
        code: &str,
        name: &str,
        yes: bool,
    ) -> anyhow::Result<bool> {
        let old = self.checkout.read_student()?;
        let old = old.filter(|old| old != code && !self.is_known(old));
        if let Some(old) = old {
            if !yes && !agrees()? {
                println!("nothing was changed");
                return Ok(false);
            }
            let kept = self.keep(progress, &old)?;
            println!("your old file is kept as {}", self.shown(&kept));
        }
        fs::write(self.checkout.student(), code)
            .with_context(|| format!("cannot write {STUDENT}"))?;
        println!("{STUDENT} is now {name}");
        Ok(true)
    }

    /// Returns whether a file is a starting code or a solution of the course.
    fn is_known(&self, text: &str) -> bool {
        self.exercises.iter().any(|exercise| {
            ["start.rs", "solution.rs"]
                .into_iter()
                .any(|name| exercise.file(name).is_ok_and(|known| known == text))
        })
    }

    /// Returns the numbers and paths of the files that were kept for an exercise, the oldest first.
    fn kept(&self, exercise: &Exercise) -> anyhow::Result<Vec<(u64, PathBuf)>> {
        self.kept_as(&exercise.name())
    }

    /// Returns the numbers and paths of the files `NAME.NUMBER.rs`, the oldest first.
    fn kept_as(&self, name: &str) -> anyhow::Result<Vec<(u64, PathBuf)>> {
        let folder = self.checkout.state();
        let mut kept = Vec::new();
        let Ok(entries) = fs::read_dir(&folder) else {
            return Ok(kept);
        };
        for entry in entries {
            let path = entry?.path();
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            let number = file
                .strip_prefix(name)
                .and_then(|rest| rest.strip_prefix('.'))
                .and_then(|rest| rest.strip_suffix(".rs"))
                .and_then(|number| number.parse().ok());
            kept.extend(number.map(|number| (number, path.clone())));
        }
        kept.sort_unstable();
        Ok(kept)
    }

    /// Keeps the learner's file under the name of the exercise that was started last, unless a file with the same
    /// contents is kept already. Returns the path.
    fn keep(&self, progress: &Progress, text: &str) -> anyhow::Result<PathBuf> {
        let last = progress
            .last()
            .and_then(|number| exercise::numbered(self.exercises, number).ok());
        let name = last.map_or_else(|| "own".to_owned(), Exercise::name);
        let kept = self.kept_as(&name)?;
        let same = |path: &PathBuf| fs::read_to_string(path).is_ok_and(|old| old == text);
        if let Some((_, path)) = kept.last().filter(|(_, path)| same(path)) {
            return Ok(path.clone());
        }
        let number = kept.last().map_or(1, |(number, _)| number + 1);
        let path = self.checkout.state().join(format!("{name}.{number}.rs"));
        fs::create_dir_all(self.checkout.state())
            .and_then(|()| fs::File::create_new(&path)?.write_all(text.as_bytes()))
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }
}

/// Returns the command that lets the shell find this program as `slablab`, unless the shell finds it already, or no
/// person reads the output.
pub(super) fn alias() -> Option<String> {
    if !io::stdout().is_terminal() {
        return None;
    }
    let path = env::var_os("PATH").unwrap_or_default();
    if env::split_paths(&path).any(|folder| folder.join("slablab").is_file()) {
        return None;
    }
    let program = env::current_exe().ok()?;
    Some(format!("alias slablab={}", program.display()))
}

/// Asks whether the learner's file may be replaced. Without a terminal the answer is no.
fn agrees() -> anyhow::Result<bool> {
    if !io::stdin().is_terminal() {
        bail!("{STUDENT} would be replaced; --yes allows it, and keeps a copy");
    }
    print!("replace {STUDENT} (a copy is kept)? [y/N] ");
    io::stdout().flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(answer.trim().eq_ignore_ascii_case("y"))
}
