// SPDX-License-Identifier: GPL-2.0

//! The machine, as an engine with per-CPU parts sees it.
//!
//! The kernel brings its CPUs and disables preemption; the host makes threads take turns at CPUs
//! that it pretends to have. What is tested on one is what runs on the other.

/// Keeps a CPU to what it is given, for as long as that runs, as [`Platform::pinned`] does.
pub type Pinning<'a, T> = &'a dyn Fn(&mut dyn FnMut(&T));

/// CPUs, each of which has a `T` to itself.
///
/// # Safety
///
/// - While a closure that is given a CPU's `T` runs, by [`Platform::pinned`] or by the [`Pinning`]
///   of [`Platform::on`], no other one does for the same CPU.
/// - What one of them did is seen by the next.
/// - What a CPU has is always the same `T`.
pub unsafe trait Platform<T>: Sync {
    /// Returns the number of CPUs that there can ever be.
    fn cpus(&self) -> usize;

    /// Returns what a CPU has, if there is that CPU. Others may be changing it.
    fn of(&self, cpu: usize) -> Option<&T>;

    /// Returns what all CPUs have, in the order of their numbers.
    fn all<'a>(&'a self) -> impl Iterator<Item = &'a T>
    where
        T: 'a,
    {
        (0..self.cpus()).filter_map(|cpu| self.of(cpu))
    }

    /// Runs `f` on what the CPU has that it runs on, and keeps that CPU to it meanwhile.
    ///
    /// Returns `None` and does nothing where CPUs have nothing to themselves. `f` must not sleep,
    /// take a lock, or pin again.
    fn pinned<R>(&self, f: impl FnOnce(&T) -> R) -> Option<R>;

    /// As [`Platform::pinned`], but where that would have to wait, this may return `None` as well.
    ///
    /// For those who have another way, and take that by a jump: a call in the middle of the fast path
    /// would have it save registers, however seldom it is made.
    #[inline(always)]
    fn try_pinned<R>(&self, f: impl FnOnce(&T) -> R) -> Option<R> {
        self.pinned(f)
    }

    /// Has `work` done for a CPU, on it if it is there, and waits until it is done.
    ///
    /// `work` may take locks, and pins that CPU with what it is given. The caller may sleep, and
    /// has no lock.
    fn on(&self, cpu: usize, work: &mut (dyn FnMut(Pinning<'_, T>) + Send));
}

/// A machine whose CPUs have nothing to themselves: an engine then does all under its lock.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shared;

// SAFETY: No closure ever runs.
unsafe impl<T> Platform<T> for Shared {
    fn cpus(&self) -> usize {
        0
    }

    fn of(&self, _cpu: usize) -> Option<&T> {
        None
    }

    #[inline]
    fn pinned<R>(&self, _f: impl FnOnce(&T) -> R) -> Option<R> {
        None
    }

    fn on(&self, _cpu: usize, _work: &mut (dyn FnMut(Pinning<'_, T>) + Send)) {}
}
