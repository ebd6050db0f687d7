// SPDX-License-Identifier: GPL-2.0

//! `slablab trace record`.

use std::{
    io,
    os::fd::AsFd,
    path::PathBuf,
    process::{
        Command,
        ExitCode,
        Stdio, //
    },
    thread,
    time::Duration,
};

use anyhow::{
    Context,
    bail, //
};
use clap::Args;

use super::{
    Destination,
    FileFormat, //
};
use crate::{
    arguments::whole,
    ftrace_recorder::Recorder,
    report::count, //
};

/// Record the allocations of this machine's kernel while a command runs
///
/// The kernel's kmalloc and kmem_cache calls are read from ftrace (events kmem:*) and written as a
/// trace for 'slablab replay'. The trace has no blocks that were allocated before the recording, and
/// no frees of such blocks. Blocks that are live when the command ends are not freed in the trace.
/// Needs root and CONFIG_FTRACE; 'make record' records in the lab's virtual machine.
#[derive(Args)]
pub(super) struct RecordArgs {
    /// The command to run; its output goes to standard error [default: wait for --seconds]
    #[arg(
        value_name = "COMMAND",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    command: Vec<String>,

    /// Seconds to record if there is no command
    #[arg(long, default_value_t = 5, conflicts_with = "command")]
    #[arg(value_parser = whole::<u16>("the time in seconds", 1..=65_535))]
    seconds: u16,

    /// Size in MiB of each CPU's buffer of events; a full buffer overwrites the oldest events
    #[arg(long, value_name = "MIB", default_value_t = 16)]
    #[arg(value_parser = whole::<u64>("the size of the buffer in MiB", 1..=1024))]
    buffer: u64,

    /// Name of the trace
    #[arg(long, default_value = "kernel")]
    name: String,

    /// The file to write, or a folder [default: standard output]
    ///
    /// An existing file is overwritten only if it is a trace.
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Records and writes the trace.
pub(super) fn run(args: &RecordArgs) -> anyhow::Result<ExitCode> {
    let names = [args.name.clone()];
    let mut destination = Destination::open(&names, FileFormat::Text, args.out.as_deref())?;
    let recorder = Recorder::new(args.buffer << 10)?;
    let (acted, recorded) = recorder.record(&args.name, || act(args))?;
    // Remove the tracing instance before anything is printed: if the output is closed, SIGPIPE ends the
    // command immediately, and the instance would stay.
    drop(recorder);
    if let Some(failed) = acted? {
        eprintln!("{failed}");
    }
    let what = match args.command.is_empty() {
        true => format!("{} s of a kernel's kmem events", args.seconds),
        false => format!("a kernel's kmem events during: {}", args.command.join(" ")),
    };
    let trace = recorded.trace.with_source(&what);
    if trace.ops().is_empty() {
        bail!("the kernel allocated nothing during the recording");
    }
    let counted = |number: u64, what: &str| match number {
        0 => String::new(),
        number => format!("; {} {what}", count(number)),
    };
    eprintln!(
        "{} operations on {} blocks{}{}{}",
        count(trace.ops().len() as u64),
        count(trace.blocks() as u64),
        counted(
            recorded.foreign_frees,
            "frees left out, because their blocks are older than the recording"
        ),
        counted(recorded.missed_frees, "frees not recorded"),
        counted(recorded.lost_events, "events lost: use a larger --buffer")
    );
    destination.write(0, &trace)?;
    Ok(ExitCode::SUCCESS)
}

/// Runs the command, or waits. Returns a message if the command failed.
fn act(args: &RecordArgs) -> anyhow::Result<Option<String>> {
    let Some((program, arguments)) = args.command.split_first() else {
        thread::sleep(Duration::from_secs(args.seconds.into()));
        return Ok(None);
    };
    let errors = io::stderr().as_fd().try_clone_to_owned()?;
    let status = Command::new(program)
        .args(arguments)
        .stdout(Stdio::from(errors))
        .status()
        .with_context(|| program.clone())?;
    Ok((!status.success()).then(|| format!("{program}: {status}")))
}
