// SPDX-License-Identifier: GPL-2.0

//! Detection of other load on the core.
//!
//! The kernel counts preemptions, but it does not know about load on the sibling hyperthread or on the
//! host of a virtual machine. Such load slows down compute-bound code up to twofold and memory-bound code
//! hardly at all, which would distort the comparison. A compute-bound calibration loop is therefore timed
//! before and after every repetition; the loop is slow when the core is shared.

use std::{
    cell::Cell,
    hint,
    time::{
        Duration,
        Instant, //
    },
};

/// The number of iterations of the loop, which take about ten microseconds.
const ITERATIONS: u32 = 8_000;

/// The largest accepted ratio of the loop's time to its best time.
const SLACK: f64 = 1.12;

/// The duration of the initial search for the best time.
const SEARCH_TIME: Duration = Duration::from_millis(60);

/// The best time of the calibration loop.
pub(crate) struct Calibration {
    best: Cell<Duration>,
}

impl Calibration {
    /// Runs the loop for [`SEARCH_TIME`] to find its best time.
    pub(crate) fn new() -> Self {
        let calibration = Self {
            best: Cell::new(Duration::MAX),
        };
        let begun = Instant::now();
        while begun.elapsed() < SEARCH_TIME {
            calibration.undisturbed();
        }
        calibration
    }

    /// Runs the loop, and returns whether it took about its best time.
    pub(crate) fn undisturbed(&self) -> bool {
        let begun = Instant::now();
        busy();
        let elapsed = begun.elapsed();
        self.best.set(self.best.get().min(elapsed));
        elapsed <= self.best.get().mul_f64(SLACK)
    }
}

/// Runs six independent dependency chains, which occupy all integer units of the core.
#[inline(never)]
fn busy() {
    let mut chains = hint::black_box([1_u64, 3, 5, 7, 11, 13]);
    for iteration in 0..hint::black_box(ITERATIONS) {
        for chain in &mut chains {
            *chain ^= chain.rotate_left(7).wrapping_add(u64::from(iteration));
        }
    }
    hint::black_box(chains);
}
