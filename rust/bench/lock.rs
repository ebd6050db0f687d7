// SPDX-License-Identifier: GPL-2.0

//! A spinlock that counts its acquisitions.
//!
//! The engines of a bench differ from those of sessions in this lock only. The lock of a session's engine does
//! not count, because counting costs one instruction per acquisition. The `seed` of sessions has a mutex, which
//! costs a few instructions more than this spinlock.

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

/// A value, and the number of acquisitions of its lock.
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

    /// Returns the bytes that the kernel allocates for the lock and its value.
    pub(super) fn charge() -> usize {
        // An `Arc` has a reference count before the value.
        kmalloc_bytes(size_of::<SpinLock<Counted<T>>>() + size_of::<usize>())
    }

    /// Returns the number of acquisitions of the lock. This call takes the lock, but does not count.
    pub(super) fn acquisitions(&self) -> u64 {
        self.0.lock().acquisitions
    }
}

// SAFETY: `SpinLock` admits one caller at a time. The release by one caller and the acquire by the next order
// their accesses. A bench creates the lock with a new value for its engine, and the second reference to the lock
// only reads the count.
unsafe impl<T: Unpin> Lock<T> for CountingLock<T> {
    #[inline]
    fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        let counted = &mut *self.0.lock();
        counted.acquisitions = counted.acquisitions.wrapping_add(1);
        f(&mut counted.value)
    }
}
