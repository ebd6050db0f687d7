// SPDX-License-Identifier: GPL-2.0

//! The contract of `/dev/slablab`, as tests: `slablab selftest`, or the program `slablab-selftest`.

mod suites;

use std::{
    io,
    path::PathBuf,
    process::ExitCode, //
};

use anyhow::bail;
use clap::{
    Args,
    error::ErrorKind, //
};
use slablab_lab::{
    affinity,
    clock,
    device,
    ftrace_recorder,
    map,
    real_time,
    replay,
    sim,
    target,
    uapi, //
};
use slablab_report as report;
use slablab_trace::rng;

use device::open_device;
use suites::{
    ChildRole,
    Style,
    TestPlan, //
};
use uapi::Engine;

/// Test the contract of the loaded module
///
/// Needs root. No other program may use the device at the same time: the tests compare the
/// statistics of the shared pools.
#[derive(Args)]
pub struct SelftestArgs {
    /// Report in KTAP, version 1
    #[arg(long)]
    ktap: bool,

    /// Also run the tests that load and unload the module, from this file
    #[arg(long, value_name = "FILE")]
    module: Option<PathBuf>,

    /// Run only tests whose name contains TEXT; can be given several times
    #[arg(long, value_name = "TEXT")]
    filter: Vec<String>,

    /// Repeat slow tests (killing programs, loading the module) up to a thousand times
    #[arg(long)]
    long: bool,

    /// List the tests without running them
    #[arg(long)]
    pub list: bool,

    /// Run as the helper process of a test
    #[arg(long, hide = true, requires = "role_engine")]
    role: Option<ChildRole>,

    /// The engine of the helper process
    #[arg(long, hide = true, value_parser = engine)]
    role_engine: Option<Engine>,
}

/// Parses the name of an engine.
fn engine(name: &str) -> Result<Engine, String> {
    Engine::from_name(name).ok_or_else(|| format!("unknown engine '{name}'"))
}

/// Runs the tests. Some tests start this program again: `words` are the arguments in front of the options of
/// [`SelftestArgs`] on its command line.
///
/// # Errors
///
/// Fails when the arguments are wrong, the device cannot be opened, or the output cannot be written. A failed
/// test is not an error; the exit status is then 1.
pub fn run(args: SelftestArgs, words: &'static [&'static str]) -> anyhow::Result<ExitCode> {
    suites::start_children_with(words);
    if let (Some(role), Some(engine)) = (args.role, args.role_engine) {
        return match suites::play(role, engine) {
            Ok(()) => Ok(ExitCode::SUCCESS),
            Err(verdict) => bail!("{verdict}"),
        };
    }
    let plan = TestPlan {
        module: args.module,
        filters: args.filter,
        long: args.long,
    };
    let names = plan.names();
    if names.is_empty() {
        let sentence = format!(
            "no test name contains any of {:?} ('slablab selftest --list' lists the tests)\n",
            plan.filters
        );
        return Err(clap::Error::raw(ErrorKind::ValueValidation, sentence).into());
    }
    if args.list {
        report::print(
            names
                .iter()
                .map(|name| format!("{name}\n"))
                .collect::<String>(),
        )?;
        return Ok(ExitCode::SUCCESS);
    }
    drop(open_device()?);
    let style = if args.ktap { Style::Ktap } else { Style::Plain };
    let tally = plan.run(io::stdout().lock(), style)?;
    Ok(ExitCode::from(u8::from(tally.failed > 0)))
}
