// SPDX-License-Identifier: GPL-2.0

//! Atomics for magazines, counters and page descriptors, with scheduling points for the model checker.
//!
//! Each type wraps an atomic of `core`. Under the model checker the scheduler may switch to another thread
//! before every access, so tests also run interleavings in which one CPU reads a magazine while another CPU
//! changes the magazine. The accesses of a thread are counted, for tests of the work of an operation.

use core::sync::atomic::{
    self,
    Ordering, //
};
use std::{
    cell::Cell,
    time::Duration, //
};

std::thread_local! {
    /// The number of accesses of this thread to the atomics of this module.
    static ACCESSES: Cell<u64> = const { Cell::new(0) };
}

/// Runs `f`, and returns its result and the number of its accesses to the atomics of this module.
pub(crate) fn count_accesses<R>(f: impl FnOnce() -> R) -> (R, u64) {
    let before = ACCESSES.get();
    let result = f();
    (result, ACCESSES.get() - before)
}

/// Counts an access, and creates a scheduling point if the model checker runs this thread.
fn switch() {
    ACCESSES.set(ACCESSES.get() + 1);
    if shuttle::current::try_get_current_task().is_some() {
        shuttle::thread::sleep(Duration::ZERO);
    }
}

/// Defines a wrapper of an atomic of `core`, with a scheduling point before every access, and with its constructor if
/// that is used.
macro_rules! switching {
    ($name:ident$(<$target:ident>)?, $word:ty$(, $new:ident)?) => {
        #[derive(Debug, Default)]
        #[repr(transparent)]
        pub(crate) struct $name$(<$target>)?(atomic::$name$(<$target>)?);

        impl$(<$target>)? $name$(<$target>)? {
            $(pub(crate) const fn $new(word: $word) -> Self {
                Self(atomic::$name::new(word))
            })?

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

switching!(AtomicPtr<T>, *mut T, new);
switching!(AtomicU16, u16, new);
switching!(AtomicU32, u32);
switching!(AtomicU64, u64, new);
