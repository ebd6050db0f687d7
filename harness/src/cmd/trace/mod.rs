// SPDX-License-Identifier: GPL-2.0

//! `slablab trace`: generates, records, describes and converts traces.

mod destination;
mod info;
mod record;

use std::{
    path::PathBuf,
    process::ExitCode, //
};

use clap::{
    Args,
    Subcommand,
    ValueEnum,
    builder::{
        PossibleValue,
        PossibleValuesParser, //
    }, //
};
use slablab_trace::{
    Trace,
    format::{
        rep,
        text, //
    },
    pattern,
    shape::Shape,
};

pub(super) use self::destination::Destination;
use crate::{
    report,
    trace_args::{
        GROUPS,
        HELP,
        LONG_HELP,
        TraceArgs,
        patterns_named, //
    },
};

/// Make, record, describe and convert traces of allocations
///
/// A trace is a list of operations, which `slablab replay` executes on an engine. A trace file has one
/// line per operation:
///
///   a 1 100          allocate 100 bytes; 1 is the number of the block in later lines
///   a 2 4096 4096    allocate 4096 bytes at a multiple of 4096
///   r 1 300          resize block 1 to 300 bytes; the first 100 bytes keep their values
///   f 1              free block 1; a later line may use the number 1 for a new block
///   f 2 @1           free block 2 on CPU 1
///   # ...            a comment
///
/// The file may begin with the lines 'slablab-trace 1', 'name ...' and 'source ...'. The command also
/// reads the .rep files of the malloc exercise and the text of the kernel's kmem events.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct TraceCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    Make(MakeArgs),
    Info(TraceInfoArgs),
    Convert(ConvertArgs),
    Record(record::RecordArgs),
}

/// Generate traces of typical allocation patterns
///
/// The same seed gives the same trace on every machine. Commands that take a trace also take
/// the name of a pattern: 'slablab trace info larson' needs no file. The traces of the museum depend on no
/// seed.
#[derive(Args)]
struct MakeArgs {
    /// Patterns to generate
    #[arg(value_name = "PATTERN", required = true, value_parser = patterns())]
    patterns: Vec<String>,

    #[command(flatten)]
    trace_args: TraceArgs,

    /// The file to write, or for several patterns the folder [default: standard output]
    ///
    /// An existing file is overwritten only if it is a trace of the same format.
    #[arg(short, long, value_name = "PATH")]
    out: Option<PathBuf>,
}

/// Describe traces: live bytes over time, sizes and lifetimes of blocks
#[derive(Args)]
struct TraceInfoArgs {
    #[arg(value_name = "TRACE", help = HELP, long_help = LONG_HELP)]
    traces: Vec<String>,

    #[command(flatten)]
    trace_args: TraceArgs,

    /// Print a JSON list with one entry per trace
    #[arg(long)]
    json: bool,
}

/// Write a trace in another format
#[derive(Args)]
struct ConvertArgs {
    #[arg(value_name = "TRACE", help = HELP, long_help = LONG_HELP)]
    traces: Vec<String>,

    #[command(flatten)]
    trace_args: TraceArgs,

    /// The format
    #[arg(long, value_enum, default_value = "text")]
    to: FileFormat,

    /// The file to write, or for several traces the folder [default: standard output]
    ///
    /// An existing file is overwritten only if it is a trace of the same format.
    #[arg(short, long, value_name = "PATH")]
    out: Option<PathBuf>,
}

/// A format that can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum FileFormat {
    /// The trace format of slablab
    Text,
    /// The format of the malloc exercise; alignments and CPUs are lost
    Rep,
}

impl FileFormat {
    fn write(self, trace: &Trace) -> String {
        match self {
            Self::Text => text::write(trace),
            Self::Rep => rep::write(trace),
        }
    }

    fn extension(self) -> &'static str {
        match self {
            Self::Text => "trace",
            Self::Rep => "rep",
        }
    }
}

fn patterns() -> PossibleValuesParser {
    pattern::all()
        .map(|pattern| PossibleValue::new(pattern.name).help(pattern.about))
        .chain(GROUPS.map(|(name, about)| PossibleValue::new(name).help(about)))
        .into()
}

/// Runs the subcommand.
pub(crate) fn run(command: TraceCommand) -> anyhow::Result<ExitCode> {
    match command.action {
        Action::Make(args) => {
            let named: Vec<_> = (args.patterns.iter())
                .flat_map(|name| patterns_named(name))
                .map(|pattern| pattern.name)
                .collect();
            let chosen: Vec<_> = pattern::all()
                .filter(|pattern| named.contains(&pattern.name))
                .collect();
            let names: Vec<_> = chosen
                .iter()
                .map(|pattern| pattern.name.to_owned())
                .collect();
            let out = args.out.as_deref();
            let mut destination = Destination::open(&names, FileFormat::Text, out)?;
            for (index, pattern) in chosen.iter().enumerate() {
                let trace = pattern.make(args.trace_args.seed, args.trace_args.percent);
                destination.write(index, &trace)?;
            }
        }
        Action::Convert(args) => {
            let traces = args.trace_args.load(&args.traces)?;
            let names: Vec<_> = traces.iter().map(|trace| trace.name.clone()).collect();
            let mut destination = Destination::open(&names, args.to, args.out.as_deref())?;
            for (index, trace) in traces.iter().enumerate() {
                destination.write(index, trace)?;
            }
        }
        Action::Info(args) => describe(&args)?,
        Action::Record(args) => return record::run(&args),
    }
    Ok(ExitCode::SUCCESS)
}

/// Describes traces.
fn describe(args: &TraceInfoArgs) -> anyhow::Result<()> {
    let traces = args.trace_args.load(&args.traces)?;
    let described = traces.iter().map(|trace| (trace, Shape::of(trace)));
    if args.json {
        let documents: Vec<_> = described
            .map(|(trace, shape)| info::TraceDocument::new(trace, shape))
            .collect();
        report::print(serde_json::to_string_pretty(&documents)? + "\n")?;
        return Ok(());
    }
    for (index, (trace, shape)) in described.enumerate() {
        let gap = if index > 0 { "\n" } else { "" };
        report::print(format!("{gap}{}", info::text(trace, &shape)))?;
    }
    Ok(())
}
