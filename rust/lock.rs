// SPDX-License-Identifier: GPL-2.0

//! The kernel's locks, as `slab_heap` and `slab_session` want one.

use core::{
    convert::Infallible,
    pin::Pin, //
};

use kernel::{
    prelude::*,
    sync::{
        Mutex,
        SpinLock, //
    }, //
};
use slab_heap::lock::Lock;

/// A spinlock in a place of its own, so that what contains it may move.
pub(crate) struct BoxedSpinLock<T>(Pin<KBox<SpinLock<T>>>);

impl<T> BoxedSpinLock<T> {
    /// Makes a lock from what `new_spinlock!` returns; each of its calls is a lock class.
    pub(crate) fn new(lock: impl PinInit<SpinLock<T>, Infallible>) -> Result<Self> {
        Ok(Self(KBox::pin_init(lock, GFP_KERNEL_ACCOUNT)?))
    }
}

// SAFETY: `SpinLock` gives access to one caller at a time, and orders them.
unsafe impl<T: Unpin> Lock<T> for BoxedSpinLock<T> {
    #[inline(always)]
    fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        f(&mut self.0.lock())
    }
}

/// A mutex in a place of its own, so that what contains it may move. Its callers may sleep.
pub(crate) struct BoxedMutex<T>(Pin<KBox<Mutex<T>>>);

impl<T> BoxedMutex<T> {
    /// Makes a lock from what `new_mutex!` returns; each of its calls is a lock class.
    pub(crate) fn new(lock: impl PinInit<Mutex<T>, Infallible>) -> Result<Self> {
        Ok(Self(KBox::pin_init(lock, GFP_KERNEL_ACCOUNT)?))
    }
}

// SAFETY: `Mutex` gives access to one caller at a time, and orders them.
unsafe impl<T: Unpin> Lock<T> for BoxedMutex<T> {
    #[inline(always)]
    fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        f(&mut self.0.lock())
    }
}
