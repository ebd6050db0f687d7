// SPDX-License-Identifier: GPL-2.0

//! The host benchmark: the engines of slablab compared with other allocators.
//!
//! All allocators run in one process behind one interface. The benchmark prints the figures and
//! whether the targets are met. A wrong answer of an allocator makes the benchmark fail; a slow
//! allocator does not.

mod calibration;
mod callgrind;
mod check;
mod cli;
mod clock;
mod heap;
mod lock;
mod machine;
mod museum;
mod pattern;
mod peers;
mod plot;
mod pool;
mod results;
mod run;
mod show;
mod space;
mod standing;
mod statistics;
mod targets;
#[cfg(test)]
mod tests;
mod threads;
mod timing;

use std::process::ExitCode;

use clap::Parser;
use slablab_trace::rng;

fn main() -> ExitCode {
    // Rust programs ignore SIGPIPE by default, so printing to a closed pipe would panic.
    sigpipe::reset();
    cli::Cli::parse().run().unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
