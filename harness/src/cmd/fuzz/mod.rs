// SPDX-License-Identifier: GPL-2.0

//! `slablab fuzz`: valid and invalid calls from several processes at the same time.
//!
//! The calls depend on the seed only ([`call`]). The moments of kills and the interleaving of processes
//! vary. Replies are not checked, because other commands do that. At the end CHECK must find no
//! violation, no block may be live, and the kernel's log must have no report.

mod call;
mod commands;
mod processes;
mod render;
mod reply_counts;
mod scratch_memory;
mod worker;

use std::{
    fs::File,
    path::PathBuf,
    process::ExitCode, //
};

use anyhow::Context;
use clap::Args;

use self::{
    processes::Processes,
    reply_counts::{
        PROCESSES_MAX,
        ReplyCounts, //
    },
    worker::FuzzWorker,
};
use crate::{
    arguments::{
        seed,
        whole, //
    },
    device::open_device,
    report, //
};

/// Call the device with random arguments from several processes, some of which are killed
///
/// Needs root. No other program may use the device at the same time. At the end the metadata of every
/// shared pool is checked, and no block may be live. Reports of the kernel's checkers are in the
/// kernel's log.
///
/// The seed determines all arguments except the blocks of handles. The moments at which
/// processes are killed differ from run to run. Shared pools that EXTEND has extended stay extended
/// until the module is unloaded.
#[derive(Args)]
pub(crate) struct FuzzArgs {
    /// Total number of calls
    #[arg(long, default_value_t = 10_000)]
    #[arg(value_parser = whole::<u64>("the number of calls", 1..=u64::MAX))]
    calls: u64,

    /// Number of processes
    #[arg(long, default_value_t = 4)]
    #[arg(value_parser = whole::<u16>("the number of processes", 1..=PROCESSES_MAX as u64))]
    processes: u16,

    /// Seed of the random number generator
    #[arg(long, default_value_t = 1, value_parser = seed())]
    seed: u64,

    /// Number of processes that are killed and replaced [default: one per 1000 calls]
    #[arg(long, value_parser = whole::<u64>("the number of kills", 0..=u64::MAX))]
    kills: Option<u64>,

    /// Print JSON
    #[arg(long)]
    json: bool,

    /// Run as the process with this number
    #[arg(long, hide = true, requires = "tally")]
    process: Option<u16>,

    /// The file with the counts that all processes share
    #[arg(long, hide = true)]
    tally: Option<PathBuf>,
}

/// Runs the subcommand.
pub(crate) fn run(args: FuzzArgs) -> anyhow::Result<ExitCode> {
    let end = args.calls.div_ceil(args.processes.into());
    if let (Some(process), Some(path)) = (args.process, &args.tally) {
        let file = File::options().read(true).write(true).open(path)?;
        let counts = ReplyCounts::map(&file)?;
        FuzzWorker::new(args.seed, process.into(), counts)?.work(end)?;
        return Ok(ExitCode::SUCCESS);
    }
    let first = open_device()?;
    let processes = Processes {
        seed: args.seed,
        calls: args.calls,
        processes: args.processes.into(),
        // With more kills than calls, processes would be killed before they make a call.
        kills: args.kills.unwrap_or(args.calls / 1000).min(args.calls),
    };
    let fuzzed = processes.run(first).with_context(|| processes.repeat())?;
    if args.json {
        report::print(
            serde_json::to_string_pretty(&render::document(&processes, &fuzzed))? + "\n",
        )?;
    } else {
        report::print(render::text(&processes, &fuzzed))?;
    }
    Ok(ExitCode::from(u8::from(!fuzzed.violations.is_empty())))
}
