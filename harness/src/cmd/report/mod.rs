// SPDX-License-Identifier: GPL-2.0

//! `slablab report`: replays as an HTML page.

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
        WrongAnswer, //
    },
    measure::{
        POOL_UNIT,
        is_possible,
        isolated, //
    },
    plan::Plan,
    render,
    replayed, //
};
use crate::{
    affinity::CpuPin,
    arguments::whole,
    replay::timeline::{
        Limits,
        timeline, //
    },
    report::{
        self,
        files::{
            FileKind,
            Output, //
        }, //
    },
    session_factory::TargetKind,
    trace_args::{
        HELP,
        LONG_HELP, //
    },
};

/// The files that --json may overwrite.
const JSON: FileKind = FileKind {
    name: "JSON of 'slablab replay' or 'slablab report'",
    is: Document::is_document,
};

/// The maximum number of frames of a run.
const FRAMES: usize = 1000;

/// The number of frames that all runs share. Each run has at least [`FRAMES_MIN`] frames.
const FRAMES_TOGETHER: usize = 6000;
const FRAMES_MIN: usize = 100;

/// The number of changes of page blocks that all runs share.
const WRITES_TOGETHER: usize = 400_000;

/// Write an HTML page that shows each engine's pool at every step of a trace
///
/// The page is one file and needs no network. A slider (or the arrow keys) selects an operation. The
/// page then shows the map of each engine's pool, the fill of its slabs, the free blocks of its buddy
/// system by size, and its size classes. Curves show live and reserved bytes and fragmentation over
/// time. Further sections show how long operations took, and which requests were refused and why.
///
/// The results of 'slablab replay' are measured too, and shown on the page and in the terminal. The
/// size of the page is limited for long traces: the page has at most 1,000 moments, and the minimum
/// and maximum of the live bytes between two moments.
#[derive(Args)]
pub(crate) struct ReportArgs {
    /// The page to write; with '-' the page goes to standard output and the tables are not printed
    ///
    /// An existing file is overwritten only if it is a page of slablab report.
    #[arg(short, long, value_name = "FILE.html", required = true)]
    out: PathBuf,

    #[arg(value_name = "TRACE")]
    #[arg(help = HELP, long_help = LONG_HELP)]
    traces: Vec<String>,

    #[command(flatten)]
    plan: PlanArgs,

    /// Size in KiB of the pools that are shown
    ///
    /// The default is the smallest pool in which no engine refuses a request of the trace, or the size of
    /// --pool if that pool was not searched for (--no-search). A smaller pool shows refusals and their
    /// causes.
    #[arg(long, value_name = "KIB")]
    #[arg(value_parser = whole::<u64>("the size of a pool in KiB", 32..=4 << 20))]
    room: Option<u64>,

    /// Write JSON instead of the page; an existing file is overwritten only if it is such JSON
    #[arg(long)]
    json: bool,

    /// Show the results that --json wrote, without a replay
    #[arg(long, value_name = "FILE", conflicts_with = "traces")]
    from: Option<PathBuf>,
}

/// Runs the subcommand.
pub(crate) fn run(args: ReportArgs) -> anyhow::Result<ExitCode> {
    let kind = if args.json { JSON } else { page::KIND };
    let output = match args.out.as_os_str() == "-" {
        true => None,
        false => Some(Output::open(&args.out, kind)?),
    };
    let document = match &args.from {
        Some(file) => Document::read(file)?,
        None => with_timelines(&args)?,
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
            // Print the figures also if the page cannot be written: the run may have taken minutes.
            report::print(render::text(&document))?;
            written?;
            report::print(format!("Written to {}.\n", args.out.display()))?;
        }
    }
    Ok(if document.is_right() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Replays all traces on all engines, and records a timeline of each run.
fn with_timelines(args: &ReportArgs) -> anyhow::Result<Document> {
    let room = match args.room.map(|kib| kib << 10) {
        Some(room) if room % POOL_UNIT != 0 => {
            bail!("--room must be a multiple of {} (KiB)", POOL_UNIT >> 10)
        }
        room => room,
    };
    args.plan.check()?;
    let traces = args.plan.trace_args.load(&args.traces)?;
    let _cpu = CpuPin::current().context("cannot pin the thread to one CPU")?;
    let (engines, plan) = args.plan.plan()?;
    let timelines = traces.len() * engines.len();
    let limits = Limits {
        frames: (FRAMES_TOGETHER / timelines).clamp(FRAMES_MIN, FRAMES),
        writes: WRITES_TOGETHER / timelines,
    };
    let mut document = replayed(&engines, &plan, &traces, |trace, results| {
        let pool_bytes = room.unwrap_or_else(|| enough(&plan, results));
        for result in results {
            take(&plan, trace, pool_bytes, limits, result)?;
        }
        Ok(())
    })?;
    document.say_how_to_repeat(|trace, engine| args.plan.repeat(&args.traces, trace, engine));
    Ok(document)
}

/// Returns the size of the smallest pool that is sufficient for every engine.
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

/// Records the timeline of a trace on an engine.
fn take(
    plan: &Plan,
    trace: &Trace,
    pool_bytes: u64,
    limits: Limits,
    result: &mut EngineResult,
) -> anyhow::Result<()> {
    is_possible(trace, pool_bytes)?;
    let about = || format!("{} on {}", trace.name, result.engine);
    let with_timelines = || {
        let target = plan.open(result.engine, pool_bytes)?;
        let with_timelines = timeline(&*target, trace, limits).with_context(about)?;
        Ok(with_timelines.map_err(|failure| WrongAnswer::new(&failure, pool_bytes)))
    };
    let with_timelines = match plan.target {
        TargetKind::Device => with_timelines()?,
        TargetKind::Sim => {
            isolated(with_timelines)?.unwrap_or_else(|death| Err(WrongAnswer::by(&death, trace)))
        }
    };
    match with_timelines {
        Ok(timeline) => result.timeline = Some(timeline),
        Err(wrong) => {
            result.failure.get_or_insert(wrong);
        }
    }
    Ok(())
}

impl ReportArgs {
    /// Checks the arguments, and that all traces can be read.
    ///
    /// # Errors
    ///
    /// When peers are requested on the device, or a trace does not exist or cannot be parsed.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        self.plan.check()?;
        self.plan.trace_args.load(&self.traces).map(drop)
    }
}
