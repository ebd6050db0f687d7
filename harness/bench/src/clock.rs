// SPDX-License-Identifier: GPL-2.0

//! The processor's counter of time, for intervals that are too short for the system's clock.

use std::time::{
    Duration,
    Instant, //
};

/// A clock that reads the processor's counter: the time stamp counter of x86-64, the virtual counter of arm64.
pub(crate) struct TimestampClock {
    nanoseconds_per_tick: f64,
}

impl TimestampClock {
    /// Calibrates the counter against the system's clock for 20 ms.
    pub(crate) fn new() -> Self {
        let (begun, first) = (Instant::now(), ticks());
        while begun.elapsed() < Duration::from_millis(20) {}
        let (elapsed, last) = (begun.elapsed(), ticks());
        Self {
            nanoseconds_per_tick: elapsed.as_nanos() as f64 / (last - first) as f64,
        }
    }

    /// Returns the current count, after all earlier instructions completed.
    #[inline(always)]
    pub(crate) fn now(&self) -> u64 {
        ticks()
    }

    /// Returns the time between two counts, in nanoseconds.
    pub(crate) fn nanoseconds(&self, from: u64, to: u64) -> f64 {
        to.saturating_sub(from) as f64 * self.nanoseconds_per_tick
    }
}

/// Reads the time stamp counter between two fences.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn ticks() -> u64 {
    use std::arch::x86_64::{
        _mm_lfence,
        _rdtsc, //
    };
    // The first fence waits for all earlier instructions; the second one delays all later ones.
    // SAFETY: `lfence` is part of SSE2, which every x86-64 processor has.
    unsafe { _mm_lfence() };
    // SAFETY: Every x86-64 processor has `rdtsc`, and Linux allows it in user space.
    let ticks = unsafe { _rdtsc() };
    // SAFETY: `lfence` is part of SSE2, which every x86-64 processor has.
    unsafe { _mm_lfence() };
    ticks
}

/// Reads the virtual counter between two barriers.
#[cfg(target_arch = "aarch64")]
#[inline(always)]
fn ticks() -> u64 {
    let ticks;
    // The first barrier waits for all earlier instructions; the second one delays all later ones.
    // SAFETY: Linux allows programs to read the counter. The instructions write one register, and access neither
    // memory nor the stack; without `nomem` the compiler moves no memory access across them.
    unsafe {
        std::arch::asm!(
            "isb",
            "mrs {ticks}, cntvct_el0",
            "isb",
            ticks = out(reg) ticks,
            options(nostack, preserves_flags),
        );
    }
    ticks
}
