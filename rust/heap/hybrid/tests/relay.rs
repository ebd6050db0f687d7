// SPDX-License-Identifier: GPL-2.0

//! A scheduler for the model checker that puts one thread's work into the middle of another's.
//!
//! A race between an operation and a walk over all that an engine keeps needs two switches at just
//! the right moments, which are far apart. At random they are hardly ever met; here all are tried.

use shuttle::scheduler::{
    Schedule,
    Scheduler,
    Task,
    TaskId, //
};

use core::ops::Range;

use crate::testing::numbers::Numbers;

/// Lets a first thread run for some steps, then a second one, then the first to its end, then the
/// second to its own: once for each pair of numbers of steps in two ranges.
pub(super) struct Relay {
    ranges: [Range<usize>; 2],
    /// Pairs that were begun.
    begun: usize,
    /// Steps that are left of both.
    left: [usize; 2],
    numbers: Numbers,
}

impl Relay {
    pub(super) fn new(ranges: [Range<usize>; 2]) -> Self {
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
        // The main thread waits while the others, which it began, run.
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
