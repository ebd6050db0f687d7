// SPDX-License-Identifier: GPL-2.0

//! A scheduler for the model checker that puts one thread's work into the middle of another's.
//!
//! A race between an operation and a walk over all that an engine keeps needs two switches at just
//! the right moments, which are far apart: chosen one by one, at random, they are hardly ever met.

use shuttle::scheduler::{
    Schedule,
    Scheduler,
    Task,
    TaskId, //
};

use crate::testing::numbers::Numbers;

/// Lets a first thread run for some steps, then a second one, then the first to its end, then the
/// second to its own. The steps are random, and below bounds.
pub(super) struct Relay {
    pub(super) iterations: usize,
    pub(super) numbers: Numbers,
    /// Bounds of the steps of the first thread and of the second.
    pub(super) bounds: [usize; 2],
    /// Steps that are left.
    pub(super) left: [usize; 2],
}

impl Relay {
    pub(super) fn new(iterations: usize, bounds: [usize; 2]) -> Self {
        Self {
            iterations,
            numbers: Numbers(0x5eed),
            bounds,
            left: [0; 2],
        }
    }
}

impl Scheduler for Relay {
    fn new_execution(&mut self) -> Option<Schedule> {
        self.iterations = self.iterations.checked_sub(1)?;
        self.left = self.bounds.map(|bound| self.numbers.below(bound));
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
        // Less than all bits are random, but these are.
        let halves = [(); 2].map(|()| self.numbers.below(1 << 32) as u64);
        halves[0] << 32 | halves[1]
    }
}
