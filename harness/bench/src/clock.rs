// SPDX-License-Identifier: GPL-2.0

//! The processor's counter of time, for what is too short for the system's clock.

use std::time::{
    Duration,
    Instant, //
};

/// Reads the processor's counter of time.
pub(crate) struct Clock {
    nanoseconds_per_tick: f64,
}

impl Clock {
    /// Finds out how fast the counter is.
    pub(crate) fn new() -> Self {
        let (begun, first) = (Instant::now(), ticks());
        while begun.elapsed() < Duration::from_millis(20) {}
        let (elapsed, last) = (begun.elapsed(), ticks());
        Self {
            nanoseconds_per_tick: elapsed.as_nanos() as f64 / (last - first) as f64,
        }
    }

    /// Returns the count, after everything before is done.
    #[inline(always)]
    pub(crate) fn now(&self) -> u64 {
        ticks()
    }

    /// Returns the time between two counts.
    pub(crate) fn nanoseconds(&self, from: u64, to: u64) -> f64 {
        to.saturating_sub(from) as f64 * self.nanoseconds_per_tick
    }
}

/// Returns the processor's count of time.
#[inline(always)]
fn ticks() -> u64 {
    use std::arch::x86_64::{
        _mm_lfence,
        _rdtsc, //
    };
    // SAFETY: Every x86-64 processor has it. The first fence waits for what came before, the second
    // keeps what comes after from beginning.
    unsafe { _mm_lfence() };
    // SAFETY: As above.
    let ticks = unsafe { _rdtsc() };
    // SAFETY: As above.
    unsafe { _mm_lfence() };
    ticks
}
