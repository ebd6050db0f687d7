// SPDX-License-Identifier: GPL-2.0

//! Locks, as an engine sees them.
//!
//! The kernel brings its spinlock, the host its mutex. An engine takes a lock for a bounded piece
//! of work that neither sleeps nor allocates nor takes another lock.

/// A lock around a `T`.
///
/// # Safety
///
/// - While `f` of [`Lock::with`] runs, no other call of `with` on the same lock runs its own.
/// - What one call did is seen by the next.
pub unsafe trait Lock<T> {
    /// Runs `f` on the locked value.
    ///
    /// `f` must not take the same lock.
    fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R;
}
