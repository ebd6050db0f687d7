// SPDX-License-Identifier: GPL-2.0

//! Child programs of tests.
//!
//! The program executes itself with a hidden option. A child prints lines to standard output and
//! reports a failure by its exit status.

use std::{
    env,
    io::{
        BufRead,
        BufReader,
        Read,
        Write, //
    },
    os::fd::AsFd,
    process::{
        self,
        Command,
        Stdio, //
    },
    sync::OnceLock,
};

use clap::ValueEnum;
use rustix::process::{
    Pid,
    Signal,
    WaitOptions,
    kill_process,
    waitpid, //
};

use crate::{
    device::Device,
    uapi::Engine, //
};

use super::verdict::{
    TestError,
    TestResult, //
};

/// The size in bytes of the blocks that children allocate.
pub(super) const SIZE: u64 = 3000;

/// The program of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ChildRole {
    /// Allocates, writes, moves and frees until it is killed.
    Stress,
    /// Fills its blocks, and tries the handles of another program.
    Neighbour,
    /// Allocates in the session that is its standard input, and stays.
    Heir,
    /// Opens a session, which other programs take over, and stays.
    Lender,
    /// Starts a [`Guest`](Self::Guest) in a pid namespace of its own, in the session that is its
    /// standard input, and prints the guest's process number.
    Host,
    /// Allocates in the session that is its standard input, misuses its pool, and prints its own number.
    Guest,
    /// Runs a very long bench.
    Bench,
    /// Misuses a pool of its own.
    Vandal,
    /// Allocates sessions, private pools and blocks until each is refused, and stays.
    Glutton,
}

impl ChildRole {
    /// Returns the value of `--role` on the command line.
    fn word(self) -> &'static str {
        match self {
            Self::Stress => "stress",
            Self::Neighbour => "neighbour",
            Self::Heir => "heir",
            Self::Lender => "lender",
            Self::Host => "host",
            Self::Guest => "guest",
            Self::Bench => "bench",
            Self::Vandal => "vandal",
            Self::Glutton => "glutton",
        }
    }
}

/// Parses a line of numbers.
pub(super) fn numbers(line: &str) -> Vec<u32> {
    line.split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect()
}

/// A fork of this program that repeats one action until it is killed.
pub(super) struct Fork(Pid);

impl Fork {
    /// Forks a child that calls `act` repeatedly. `act` may only make system calls and access memory that is
    /// already mapped, because other threads may have held locks at the time of the fork.
    pub(super) fn new(mut act: impl FnMut()) -> TestResult<Self> {
        // SAFETY: The child of a fork must not use a lock that another thread could have held. It runs only
        // `act`, which takes no lock, as the documentation of this function requires.
        match unsafe { c::fork() } {
            0 => loop {
                act();
            },
            pid => match Pid::from_raw(pid) {
                Some(pid) if pid.as_raw_nonzero().get() > 0 => Ok(Self(pid)),
                _ => Err(TestError::failed("fork failed")),
            },
        }
    }
}

impl Drop for Fork {
    /// Kills the child with SIGKILL and waits for its end.
    fn drop(&mut self) {
        // The child may have ended already, so an error is ignored.
        let _ = kill_process(self.0, Signal::KILL);
        let _ = waitpid(Some(self.0), WaitOptions::empty());
    }
}

/// Functions of the C library that `rustix` does not provide.
mod c {
    unsafe extern "C" {
        pub(super) fn fork() -> std::ffi::c_int;
    }
}

/// A child program that was started.
pub(super) struct Child {
    process: process::Child,
    output: BufReader<process::ChildStdout>,
}

/// The arguments in front of the options of the self-test on the command line of this program.
static WORDS: OnceLock<&'static [&'static str]> = OnceLock::new();

/// Sets the arguments in front of the options of the self-test on the command line of this program.
pub(crate) fn start_children_with(words: &'static [&'static str]) {
    // All calls pass the same words, so the error of a second call is ignored.
    let _ = WORDS.set(words);
}

impl Child {
    /// Starts a program that has a pipe as its standard input.
    pub(super) fn start(role: ChildRole, engine: Engine) -> TestResult<Self> {
        Self::start_on(role, engine, Stdio::piped())
    }

    /// Starts a program that has `session` as its standard input.
    pub(super) fn start_in(role: ChildRole, engine: Engine, session: &Device) -> TestResult<Self> {
        Self::start_on(role, engine, session.as_fd().try_clone_to_owned()?.into())
    }

    pub(super) fn start_on(role: ChildRole, engine: Engine, input: Stdio) -> TestResult<Self> {
        let words = WORDS.get().copied().unwrap_or_default();
        let mut process = Command::new(env::current_exe()?)
            .args(words)
            .args(["--role", role.word(), "--role-engine", engine.name()])
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let Some(output) = process.stdout.take() else {
            return Err(TestError::failed("the child has no standard output"));
        };
        Ok(Self {
            process,
            output: BufReader::new(output),
        })
    }

    /// Returns the process ID.
    pub(super) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Waits for a line and returns the numbers in it.
    #[track_caller]
    pub(super) fn heard(&mut self) -> TestResult<Vec<u32>> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            return Err(TestError::failed(format!(
                "the child ended too early: {}",
                self.violation()
            )));
        }
        Ok(numbers(&line))
    }

    /// Writes a line of numbers to the child.
    pub(super) fn tell(&mut self, numbers: &[u32]) -> TestResult {
        let words: Vec<_> = numbers.iter().map(u32::to_string).collect();
        let Some(input) = &mut self.process.stdin else {
            return Err(TestError::failed("the child has no standard input"));
        };
        writeln!(input, "{}", words.join(" "))?;
        Ok(input.flush()?)
    }

    /// Kills the child with SIGKILL and waits for its end.
    pub(super) fn kill(mut self) -> TestResult {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// Waits for the end of the child, whose exit status must be 0.
    #[track_caller]
    pub(super) fn succeeds(mut self) -> TestResult {
        if self.process.wait()?.success() {
            return Ok(());
        }
        Err(TestError::failed(self.violation()))
    }

    /// Returns the text that the child wrote to its standard error.
    fn violation(&mut self) -> String {
        let mut violation = String::new();
        if let Some(errors) = &mut self.process.stderr {
            // An error output that cannot be read counts as empty.
            let _ = errors.read_to_string(&mut violation);
        }
        violation.trim().to_owned()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // The child may have ended already, so an error is ignored.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
