// SPDX-License-Identifier: GPL-2.0

//! `slablab trace`: traces are made, recorded, described and converted.

mod info;
mod record;

use std::{
    fs,
    io::Write,
    path::{
        Path,
        PathBuf, //
    },
    process::ExitCode,
};

use anyhow::{
    Context,
    bail, //
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

use crate::{
    report,
    traces::{
        HELP,
        LONG_HELP,
        MakingArgs, //
    },
};

/// Make, record, describe and convert traces of allocations
///
/// A trace is a list of operations that any allocator can be asked for: `slablab replay` does. As a
/// file it has a line for each:
///
///   a 1 100          allocate 100 bytes; 1 is what the block is called from here on
///   a 2 4096 4096    allocate 4096 bytes at a multiple of 4096
///   r 1 300          give block 1 300 bytes, of which the first 100 stay as they are
///   f 1              free block 1; its number may then be given to another
///   f 2 @1           the same for block 2, on CPU 1
///   # ...            a comment
///
/// In front may stand 'slablab-trace 1', 'name ...' and 'source ...', a line each. The .rep files of
/// the malloc exercise are read too, as is the text of the kernel's kmem events.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct TraceCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    Make(MakeArgs),
    Info(InfoArgs),
    Convert(ConvertArgs),
    Record(record::RecordArgs),
}

/// Make traces of patterns that programs are known for
///
/// The same seed gives the same trace, everywhere and always. Commands that take a trace also take
/// the name of a pattern: 'slablab trace info larson' needs no file.
#[derive(Args)]
struct MakeArgs {
    /// What to make
    #[arg(value_name = "PATTERN", required = true, value_parser = patterns())]
    patterns: Vec<String>,

    #[command(flatten)]
    making: MakingArgs,

    /// The file to write, or for several patterns the folder [default: standard output]
    #[arg(short, long, value_name = "PATH")]
    out: Option<PathBuf>,
}

/// Describe traces: how much is out when, which sizes, how long blocks live
#[derive(Args)]
struct InfoArgs {
    #[arg(value_name = "TRACE", required = true, help = HELP, long_help = LONG_HELP)]
    traces: Vec<String>,

    #[command(flatten)]
    making: MakingArgs,

    /// Print JSON: a list
    #[arg(long)]
    json: bool,
}

/// Write a trace as another format
#[derive(Args)]
struct ConvertArgs {
    #[arg(value_name = "TRACE", required = true, help = HELP, long_help = LONG_HELP)]
    traces: Vec<String>,

    #[command(flatten)]
    making: MakingArgs,

    /// The format
    #[arg(long, value_enum, default_value = "text")]
    to: FileFormat,

    /// The file to write, or for several traces the folder [default: standard output]
    #[arg(short, long, value_name = "PATH")]
    out: Option<PathBuf>,
}

/// A format that can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum FileFormat {
    /// slablab's own
    Text,
    /// The malloc exercise's; alignments and CPUs are lost
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
        .chain([PossibleValue::new("all").help("every one of them")])
        .into()
}

/// Does what is asked for.
pub(crate) fn run(command: TraceCommand) -> anyhow::Result<ExitCode> {
    match command.action {
        Action::Make(args) => {
            let all = args.patterns.iter().any(|name| name == "all");
            let traces: Vec<_> = pattern::all()
                .filter(|pattern| all || args.patterns.iter().any(|name| name == pattern.name))
                .map(|pattern| pattern.make(args.making.seed, args.making.percent))
                .collect();
            write(&traces, FileFormat::Text, args.out.as_deref())?;
        }
        Action::Convert(args) => write(
            &args.making.load(&args.traces)?,
            args.to,
            args.out.as_deref(),
        )?,
        Action::Info(args) => describe(&args)?,
        Action::Record(args) => return record::run(&args),
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes traces to a file, to a folder, or to standard output.
pub(super) fn write(
    traces: &[Trace],
    format: FileFormat,
    out: Option<&Path>,
) -> anyhow::Result<()> {
    let file = |path: &Path, trace: &Trace| {
        fs::write(path, format.write(trace)).with_context(|| path.display().to_string())
    };
    match (traces, out) {
        ([trace], None) => {
            let mut stdout = std::io::stdout().lock();
            stdout.write_all(format.write(trace).as_bytes())?;
            stdout.flush()?;
        }
        ([trace], Some(path)) if !path.is_dir() => file(path, trace)?,
        (_, None) => bail!("several traces need a folder to be written to: --out FOLDER"),
        (_, Some(folder)) => {
            let names = file_names(traces, format)?;
            fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
            for (name, trace) in names.iter().zip(traces) {
                file(&folder.join(name), trace)?;
            }
        }
    }
    Ok(())
}

/// Names the files of several traces after these, which came with names of their own.
fn file_names(traces: &[Trace], format: FileFormat) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for trace in traces {
        // A name may be a path.
        let name = trace.name.replace('/', "-");
        let name = format!("{name}.{}", format.extension());
        if names.contains(&name) {
            bail!("two traces would both be {name}: write them one by one");
        }
        names.push(name);
    }
    Ok(names)
}

/// Describes traces.
fn describe(args: &InfoArgs) -> anyhow::Result<()> {
    let traces = args.making.load(&args.traces)?;
    let described = traces.iter().map(|trace| (trace, Shape::of(trace)));
    if args.json {
        let documents: Vec<_> = described
            .map(|(trace, shape)| info::Document::new(trace, shape))
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

#[cfg(test)]
mod tests {
    use super::*;
    use slablab_trace::Builder;

    #[test]
    fn every_trace_has_a_file_of_its_own_in_the_folder() {
        let trace = |name: &str| Builder::new().finish(name, "");
        let names = |all: &[&str]| {
            let traces: Vec<_> = all.iter().map(|name| trace(name)).collect();
            file_names(&traces, FileFormat::Text)
        };
        assert_eq!(
            names(&["v1.2", "v1.3", "..", "/etc/x", ""]).unwrap(),
            [
                "v1.2.trace",
                "v1.3.trace",
                "...trace",
                "-etc-x.trace",
                ".trace"
            ]
        );
        let twice = names(&["a", "b", "a"]).unwrap_err().to_string();
        assert!(twice.contains("a.trace"), "{twice}");
        assert!(names(&["a/b", "a-b"]).is_err());
    }
}
