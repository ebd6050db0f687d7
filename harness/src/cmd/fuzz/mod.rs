// SPDX-License-Identifier: GPL-2.0

//! `slablab fuzz`: calls of every kind, right and wrong, from several processes at once.
//!
//! What is called only depends on the seed ([`call`]); who is killed when does not, and neither
//! does what the others are at. The calls themselves are not checked, other commands do that: what
//! must hold is that the pools are sound and empty in the end, and that the kernel has nothing to
//! say.

mod arena;
mod call;
mod commands;
mod crowd;
mod render;
mod tally;
mod worker;

use std::{
    fs::File,
    path::PathBuf,
    process::ExitCode, //
};

use anyhow::Context;
use clap::Args;

use self::{
    crowd::Crowd,
    tally::{
        PROCESSES_MAX,
        Tally, //
    },
    worker::Worker,
};
use crate::{
    arguments::{
        seed,
        whole, //
    },
    device::open_device,
    report, //
};

/// Call the device with every kind of argument, from several processes that are killed
///
/// Needs root, and the machine to itself. In the end every pool is walked, and nothing may be left
/// in it. What the kernel's checkers say meanwhile is in the kernel's log.
///
/// The seed decides on all arguments, but for which block a handle names, and when processes are
/// killed. Pools that calls of EXTEND have extended stay so until the module is unloaded.
#[derive(Args)]
pub(crate) struct FuzzArgs {
    /// Calls, of all processes together
    #[arg(long, default_value_t = 10_000)]
    #[arg(value_parser = whole::<u64>("the number of calls", 1..=u64::MAX))]
    calls: u64,

    /// Processes at once
    #[arg(long, default_value_t = 4)]
    #[arg(value_parser = whole::<u16>("the number of processes", 1..=PROCESSES_MAX as u64))]
    processes: u16,

    /// What the arguments come from
    #[arg(long, default_value_t = 1, value_parser = seed())]
    seed: u64,

    /// How often a process is killed and another put in its place [default: every 1000 calls]
    #[arg(long, value_parser = whole::<u64>("the number of kills", 0..=u64::MAX))]
    kills: Option<u64>,

    /// Print JSON
    #[arg(long)]
    json: bool,

    /// Be the process of this number
    #[arg(long, hide = true, requires = "tally")]
    process: Option<u16>,

    /// Where the count is that all processes share
    #[arg(long, hide = true)]
    tally: Option<PathBuf>,
}

/// Runs the subcommand.
pub(crate) fn run(args: FuzzArgs) -> anyhow::Result<ExitCode> {
    let end = args.calls.div_ceil(args.processes.into());
    if let (Some(process), Some(path)) = (args.process, &args.tally) {
        let file = File::options().read(true).write(true).open(path)?;
        let tally = Tally::map(&file)?;
        Worker::new(args.seed, process.into(), tally)?.work(end)?;
        return Ok(ExitCode::SUCCESS);
    }
    let first = open_device()?;
    let crowd = Crowd {
        seed: args.seed,
        calls: args.calls,
        processes: args.processes.into(),
        // With more kills than calls none would get to a call.
        kills: args.kills.unwrap_or(args.calls / 1000).min(args.calls),
    };
    let fuzzed = crowd.run(first).with_context(|| crowd.repeat())?;
    if args.json {
        report::print(serde_json::to_string_pretty(&render::document(&crowd, &fuzzed))? + "\n")?;
    } else {
        report::print(render::text(&crowd, &fuzzed))?;
    }
    Ok(ExitCode::from(u8::from(!fuzzed.complaints.is_empty())))
}
