// SPDX-License-Identifier: GPL-2.0

//! The command `slablab`.
//!
//! Drives the allocators of slablab, in the kernel through `/dev/slablab` or in this process, and
//! checks every answer.

mod cli;
mod clock;
mod cmd;
mod device;
mod errno;
mod failing;
mod isolation;
mod map;
mod one_cpu;
mod opener;
mod oracle;
mod recorder;
mod recording;
mod replay;
mod selftest;
mod sim;
mod target;
mod traces;
mod uapi;
mod workload;

use std::{
    io,
    process::ExitCode, //
};

use clap::Parser;
use slablab_report as report;
use slablab_trace::rng;

fn main() -> ExitCode {
    cli::Cli::parse().run().unwrap_or_else(|error| {
        if let Some(usage) = error.downcast_ref::<clap::Error>() {
            usage.exit();
        }
        match error.downcast_ref::<io::Error>() {
            // Whoever read the output has seen enough of it.
            Some(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            _ => {
                eprintln!("error: {error:#}");
                ExitCode::FAILURE
            }
        }
    })
}
