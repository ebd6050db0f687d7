// SPDX-License-Identifier: GPL-2.0

//! `slablab report`: traces through engines, as a page to look at.

mod page;

use std::{
    io::{
        self,
        Write as _, //
    },
    path::PathBuf,
    process::ExitCode, //
};

use anyhow::{
    Context,
    bail, //
};
use clap::Args;
use slablab_trace::Trace;

use super::replay::{
    PlanArgs,
    document::{
        Document,
        EngineResult,
        Wrong, //
    },
    measure::{
        POOL_UNIT,
        Plan,
        is_possible,
        isolated, //
    },
    render,
    replayed, //
};
use crate::{
    arguments::whole,
    one_cpu::OneCpu,
    opener::TargetKind,
    replay::film::{
        Limits,
        film, //
    },
    report::{
        self,
        files::{
            Kind,
            Output, //
        }, //
    },
    traces::{
        HELP,
        LONG_HELP, //
    },
};

/// The files that --json may overwrite.
const JSON: Kind = Kind {
    name: "what 'slablab replay' or 'slablab report' wrote with --json",
    is: Document::is_document,
};

/// The most frames of a run.
const FRAMES: usize = 1000;

/// The frames of all runs together, and the fewest that one of many has.
const FRAMES_TOGETHER: usize = 6000;
const FRAMES_MIN: usize = 100;

/// The changes of blocks of pages in all runs together.
const WRITES_TOGETHER: usize = 400_000;

/// Write a page that shows what traces do to engines, moment by moment
///
/// It is one file that needs no network. A slider (or the arrow keys) goes through the operations,
/// and with it the map of each engine's pool: pages by state, slabs with what is out of them, what
/// is free in the buddy system by order, and classes. Beside it are live and reserved bytes and
/// fragmentation as curves, how long operations took, and what was refused, and why.
///
/// All figures of 'slablab replay' are taken too, and shown on the page and here. A long trace is
/// no larger a page than a short one: up to 1,000 moments are shown, with the least and the most
/// live bytes between them.
#[derive(Args)]
pub(crate) struct ReportArgs {
    /// The page to write; '-' for standard output, and then the figures are not shown beside it
    ///
    /// A file that exists is overwritten if it is a page of slablab report, and only then.
    #[arg(short, long, value_name = "FILE.html", required = true)]
    out: PathBuf,

    #[arg(value_name = "TRACE")]
    #[arg(help = HELP, long_help = LONG_HELP)]
    traces: Vec<String>,

    #[command(flatten)]
    plan: PlanArgs,

    /// Size in KiB of the pools that are shown
    ///
    /// Less than an engine needs shows what it refuses, and why. By itself it is the smallest pool
    /// in which every engine can do all of the trace, or that of --pool if that is not known.
    #[arg(long, value_name = "KIB")]
    #[arg(value_parser = whole::<u64>("the size of a pool in KiB", 32..=4 << 20))]
    room: Option<u64>,

    /// Write JSON in place of the page; a file of such JSON may be overwritten
    #[arg(long)]
    json: bool,

    /// Run nothing, show what was written with --json
    #[arg(long, value_name = "FILE", conflicts_with = "traces")]
    from: Option<PathBuf>,
}

/// Runs traces, and writes the page.
pub(crate) fn run(args: ReportArgs) -> anyhow::Result<ExitCode> {
    let kind = if args.json { JSON } else { page::KIND };
    let output = match args.out.as_os_str() == "-" {
        true => None,
        false => Some(Output::open(&args.out, kind)?),
    };
    let document = match &args.from {
        Some(file) => Document::read(file)?,
        None => filmed(&args)?,
    };
    let text = if args.json {
        serde_json::to_string(&document)?
    } else {
        page::of(&document)?
    };
    match output {
        None => io::stdout().write_all(text.as_bytes())?,
        Some(output) => {
            let written = output.write(text.as_bytes());
            // The figures of a run of minutes are not lost with the page.
            report::print(render::text(&document))?;
            written?;
        }
    }
    Ok(if document.is_right() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Replays all traces on all engines, and films each.
fn filmed(args: &ReportArgs) -> anyhow::Result<Document> {
    let room = match args.room.map(|kib| kib << 10) {
        Some(room) if room % POOL_UNIT != 0 => {
            bail!("--room: a pool is a multiple of {} KiB", POOL_UNIT >> 10)
        }
        room => room,
    };
    let traces = args.plan.making.load(&args.traces)?;
    let _cpu = OneCpu::stay().context("cannot stay on one CPU")?;
    let (engines, plan) = args.plan.plan()?;
    let films = traces.len() * engines.len();
    let limits = Limits {
        frames: (FRAMES_TOGETHER / films).clamp(FRAMES_MIN, FRAMES),
        writes: WRITES_TOGETHER / films,
    };
    replayed(&engines, &plan, &traces, |trace, results| {
        let pool_bytes = room.unwrap_or_else(|| enough(&plan, results));
        for result in results {
            take(&plan, trace, pool_bytes, limits, result)?;
        }
        Ok(())
    })
}

/// Returns the smallest pool that was enough for every engine.
fn enough(plan: &Plan, results: &[EngineResult]) -> u64 {
    let pools = results.iter().map(|result| match &result.space {
        Some(space) => space.pool_bytes.unwrap_or(0),
        None => plan.pool_bytes,
    });
    pools
        .max()
        .filter(|bytes| *bytes > 0)
        .unwrap_or(plan.pool_bytes)
}

/// Films a run on an engine.
fn take(
    plan: &Plan,
    trace: &Trace,
    pool_bytes: u64,
    limits: Limits,
    result: &mut EngineResult,
) -> anyhow::Result<()> {
    is_possible(trace, pool_bytes)?;
    let about = || format!("{} on {}", trace.name, result.engine);
    let filmed = || {
        let target = plan.open(result.engine, pool_bytes)?;
        let filmed = film(&*target, trace, limits).with_context(about)?;
        Ok(filmed.map_err(|failure| Wrong::new(&failure, pool_bytes)))
    };
    let filmed = match plan.target {
        TargetKind::Device => filmed()?,
        TargetKind::Sim => isolated(filmed)?.unwrap_or_else(|death| Err(Wrong::by(&death, trace))),
    };
    match filmed {
        Ok(film) => result.film = Some(film),
        Err(wrong) => {
            result.failure.get_or_insert(wrong);
        }
    }
    Ok(())
}

impl ReportArgs {
    /// Reads the traces, and does nothing with them.
    ///
    /// # Errors
    ///
    /// When a trace does not exist or cannot be parsed.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        self.plan.making.load(&self.traces).map(drop)
    }
}
