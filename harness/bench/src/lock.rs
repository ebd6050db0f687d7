// SPDX-License-Identifier: GPL-2.0

//! Locks for the allocators that have none of their own.
//!
//! The benchmark runs one thread, so the lock is never contended: its cost is one atomic exchange and
//! one store. Each allocator with a pool is also measured without a lock, as its authors publish it.

use std::{
    cell::UnsafeCell,
    hint,
    sync::atomic::{
        AtomicBool,
        Ordering, //
    },
};

use slab_heap::lock::Lock;

/// A lock that can be constructed around a value.
pub(crate) trait NewLock<T>: Lock<T> + Send + Sync {
    /// Returns an unlocked lock that protects `value`.
    fn new(value: T) -> Self;
}

/// A spinlock of one atomic flag.
pub(crate) struct Spin<T> {
    held: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: `with` gives access to the value to one thread at a time, and `T` may move between threads.
unsafe impl<T: Send> Sync for Spin<T> {}

impl<T: Send> NewLock<T> for Spin<T> {
    fn new(value: T) -> Self {
        Self {
            held: AtomicBool::new(false),
            value: UnsafeCell::new(value),
        }
    }
}

// SAFETY: The exchange succeeds for one caller at a time and acquires the writes of the previous
// holder. When `f` panics, the lock stays locked for ever, so no caller sees a half-modified value.
unsafe impl<T> Lock<T> for Spin<T> {
    #[inline]
    fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        while self.held.swap(true, Ordering::Acquire) {
            hint::spin_loop();
        }
        // SAFETY: The lock is held, so there is no other reference to the value.
        let result = f(unsafe { &mut *self.value.get() });
        self.held.store(false, Ordering::Release);
        result
    }
}

/// A lock without any synchronization, for one thread.
pub(crate) struct NoLock<T>(UnsafeCell<T>);

// SAFETY: The benchmark uses each allocator only on the thread that constructs it.
unsafe impl<T: Send> Sync for NoLock<T> {}

impl<T: Send> NewLock<T> for NoLock<T> {
    fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }
}

// SAFETY: Only one thread uses the value, and `f` does not lock it again, so `f` has exclusive access.
unsafe impl<T> Lock<T> for NoLock<T> {
    #[inline]
    fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: No other reference exists: one thread uses the value, and `f` does not lock it again.
        f(unsafe { &mut *self.0.get() })
    }
}
