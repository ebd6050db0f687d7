// SPDX-License-Identifier: GPL-2.0

//! The program `slablab-selftest`, which does what `slablab selftest` does.

use std::process::ExitCode;

use clap::Parser;
use slablab_lab::errno;
use slablab_selftest::SelftestArgs;

/// Test the contract of the loaded module
#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: SelftestArgs,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if cli.args.list {
        sigpipe::reset();
    }
    slablab_selftest::run(cli.args, &[]).unwrap_or_else(|error| {
        if let Some(usage) = error.downcast_ref::<clap::Error>() {
            usage.exit();
        }
        eprintln!("error: {}", errno::sentence(&error));
        ExitCode::FAILURE
    })
}
