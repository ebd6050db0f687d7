// SPDX-License-Identifier: GPL-2.0

//! The engine's lock, as the benches count it.
//!
//! The engines of the benches are those that sessions use, but for this lock. The one that ships
//! does not count and pays nothing; here an acquisition costs one instruction more. The seed that ships
//! has a mutex, which costs a few instructions more than this spinlock.

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

/// A value, and how often it was locked.
pub(super) struct Counted<T> {
    value: T,
    acquisitions: u64,
}

/// A reference to a spinlock that counts.
pub(super) struct CountingLock<T>(Arc<SpinLock<Counted<T>>>);

impl<T> Counted<T> {
    /// Makes a value that was never locked.
    pub(super) fn init(value: impl Init<T>) -> impl Init<Self> {
        init!(Self {
            value <- value,
            acquisitions: 0,
        })
    }
}

impl<T> CountingLock<T> {
    /// Makes a lock from what `new_spinlock!` returns, and returns two references to it: one for
    /// the engine, one to ask.
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
        // An `Arc` has a counter in front.
        kmalloc_bytes(size_of::<SpinLock<Counted<T>>>() + size_of::<usize>())
    }

    /// Returns how often the lock was taken; asking does not count.
    pub(super) fn acquisitions(&self) -> u64 {
        self.0.lock().acquisitions
    }
}

// SAFETY: `SpinLock` gives access to one caller at a time, and orders them.
unsafe impl<T: Unpin> Lock<T> for CountingLock<T> {
    #[inline]
    fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        let counted = &mut *self.0.lock();
        counted.acquisitions = counted.acquisitions.wrapping_add(1);
        f(&mut counted.value)
    }
}
