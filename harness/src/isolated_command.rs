// SPDX-License-Identifier: GPL-2.0

//! Runs a command in a child process if its engines run in a process (target `sim`): a crash of an engine
//! ends the child only.

use std::{
    io,
    process::ExitCode, //
};

use serde::{
    Deserialize,
    Serialize, //
};

use crate::{
    isolation::{
        self,
        Patience,
        underway, //
    },
    session_factory::TargetKind, //
};

/// The result of a command in a child.
#[derive(Deserialize, Serialize)]
enum ChildResult {
    /// The command returned; the field says whether its exit status is 0.
    Status(bool),
    /// The reader of the output has closed it.
    OutputClosed,
    /// The command failed with this message.
    Failed(String),
}

/// Runs a command in a child process if `target` is `sim`. A child that ends without a result is an error,
/// which says why the child ended.
///
/// # Errors
///
/// The error of the command, or an error if no child can be created.
pub(crate) fn run(
    target: TargetKind,
    patience: Patience,
    work: impl FnOnce() -> anyhow::Result<ExitCode>,
) -> anyhow::Result<ExitCode> {
    if target == TargetKind::Device {
        return work();
    }
    // These commands may write to free memory on purpose (`inject`), so new blocks are not compared with the fill.
    let ended = isolation::run(patience, || match underway::without_fills(work) {
        Ok(code) => ChildResult::Status(code == ExitCode::SUCCESS),
        Err(error) => match error.downcast_ref::<io::Error>() {
            Some(error) if error.kind() == io::ErrorKind::BrokenPipe => ChildResult::OutputClosed,
            _ => ChildResult::Failed(crate::errno::sentence(&error)),
        },
    })?;
    // Writing to a closed output returns EPIPE, or ends the process with SIGPIPE.
    let output_closed = || Err(io::Error::from(io::ErrorKind::BrokenPipe).into());
    match ended {
        Ok(ChildResult::Status(true)) => Ok(ExitCode::SUCCESS),
        Ok(ChildResult::Status(false)) => Ok(ExitCode::FAILURE),
        Ok(ChildResult::OutputClosed) => output_closed(),
        Ok(ChildResult::Failed(error)) => Err(anyhow::Error::msg(error)),
        Err(death) if death.is_closed_output() => output_closed(),
        Err(death) => Err(anyhow::Error::msg(death.to_string())),
    }
}
