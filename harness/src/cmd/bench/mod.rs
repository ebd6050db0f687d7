// SPDX-License-Identifier: GPL-2.0

//! `slablab bench`: compares allocators in the kernel.

mod calls;
mod document;
mod render;
mod run;
mod standing;
mod suite;
mod targets;
mod verdicts;

use std::{
    path::PathBuf,
    process::ExitCode, //
};

use anyhow::bail;
use clap::{
    Args,
    ValueEnum,
    builder::{
        PossibleValue,
        PossibleValuesParser,
        TypedValueParser, //
    }, //
};

use crate::{
    arguments::{
        usage,
        whole, //
    },
    cmd::json,
    report,
    session_factory::TargetKind,
    uapi::BenchSubject, //
};
use document::BenchDocument;
use suite::Group;

/// Measure the engines and Linux's own allocators with loops in the kernel
///
/// Each call of BENCH creates its own allocator, so the shared pools and other sessions are not
/// affected. Every loop runs twice: once to check its blocks and once to measure its time. The exit
/// status is 1 if a block or an engine's metadata was wrong; a slow result does not change it.
/// Results are instructions if the machine counts them (`scripts/vm.sh -i`), else nanoseconds.
/// Needs root. `make bench` runs all patterns on three virtual machines.
#[derive(Args)]
pub(crate) struct BenchArgs {
    /// Only these patterns [default: all that this machine supports]
    #[arg(long = "pattern", value_enum, value_name = "PATTERN")]
    patterns: Vec<Group>,

    /// Only these allocators [default: all but student]; the empty loop, which is subtracted, always runs
    #[arg(long = "engine", value_parser = allocator(), value_name = "ENGINE")]
    engines: Vec<BenchSubject>,

    /// Measure fewer sizes with shorter loops, as a quick test
    #[arg(long)]
    brief: bool,

    /// Print a JSON list of runs
    #[arg(long)]
    json: bool,

    /// Show the results that --json printed, without a measurement
    #[arg(long, value_name = "FILE", conflicts_with_all = ["patterns", "engines", "brief"])]
    from: Vec<PathBuf>,

    /// This command measures in the kernel
    #[arg(long, value_enum, hide = true)]
    target: Option<TargetKind>,

    /// The count of scripts/lock-prefixes.py, for the targets
    #[arg(long, value_name = "COUNT")]
    #[arg(value_parser = whole::<u32>("the number of lock prefixes", 0..=u32::MAX.into()))]
    lock_prefixes: Option<u32>,
}

/// Parses the name of an allocator that can be chosen.
fn allocator() -> impl TypedValueParser<Value = BenchSubject> {
    let others = BenchSubject::ALL
        .iter()
        .filter(|subject| **subject != BenchSubject::Nothing);
    PossibleValuesParser::new(others.map(|subject| {
        let help = subject.comment().trim_end_matches('.');
        PossibleValue::new(subject.name()).help(help)
    }))
    .try_map(|name| BenchSubject::from_name(&name).ok_or("no such allocator"))
}

impl BenchArgs {
    /// Returns the groups of rows to measure.
    fn groups(&self) -> Vec<Group> {
        if self.patterns.is_empty() {
            Group::value_variants().to_vec()
        } else {
            self.patterns.clone()
        }
    }

    /// Returns the subjects to measure.
    fn subjects(&self) -> Vec<BenchSubject> {
        let mut subjects = BenchSubject::ALL.to_vec();
        subjects.retain(|subject| match subject {
            BenchSubject::Nothing => true,
            // The module has this engine only if it was built for a learner.
            BenchSubject::Student => self.engines.contains(subject),
            _ => self.engines.is_empty() || self.engines.contains(subject),
        });
        subjects
    }
}

/// Measures, or reads earlier results, and prints the report.
pub(crate) fn run(args: BenchArgs) -> anyhow::Result<ExitCode> {
    if args.target == Some(TargetKind::Sim) {
        return Err(usage(
            "bench measures in the kernel, through /dev/slablab: 'make bench-host' measures the \
             engines in a process, next to other allocators",
        )
        .into());
    }
    let documents = if args.from.is_empty() {
        vec![run::run(&args)?]
    } else {
        read(&args.from)?
    };
    if documents.iter().all(BenchDocument::is_empty) {
        let why: Vec<_> = documents.iter().flat_map(|run| &run.left_out).collect();
        match why[..] {
            [] => bail!("the files of --from contain no run"),
            [first, ..] => bail!("nothing was measured: {first}"),
        }
    }
    report::print(if args.json {
        serde_json::to_string_pretty(&documents)? + "\n"
    } else {
        render::text(&documents, args.lock_prefixes)
    })?;
    Ok(if documents.iter().all(BenchDocument::is_right) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Reads the runs that `slablab bench --json` printed.
fn read(files: &[PathBuf]) -> anyhow::Result<Vec<BenchDocument>> {
    let runs: Vec<Vec<BenchDocument>> = files
        .iter()
        .map(|file| json::read(file, "slablab bench --json"))
        .collect::<anyhow::Result<_>>()?;
    Ok(runs.into_iter().flatten().collect())
}
