// SPDX-License-Identifier: GPL-2.0

//! Taking times.
//!
//! The clock is the kernel's monotonic one. On a machine that counts instructions
//! (`scripts/vm.sh -i`) its nanoseconds are instructions.

use core::ptr;

use kernel::{
    bindings,
    prelude::*,
    time::{
        Instant,
        Monotonic, //
    }, //
};

/// Readings of the clock of which the quickest tells what one costs.
const TRIALS: usize = 100;

/// Takes and keeps the times of samples.
pub(super) struct Timer {
    samples: KVVec<u32>,
    per_op: bool,
    clock_ns: u64,
    disturbed: u32,
}

/// What the samples of a [`Timer`] say.
pub(super) struct Times {
    pub(super) samples: u32,
    pub(super) total_ns: u64,
    pub(super) min_ns: u64,
    pub(super) p50_ns: u64,
    pub(super) p99_ns: u64,
    pub(super) max_ns: u64,
    pub(super) clock_ns: u64,
    pub(super) disturbed: u32,
}

/// Returns a number that changes with each tick of the timer.
fn ticks() -> c_ulong {
    // SAFETY: The variable is there as long as the kernel, and is made to be read like this.
    unsafe { ptr::read_volatile(&raw const bindings::jiffies) }
}

/// Returns the nanoseconds since `begin`.
fn since(begin: Instant<Monotonic>) -> u64 {
    begin.elapsed().as_nanos().unsigned_abs()
}

impl Timer {
    /// Prepares for `samples` samples: of single steps, or of whole rounds.
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

    /// Runs a round of `steps` steps and takes its time, or that of each step.
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

    /// Keeps a sample.
    #[inline(never)]
    fn record(&mut self, elapsed_ns: u64) {
        let net_ns = elapsed_ns.saturating_sub(self.clock_ns);
        // Who measures has asked for room enough, and what is longer than 4 s is as long as that.
        let _ = self
            .samples
            .push_within_capacity(u32::try_from(net_ns).unwrap_or(u32::MAX));
    }

    /// Says what is in the samples.
    pub(super) fn times(mut self) -> Times {
        let samples = self.samples.as_mut_slice();
        let count = samples.len();
        let total_ns = samples.iter().copied().map(u64::from).sum();
        // Not by sorting: core's sort ends in a panic that objtool of 7.3 does not know to end there.
        let mut below = |percent: usize| {
            let index = (count * percent).div_ceil(100).saturating_sub(1);
            if index >= count {
                return 0;
            }
            let (_, sample, _) = samples.select_nth_unstable(index);
            u64::from(*sample)
        };
        Times {
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
