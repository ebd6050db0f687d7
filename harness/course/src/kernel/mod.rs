// SPDX-License-Identifier: GPL-2.0

//! `slablab course check --kernel`: runs the tests of an exercise in the kernel of a virtual machine.
//!
//! ```text
//!  check ─▶ run(Process)           the fresh program, on the host: the hash of the answers of each test
//!    │
//!    └────▶ course-kernel.sh ─▶ vm.sh ─▶ run(Kernel)       the same tests in the machine, through /dev/slablab
//!               events on standard output ◀──┘
//!               build/log/course-kernel.console: why the kernel stopped, and where
//! ```
//!
//! A kernel that stops cannot say why through the device. The reason is read from its console, and the line of the
//! learner's file from the line tables of the module.

mod console;
mod machine;
mod runner;

use std::{
    io::{
        self,
        IsTerminal,
        Write, //
    },
    path::Path,
    process::{
        Command,
        ExitCode, //
    },
};

use anyhow::bail;

pub use self::runner::{
    Place,
    run, //
};
use self::{
    machine::Machine,
    runner::{
        Event,
        RANDOM_SENTENCE, //
    },
};
use crate::{
    exercise::Exercise,
    suites, //
};

/// The time after which a request in the kernel counts as endless, in seconds: the first number is for the lab kernel,
/// the second for the debug kernel, which is slower because it checks each access.
const PATIENCE_SECONDS: [u64; 2] = [5, 20];

/// The options of a check in the kernel.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Boots the debug kernel.
    pub is_debug: bool,
    /// Builds a missing kernel without asking.
    pub agrees: bool,
}

/// The state of a run after the events so far.
#[derive(Default)]
struct Progress {
    /// The test that began last.
    sentence: Option<String>,
    /// The hashes of the tests that passed.
    traces: Vec<u64>,
    failure: Option<String>,
}

impl Progress {
    fn enter(&mut self, event: Event) {
        match event {
            Event::Begin(sentence) => self.sentence = Some(sentence),
            Event::Passed(trace) => self.traces.push(trace),
            Event::Failed(failure) => self.failure = Some(failure),
        }
    }
}

/// Runs the tests of an exercise in the virtual machine. `program` is the command with the learner's allocator.
///
/// # Errors
///
/// The kernel or the module cannot be built, the rubric cannot be read, or a program cannot be run.
pub fn check(
    checkout: &Path,
    exercise: &Exercise,
    program: &Path,
    options: Options,
) -> anyhow::Result<ExitCode> {
    let machine = Machine {
        checkout,
        is_debug: options.is_debug,
    };
    if !machine.has_kernel()? {
        if !options.agrees && !agrees(options.is_debug)? {
            println!("nothing was built");
            return Ok(ExitCode::FAILURE);
        }
        machine.build_kernel()?;
    }
    let rubric = exercise.rubric()?;
    let mut sentences = Vec::new();
    let mut skipped = Vec::new();
    for test in rubric.tests {
        match suites::process_only(&test.sentence) {
            Some(reason) => skipped.push((test.sentence, reason)),
            None => sentences.push(test.sentence),
        }
    }
    sentences.push(RANDOM_SENTENCE.to_owned());
    let mut arguments: Vec<_> = ["course", "run"].map(str::to_owned).into();
    let patience = PATIENCE_SECONDS[usize::from(options.is_debug)];
    arguments.push(format!("--patience={patience}"));
    arguments.extend(sentences);

    let mut here = Progress::default();
    let mut command = Command::new(program);
    machine::events(command.args(&arguments), |event| here.enter(event))?;
    if let Some(failure) = &here.failure {
        failed(&here, failure);
        return Ok(ExitCode::FAILURE);
    }

    machine.build_module()?;
    let large = machine.large_frames()?;
    if !large.is_empty() {
        println!("\nFAILED  the local variables of each function fit on the kernel's stack\n");
        large.iter().for_each(|function| println!("{function}"));
        return Ok(ExitCode::FAILURE);
    }
    println!("\nin the kernel:");
    arguments.insert(2, "--device".to_owned());
    let mut there = Progress::default();
    let status = machine.boot(&arguments, |event| {
        if let (Event::Passed(_), Some(sentence)) = (&event, &there.sentence) {
            println!("ok      {sentence}");
        }
        there.enter(event);
    })?;
    for (sentence, reason) in skipped {
        println!("skipped {sentence}: {reason}");
    }
    if let Some(failure) = &there.failure {
        failed(&there, failure);
        return Ok(ExitCode::FAILURE);
    }
    if !status.success() {
        failed(&there, &machine.end()?);
        let log = machine.console();
        let log = log.strip_prefix(checkout).unwrap_or(&log);
        println!("\nThe kernel's log is {}.", log.display());
        return Ok(ExitCode::FAILURE);
    }
    if here.traces != there.traces {
        println!(
            "FAILED  the answers are the same in a process and in the kernel\n\n{}",
            difference(&here, &there)
        );
        return Ok(ExitCode::FAILURE);
    }
    println!(
        "ok      the answers of the {} tests, with all offsets, are the same in a process and in the kernel",
        there.traces.len()
    );
    println!("\nexercise {} passes in the kernel", exercise.number);
    Ok(ExitCode::SUCCESS)
}

/// Prints the failure of the test that began last.
fn failed(progress: &Progress, failure: &str) {
    let sentence = progress.sentence.as_deref();
    let sentence = sentence.unwrap_or("the virtual machine boots");
    println!("FAILED  {sentence}\n\n{failure}");
}

/// Returns a sentence about answers that differ.
fn difference(here: &Progress, there: &Progress) -> String {
    let mut pairs = here.traces.iter().zip(&there.traces);
    let number = pairs.position(|(here, there)| here != there);
    let number = number.unwrap_or(here.traces.len().min(there.traces.len()));
    format!(
        "test {} of this list got other answers in the kernel. Perhaps your allocator reads memory of the pool before \
         it has written it: the contents of a new pool are unspecified.",
        number + 1
    )
}

/// Asks whether the kernel may be built. Without a terminal the answer is no.
fn agrees(is_debug: bool) -> anyhow::Result<bool> {
    let kernel = if is_debug { "debug kernel" } else { "kernel" };
    let costs = format!(
        "The {kernel} of the virtual machine is not built yet. The build installs Debian packages, takes about \
         15 minutes and is needed once."
    );
    if !io::stdin().is_terminal() {
        bail!("{costs} --yes allows it.");
    }
    print!("{costs} Build it now? [y/N] ");
    io::stdout().flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(answer.trim().eq_ignore_ascii_case("y"))
}
