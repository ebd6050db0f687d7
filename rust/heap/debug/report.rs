// SPDX-License-Identifier: GPL-2.0

//! Reports of debug mode: the fault, the block and the owners.

use crate::{
    fault::Fault,
    region::Offset, //
};

/// An operation on the pool, and the process that called it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Owner {
    /// The number of the operation, counted from 1 since the pool began; 0 if it is unknown.
    pub operation: u64,
    /// The number of the process.
    pub pid: u32,
}

/// A detected fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// The number of the report, counted from 0 since the pool began.
    pub number: u64,
    /// The fault.
    pub fault: Fault,
    /// The offset of the block, or of the freed address if there is no block. `None` if the address is
    /// outside of the pool.
    pub offset: Option<Offset>,
    /// The requested size of the block, 0 if there is no block.
    pub size: usize,
    /// The size that the caller of a bad free or of a resize passed.
    pub named_size: usize,
    /// The first written byte, or the freed address, relative to the block.
    pub byte: isize,
    /// The number of changed bytes.
    pub damaged: usize,
    /// The last allocation of the block.
    pub allocated: Owner,
    /// The last free of the block, if the block is free.
    pub freed: Owner,
    /// The operation that detected the fault.
    pub noticed: Owner,
}

/// The maximum number of reports in the log.
pub const LOG_LEN: usize = 16;

/// The last reports in a ring, and the number of all reports of each fault.
#[derive(Debug)]
pub(super) struct ReportLog {
    /// Report *n* is at index *n* modulo [`LOG_LEN`].
    last: [Option<Report>; LOG_LEN],
    made: u64,
    pub(super) counts: [u64; Fault::COUNT],
}

impl ReportLog {
    /// Returns a log without reports.
    pub(super) const fn new() -> Self {
        Self {
            last: [None; LOG_LEN],
            made: 0,
            counts: [0; Fault::COUNT],
        }
    }

    /// Numbers a report, and stores it in place of the oldest report.
    pub(super) fn push(&mut self, mut report: Report) -> Report {
        report.number = self.made;
        self.last[(self.made % LOG_LEN as u64) as usize] = Some(report);
        self.made += 1;
        self.counts[report.fault as usize] += 1;
        report
    }

    /// Returns the oldest report in the log with this or a larger number.
    pub(super) fn from(&self, number: u64) -> Option<Report> {
        let oldest = self.made.saturating_sub(LOG_LEN as u64).max(number);
        if oldest >= self.made {
            return None;
        }
        self.last[(oldest % LOG_LEN as u64) as usize]
    }

    /// Returns the number of all reports since the pool began.
    pub(super) fn made(&self) -> u64 {
        self.made
    }

    /// Returns the reports in the log.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Report> {
        self.last.iter().flatten()
    }
}
