// SPDX-License-Identifier: GPL-2.0

//! Runs the tests of an exercise on the engine `student` of this process.
//!
//! Each test runs in a process of its own on a new pool, so an allocator that panics or never returns fails one test.

use std::{
    process::ExitCode,
    time::Duration, //
};

use anyhow::Context;
use slablab_lab::{
    isolation::{
        self,
        Patience,
        Watched, //
    },
    oracle::Oracle,
    sim::Sim,
    uapi::Engine,
};

use crate::{
    exercise::Exercise,
    suites::{
        self,
        CourseTest, //
    },
};

/// The time after which a request counts as endless.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs the tests of an exercise, up to the first failure, and prints a line for each.
///
/// # Errors
///
/// The rubric is not readable or names a test that does not exist, or no process can be created.
pub fn verify(exercise: &Exercise) -> anyhow::Result<ExitCode> {
    for named in &exercise.rubric()?.tests {
        let test = suites::named(&named.sentence)
            .with_context(|| format!("the rubric names an unknown test: {}", named.sentence))?;
        let ended = isolation::run(Patience::Limited(PATIENCE), || run(test))?;
        let failure = match ended {
            Ok(None) => {
                println!("ok      {}", test.sentence);
                continue;
            }
            Ok(Some(failure)) => failure,
            Err(death) => death.to_string(),
        };
        println!("FAILED  {}\n\n{failure}", test.sentence);
        if let Some(hint) = named.hint {
            let number = exercise.number;
            println!("\nHint {hint} helps: slablab course hint {number} {hint}");
        }
        return Ok(ExitCode::FAILURE);
    }
    println!("\nexercise {} is done", exercise.number);
    Ok(ExitCode::SUCCESS)
}

/// Runs a test on a new pool, and returns the failure in words.
fn run(test: &CourseTest) -> Option<String> {
    let sim = match Sim::private(Engine::Student, test.pool_bytes) {
        Ok(sim) => Watched(Box::new(sim)),
        Err(errno) => return Some(format!("the pool cannot be created: {errno}")),
    };
    let result = Oracle::new(&sim, 1).and_then(|oracle| {
        (test.run)(&mut oracle.client())?;
        oracle.check()
    });
    result.err().map(|violation| violation.to_string())
}
