// SPDX-License-Identifier: GPL-2.0

//! `slablab stress`: workloads, with every answer checked.

mod job;
mod ktap;
mod outcome;
mod summary;

use std::{
    io::{
        self,
        IsTerminal, //
    },
    path::{
        Path,
        PathBuf, //
    },
    process::ExitCode,
    time::{
        Duration,
        Instant, //
    },
};

use anyhow::Context;
use clap::{
    Args,
    builder::{
        PossibleValue,
        PossibleValuesParser, //
    }, //
};
use serde::{
    Deserialize,
    Serialize, //
};
use slablab_trace::format::text;

use self::{
    job::StressJob,
    ktap::Ktap,
    outcome::{
        Config,
        Failed,
        StressOutcome,
        StressReport, //
    },
};
use super::trace::{
    Destination,
    FileFormat, //
};
use crate::{
    arguments::{
        seconds,
        seed,
        whole, //
    },
    event_recorder::Recording,
    fault_injection::FaultArgs,
    isolation::{
        self,
        Patience,
        Watched, //
    },
    report::{
        self,
        count, //
    },
    session_factory::{
        EngineChoice,
        SessionFactory,
        TargetArgs,
        TargetKind,
        engine_choice, //
    },
    target::Target,
    uapi::Engine,
    workload::{
        Limit,
        WORKLOADS,
        Workload, //
    },
};

/// The default time of a workload.
const SECONDS: f64 = 2.0;

/// Run workloads and check every answer against a model
///
/// Each workload has its own session and pool. The checks are: every block lies in the pool, is
/// aligned and overlaps no other block; new bytes are zero; old bytes have the value that was written;
/// when the workload ends, no block is live.
///
/// With --ops, the figures under "Final statistics" (for the workload `threads`: only the sums) depend
/// only on the engine, --seed, --ops, --threads, --pool, --debug and --fail-*. Two runs with the same
/// values report the same figures on every target and machine. With --fail-*, the workload `threads` has
/// no final statistics, because the order of its threads decides which requests are refused.
#[derive(Args)]
pub(crate) struct StressArgs {
    /// Workloads to run [default: all]
    #[arg(value_name = "WORKLOAD", value_parser = workload_names())]
    workloads: Vec<String>,

    #[command(flatten)]
    target: TargetArgs,

    /// Which engines
    #[arg(long, value_parser = engine_choice(), default_value = "default")]
    engine: EngineChoice,

    /// Seed of the random number generator
    #[arg(long, default_value_t = 1, value_parser = seed())]
    seed: u64,

    /// Seconds for each workload [default: 2]
    #[arg(long, conflicts_with = "ops", value_parser = seconds)]
    seconds: Option<f64>,

    /// Operations for each workload, instead of seconds
    #[arg(long, value_parser = whole::<u64>("the number of operations", 1..=u64::MAX))]
    ops: Option<u64>,

    /// Number of threads of the workload `threads`
    #[arg(long, default_value_t = 4)]
    #[arg(value_parser = whole::<u16>("the number of threads", 1..=256))]
    threads: u16,

    #[command(flatten)]
    faults: FaultArgs,

    /// Record the operations of each workload as a trace for `slablab replay`
    ///
    /// For one workload on one engine, PATH is the file or an existing folder. For several, PATH is a
    /// folder, which is created, and each trace is the file ENGINE-WORKLOAD.trace in it. The names are
    /// printed before the first workload starts. An existing file is overwritten only if it is a trace.
    #[arg(long, value_name = "PATH")]
    record: Option<PathBuf>,

    /// Print JSON
    #[arg(long, conflicts_with = "ktap")]
    json: bool,

    /// Print KTAP, one test per engine and workload
    #[arg(long)]
    ktap: bool,
}

fn workload_names() -> PossibleValuesParser {
    WORKLOADS
        .iter()
        .map(|workload| PossibleValue::new(workload.name).help(workload.about))
        .into()
}

impl StressArgs {
    fn limit(&self) -> Limit {
        match self.ops {
            Some(operations) => Limit::Operations(operations),
            None => Limit::Time(Duration::from_secs_f64(self.seconds.unwrap_or(SECONDS))),
        }
    }

    fn workloads(&self) -> Vec<&'static Workload> {
        if self.workloads.is_empty() {
            WORKLOADS.iter().collect()
        } else {
            self.workloads
                .iter()
                .filter_map(|name| Workload::named(name))
                .collect()
        }
    }

    fn config(&self) -> Config {
        Config {
            target: self.target.target,
            seed: self.seed,
            limit: self.limit(),
            threads: self.threads,
            pool_mib: (!self.target.shared).then_some(self.target.pool),
            debug: self.target.debug,
            faults: self.faults,
        }
    }
}

