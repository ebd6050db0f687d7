// SPDX-License-Identifier: GPL-2.0

//! The options of `slablab course check --kernel`, and the hidden `slablab course run`, which the virtual machine
//! executes.

use std::{
    process::ExitCode,
    time::Duration, //
};

use clap::Args;
use slablab_course::kernel;

/// The options of `check` for the virtual machine.
#[derive(Args)]
pub(super) struct CheckArgs {
    /// Run the tests in the kernel of a virtual machine, too
    #[arg(long)]
    kernel: bool,
    /// Use the debug kernel, whose checkers detect wrong accesses and wrong locking
    #[arg(long, requires = "kernel")]
    debug_kernel: bool,
    /// Build a missing kernel without asking
    #[arg(long, requires = "kernel")]
    yes: bool,
}

impl CheckArgs {
    /// Returns the options, if the tests shall run in the kernel.
    pub(super) fn options(&self) -> Option<kernel::Options> {
        self.kernel.then_some(kernel::Options {
            is_debug: self.debug_kernel,
            agrees: self.yes,
        })
    }
}

/// The arguments of `run`.
#[derive(Args)]
pub(super) struct RunArgs {
    /// Use the module
    #[arg(long)]
    device: bool,
    /// The seconds after which a request counts as endless
    #[arg(long)]
    patience: u64,
    /// The sentences of the tests
    sentences: Vec<String>,
}

impl RunArgs {
    /// Runs the tests.
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let place = match self.device {
            true => kernel::Place::Kernel,
            false => kernel::Place::Process,
        };
        let patience = Duration::from_secs(self.patience);
        Ok(match kernel::run(place, &self.sentences, patience)? {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        })
    }
}
