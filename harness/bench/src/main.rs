// SPDX-License-Identifier: GPL-2.0

//! The benchmark of the host.
//!
//! Runs the heaps of slablab beside their peers, in one process, behind one call, and prints what
//! was measured and whether the targets are met. Wrong answers of an allocator make it fail, slow
//! ones never do.

mod callgrind;
mod check;
mod cli;
mod clock;
mod heap;
mod lock;
mod machine;
mod pattern;
mod peers;
mod plot;
mod pool;
mod results;
mod run;
mod show;
mod space;
mod statistics;
mod targets;
#[cfg(test)]
mod tests;
mod threads;
mod timing;
mod yardstick;

use std::process::ExitCode;

use clap::Parser;
use slablab_trace::rng;

fn main() -> ExitCode {
    // Rust has every program ignore SIGPIPE, and each print that fails then panics.
    sigpipe::reset();
    cli::Cli::parse().run().unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
