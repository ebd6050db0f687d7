// SPDX-License-Identifier: GPL-2.0

//! Refusals to order.
//!
//! What nearly always succeeds is hardly ever seen to fail. These count how often something is
//! tried, and say when it is to be refused as if there were no memory, as Linux does with
//! `/proc/self/fail-nth` and the `interval` of its other faults
//! (`Documentation/fault-injection/fault-injection.rst`).

use core::sync::atomic::{
    AtomicU64,
    Ordering::Relaxed, //
};

/// Says of one try, the n-th, that it fails.
///
/// # Examples
///
/// ```
/// use slab_heap::fail::Nth;
///
/// let nth = Nth::new();
/// nth.set(2);
/// assert_eq!([(); 4].map(|()| nth.strikes()), [false, true, false, false]);
/// ```
#[derive(Debug)]
pub struct Nth {
    /// Tries up to the one that fails; 0 when none will.
    left: AtomicU64,
}

impl Nth {
    /// Fails nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            left: AtomicU64::new(0),
        }
    }

    /// Has the n-th try from now on fail, or none if `n` is 0.
    pub fn set(&self, n: u64) {
        self.left.store(n, Relaxed);
    }

    /// Says whether there is one that will fail.
    #[inline(always)]
    pub fn is_set(&self) -> bool {
        self.left.load(Relaxed) != 0
    }

    /// Counts a try, and says whether it is the one.
    pub fn strikes(&self) -> bool {
        let before = self
            .left
            .fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1));
        before == Ok(1)
    }
}

impl Default for Nth {
    fn default() -> Self {
        Self::new()
    }
}

/// Says of every p-th try that it fails.
///
/// # Examples
///
/// ```
/// use slab_heap::fail::Every;
///
/// let mut every = Every::new();
/// every.set(2);
/// assert_eq!([(); 4].map(|()| every.strikes()), [false, true, false, true]);
/// ```
#[derive(Debug)]
pub struct Every {
    /// From one that fails to the next; 0 when none does.
    period: u64,
    /// Tries up to the next one that fails.
    left: u64,
}

impl Every {
    /// Fails nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { period: 0, left: 0 }
    }

    /// Has every `period`-th try from now on fail, or none if that is 0.
    pub fn set(&mut self, period: u64) {
        (self.period, self.left) = (period, period);
    }

    /// Says whether there are any that will fail.
    #[inline(always)]
    pub fn is_set(&self) -> bool {
        self.period != 0
    }

    /// Counts a try, and says whether it is one that fails.
    pub fn strikes(&mut self) -> bool {
        self.left = self.left.saturating_sub(1);
        let strikes = self.is_set() && self.left == 0;
        if strikes {
            self.left = self.period;
        }
        strikes
    }
}

impl Default for Every {
    fn default() -> Self {
        Self::new()
    }
}
