// SPDX-License-Identifier: GPL-2.0

//! The locks that allocators without their own are put behind.
//!
//! One thread measures, so nobody ever waits: what a lock costs is one atomic exchange and one
//! store. Each allocator with a pool is also measured without, as their authors publish them.

use std::{
    cell::UnsafeCell,
    hint,
    sync::atomic::{
        AtomicBool,
        Ordering, //
    },
};

use slab_heap::lock::Lock;

/// A lock that can be put around a value.
pub(crate) trait New<T>: Lock<T> + Send + Sync {
    /// Puts it around `value`.
    fn new(value: T) -> Self;
}

/// A lock that spins on one exchange.
pub(crate) struct Spin<T> {
    held: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: `with` lets one thread in at a time.
unsafe impl<T: Send> Sync for Spin<T> {}

impl<T: Send> New<T> for Spin<T> {
    fn new(value: T) -> Self {
        Self {
            held: AtomicBool::new(false),
            value: UnsafeCell::new(value),
        }
    }
}

// SAFETY: The exchange lets one caller in and acquires what the last one released. Should `f`
// panic, the lock stays held and nobody gets in any more.
unsafe impl<T> Lock<T> for Spin<T> {
    #[inline]
    fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        while self.held.swap(true, Ordering::Acquire) {
            hint::spin_loop();
        }
        // SAFETY: Whoever holds the lock has the value to themselves.
        let result = f(unsafe { &mut *self.value.get() });
        self.held.store(false, Ordering::Release);
        result
    }
}

/// No lock at all: for one thread.
pub(crate) struct Alone<T>(UnsafeCell<T>);

// SAFETY: The benchmark shares allocators with nobody: the thread that makes one uses it.
unsafe impl<T: Send> Sync for Alone<T> {}

impl<T: Send> New<T> for Alone<T> {
    fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }
}

// SAFETY: One thread uses it, by the reason above, and `f` does not take it again.
unsafe impl<T> Lock<T> for Alone<T> {
    #[inline]
    fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: As above.
        f(unsafe { &mut *self.0.get() })
    }
}
