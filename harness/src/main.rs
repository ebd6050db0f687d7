// SPDX-License-Identifier: GPL-2.0

//! The command `slablab`.
//!
//! Drives the allocators of slablab, in the kernel through `/dev/slablab` or in this process, and
//! checks every answer.

mod affinity;
mod arguments;
mod cli;
mod clock;
mod cmd;
mod device;
mod drawing;
mod errno;
mod event_recorder;
mod fault_injection;
mod ftrace_recorder;
mod isolation;
mod map;
mod oracle;
mod real_time;
mod replay;
mod selftest;
mod session_factory;
mod sim;
mod target;
mod trace_args;
mod uapi;
mod workload;

use std::{
    io,
    process::ExitCode, //
};

use slablab_report as report;
use slablab_trace::rng;

fn main() -> ExitCode {
    cli::Cli::of_arguments().run().unwrap_or_else(|error| {
        if let Some(usage) = error.downcast_ref::<clap::Error>() {
            usage.exit();
        }
        match error.downcast_ref::<io::Error>() {
            // The reader of the output has closed it: see `Cli::run`.
            Some(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            _ => {
                eprintln!("error: {}", sentence(&error));
                ExitCode::FAILURE
            }
        }
    })
}

/// Returns an error with its causes as text. An error number is written as its name.
fn sentence(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let number = match cause.downcast_ref::<io::Error>() {
            Some(error) => error.raw_os_error().map(device::Errno::from_raw_os_error),
            None => cause.downcast_ref::<device::Errno>().copied(),
        };
        text += &match number {
            Some(errno) if text.is_empty() && cause.is::<io::Error>() => {
                format!("input or output failed ({})", errno::Name(errno))
            }
            Some(errno) if text.is_empty() => errno::Name(errno).to_string(),
            Some(errno) => format!(" ({})", errno::Name(errno)),
            None if text.is_empty() => cause.to_string(),
            None => format!(": {cause}"),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn an_error_number_is_written_as_its_name() {
        let failed: Result<(), _> = Err(device::Errno::NOENT);
        let error = failed
            .context("INFO failed")
            .context("the device")
            .unwrap_err();
        assert_eq!(sentence(&error), "the device: INFO failed (ENOENT)");
        let error = anyhow::Error::from(device::Errno::PERM);
        assert_eq!(sentence(&error), "EPERM");
        let error = anyhow::Error::from(io::Error::from_raw_os_error(28));
        assert_eq!(sentence(&error), "input or output failed (ENOSPC)");
        let failed: Result<(), _> = Err(io::Error::from_raw_os_error(28));
        let error = failed.context("the file").unwrap_err();
        assert_eq!(sentence(&error), "the file (ENOSPC)");
        let error = anyhow::anyhow!("inner").context("outer");
        assert_eq!(sentence(&error), "outer: inner");
    }
}
