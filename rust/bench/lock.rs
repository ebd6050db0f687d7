// SPDX-License-Identifier: GPL-2.0

//! A spinlock that counts its acquisitions.
//!
//! The engines of a bench differ from those of sessions in this lock only. Counting costs one
//! instruction per acquisition, which the engines of sessions do not pay. The `seed` of sessions has a
//! mutex, which costs a few instructions more than this spinlock.

use core::convert::Infallible;

use kernel::{
    prelude::*,
    sync::{
        Arc,
        SpinLock, //
    }, //
};
use slab_heap::lock::Lock;

use crate::vmalloc::kmalloc_bytes;

/// A value, and how often its lock was taken.
pub(super) struct Counted<T> {
    value: T,
    acquisitions: u64,
}

/// A reference to a spinlock that counts its acquisitions.
pub(super) struct CountingLock<T>(Arc<SpinLock<Counted<T>>>);

impl<T> Counted<T> {
    /// Initialises a value whose lock was never taken.
    pub(super) fn init(value: impl Init<T>) -> impl Init<Self> {
        init!(Self {
            value <- value,
            acquisitions: 0,
        })
    }
}

impl<T> CountingLock<T> {
    /// Creates a lock from the result of `new_spinlock!`, and returns two references to it: one for the
    /// engine, and one that reads the count.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(super) fn pair(
        lock: impl PinInit<SpinLock<Counted<T>>, Infallible>,
    ) -> Result<(Self, Self)> {
        let lock = Arc::pin_init(lock, GFP_KERNEL_ACCOUNT)?;
        Ok((Self(lock.clone()), Self(lock)))
    }

    /// Returns the bytes that the kernel takes for the lock and its value.
    pub(super) fn charge() -> usize {
        // An `Arc` has a reference count before the value.
        kmalloc_bytes(size_of::<SpinLock<Counted<T>>>() + size_of::<usize>())
    }

    /// Returns how often the lock was taken; this call does not count itself.
    pub(super) fn acquisitions(&self) -> u64 {
        self.0.lock().acquisitions
    }
}

// SAFETY: `SpinLock` admits one caller at a time. Its release and acquire order their accesses.
unsafe impl<T: Unpin> Lock<T> for CountingLock<T> {
    #[inline]
    fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        let counted = &mut *self.0.lock();
        counted.acquisitions = counted.acquisitions.wrapping_add(1);
        f(&mut counted.value)
    }
}
