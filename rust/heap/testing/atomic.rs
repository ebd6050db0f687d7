// SPDX-License-Identifier: GPL-2.0

//! Atomics for magazines and counters, with scheduling points for the model checker.
//!
//! Each type wraps an atomic of `core`. Under the model checker the scheduler may switch to another thread
//! before every access, so tests also run interleavings in which one CPU reads a magazine while another CPU
//! changes the magazine.

use core::sync::atomic::{
    self,
    Ordering, //
};
use std::time::Duration;

/// Creates a scheduling point if the model checker runs this thread.
fn switch() {
    if shuttle::current::try_get_current_task().is_some() {
        shuttle::thread::sleep(Duration::ZERO);
    }
}

/// Defines a wrapper of an atomic of `core`, with a scheduling point before every access.
macro_rules! switching {
    ($name:ident$(<$target:ident>)?, $word:ty) => {
        #[derive(Debug, Default)]
        #[repr(transparent)]
        pub(crate) struct $name$(<$target>)?(atomic::$name$(<$target>)?);

        impl$(<$target>)? $name$(<$target>)? {
            pub(crate) const fn new(word: $word) -> Self {
                Self(atomic::$name::new(word))
            }

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
switching!(AtomicU16, u16);
switching!(AtomicU64, u64);
