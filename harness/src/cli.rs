// SPDX-License-Identifier: GPL-2.0

//! The command line: one subcommand, one file in `cmd/`.

use std::{
    process::ExitCode,
    sync::LazyLock, //
};

use clap::{
    CommandFactory,
    FromArgMatches,
    Parser,
    Subcommand, //
};

use crate::{
    cmd::{
        bench,
        course,
        fuzz,
        generate,
        hunt,
        info,
        inject,
        map,
        quiz,
        replay,
        report,
        shell,
        stats,
        stress,
        trace, //
    },
    uapi::SLABLAB_ABI_VERSION, //
};

/// The version that `--version` prints. A command and a module work together if they have the same ABI.
static VERSION: LazyLock<String> =
    LazyLock::new(|| format!("{} (ABI {SLABLAB_ABI_VERSION})", env!("CARGO_PKG_VERSION")));

/// Runs the allocators of slablab and checks every answer.
///
/// The exit status is 0 on success, 1 on a failure, and 2 for wrong arguments.
#[derive(Parser)]
#[command(
    name = "slablab",
    version = VERSION.as_str(),
    propagate_version = true,
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    /// Only check the arguments, and read the traces that they name
    ///
    /// The Makefile uses this option before it builds or boots a kernel.
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
    Selftest(slablab_selftest::SelftestArgs),
    Fuzz(fuzz::FuzzArgs),
    Course(course::CourseArgs),
    Hunt(hunt::HuntArgs),
    Quiz(quiz::QuizArgs),
    #[command(hide = true)]
    Generate(generate::GenerateArgs),
}

impl Command {
    /// Returns whether a command must end child processes before it exits. SIGPIPE would end such a command
    /// immediately, so the command keeps SIGPIPE ignored, and printing returns EPIPE instead.
    fn cleans_up(&self) -> bool {
        match self {
            Self::Selftest(args) => !args.list,
            Self::Fuzz(_) => true,
            _ => false,
        }
    }
}

/// Returns `command` with arguments that can be negative numbers, also in all subcommands. Without this,
/// clap takes -1 for an option. With it, the parser of the value reports the allowed numbers.
fn with_negative_numbers(command: clap::Command) -> clap::Command {
    command
        .mut_args(|argument| match argument.get_action().takes_values() {
            true => argument.allow_negative_numbers(true),
            false => argument,
        })
        .mut_subcommands(with_negative_numbers)
}

impl Cli {
    /// Parses the command line. If the command line is wrong, prints the error and exits.
    pub(crate) fn of_arguments() -> Self {
        let mut command = with_negative_numbers(Self::command());
        let matches = command.get_matches_mut();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.format(&mut command).exit())
    }

    /// Parses a command line that is not that of the process. If it is wrong, prints the error and exits.
    pub(crate) fn of_words(words: &[String]) -> Self {
        let mut command = with_negative_numbers(Self::command());
        let matches = command.try_get_matches_from_mut(words);
        let parsed = matches.and_then(|matches| Self::from_arg_matches(&matches));
        parsed.unwrap_or_else(|error| error.format(&mut command).exit())
    }

    /// Returns whether a subcommand has an option with this name.
    pub(crate) fn has_option(subcommand: &str, option: &str) -> bool {
        let command = Self::command();
        let found = command.find_subcommand(subcommand);
        found.is_some_and(|found| {
            let mut arguments = found.get_arguments();
            arguments.any(|argument| argument.get_long() == Some(option))
        })
    }

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
        if !self.command.cleans_up() {
            // Every Rust program starts with SIGPIPE ignored, and `println!` panics on EPIPE. `slablab … |
            // head -1` must end quietly, so SIGPIPE ends the command.
            sigpipe::reset();
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
            Command::Selftest(args) => slablab_selftest::run(args, &["selftest"]),
            Command::Fuzz(args) => fuzz::run(args),
            Command::Course(args) => course::run(args),
            Command::Hunt(args) => hunt::run(args),
            Command::Quiz(args) => quiz::run(args),
            Command::Generate(args) => generate::run(&args, &Self::command()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        with_negative_numbers(Cli::command()).debug_assert();
    }
}
