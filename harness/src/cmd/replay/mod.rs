// SPDX-License-Identifier: GPL-2.0

//! `slablab replay`: compares engines by replaying traces.

pub(super) mod document;
pub(super) mod explain;
pub(super) mod measure;
pub(super) mod plan;
pub(super) mod render;

use std::{
    io::{
        self,
        IsTerminal, //
    },
    path::{
        Path,
        PathBuf, //
    },
    process::ExitCode, //
};

use anyhow::Context;
use clap::Args;
use slablab_trace::Trace;

use crate::{
    affinity::CpuPin,
    arguments::{
        pool_mib,
        usage,
        whole, //
    },
    fault_injection::FaultArgs,
    report::{
        self,
        BAD,
        Stage, //
    },
    session_factory::{
        EngineChoice,
        SessionFactory,
        TargetKind,
        engine_choice, //
    },
    sim::Pool,
    subject::{
        PeerChoice,
        Subject,
        peer_choice, //
    },
    trace_args::{
        HELP,
        LONG_HELP,
        TraceArgs, //
    },
};
use document::{
    Document,
    EngineResult,
    TraceResult, //
};
use explain::Operations;
use plan::Plan;

/// Replay traces on engines and peers, check every answer, and compare them
///
/// Each trace is replayed on each engine and each peer, in private pools, for three purposes:
///
/// Correctness: one replay checks every answer. A block must lie in the pool, be aligned, overlap no
/// other block, contain zeros when it is new, and contain what was written until it is freed or
/// resized. The first wrong answer is reported with its operation, and the exit status is 1.
///
/// Space: a search finds the smallest pool in which no request is refused. Utilisation is the live
/// peak of the trace divided by the size of this pool. The rest of the pool is, at the moment of the
/// peak, internal fragmentation (blocks are larger than requested) or external fragmentation (free or
/// cached memory). For an engine without a pool, the size of all its blocks takes the place of the
/// pool.
///
/// Time: several replays, with one call per operation. The time of an operation is the minimum over
/// all passes, minus the time of a call that does nothing; it includes zeroing. Times are instructions
/// if the machine counts them (as in 'make replay'), else nanoseconds.
///
/// All replays run on one CPU, so all results except times are the same on the device and with
/// --target sim.
#[derive(Args)]
pub(crate) struct ReplayArgs {
    #[arg(value_name = "TRACE")]
    #[arg(help = HELP, long_help = LONG_HELP)]
    traces: Vec<String>,

    #[command(flatten)]
    plan: PlanArgs,

    /// Only explain this operation, or a range such as 1-5
    ///
    /// Operations are counted from 1. The explanation names the path through the engine, its cost, or
    /// the cause of a refusal. The trace is replayed up to the operation in a pool of --pool MiB.
    #[arg(long, value_name = "N[-M]",
        value_parser = Operations::parse, conflicts_with_all = ["json", "csv", "passes", "no_search"])]
    explain: Option<Operations>,

    /// Print JSON
    #[arg(long)]
    json: bool,

    /// Print CSV, one line per trace and engine
    #[arg(long, conflicts_with = "json")]
    csv: bool,

    /// Show the results that --json printed, without a replay
    #[arg(long, value_name = "FILE", conflicts_with_all = ["traces", "explain"])]
    from: Option<PathBuf>,
}

impl ReplayArgs {
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

/// The arguments that say what is done with each trace.
#[derive(Args)]
pub(super) struct PlanArgs {
    #[command(flatten)]
    pub(super) trace_args: TraceArgs,

    /// Where the engines run
    #[arg(long, value_enum, default_value = "device")]
    target: TargetKind,

    /// Which engines
    #[arg(long, value_parser = engine_choice(), default_value = "all")]
    engine: EngineChoice,

    /// Peers beside the engines: allocators of other projects, separated by commas
    ///
    /// Peers run in this process only (--target sim), each in a pool of its own, of the same size as the
    /// pools of the engines, and every answer is checked by the same rules.
    #[arg(long, value_name = "PEER", value_delimiter = ',', value_parser = peer_choice())]
    peer: Vec<PeerChoice>,

    /// Size in MiB of the pool in which answers are checked and operations timed
    #[arg(long, value_name = "MIB", default_value_t = 64)]
    #[arg(value_parser = pool_mib())]
    pool: u64,

    #[command(flatten)]
    faults: FaultArgs,

    /// Number of timed replays of each trace; with 0, no times are measured
    #[arg(long, default_value_t = 3)]
    #[arg(value_parser = whole::<u16>("the number of passes", 0..=1000))]
    passes: u16,

    /// Do not search for the smallest pool
    #[arg(long)]
    no_search: bool,
}

impl PlanArgs {
    /// Checks the arguments that clap cannot check.
    ///
    /// # Errors
    ///
    /// When peers are requested on the device.
    pub(super) fn check(&self) -> Result<(), clap::Error> {
        if !self.peer.is_empty() && self.target == TargetKind::Device {
            return Err(usage(
                "--peer needs --target sim: peers run in the process of the command, and not in the kernel",
            ));
        }
        Ok(())
    }

