// SPDX-License-Identifier: GPL-2.0

//! The machine, as an engine with per-CPU parts sees it.
//!
//! The kernel brings its CPUs and disables preemption; the host makes threads take turns at CPUs
//! that it pretends to have. What is tested on one is what runs on the other.

/// Keeps a CPU to what it is given, for as long as that runs, as [`Platform::pinned`] does.
pub type Pinning<'a> = &'a dyn Fn(&mut dyn FnMut());

/// CPUs, and what may be done on them.
///
/// # Safety
///
/// - While the closure of [`Platform::pinned`] runs for a CPU, or one that is given to the [`Pinning`]
///   of [`Platform::on`], no other one does for the same CPU.
/// - What one of them did is seen by the next.
pub unsafe trait Platform: Sync {
    /// Returns the number of CPUs that there can ever be.
    fn cpus(&self) -> usize;

    /// Runs `f` with the number of the CPU that it runs on, below [`Platform::cpus`], and keeps
    /// that CPU to it meanwhile.
    ///
    /// `f` must not sleep, take a lock, or pin again.
    fn pinned<R>(&self, f: impl FnOnce(usize) -> R) -> R;

    /// Has `work` done for a CPU, on it if it is there, and waits until it is done.
    ///
    /// `work` may take locks, and pins that CPU with what it is given. The caller may sleep, and
    /// has no lock.
    fn on(&self, cpu: usize, work: &mut (dyn FnMut(Pinning<'_>) + Send));
}

/// A machine whose CPUs keep nothing to themselves: an engine then does all under its lock.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shared;

// SAFETY: No closure runs for any CPU but the one that the caller is on: there is none that engines
// could keep anything for.
unsafe impl Platform for Shared {
    #[inline]
    fn cpus(&self) -> usize {
        0
    }

    #[inline]
    fn pinned<R>(&self, f: impl FnOnce(usize) -> R) -> R {
        f(usize::MAX)
    }

    fn on(&self, _cpu: usize, _work: &mut (dyn FnMut(Pinning<'_>) + Send)) {}
}
