// SPDX-License-Identifier: GPL-2.0

//! Whether the processor is all ours.
//!
//! The kernel tells when it gave the processor to somebody else. It cannot tell when somebody works
//! on the other half of the same core, or on the machine below, and then code that keeps a core busy
//! takes up to twice as long while code that waits takes hardly longer, which is no fair comparison.
//! So a loop that does nothing but keep a core busy is timed beside every repetition.

use std::{
    cell::Cell,
    hint,
    time::{
        Duration,
        Instant, //
    },
};

/// Turns of the loop: some ten microseconds.
const TURNS: u32 = 8_000;

/// How much longer than the best the loop may take.
const SLACK: f64 = 1.12;

/// The time in which the first best is looked for.
const LOOK: Duration = Duration::from_millis(60);

/// A loop and its best time.
pub(crate) struct Yardstick {
    best: Cell<Duration>,
}

impl Yardstick {
    /// Looks for the best time.
    pub(crate) fn new() -> Self {
        let yardstick = Self {
            best: Cell::new(Duration::MAX),
        };
        let begun = Instant::now();
        while begun.elapsed() < LOOK {
            yardstick.calm();
        }
        yardstick
    }

    /// Says whether the loop takes about as long as it ever did.
    pub(crate) fn calm(&self) -> bool {
        let begun = Instant::now();
        busy();
        let elapsed = begun.elapsed();
        self.best.set(self.best.get().min(elapsed));
        elapsed <= self.best.get().mul_f64(SLACK)
    }
}

/// Keeps as many parts of a core busy as it has.
#[inline(never)]
fn busy() {
    let mut chains = hint::black_box([1_u64, 3, 5, 7, 11, 13]);
    for turn in 0..hint::black_box(TURNS) {
        for chain in &mut chains {
            *chain ^= chain.rotate_left(7).wrapping_add(u64::from(turn));
        }
    }
    hint::black_box(chains);
}
