// SPDX-License-Identifier: GPL-2.0

//! Pins a thread to one CPU.
//!
//! The answers of an engine with per-CPU caches depend on the CPU of the caller. A run whose answers
//! must be reproducible is pinned to one CPU.

use std::io;

use rustix::{
    io::Errno,
    thread::{
        CpuSet,
        sched_getaffinity,
        sched_getcpu,
        sched_setaffinity, //
    },
};

/// Pins the thread to one CPU until the value is dropped.
#[must_use = "dropping this unpins the thread"]
pub struct CpuPin(CpuSet);

impl CpuPin {
    /// Pins the thread, and threads that it spawns, to the current CPU.
    pub fn current() -> io::Result<Self> {
        Self::to(sched_getcpu())
    }

    /// Moves the thread, and threads that it spawns, to a CPU and pins them there.
    pub fn to(cpu: usize) -> io::Result<Self> {
        let allowed = sched_getaffinity(None)?;
        let mut there = CpuSet::new();
        there.set(cpu);
        sched_setaffinity(None, &there)?;
        Ok(Self(allowed))
    }
}

/// Moves the thread to a CPU. The thread stays there.
///
/// # Errors
///
/// `EINVAL` if there is no such CPU, or the thread may not run there.
pub fn move_to(cpu: usize) -> Result<(), Errno> {
    if cpu >= CpuSet::MAX_CPU {
        return Err(Errno::INVAL);
    }
    let mut there = CpuSet::new();
    there.set(cpu);
    sched_setaffinity(None, &there)
}

impl Drop for CpuPin {
    fn drop(&mut self) {
        // The thread was allowed to run on these CPUs before, so the call does not fail.
        let _ = sched_setaffinity(None, &self.0);
    }
}
