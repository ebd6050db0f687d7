// SPDX-License-Identifier: GPL-2.0

//! `slablab selftest`: tests the device's contract.

use std::{
    io,
    path::PathBuf,
    process::ExitCode, //
};

use anyhow::bail;
use clap::Args;

use crate::{
    arguments::usage,
    device::open_device,
    report,
    selftest::{
        Plan,
        Role,
        Style, //
    },
    uapi::Engine,
};

/// Test the contract of the loaded module
///
/// Needs root. No other program may use the device at the same time: the tests compare the
/// statistics of the shared pools.
#[derive(Args)]
pub(crate) struct SelftestArgs {
    /// Report in KTAP, version 1
    #[arg(long)]
    ktap: bool,

    /// Also run the tests that load and unload the module, from this file
    #[arg(long, value_name = "FILE")]
    module: Option<PathBuf>,

    /// Run only tests whose name contains TEXT; can be given several times
    #[arg(long, value_name = "TEXT")]
    filter: Vec<String>,

    /// Raise the repetitions of slow tests (killing programs, loading the module) to a thousand
    #[arg(long)]
    long: bool,

    /// List the tests without running them
    #[arg(long)]
    pub(crate) list: bool,

    /// Be a program that a test needs beside itself
    #[arg(long, hide = true, requires = "role_engine")]
    role: Option<Role>,

    /// The engine of that program
    #[arg(long, hide = true, value_parser = engine)]
    role_engine: Option<Engine>,
}

/// Parses the name of an engine.
fn engine(name: &str) -> Result<Engine, String> {
    let named = Engine::ALL.iter().find(|engine| engine.name() == name);
    named.copied().ok_or_else(|| format!("no engine {name}"))
}

/// Runs the subcommand.
pub(crate) fn run(args: SelftestArgs) -> anyhow::Result<ExitCode> {
    if let (Some(role), Some(engine)) = (args.role, args.role_engine) {
        return match role.play(engine) {
            Ok(()) => Ok(ExitCode::SUCCESS),
            Err(verdict) => bail!("{verdict}"),
        };
    }
    let plan = Plan {
        module: args.module,
        filters: args.filter,
        long: args.long,
    };
    let names = plan.names();
    if names.is_empty() {
        return Err(usage(format_args!(
            "no test name contains any of {:?} ('slablab selftest --list' lists the tests)",
            plan.filters
        ))
        .into());
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
