// SPDX-License-Identifier: GPL-2.0

//! `slablab course grade`: the points of a learner's allocator.
//!
//! The learner's file is built into a program of its own, which prints its results (`slablab course measure`). The
//! program runs on this machine, or, for `make grade`, in a virtual machine that a runner boots: a command that gets
//! the program, the rubric and the seed as arguments, and prints the output of the program.

use std::{
    fs,
    hash::{
        BuildHasher as _,
        RandomState, //
    },
    io::{
        self,
        Write as _, //
    },
    path::{
        Path,
        PathBuf, //
    },
    process::ExitCode,
};

use anyhow::Context;
use clap::{
    Args,
    ValueEnum, //
};
use slablab_course::{
    Exercise,
    failure::FILE,
    grade::{
        Grade,
        Measurement,
        format, //
    },
    kit::{
        BuildOptions,
        Kit, //
    },
    limited_command::{
        Ended,
        Limits, //
    },
    rubric::Rubric,
    submission::Submission,
};
use slablab_report::files::{
    FileKind,
    Output, //
};

use crate::arguments::seed;

/// The limits of the program with the learner's allocator. Each of its tests has closer limits of its own. An emulated
/// machine with a runner of its own has the time of the runner.
const PROGRAM: Limits = Limits {
    seconds: 1200,
    cpu_seconds: None,
    memory_bytes: None,
    file_bytes: Some(64 << 20),
    output_bytes: 1 << 20,
};

/// The status with which a runner says that the program did not end in its time.
const RUNNER_TIMEOUT: i32 = 124;

/// The options of `slablab course grade`.
#[derive(Args)]
pub(super) struct GradeArgs {
    /// The number of the exercise [default: the one that was started last]
    pub(super) exercise: Option<usize>,
    /// The seed of the traces; the printed seed of a grade repeats the grade [default: a new one]
    #[arg(long, value_parser = seed())]
    seed: Option<u64>,
    /// Grade this file [default: rust/student/lib.rs]
    #[arg(long)]
    file: Option<PathBuf>,
    /// The form of the grade
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Write the grade to a file [default: the standard output]
    #[arg(long)]
    output: Option<PathBuf>,
    /// Also write the grade as a table to a file
    #[arg(long, value_name = "FILE", hide = true)]
    table: Option<PathBuf>,
    /// End the compiler after this processor time, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60, hide = true)]
    compiler_seconds: u64,
    /// Run the program through this command
    #[arg(long, value_name = "COMMAND", hide = true)]
    runner: Option<PathBuf>,
}

/// The form of a grade.
#[derive(Clone, Copy, Default, ValueEnum)]
enum Format {
    /// A table, for people
    #[default]
    Table,
    /// JSON with all fields
    Json,
    /// The file results.json of Gradescope
    Gradescope,
    /// JUnit XML
    Junit,
    /// KTAP, version 1
    Ktap,
}

/// The options of `slablab course measure`.
#[derive(Args)]
pub(super) struct MeasureArgs {
    /// The rubric
    #[arg(long)]
    rubric: PathBuf,
    /// The seed of the traces
    #[arg(long, value_parser = seed())]
    seed: u64,
}

/// Prints the results of the allocator of this program as JSON.
pub(super) fn measure(args: &MeasureArgs) -> anyhow::Result<ExitCode> {
    let path = &args.rubric;
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let rubric = Rubric::parse(&text).with_context(|| path.display().to_string())?;
    let measurement = Measurement::take(&rubric, args.seed)?;
    println!("{}", serde_json::to_string(&measurement)?);
    Ok(ExitCode::SUCCESS)
}

/// The reason for which there is no measurement.
enum Missing {
    /// The submission is refused, or did not end in its time: 0 points.
    Refused(String),
    /// The machine or the program failed, which need not be the submission's fault.
    Broken(String),
}

