// SPDX-License-Identifier: GPL-2.0

//! Timing of samples.
//!
//! The clock is the kernel's monotonic clock. On a machine that counts instructions
//! (`scripts/vm.sh -i`) one nanosecond is one instruction.

use core::ptr;

use kernel::{
    bindings,
    prelude::*,
    time::{
        Instant,
        Monotonic, //
    }, //
};

/// The number of trials that measure the cost of reading the clock, which is the shortest time of all trials.
const TRIALS: usize = 100;

/// Records the times of samples.
pub(super) struct Timer {
    samples: KVVec<u32>,
    per_op: bool,
    clock_ns: u64,
    disturbed: u32,
}

/// Statistics of the samples of a [`Timer`].
pub(super) struct SampleTimes {
    pub(super) samples: u32,
    pub(super) total_ns: u64,
    pub(super) min_ns: u64,
    pub(super) p50_ns: u64,
    pub(super) p99_ns: u64,
    pub(super) max_ns: u64,
    pub(super) clock_ns: u64,
    pub(super) disturbed: u32,
}

/// Returns a number that changes with each timer interrupt.
fn ticks() -> c_ulong {
    // SAFETY: `jiffies` is a static variable of the kernel, which is always valid for volatile reads.
    unsafe { ptr::read_volatile(&raw const bindings::jiffies) }
}

/// Returns the nanoseconds since `begin`.
fn since(begin: Instant<Monotonic>) -> u64 {
    begin.elapsed().as_nanos().unsigned_abs()
}

impl Timer {
    /// Creates a timer for `samples` samples: times of single steps (`per_op`) or of whole rounds.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(super) fn new(samples: usize, per_op: bool) -> Result<Self> {
        let readings = (0..TRIALS).map(|_| since(Instant::now()));
        let clock_ns = readings.min().unwrap_or(0);
        Ok(Self {
            samples: KVVec::with_capacity(samples, GFP_KERNEL_ACCOUNT)?,
            per_op,
            clock_ns,
            disturbed: 0,
        })
    }

    /// Runs a round of `steps` steps and records the time of the round, or the time of each step. A step during
    /// which a timer interrupt occurs counts as disturbed, and its time is not recorded.
    #[inline(always)]
    pub(super) fn measure(&mut self, steps: usize, mut step: impl FnMut(usize)) {
        if self.per_op {
            for index in 0..steps {
                let tick = ticks();
                let begin = Instant::now();
                step(index);
                let elapsed_ns = since(begin);
                if ticks() == tick {
                    self.record(elapsed_ns);
                } else {
                    self.disturbed += 1;
                }
            }
        } else {
            let begin = Instant::now();
            for index in 0..steps {
                step(index);
            }
            self.record(since(begin));
        }
    }

    /// Records a sample, from which the cost of reading the clock is subtracted.
    #[inline(never)]
    fn record(&mut self, elapsed_ns: u64) {
        let net_ns = elapsed_ns.saturating_sub(self.clock_ns);
        // The push does not fail, because the vector has capacity for all samples of the request. A time of more
        // than 4 s is recorded as 4 s.
        let _ = self
            .samples
            .push_within_capacity(u32::try_from(net_ns).unwrap_or(u32::MAX));
    }

    /// Computes the statistics of the samples, in O(samples).
    pub(super) fn times(mut self) -> SampleTimes {
        let samples = self.samples.as_mut_slice();
        let count = samples.len();
        let total_ns = samples.iter().copied().map(u64::from).sum();
        // The samples are not sorted, because core's sort can end in a panic, which objtool of Linux 7.3 reports
        // as a fall-through.
        let mut below = |percent: usize| {
            let index = (count * percent).div_ceil(100).saturating_sub(1);
            if index >= count {
                return 0;
            }
            let (_, sample, _) = samples.select_nth_unstable(index);
            u64::from(*sample)
        };
        SampleTimes {
            samples: count as u32,
            total_ns,
            min_ns: below(0),
            p50_ns: below(50),
            p99_ns: below(99),
            max_ns: below(100),
            clock_ns: self.clock_ns,
            disturbed: self.disturbed,
        }
    }
}
