// SPDX-License-Identifier: GPL-2.0

//! The interface between an engine and its lock.
//!
//! In the kernel the lock is a spinlock, except for `seed`: its frees search lists, so its lock is a mutex.
//! On the host every lock is a mutex. Code that holds the lock does not sleep, allocate memory for the
//! engine, or wait for another lock.

/// A lock around a `T`.
///
/// # Safety
///
/// - While a call of [`Lock::with`] runs its `f`, no other call of `with` on the same lock runs its `f`.
/// - All writes of one call are visible to the next call.
/// - The value is new when an engine is created with the lock, and nothing else uses the lock.
pub unsafe trait Lock<T> {
    /// Runs `f` on the locked value.
    ///
    /// `f` must not take the same lock.
    fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R;
}
