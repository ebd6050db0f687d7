// SPDX-License-Identifier: GPL-2.0

//! The command `slablab`, except for its `main`.
//!
//! Drives the allocators of slablab, in the kernel through `/dev/slablab` or in this process, and
//! checks every answer. The program `harness/bin` registers the engine `student` and calls [`run`]. Only that program
//! is compiled again when a learner changes the allocator.

mod arguments;
mod cli;
mod cmd;
mod drawing;
mod fault_injection;
mod isolated_command;
mod outdated_student;
mod session_factory;
mod subject;
mod trace_args;
mod workload;
#[cfg(test)]
mod wrong_engine_tests;

use std::{
    io,
    process::ExitCode, //
};

use slablab_lab::{
    affinity,
    clock,
    device,
    errno,
    event_recorder,
    ftrace_recorder,
    isolation,
    map,
    oracle,
    replay,
    sim,
    target,
    uapi, //
};
use slablab_report as report;
use slablab_trace::rng;

/// Runs the command with the arguments of the process, and returns its exit status.
pub fn run() -> ExitCode {
    cli::Cli::of_arguments().run().unwrap_or_else(|error| {
        if let Some(usage) = error.downcast_ref::<clap::Error>() {
            usage.exit();
        }
        match error.downcast_ref::<io::Error>() {
            // The reader of the output has closed it: see `Cli::run`.
            Some(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            _ => {
                eprintln!("error: {}", errno::sentence(&error));
                ExitCode::FAILURE
            }
        }
    })
}