    /// Returns the engines and peers, and the parameters of their replays.
    pub(super) fn plan(&self) -> anyhow::Result<(Vec<Subject>, Plan)> {
        self.check()?;
        let engines = SessionFactory::shared(self.target).chosen(self.engine)?;
        self.faults.possible(false, &engines)?;
        let plan = Plan {
            target: self.target,
            pool_bytes: self.pool << 20,
            passes: self.passes.into(),
            faults: self.faults,
            // With fault injection, requests are refused in a pool of any size.
            search: !self.no_search && !self.faults.is_any(),
        };
        let mut subjects: Vec<_> = engines.into_iter().map(Subject::Engine).collect();
        subjects.extend(PeerChoice::chosen(&self.peer));
        Ok((subjects, plan))
    }

    /// Returns the command that replays a trace on an engine or a peer again.
    pub(super) fn repeat(&self, traces: &[String], trace: &str, subject: Subject) -> String {
        let stem = |name: &&String| Path::new(name).file_stem() == Some(trace.as_ref());
        let name = traces.iter().find(stem).map_or(trace, String::as_str);
        let PlanArgs {
            trace_args,
            target,
            engine: _,
            peer: _,
            pool,
            faults,
            passes,
            no_search,
        } = self;
        let chosen = match subject {
            Subject::Engine(engine) => format!("--engine {engine}"),
            Subject::Peer(_) => format!("--engine {} --peer {subject}", Pool::DEFAULT_ENGINE),
        };
        let mut command = format!(
            "slablab replay {} --target {} {chosen} --pool {pool} --passes {passes}",
            quoted(name),
            target.name(),
        );
        // The contents of a file do not depend on these options.
        if !Path::new(name).exists() {
            command += &format!(
                " --seed {} --percent {}",
                trace_args.seed, trace_args.percent
            );
        }
        if *no_search {
            command += " --no-search";
        }
        for option in faults.options() {
            command += &format!(" {option}");
        }
        command
    }
}

/// Quotes a word for a shell.
fn quoted(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/+,=:@".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Replays the traces, or reads the results of an earlier run.
pub(crate) fn run(args: ReplayArgs) -> anyhow::Result<ExitCode> {
    let document = match &args.from {
        Some(file) => Document::read(file)?,
        None => {
            args.plan.check()?;
            let traces = args.plan.trace_args.load(&args.traces)?;
            let _cpu = CpuPin::current().context("cannot pin the thread to one CPU")?;
            if let Some(operations) = args.explain {
                return explain(&args.plan, &traces, operations);
            }
            let (engines, plan) = args.plan.plan()?;
            let mut document = replayed(&engines, &plan, &traces, |_, _| Ok(()))?;
            document
                .say_how_to_repeat(|trace, engine| args.plan.repeat(&args.traces, trace, engine));
            document
        }
    };
    report::print(if args.json {
        serde_json::to_string_pretty(&document)? + "\n"
    } else if args.csv {
        render::csv(&document)?
    } else {
        render::text(&document)
    })?;
    Ok(if document.is_right() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Replays all traces on all engines and peers, and calls `more` with the results of each trace.
pub(super) fn replayed(
    engines: &[Subject],
    plan: &Plan,
    traces: &[Trace],
    more: impl Fn(&Trace, &mut [EngineResult]) -> anyhow::Result<()>,
) -> anyhow::Result<Document> {
    let mut document = Document::new(plan);
    let stage = Stage::new("replay", traces.len() * engines.len());
    for trace in traces {
        let mut result = TraceResult::new(trace);
        for engine in engines {
            let what = format!("{} on {engine}", trace.name);
            stage.doing(&what);
            if !io::stderr().is_terminal() {
                eprintln!("{what}");
            }
            result.engines.push(measure::subject(plan, *engine, trace)?);
            stage.step();
        }
        more(trace, &mut result.engines)?;
        document.traces.push(result);
    }
    Ok(document)
}

/// Explains some operations of each trace on each engine.
fn explain(args: &PlanArgs, traces: &[Trace], operations: Operations) -> anyhow::Result<ExitCode> {
    if !args.peer.is_empty() {
        return Err(usage(
            "--explain is for engines: a peer does not report how it served a request; remove --peer",
        )
        .into());
    }
    let (engines, plan) = args.plan()?;
    let mut text = String::new();
    let mut is_right = true;
    for trace in traces {
        for engine in &engines {
            let of = || explain::of(&*plan.open(*engine, plan.pool_bytes)?, trace, operations);
            let reply = match plan.target {
                TargetKind::Device => Ok(of()?),
                TargetKind::Sim => measure::isolated(of)?,
            };
            let stories = reply.unwrap_or_else(|death| {
                is_right = false;
                let operation = death.underway.operation;
                vec![format!(
                    "{BAD}WRONG{BAD:#} {} on {engine}, operation {operation}: {death}\n",
                    trace.name
                )]
            });
            for reply in stories {
                text += &reply;
                text.push('\n');
            }
        }
    }
    report::print(text.trim_end().to_owned() + "\n")?;
    Ok(if is_right {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
