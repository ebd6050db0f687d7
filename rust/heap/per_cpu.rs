// SPDX-License-Identifier: GPL-2.0

//! The interface between an engine and its per-CPU data.
//!
//! In the kernel, preemption is disabled so that one caller at a time uses a CPU's data, and a CPU is
//! interrupted to reach its data from another CPU. On the host, the test or the simulator defines the CPUs,
//! and one thread at a time uses each CPU. The engine's code is the same in the kernel and on the host.

use core::{
    ops::Deref,
    ptr::NonNull, //
};

use crate::backing_heap::Piece;

/// A reference to the value of a CPU. As long as it exists, nobody else can change the value.
///
/// Methods that change the value are methods of this type, so that they can only be called inside of a
/// closure of [`PerCpu`].
pub struct Exclusive<'a, T: ?Sized>(&'a T);

impl<'a, T: ?Sized> Exclusive<'a, T> {
    /// Wraps the value of a CPU.
    ///
    /// # Safety
    ///
    /// - As long as the result exists, no other `Exclusive` of the same value exists.
    /// - All writes through earlier `Exclusive`s of the value are visible.
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
/// An engine has one lock and one `PerCpu`. The engine calls [`with_local`](PerCpu::with_local) and
/// [`with_remote`](PerCpu::with_remote) only with the engine's lock held, so these two never run at the same
/// time. [`try_with_local`](PerCpu::try_with_local) takes no lock and may run at any time.
///
/// # Safety
///
/// - At most one closure runs on the value of a CPU at a time.
/// - All writes of one closure to the value of a CPU are visible to the next closure that gets the same
///   value.
/// - The value of a CPU is always the same object. The object is new when an engine is created with it, and
///   no other engine uses it.
/// - [`metadata`](PerCpu::metadata) returns the bytes of the piece, which were zero and aligned to 8 when a piece of this
///   number was first requested. The bytes are valid until the value is dropped. Nobody but the engine accesses them.
pub unsafe trait PerCpu<T: ?Sized>: Sync {
    /// Returns an upper bound: every CPU that can ever run has a smaller number (`nr_cpu_ids` in the kernel).
    fn cpus(&self) -> usize;

    /// Returns the value of a CPU, if the CPU has a value. The CPU may change the value at the same time.
    fn get(&self, cpu: usize) -> Option<&T>;

    /// Returns the number and the value of each CPU that has a value, in the order of the numbers.
    fn iter<'a>(&'a self) -> impl Iterator<Item = (usize, &'a T)>
    where
        T: 'a,
    {
        (0..self.cpus()).filter_map(|cpu| Some((cpu, self.get(cpu)?)))
    }

    /// Runs `f` on the value of the current CPU. The caller holds the engine's lock.
    ///
    /// Returns `None`, and does not run `f`, if the current CPU has no value. `f` must not sleep and must not
    /// take a lock.
    fn with_local<R>(&self, f: impl FnOnce(&Exclusive<'_, T>) -> R) -> Option<R>;

    /// Runs `f` on the value of the current CPU. The caller needs no lock.
    ///
    /// Returns `None`, and does not run `f`, if the current CPU has no value, or if a call of
    /// [`PerCpu::with_remote`] is using the value. `f` must not sleep, must not take a lock, and must run
    /// only one operation or a bounded number of operations.
    fn try_with_local<R>(&self, f: impl FnOnce(&Exclusive<'_, T>) -> R) -> Option<R>;

    /// Runs `f` on the value of any CPU. The caller holds the engine's lock.
    ///
    /// The call never waits for the scheduler of that CPU. The call returns `None`, and does not run `f`, if
    /// the CPU has no value or cannot be reached now. A CPU cannot be reached while it goes online or
    /// offline, or if its value was in use each time the interrupt arrived.
    ///
    /// `f` may run in an interrupt handler: it must not sleep, take a lock, or take long.
    fn with_remote<R: Send>(
        &self,
        cpu: usize,
        f: impl FnOnce(&Exclusive<'_, T>) -> R + Send,
    ) -> Option<R>;

    /// Returns the memory of a piece of metadata, or `None` if the platform has no memory. Each call with the same piece
    /// returns the same memory. The caller holds no lock, so the call may sleep.
    fn metadata(&self, piece: Piece) -> Option<NonNull<u8>>;

    /// Waits for a short time, after which the caller tries again to reach a CPU. The caller holds no lock.
    ///
    /// Returns `false` if the caller should not try again, because the calling process has a fatal signal.
    fn pause(&self) -> bool {
        true
    }
}

/// No per-CPU data. An engine with this type serves all requests under its lock. A heap gets no further memory for its
/// metadata, so `hybrid` serves requests below 64 bytes with 64 bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPerCpu;

// SAFETY: The contract is about closures, the values of CPUs, and metadata. No CPU has a value, so no closure ever runs,
// and there is no metadata.
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

    fn metadata(&self, _piece: Piece) -> Option<NonNull<u8>> {
        None
    }
}
