// SPDX-License-Identifier: GPL-2.0

//! The kernel's locks, as implementations of `slab_heap`'s [`Lock`].

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

/// A boxed spinlock, so that the structure that contains it can be moved.
pub(crate) struct BoxedSpinLock<T>(Pin<KBox<SpinLock<T>>>);

impl<T> BoxedSpinLock<T> {
    /// Boxes the result of `new_spinlock!`. Each use of that macro is a lockdep class.
    pub(crate) fn new(lock: impl PinInit<SpinLock<T>, Infallible>) -> Result<Self> {
        Ok(Self(KBox::pin_init(lock, GFP_KERNEL_ACCOUNT)?))
    }
}

// SAFETY: `SpinLock` admits one caller at a time. The release by one caller and the acquire by the next order
// their accesses. This value owns the spinlock, so only the engine or session that owns this value uses it.
// The module creates each engine and session with a new value.
unsafe impl<T: Unpin> Lock<T> for BoxedSpinLock<T> {
    #[inline(always)]
    fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        f(&mut self.0.lock())
    }
}

/// A boxed mutex, so that the structure that contains it can be moved. Callers may sleep.
pub(crate) struct BoxedMutex<T>(Pin<KBox<Mutex<T>>>);

impl<T> BoxedMutex<T> {
    /// Boxes the result of `new_mutex!`. Each use of that macro is a lockdep class.
    pub(crate) fn new(lock: impl PinInit<Mutex<T>, Infallible>) -> Result<Self> {
        Ok(Self(KBox::pin_init(lock, GFP_KERNEL_ACCOUNT)?))
    }
}

// SAFETY: `Mutex` admits one caller at a time. The release by one caller and the acquire by the next order
// their accesses. This value owns the mutex, so only the engine or session that owns this value uses it.
// The module creates each engine and session with a new value.
unsafe impl<T: Unpin> Lock<T> for BoxedMutex<T> {
    #[inline(always)]
    fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        f(&mut self.0.lock())
    }
}
