// SPDX-License-Identifier: GPL-2.0

//! `slablab course check` and `watch`: build the learner's allocator and run the tests of an exercise.

use std::{
    process::{
        Command,
        ExitCode, //
    },
    thread,
    time::Duration,
};

use anyhow::{
    Context,
    bail, //
};
use slablab_course::{
    Exercise, kernel, source_rules,
    verify::{
        self,
        Help,
        Verdict, //
    },
};

use super::{
    Progress,
    checkout::{
        Checkout,
        STUDENT, //
    },
    files::Files,
};

/// The interval at which `watch` reads the learner's file.
const TICK: Duration = Duration::from_millis(200);

/// Builds the program anew and runs the tests in it, or only the test with the number `test`. With `in_kernel` the
/// tests then run in the kernel, too.
pub(super) fn check(
    checkout: &Checkout,
    exercise: &Exercise,
    test: Option<usize>,
    in_kernel: Option<kernel::Options>,
) -> anyhow::Result<ExitCode> {
    let number = exercise.number;
    let Some(source) = checkout.read_student()? else {
        bail!("{STUDENT} does not exist: 'slablab course start {number}' creates it");
    };
    let refusals = source_rules::refusals(&source);
    // The compiler explains an error of the syntax better.
    let is_syntax = refusals.iter().any(|refusal| refusal.is_syntax);
    let program = match !is_syntax && !refusals.is_empty() {
        true => None,
        false => checkout.build()?,
    };
    if program.is_some() || !is_syntax {
        for refusal in &refusals {
            eprintln!("{STUDENT}:{}: {}", refusal.line, refusal.reason);
        }
    }
    let Some(program) = program.filter(|_| refusals.is_empty()) else {
        return Ok(ExitCode::FAILURE);
    };
    let status = Command::new(&program)
        .args(["course", "verify", &number.to_string()])
        .args(test.map(|test| format!("--test={test}")))
        .status()
        .context("cannot run the program that was built")?;
    match in_kernel {
        _ if !status.success() => Ok(ExitCode::FAILURE),
        Some(options) => kernel::check(checkout.top(), exercise, &program, options),
        None => Ok(ExitCode::SUCCESS),
    }
}

/// Checks now, and again whenever the learner's file has changed. Ctrl-C ends the command.
pub(super) fn watch(checkout: &Checkout, exercise: &Exercise) -> anyhow::Result<ExitCode> {
    let mut checked = None;
    loop {
        let source = settled(checkout)?;
        if source.is_some() && source != checked {
            if checked.is_some() {
                println!("\n──── {STUDENT} has changed ────\n");
            }
            check(checkout, exercise, None, None)?;
            println!("\nwaiting for the next save of {STUDENT}; Ctrl-C ends");
            checked = source;
        }
        thread::sleep(TICK);
    }
}

/// Reads the learner's file until two readings agree: an editor may write it in several steps.
fn settled(checkout: &Checkout) -> anyhow::Result<Option<String>> {
    let mut before = checkout.read_student()?;
    loop {
        thread::sleep(TICK / 2);
        let now = checkout.read_student()?;
        if now == before {
            return Ok(now);
        }
        before = now;
    }
}

/// Runs the tests of an exercise on the allocator of this program, prints the result, and records it. With `test` it
/// runs only the test with this number, and records nothing.
pub(super) fn verify(
    progress: &mut Progress,
    files: &Files<'_>,
    exercise: &Exercise,
    test: Option<usize>,
) -> anyhow::Result<ExitCode> {
    let verdict = verify::verify(exercise, test)?;
    let is_done = verdict.failed.is_none();
    match (test, progress.last()) {
        (Some(_), _) => {}
        (None, Some(last)) if last != exercise.number && !is_done => println!(
            "Exercise {last} was started last, so this may be its file: the result is not recorded. 'slablab course start \
             {}' begins exercise {0}.\n",
            exercise.number
        ),
        (None, _) => {
            progress.record(exercise.number, &verdict)?;
            if is_done {
                files.keep_done(exercise)?;
            }
        }
    }
    match test {
        Some(_) if is_done => {
            for sentence in &verdict.passed {
                println!("ok      {sentence}");
            }
        }
        _ => print(&verdict, files.exercises(), exercise, test),
    }
    Ok(match is_done {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn print(verdict: &Verdict, exercises: &[Exercise], exercise: &Exercise, test: Option<usize>) {
    let (number, passed, tests) = (exercise.number, verdict.passed.len(), verdict.tests);
    let Some(failed) = &verdict.failed else {
        for sentence in &verdict.passed {
            println!("ok      {sentence}");
        }
        println!(
            "\nExercise {number} is done: {} of {} points.",
            verdict.points, verdict.points_max
        );
        if let Ok(rubric) = exercise.rubric() {
            if let Some((points, names)) = rubric.measured() {
                println!(
                    "The other {points} points are for {names}: slablab course grade {number}"
                );
            }
        }
        println!("Answers to the questions of the page: slablab course hint {number} --answers");
        if let Some(next) = exercises.iter().find(|next| next.number > number) {
            println!(
                "Next: slablab course start {} ({})",
                next.number, next.title
            );
        }
        return;
    };
    if test.is_none() {
        println!("{passed} of {tests} tests of exercise {number} pass. The next one does not:\n");
    }
    println!("FAILED  {}\n\n{}", failed.sentence, failed.explanation);
    match failed.help {
        Help::Hint(hint) => println!("Hint {hint} helps: slablab course hint {number} {hint}"),
        Help::Any => println!("The hints may help: slablab course hint {number}"),
        Help::None => {}
    }
}
