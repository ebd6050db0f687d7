// SPDX-License-Identifier: GPL-2.0

//! Fault injection: requests that are refused although there is memory.
//!
//! While enough memory is free, the code that handles refusals does not run. These types count requests and
//! choose the requests that are refused, as Linux does with `/proc/self/fail-nth` and with the `interval`
//! of its other faults (`Documentation/fault-injection/fault-injection.rst`).

use core::sync::atomic::{
    AtomicU64,
    Ordering::Relaxed, //
};

/// An engine in which a growth can fail on request.
pub trait FailGrowth {
    /// Makes the engine refuse the `nth` growth from now on as
    /// [`Refusal::Injected`](crate::Refusal::Injected), or no growth if `nth` is 0.
    ///
    /// A growth is a request for which no slab of the size class has a free block, so that a slab has to take
    /// memory from the buddy system. The engine refuses the growth before it changes anything.
    fn fail_growth(&self, nth: u64);
}

/// A counter that makes the n-th request fail, once.
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
    /// The number of requests up to and including the request that fails; 0 if no request will fail.
    left: AtomicU64,
}

impl Nth {
    /// Returns a counter that makes no request fail.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            left: AtomicU64::new(0),
        }
    }

    /// Makes the n-th request from now on fail, or no request if `n` is 0.
    pub fn set(&self, n: u64) {
        self.left.store(n, Relaxed);
    }

    /// Returns whether a request will fail.
    #[inline(always)]
    pub fn is_set(&self) -> bool {
        self.left.load(Relaxed) != 0
    }

    /// Counts a request, and returns whether the request must fail.
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

/// A counter that makes every p-th request fail.
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
    /// The number of requests from one request that fails to the next one; 0 if no request fails.
    period: u64,
    /// The number of requests up to and including the next request that fails.
    left: u64,
}

impl Every {
    /// Returns a counter that makes no request fail.
    #[must_use]
    pub const fn new() -> Self {
        Self { period: 0, left: 0 }
    }

    /// Makes every `period`-th request from now on fail, or no request if `period` is 0.
    pub fn set(&mut self, period: u64) {
        (self.period, self.left) = (period, period);
    }

    /// Returns whether requests will fail.
    #[inline(always)]
    pub fn is_set(&self) -> bool {
        self.period != 0
    }

    /// Counts a request, and returns whether the request must fail.
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
