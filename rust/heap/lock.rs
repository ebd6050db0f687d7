// SPDX-License-Identifier: GPL-2.0

//! Locks, as an engine sees them.
//!
//! In the kernel it is a spinlock, or a mutex for `seed`, whose frees search lists; on the host it is a
//! mutex. Work under a lock does not sleep, allocate memory for the engine, or wait for another lock.

/// A lock around a `T`.
///
/// # Safety
///
/// - While `f` of [`Lock::with`] runs, no other call of `with` on the same lock runs its own.
/// - Everything that one call did is visible to the next call.
/// - The value is new when an engine is made with the lock, and nothing else uses the lock.
pub unsafe trait Lock<T> {
    /// Runs `f` on the locked value.
    ///
    /// `f` must not take the same lock.
    fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R;
}
