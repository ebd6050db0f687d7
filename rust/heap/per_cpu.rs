// SPDX-License-Identifier: GPL-2.0

//! Per-CPU data, as an engine sees it.
//!
//! The kernel disables preemption to give a CPU's data to one caller at a time, and interrupts a
//! CPU to reach its data from another one. On the host, the test or the simulator defines
//! CPUs, and one thread at a time uses each. The engine's code is the same on both.

use core::ops::Deref;

/// The value of a CPU, while nobody else changes it.
///
/// Methods that change the value are methods of this type, so that they can only be called inside of a
/// closure of [`PerCpu`].
pub struct Exclusive<'a, T: ?Sized>(&'a T);

impl<'a, T: ?Sized> Exclusive<'a, T> {
    /// Wraps the value of a CPU.
    ///
    /// # Safety
    ///
    /// As long as the result exists, there is no other one for the same value. Everything that was done with
    /// an earlier one is visible.
    #[inline(always)]
    pub const unsafe fn new(value: &'a T) -> Self {
        Self(value)
    }
}

impl<T: ?Sized> Deref for Exclusive<'_, T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        self.0
    }
}

/// A value of type `T` for each CPU.
///
/// An engine has one lock and one of these. It calls [`with_local`](PerCpu::with_local) and
/// [`with_remote`](PerCpu::with_remote) only with the engine's lock held, so these two never run at
/// the same time. [`try_with_local`](PerCpu::try_with_local) takes no lock and may run at any time.
///
/// # Safety
///
/// - At most one closure runs on the value of a CPU at a time.
/// - Everything that one closure did with the value of a CPU is visible to the next closure that is
///   given the same value.
/// - The value of a CPU always is the same object. It is new when an engine is made with it, and no other engine
///   uses it.
pub unsafe trait PerCpu<T: ?Sized>: Sync {
    /// Returns an upper bound: every CPU that can ever run has a smaller number (`nr_cpu_ids` in the kernel).
    fn cpus(&self) -> usize;

    /// Returns the value of a CPU, if that CPU has one. Its owner may be changing it.
    fn get(&self, cpu: usize) -> Option<&T>;

    /// Returns the number and the value of each CPU that has one, in the order of the numbers.
    fn iter<'a>(&'a self) -> impl Iterator<Item = (usize, &'a T)>
    where
        T: 'a,
    {
        (0..self.cpus()).filter_map(|cpu| Some((cpu, self.get(cpu)?)))
    }

    /// Runs `f` on the value of the current CPU. The caller holds the engine's lock.
    ///
    /// Returns `None`, and does not run `f`, where the current CPU has no value. `f` must not sleep
    /// and must not take a lock.
    fn with_local<R>(&self, f: impl FnOnce(&Exclusive<'_, T>) -> R) -> Option<R>;

    /// Runs `f` on the value of the current CPU. The caller needs no lock.
    ///
    /// Returns `None`, and does not run `f`, where the current CPU has no value, or where its value
    /// is being used through [`PerCpu::with_remote`]. `f` must not sleep and must not take a lock, and
    /// runs one operation or a bounded batch of them.
    fn try_with_local<R>(&self, f: impl FnOnce(&Exclusive<'_, T>) -> R) -> Option<R>;

    /// Runs `f` on the value of any CPU. The caller holds the engine's lock.
    ///
    /// The call never waits for the scheduler of that CPU. It returns `None`, and does not run `f`,
    /// where the CPU has no value, or cannot be reached now: a CPU that is just being taken online
    /// or offline, or whose value was in use each time the interrupt arrived.
    ///
    /// `f` may run in an interrupt handler: it must not sleep, take a lock, or take long.
    fn with_remote<R: Send>(
        &self,
        cpu: usize,
        f: impl FnOnce(&Exclusive<'_, T>) -> R + Send,
    ) -> Option<R>;

    /// Waits for a moment before a CPU that could not be reached is tried again. The caller holds no
    /// lock.
    ///
    /// Returns `false` if the caller should give up: it was killed.
    fn pause(&self) -> bool {
        true
    }
}

/// No per-CPU data: an engine then does everything under its lock.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPerCpu;

// SAFETY: No closure ever runs.
unsafe impl<T: ?Sized> PerCpu<T> for NoPerCpu {
    fn cpus(&self) -> usize {
        0
    }

    fn get(&self, _cpu: usize) -> Option<&T> {
        None
    }

    #[inline]
    fn with_local<R>(&self, _f: impl FnOnce(&Exclusive<'_, T>) -> R) -> Option<R> {
        None
    }

    #[inline]
    fn try_with_local<R>(&self, _f: impl FnOnce(&Exclusive<'_, T>) -> R) -> Option<R> {
        None
    }

    fn with_remote<R: Send>(
        &self,
        _cpu: usize,
        _f: impl FnOnce(&Exclusive<'_, T>) -> R + Send,
    ) -> Option<R> {
        None
    }
}