/// Runs the workloads.
pub(crate) fn run(args: StressArgs) -> anyhow::Result<ExitCode> {
    let mut session_factory = SessionFactory::new(&args.target);
    let engines = session_factory.chosen(args.engine)?;
    args.faults.possible(args.target.shared, &engines)?;
    let workloads = args.workloads();
    let config = args.config();
    let mut recorded = match &args.record {
        Some(path) => Some(destination(
            &mut session_factory,
            &engines,
            &workloads,
            path,
        )?),
        None => None,
    };
    let ktap = args
        .ktap
        .then(|| Ktap::begin(engines.len() * workloads.len()))
        .transpose()?;

    let mut report = StressReport::new(config);
    'runs: for engine in engines {
        for workload in &workloads {
            let IsolatedOutcome {
                outcome,
                trail,
                is_stuck,
            } = isolated(
                &args,
                &mut session_factory,
                engine,
                workload,
                &report.config,
            )?;
            let index = report.outcomes.len();
            match (&mut recorded, trail) {
                (Some(destination), Some(trail)) => keep(destination, index, &outcome, &trail)?,
                (Some(_), None) => eprintln!(
                    "{}: no trace was written, because the process of the workload ended before it sent the \
                     recorded operations",
                    trace_name(engine, workload)
                ),
                (None, _) => {}
            }
            if let Some(ktap) = &ktap {
                ktap.result(report.outcomes.len() + 1, &outcome, &report.config)?;
            }
            report.outcomes.push(outcome);
            if is_stuck {
                eprintln!(
                    "the kernel does not return from a request: the remaining workloads are skipped"
                );
                break 'runs;
            }
        }
    }

    if args.json {
        report::print(serde_json::to_string_pretty(&report.document())? + "\n")?;
    } else if ktap.is_none() {
        report::print(summary::text(&report))?;
        if args.engine == EngineChoice::All && args.target.target == TargetKind::Sim {
            report::print("slub was left out: it runs in the kernel only.\n")?;
        }
    }
    Ok(if report.has_passed() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Opens the files of the recorded traces, and prints their paths.
fn destination(
    session_factory: &mut SessionFactory,
    engines: &[Engine],
    workloads: &[&Workload],
    path: &Path,
) -> anyhow::Result<Destination> {
    let mut names = Vec::new();
    for engine in engines {
        // INFO of a session reports which engine is the default.
        let bound = match engine {
            Engine::Default => {
                let info = session_factory
                    .open(*engine)?
                    .info()
                    .context("INFO failed")?;
                Engine::from_raw(info.engine).unwrap_or(*engine)
            }
            engine => *engine,
        };
        let named = workloads.iter().map(|of| trace_name(bound, of));
        names.extend(named);
    }
    let destination = Destination::open(&names, FileFormat::Text, Some(path))?;
    let paths: Vec<_> = destination
        .paths()
        .map(|path| path.display().to_string())
        .collect();
    eprintln!("recording to {}", paths.join(", "));
    Ok(destination)
}

/// Returns the name of the trace of a workload on an engine.
fn trace_name(engine: Engine, workload: &Workload) -> String {
    format!("{engine}-{}", workload.name)
}

/// The recording of a workload, in the form in which the child process sends it to its parent.
#[derive(Serialize, Deserialize)]
struct Trail {
    /// The trace as text.
    text: String,
    lost: u64,
    left_out: u64,
}

/// The outcome of a workload that ran in a child process.
struct IsolatedOutcome {
    outcome: StressOutcome,
    trail: Option<Trail>,
    /// Whether the kernel does not return from a request of the child.
    is_stuck: bool,
}

/// Runs a workload in a child process, so that a crash or a hang of the engine is an outcome, too.
fn isolated(
    args: &StressArgs,
    session_factory: &mut SessionFactory,
    engine: Engine,
    workload: &'static Workload,
    config: &Config,
) -> anyhow::Result<IsolatedOutcome> {
    let begun = Instant::now();
    let patience = match args.target.target {
        TargetKind::Sim => isolation::patience(),
        TargetKind::Device => isolation::DEVICE_PATIENCE,
    };
    let ended = isolation::run(Patience::Limited(patience), || {
        run_one(args, session_factory, engine, workload, config)
            .map_err(|error| crate::errno::sentence(&error))
    })?;
    let death = match ended {
        Ok(result) => {
            let (outcome, trail) = result.map_err(anyhow::Error::msg)?;
            return Ok(IsolatedOutcome {
                outcome,
                trail,
                is_stuck: false,
            });
        }
        Err(death) => death,
    };
    let outcome = StressOutcome {
        engine: session_factory.engine_of(engine),
        workload,
        operations: death.operations,
        elapsed: begun.elapsed(),
        result: Err(Failed::from(&death)),
    };
    if !io::stderr().is_terminal() {
        eprintln!("{} {}: {}", outcome.engine, workload.name, outcome.line());
    }
    Ok(IsolatedOutcome {
        outcome,
        trail: None,
        is_stuck: death.is_stuck,
    })
}

/// Runs a workload, and records its operations if `--record` is given.
fn run_one(
    args: &StressArgs,
    session_factory: &mut SessionFactory,
    engine: Engine,
    workload: &'static Workload,
    config: &Config,
) -> anyhow::Result<(StressOutcome, Option<Trail>)> {
    let target = Watched(session_factory.open(engine)?);
    args.faults.order(&target, engine)?;
    let run = |target: &dyn Target| {
        let job = StressJob::new(engine, workload, target, config)?;
        anyhow::Ok(job.run())
    };
    if args.record.is_none() {
        return Ok((run(&target)?, None));
    }
    let recording = Recording::begin(&target).context("cannot record the operations")?;
    let outcome = run(&recording)?;
    let recorded = recording
        .end(&outcome.name(), "")
        .context("cannot read the recorded operations")?;
    let trail = Trail {
        text: text::write(&recorded.trace),
        lost: recorded.lost,
        left_out: recorded.left_out,
    };
    Ok((outcome, Some(trail)))
}

/// Writes the recorded operations of a workload as a trace.
fn keep(
    destination: &mut Destination,
    index: usize,
    outcome: &StressOutcome,
    trail: &Trail,
) -> anyhow::Result<()> {
    let name = trace_name(outcome.engine, outcome.workload);
    let trace = text::parse(&name, trail.text.as_bytes())?;
    let trace = trace.with_source(&format!("slablab stress {}", outcome.workload.name));
    destination.write(index, &trace)?;
    if trail.lost > 0 {
        eprintln!(
            "{name}: {} operations were not recorded, because the event buffer was full; {} later \
             operations on their blocks were left out",
            count(trail.lost),
            count(trail.left_out),
        );
    }
    Ok(())
}
