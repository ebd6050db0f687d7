// SPDX-License-Identifier: GPL-2.0

//! The atomics that magazines are made of, and hands are counted with, as tests see them.
//!
//! They are those of `core`. Under the model checker each access is also a moment at which another
//! thread may go on: what is not kept from others by the platform's promise, they get to see.

use core::sync::atomic::{
    self,
    Ordering, //
};
use std::time::Duration;

/// Lets other threads go on, under the model checker.
fn switch() {
    if shuttle::current::try_get_current_task().is_some() {
        shuttle::thread::sleep(Duration::ZERO);
    }
}

/// Wraps an atomic of `core`.
macro_rules! switching {
    ($name:ident$(<$target:ident>)?, $word:ty) => {
        #[derive(Debug, Default)]
        #[repr(transparent)]
        pub(crate) struct $name$(<$target>)?(atomic::$name$(<$target>)?);

        impl$(<$target>)? $name$(<$target>)? {
            pub(crate) fn load(&self, order: Ordering) -> $word {
                switch();
                self.0.load(order)
            }

            pub(crate) fn store(&self, word: $word, order: Ordering) {
                switch();
                self.0.store(word, order);
            }
        }
    };
}

switching!(AtomicPtr<T>, *mut T);
switching!(AtomicU32, u32);
switching!(AtomicU64, u64);
switching!(AtomicUsize, usize);

impl AtomicUsize {
    pub(crate) const fn new(word: usize) -> Self {
        Self(atomic::AtomicUsize::new(word))
    }
}
