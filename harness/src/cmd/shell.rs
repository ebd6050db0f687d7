// SPDX-License-Identifier: GPL-2.0

//! `slablab shell`: one session, one command per line.
//!
//! On a terminal there is a prompt with editing, completion and history. From a pipe every line is a
//! command and is echoed with its number, so that the output reads as a transcript. The transcript of a
//! script is the same each time: it contains no times and no addresses.

mod command;
mod complete;
mod events;
mod place;
mod problem;
mod session;
#[cfg(test)]
mod tests;

use std::{
    io::{
        self,
        BufRead,
        IsTerminal, //
    },
    process::ExitCode,
};

use anyhow::Context;
use clap::Args;
use rustyline::{
    CompletionType,
    Config,
    Editor,
    error::ReadlineError,
    history::DefaultHistory, //
};

use self::{
    complete::Completion,
    session::ShellSession, //
};
use crate::{
    drawing::{
        Drawing,
        Origin, //
    },
    isolated_command,
    isolation::{
        self,
        Patience,
        Watched, //
    },
    report,
    session_factory::{
        SessionFactory,
        TargetArgs,
        TargetKind,
        engine_name, //
    },
    target::Target,
    uapi::Engine,
};

/// Allocate, free, read and write blocks interactively or from a script
///
/// `help` lists the commands. `let a = alloc 100` names a block, `$last` is the block that was
/// allocated last, and the Tab key completes commands and names. Sizes may end in k, m or g.
///
/// If standard input is not a terminal, the shell reads a script from it. The lines of the script are
/// echoed with their numbers, and `#` begins a comment. A command that fails prints one line with the
/// line number and the reason; the script continues, and the exit status is 1.
#[derive(Args)]
pub(crate) struct ShellArgs {
    #[command(flatten)]
    target: TargetArgs,

    /// Which engine
    #[arg(long, value_parser = engine_name(), default_value = "default")]
    engine: Engine,
}

/// Runs the subcommand.
pub(crate) fn run(args: ShellArgs) -> anyhow::Result<ExitCode> {
    let patience = Patience::Request(isolation::patience());
    isolated_command::run(args.target.target, patience, || execute(&args))
}

/// Executes the commands of a terminal or of a script.
fn execute(args: &ShellArgs) -> anyhow::Result<ExitCode> {
    let mut session_factory = SessionFactory::new(&args.target);
    let target = Watched(session_factory.open(args.engine)?);
    // If recording cannot start, the command `events` reports the error.
    let _ = target.record(events::RECORDED_EVENTS);
    let origin = Origin {
        is_new: !args.target.shared || args.target.target == TargetKind::Sim,
        debug: args.target.debug,
    };
    let drawing = Drawing::begin(&target, origin).context("INFO failed")?;
    let session = ShellSession::new(&target, drawing);
    if io::stdin().is_terminal() {
        prompt(session)?;
        return Ok(ExitCode::SUCCESS);
    }
    script(session, io::stdin().lock())
}

/// Executes the lines of a script, and prints the transcript.
fn script(mut session: ShellSession<'_>, lines: impl BufRead) -> anyhow::Result<ExitCode> {
    let mut status = ExitCode::SUCCESS;
    for (number, line) in (1..).zip(lines.lines()) {
        let line = line.with_context(|| format!("cannot read line {number} of the script"))?;
        if !line.trim().is_empty() {
            report::print(format_args!("{number}> {line}\n"))?;
        }
        match session.execute(&line) {
            Ok(Some(text)) => report::print(text)?,
            Ok(None) => break,
            Err(problem) => {
                report::print(format_args!("error: line {number}: {problem}\n"))?;
                status = ExitCode::FAILURE;
            }
        }
    }
    Ok(status)
}

/// Reads commands from a terminal.
fn prompt(mut session: ShellSession<'_>) -> anyhow::Result<()> {
    report::print(
        "The blocks of this session are freed when it ends. 'help' lists the commands; the Tab key completes \
         commands and names.\n",
    )?;
    let config = Config::builder().completion_type(CompletionType::List);
    let mut editor = Editor::<Completion, DefaultHistory>::with_config(config.build())?;
    loop {
        editor.set_helper(Some(Completion::new(session.live_names())));
        let line = match editor.readline("slablab> ") {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        editor.add_history_entry(&line)?;
        match session.execute(&line) {
            Ok(Some(text)) => report::print(text)?,
            Ok(None) => return Ok(()),
            Err(problem) => report::print(format_args!("error: {problem}\n"))?,
        }
    }
}
