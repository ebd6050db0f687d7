// SPDX-License-Identifier: GPL-2.0

//! A scheduler for the model checker that runs one thread in the middle of another.
//!
//! A race between an operation and a walk over an engine's metadata needs two preemptions at the right steps,
//! which lie hundreds of steps apart. A random scheduler hardly ever finds both steps. [`Relay`] tries all
//! pairs of steps in two ranges.
//!
//! ```text
//! first thread   ──▶ │           │ ─────────▶│
//! second thread      │ ─────────▶│           │ ──▶
//!                    steps[0]    steps[1]    end
//! ```

use shuttle::scheduler::{
    Schedule,
    Scheduler,
    Task,
    TaskId, //
};

use core::ops::Range;

use crate::testing::numbers::Numbers;

/// A scheduler that runs the first thread for some steps, then the second thread for some steps, then the
/// first thread to its end, then the second thread to its end: once for each pair of numbers of steps from
/// two ranges.
pub(crate) struct Relay {
    ranges: [Range<usize>; 2],
    /// The number of pairs whose run has begun.
    begun: usize,
    /// The number of steps that each thread still runs before it is preempted.
    left: [usize; 2],
    numbers: Numbers,
}

impl Relay {
    /// Constructs a scheduler for all pairs of numbers from `ranges`.
    pub(crate) fn new(ranges: [Range<usize>; 2]) -> Self {
        Self {
            ranges,
            begun: 0,
            left: [0; 2],
            numbers: Numbers(0x5eed),
        }
    }
}

impl Scheduler for Relay {
    fn new_execution(&mut self) -> Option<Schedule> {
        let [first, second] = &self.ranges;
        let (row, column) = (self.begun / second.len(), self.begun % second.len());
        self.left = [first.clone().nth(row)?, second.start + column];
        self.begun += 1;
        Some(Schedule::new(0))
    }

    fn next_task(
        &mut self,
        runnable: &[&Task],
        _current: Option<TaskId>,
        _is_yielding: bool,
    ) -> Option<TaskId> {
        let task = |number: usize| {
            let is = |task: &&&Task| usize::from(task.id()) == number;
            runnable.iter().find(is).map(|task| task.id())
        };
        // The main thread spawns the other threads and then waits for them, so it runs whenever it can.
        if let Some(main) = task(0) {
            return Some(main);
        }
        for (left, number) in self.left.iter_mut().zip(1..) {
            if let (Some(rest), Some(task)) = (left.checked_sub(1), task(number)) {
                *left = rest;
                return Some(task);
            }
        }
        runnable.first().map(|task| task.id())
    }

    fn next_u64(&mut self) -> u64 {
        let halves = [(); 2].map(|()| self.numbers.below(1 << 32) as u64);
        halves[0] << 32 | halves[1]
    }
}
