// SPDX-License-Identifier: GPL-2.0

//! Fault injection: requests that are refused although there is memory.
//!
//! Code for refusals hardly ever runs where memory is plenty. These types count requests and choose the
//! ones that are to be refused, as Linux does with `/proc/self/fail-nth` and with the `interval` of its
//! other faults (`Documentation/fault-injection/fault-injection.rst`).

use core::sync::atomic::{
    AtomicU64,
    Ordering::Relaxed, //
};

/// An engine in which a growth can fail on request.
pub trait FailGrowth {
    /// Has the `nth` growth from now on refused as [`Refusal::Injected`](crate::Refusal::Injected), or none
    /// if that is 0.
    ///
    /// A growth is a request for which no slab of its class has a free block, so that one would have to take
    /// memory from the buddy system. It is refused before anything has changed.
    fn fail_growth(&self, nth: u64);
}

/// Lets the n-th request fail, once.
///
/// # Examples
///
/// ```
/// use slab_heap::fail::Nth;
///
/// let nth = Nth::new();
/// nth.set(2);
/// assert_eq!([(); 4].map(|()| nth.should_fail()), [false, true, false, false]);
/// ```
#[derive(Debug)]
pub struct Nth {
    /// Requests up to the one that fails; 0 when none will.
    left: AtomicU64,
}

impl Nth {
    /// Lets no request fail.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            left: AtomicU64::new(0),
        }
    }

    /// Lets the n-th request from now on fail, or none if `n` is 0.
    pub fn set(&self, n: u64) {
        self.left.store(n, Relaxed);
    }

    /// Says whether a request will fail.
    #[inline(always)]
    pub fn is_set(&self) -> bool {
        self.left.load(Relaxed) != 0
    }

    /// Counts a request, and says whether it is to fail.
    pub fn should_fail(&self) -> bool {
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

/// Lets every p-th request fail.
///
/// # Examples
///
/// ```
/// use slab_heap::fail::Every;
///
/// let mut every = Every::new();
/// every.set(2);
/// assert_eq!([(); 4].map(|()| every.should_fail()), [false, true, false, true]);
/// ```
#[derive(Debug)]
pub struct Every {
    /// Requests from one that fails to the next; 0 when none does.
    period: u64,
    /// Requests up to the next one that fails.
    left: u64,
}

impl Every {
    /// Lets no request fail.
    #[must_use]
    pub const fn new() -> Self {
        Self { period: 0, left: 0 }
    }

    /// Lets every `period`-th request from now on fail, or none if that is 0.
    pub fn set(&mut self, period: u64) {
        (self.period, self.left) = (period, period);
    }

    /// Says whether requests will fail.
    #[inline(always)]
    pub fn is_set(&self) -> bool {
        self.period != 0
    }

    /// Counts a request, and says whether it is to fail.
    pub fn should_fail(&mut self) -> bool {
        self.left = self.left.saturating_sub(1);
        let fails = self.is_set() && self.left == 0;
        if fails {
            self.left = self.period;
        }
        fails
    }
}

impl Default for Every {
    fn default() -> Self {
        Self::new()
    }
}
