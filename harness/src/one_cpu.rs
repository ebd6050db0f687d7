// SPDX-License-Identifier: GPL-2.0

//! Staying on one CPU.
//!
//! An engine that keeps something for each CPU answers by where a program runs. What is to be the
//! same each time, and on every target, stays where it is.

use std::io;

use rustix::thread::{
    CpuSet,
    sched_getaffinity,
    sched_getcpu,
    sched_setaffinity, //
};

/// The thread stays on the CPU that it was on, while this lives.
#[must_use = "the thread may go elsewhere when this is dropped"]
pub(crate) struct OneCpu(CpuSet);

impl OneCpu {
    /// Keeps the thread, and those that it begins, where it is.
    pub(crate) fn stay() -> io::Result<Self> {
        Self::go(sched_getcpu())
    }

    /// Brings the thread, and those that it begins, to a CPU.
    pub(crate) fn go(cpu: usize) -> io::Result<Self> {
        let allowed = sched_getaffinity(None)?;
        let mut there = CpuSet::new();
        there.set(cpu);
        sched_setaffinity(None, &there)?;
        Ok(Self(allowed))
    }
}

impl Drop for OneCpu {
    fn drop(&mut self) {
        // All of these were allowed before, so there is nothing to fail.
        let _ = sched_setaffinity(None, &self.0);
    }
}
