// SPDX-License-Identifier: GPL-2.0

//! The limit of a workload, and its progress.

use std::{
    sync::atomic::{
        AtomicBool,
        AtomicU64,
        Ordering, //
    },
    time::{
        Duration,
        Instant, //
    },
};

use crate::isolation::underway;

/// The number of operations between two reads of the clock.
const CLOCK_STEPS: u64 = 32;

/// The end of a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    /// This number of operations.
    Operations(u64),
    /// This time, but at least 32 operations of each thread.
    Time(Duration),
}

/// The limit of a run and its progress, shared by its threads.
pub(crate) struct WorkloadBudget {
    limit: Limit,
    started: Instant,
    done: AtomicU64,
    stopped: AtomicBool,
}

impl WorkloadBudget {
    /// Starts the clock.
    pub(crate) fn start(limit: Limit) -> Self {
        Self {
            limit,
            started: Instant::now(),
            done: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
        }
    }

    /// Returns the number of operations that the threads have reported.
    pub(crate) fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Returns the time since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Returns the progress of the run, from 0 to 1000.
    pub(crate) fn permille(&self) -> u64 {
        let (used, all) = match self.limit {
            Limit::Operations(all) => (u128::from(self.done()), u128::from(all)),
            Limit::Time(all) => (self.elapsed().as_micros(), all.as_micros()),
        };
        (used * 1000)
            .checked_div(all)
            .map_or(1000, |done| done.min(1000)) as u64
    }

    /// Ends the run early, for all threads.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Returns the share of thread `index` of `count`.
    pub(super) fn share(&self, index: usize, count: usize) -> Steps<'_> {
        let (index, count) = (index as u128, count.max(1) as u128);
        let end = match self.limit {
            Limit::Time(_) => u64::MAX,
            Limit::Operations(all) => {
                let before = |index| u128::from(all) * index / count;
                (before(index + 1) - before(index)) as u64
            }
        };
        Steps {
            budget: self,
            taken: 0,
            end,
            reported: 0,
            clock_held: false,
        }
    }
}

/// The operations of one thread.
pub(crate) struct Steps<'b> {
    budget: &'b WorkloadBudget,
    taken: u64,
    end: u64,
    reported: u64,
    clock_held: bool,
}

impl<'b> Steps<'b> {
    /// Returns the budget of these steps.
    pub(super) fn budget(&self) -> &'b WorkloadBudget {
        self.budget
    }

    /// Takes a step. Returns `false` if none is left.
    pub(super) fn next(&mut self) -> bool {
        if self.taken >= self.end {
            return false;
        }
        if self.taken % CLOCK_STEPS == 0 {
            self.report();
            if self.budget.stopped.load(Ordering::Relaxed) {
                self.end = self.taken;
            }
            if let Limit::Time(limit) = self.budget.limit {
                // On a busy machine, the start may take all the time: the first operations are executed anyway.
                let may_end = self.taken > 0 && !self.clock_held;
                if may_end && self.budget.elapsed() >= limit {
                    self.end = self.taken;
                }
            }
        }
        let more = self.taken < self.end;
        self.taken += u64::from(more);
        underway::operation(self.taken);
        more
    }

    /// Lets the time limit end the run only after [`Steps::release_clock`], for a workload that tests
    /// nothing before the end of its first round.
    pub(super) fn hold_clock(&mut self) {
        self.clock_held = true;
    }

    /// Lets the time limit end the run.
    pub(super) fn release_clock(&mut self) {
        self.clock_held = false;
    }

    /// Returns the number of steps that were taken.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// Adds the steps to the progress of the budget.
    pub(super) fn report(&mut self) {
        self.budget
            .done
            .fetch_add(self.taken - self.reported, Ordering::Relaxed);
        self.reported = self.taken;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(mut steps: Steps<'_>) -> u64 {
        while steps.next() {}
        assert!(!steps.next());
        steps.report();
        steps.taken()
    }

    #[test]
    fn shares_come_to_the_whole() {
        for (all, threads) in [(0, 1), (1, 1), (100, 3), (7, 8), (1_000_003, 4)] {
            let budget = WorkloadBudget::start(Limit::Operations(all));
            let sum: u64 = (0..threads)
                .map(|index| count(budget.share(index, threads)))
                .sum();
            assert_eq!((sum, budget.done()), (all, all));
        }
    }

    #[test]
    fn time_ends_and_so_does_a_stop() {
        let budget = WorkloadBudget::start(Limit::Time(Duration::ZERO));
        assert_eq!(count(budget.share(0, 1)), CLOCK_STEPS);
        assert_eq!(budget.permille(), 1000);

        let mut held = budget.share(0, 1);
        held.hold_clock();
        assert!((0..1000).all(|_| held.next()));
        held.release_clock();
        assert!(count(held) < 1000 + CLOCK_STEPS);

        let budget = WorkloadBudget::start(Limit::Operations(u64::MAX));
        budget.stop();
        assert_eq!(count(budget.share(0, 1)), 0);
    }
}
