// SPDX-License-Identifier: GPL-2.0

//! The unit of the machine's clock: nanoseconds, or instructions in a counting QEMU.

use serde::{
    Deserialize,
    Serialize, //
};

/// The unit of the machine's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Clock {
    /// An instruction of any processor.
    Instructions,
    /// A nanosecond.
    Nanoseconds,
}

impl Clock {
    /// Returns the name of the unit in tables and CSV.
    pub fn name(self) -> &'static str {
        match self {
            Self::Instructions => "instructions",
            Self::Nanoseconds => "nanoseconds",
        }
    }

    /// Returns the clock of this machine, according to the kernel's command line.
    pub fn of_this_machine() -> Self {
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
