// SPDX-License-Identifier: GPL-2.0

//! What the machine's clock counts.

use serde::{
    Deserialize,
    Serialize, //
};

/// What a nanosecond of the machine's clock is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Clock {
    /// An instruction of all processors together.
    Instructions,
    /// A nanosecond.
    Nanoseconds,
}

impl Clock {
    /// Returns what it counts, as people and spreadsheets are told.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Instructions => "instructions",
            Self::Nanoseconds => "nanoseconds",
        }
    }

    /// Returns the clock of this machine, which its kernel's command line tells.
    pub(crate) fn of_this_machine() -> Self {
        let line = std::fs::read_to_string("/proc/cmdline").unwrap_or_default();
        if line
            .split_whitespace()
            .any(|word| word == "slablab.clock=instructions")
        {
            Self::Instructions
        } else {
            Self::Nanoseconds
        }
    }
}
