// SPDX-License-Identifier: GPL-2.0

//! Results as KTAP, version 1 (Documentation/dev-tools/ktap.rst of Linux).

use std::io;

use super::outcome::{
    Config,
    StressOutcome, //
};
use crate::report;

/// A printer of KTAP: prints each outcome as soon as its workload has ended.
pub(super) struct Ktap;

impl Ktap {
    /// Prints the header.
    pub(super) fn begin(tests: usize) -> io::Result<Self> {
        report::print(format_args!("KTAP version 1\n1..{tests}\n"))?;
        Ok(Self)
    }

    /// Prints an outcome.
    pub(super) fn result(
        &self,
        number: usize,
        outcome: &StressOutcome,
        config: &Config,
    ) -> io::Result<()> {
        let name = format!("stress.{}.{}", outcome.engine, outcome.workload.name);
        report::print(match &outcome.result {
            Ok(_) => format!("ok {number} {name}\n"),
            Err(failure) => format!(
                "# {}\n# repeat: {}\nnot ok {number} {name}\n",
                failure.violation,
                outcome.repeat(failure, config)
            ),
        })
    }
}
