// SPDX-License-Identifier: GPL-2.0

//! The command line: one subcommand, one file in `cmd/`.

use std::process::ExitCode;

use clap::{
    Parser,
    Subcommand, //
};

use crate::cmd::{
    bench,
    fuzz,
    info,
    inject,
    map,
    replay,
    report,
    selftest,
    shell,
    stats,
    stress,
    trace, //
};

/// Drives the allocators of slablab and checks every answer.
///
/// The exit status is 0 when all went well, 1 when something failed, 2 when the arguments are
/// wrong.
#[derive(Parser)]
#[command(version, propagate_version = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// Check the arguments, read the traces that they name, and do nothing else
    ///
    /// The Makefile asks for this before it builds a kernel or boots one.
    #[arg(long, hide = true)]
    check_arguments: bool,

    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Info(info::InfoArgs),
    Stats(stats::StatsArgs),
    Map(map::MapArgs),
    Shell(shell::ShellArgs),
    Stress(stress::StressArgs),
    Replay(replay::ReplayArgs),
    Report(report::ReportArgs),
    Trace(trace::TraceCommand),
    Inject(inject::InjectArgs),
    Bench(bench::BenchArgs),
    Selftest(selftest::SelftestArgs),
    Fuzz(fuzz::FuzzArgs),
}

impl Cli {
    /// Runs the chosen subcommand.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        if self.check_arguments {
            match &self.command {
                Command::Replay(args) => args.check()?,
                Command::Report(args) => args.check()?,
                // The parser has checked all that can be checked without a target.
                _ => {}
            }
            return Ok(ExitCode::SUCCESS);
        }
        match self.command {
            Command::Info(args) => info::run(args),
            Command::Stats(args) => stats::run(args),
            Command::Map(args) => map::run(args),
            Command::Shell(args) => shell::run(args),
            Command::Stress(args) => stress::run(args),
            Command::Replay(args) => replay::run(args),
            Command::Report(args) => report::run(args),
            Command::Trace(command) => trace::run(command),
            Command::Inject(args) => inject::run(args),
            Command::Bench(args) => bench::run(args),
            Command::Selftest(args) => selftest::run(args),
            Command::Fuzz(args) => fuzz::run(args),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