/// Grades a file, and prints the grade.
pub(super) fn grade(
    args: &GradeArgs,
    checkout: &Path,
    exercise: &Exercise,
) -> anyhow::Result<ExitCode> {
    let outputs = [
        (args.format, open(args.output.as_deref(), args.format)?),
        (Format::Table, open(args.table.as_deref(), Format::Table)?),
    ];
    let rubric = exercise.rubric()?;
    rubric
        .check()
        .with_context(|| format!("the rubric of exercise {}", exercise.number))?;
    let file = args.file.clone().unwrap_or_else(|| checkout.join(FILE));
    // A learner has mistyped the name. A teacher needs 0 points for a submission without the file.
    let needs_grade = args.runner.is_some() || matches!(args.format, Format::Gradescope);
    if !needs_grade && is_missing(&file) {
        match &args.file {
            Some(file) => anyhow::bail!("there is no file {}", file.display()),
            None => anyhow::bail!(
                "there is no file {FILE}: 'slablab course start {}' creates it",
                exercise.number
            ),
        }
    }
    let seed = args
        .seed
        .unwrap_or_else(|| RandomState::new().hash_one(()) >> 32);
    let (grade, broken) = match measured(args, &file, checkout, exercise, seed)? {
        Ok(measurement) => match Grade::of(exercise, &rubric, seed, &measurement) {
            Ok(grade) => (grade, None),
            Err(reason) => (
                Grade::refused(exercise, &rubric, seed, &reason),
                Some(reason),
            ),
        },
        Err(Missing::Refused(reason)) => (Grade::refused(exercise, &rubric, seed, &reason), None),
        Err(Missing::Broken(reason)) => (
            Grade::refused(exercise, &rubric, seed, &reason),
            Some(reason),
        ),
    };
    let is_printed = outputs.iter().all(|(_, output)| output.is_none());
    for (format, output) in outputs {
        if let Some(output) = output {
            output.write(slablab_report::plain(&text(&grade, format)?).as_bytes())?;
        }
    }
    if is_printed {
        match args.format {
            Format::Table => slablab_report::print(text(&grade, Format::Table)?)?,
            format => io::stdout().write_all(text(&grade, format)?.as_bytes())?,
        }
    }
    if let Some(file) = &args.file {
        if args.runner.is_none()
            && grade.texts().any(|text| text.contains(FILE))
            && !file.ends_with(FILE)
        {
            eprintln!("{} was graded: messages name it {FILE}", file.display());
        }
    }
    match broken {
        None => Ok(ExitCode::SUCCESS),
        Some(reason) => anyhow::bail!("there is no grade, because the program failed: {reason}"),
    }
}

/// Returns whether there is nothing with this name, not even a link.
fn is_missing(file: &Path) -> bool {
    fs::symlink_metadata(file).is_err_and(|error| {
        matches!(
            error.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
        )
    })
}

/// Returns a grade in a form.
fn text(grade: &Grade, form: Format) -> anyhow::Result<String> {
    match form {
        Format::Table => Ok(format::table(grade)),
        Format::Json => format::json(grade),
        Format::Gradescope => format::gradescope(grade),
        Format::Junit => format::junit(grade),
        Format::Ktap => Ok(format::ktap(grade)),
    }
}

/// Checks that a file can be written, before minutes are spent for its contents.
fn open(path: Option<&Path>, format: Format) -> anyhow::Result<Option<Output>> {
    let kind = match format {
        Format::Table => FileKind {
            name: "a table of points",
            is: |bytes| bytes.starts_with(b"exercise "),
        },
        Format::Json | Format::Gradescope => FileKind {
            name: "JSON",
            is: |bytes| bytes.starts_with(b"{"),
        },
        Format::Junit => FileKind {
            name: "XML",
            is: |bytes| bytes.starts_with(b"<?xml"),
        },
        Format::Ktap => FileKind {
            name: "KTAP",
            is: |bytes| bytes.starts_with(b"KTAP"),
        },
    };
    Ok(path.map(|path| Output::open(path, kind)).transpose()?)
}

/// Builds the program and runs it.
fn measured(
    args: &GradeArgs,
    file: &Path,
    checkout: &Path,
    exercise: &Exercise,
    seed: u64,
) -> anyhow::Result<Result<Measurement, Missing>> {
    let submission = match Submission::read(file)? {
        Ok(submission) => submission,
        Err(reason) => return Ok(Err(Missing::Refused(reason))),
    };
    let kit = Kit::prepare(checkout)?;
    let options = BuildOptions {
        is_static: args.runner.is_some(),
        cpu_seconds: args.compiler_seconds,
    };
    let folder = tempfile::tempdir().context("cannot create a folder for the program")?;
    let program = match kit.build(&submission, folder.path(), &options)? {
        Ok(program) => program,
        Err(reason) => return Ok(Err(Missing::Refused(reason))),
    };
    let rubric = folder.path().join("rubric.toml");
    fs::write(&rubric, exercise.file("rubric.toml")?).context("cannot write the rubric")?;
    let mut command;
    if let Some(runner) = &args.runner {
        command = PROGRAM.command(runner);
        command.arg(&program).arg(&rubric).arg(seed.to_string());
    } else {
        command = PROGRAM.command(&program);
        command
            .args(["course", "measure", "--seed", &seed.to_string(), "--rubric"])
            .arg(&rubric);
    }
    let run = PROGRAM
        .run(command)
        .context("cannot run the program that was built")?;
    let errors = String::from_utf8_lossy(&run.errors);
    Ok(match run.ended {
        Ended::Status(0) => serde_json::from_slice(&run.output)
            .map_err(|_| Missing::Broken("it printed no results".to_owned())),
        Ended::Status(RUNNER_TIMEOUT) if args.runner.is_some() => Err(Missing::Refused(format!(
            "the machine was ended at its limit: {}",
            errors.trim()
        ))),
        Ended::Limit(limit) => Err(Missing::Refused(format!(
            "the program was ended at its limit: {limit}"
        ))),
        Ended::Status(_) => Err(Missing::Broken(errors.trim().to_owned())),
        Ended::Signal(signal) => Err(Missing::Broken(format!(
            "it ended with signal {signal}\n{}",
            errors.trim()
        ))),
    })
}
