// SPDX-License-Identifier: GPL-2.0

//! Runs one workload on one engine, with a progress bar.

use std::{
    io::{
        self,
        IsTerminal, //
    },
    sync::mpsc::{
        self,
        Receiver,
        RecvTimeoutError, //
    },
    thread,
    time::Duration,
};

use anyhow::Context;
use indicatif::{
    ProgressBar,
    ProgressStyle, //
};

use super::outcome::{
    Config,
    StressOutcome, //
};
use crate::{
    affinity::CpuPin,
    isolation::underway,
    oracle::{
        Oracle,
        Summary, //
    },
    report::{
        bytes,
        count, //
    },
    session_factory::TargetKind,
    target::Target,
    uapi::Engine,
    workload::{
        Workload,
        WorkloadBudget,
        WorkloadFailure, //
    },
};

/// The period of updates of a progress bar.
const BAR_PERIOD: Duration = Duration::from_millis(100);

/// The period of progress lines if there is no terminal.
const LINE_PERIOD: Duration = Duration::from_secs(10);

/// The template of a progress bar.
const BAR: &str = "{prefix:16} [{bar:24}] {percent:>3}%  {msg}";

/// The length of a progress bar in steps.
const BAR_LENGTH: u64 = 1000;

/// One workload on one engine.
pub(super) struct StressJob<'j> {
    engine: Engine,
    workload: &'static Workload,
    target: &'j dyn Target,
    config: &'j Config,
}

impl<'j> StressJob<'j> {
    /// Creates a job. The engine is the one that INFO of the session reports.
    pub(super) fn new(
        engine: Engine,
        workload: &'static Workload,
        target: &'j dyn Target,
        config: &'j Config,
    ) -> anyhow::Result<Self> {
        let bound = Engine::from_raw(target.info().context("INFO failed")?.engine);
        Ok(Self {
            engine: bound.unwrap_or(engine),
            workload,
            target,
            config,
        })
    }

    /// Runs the workload.
    pub(super) fn run(&self) -> StressOutcome {
        if self.config.target == TargetKind::Device {
            underway::name_threads(&self.config.command(self.engine, self.workload, None));
        }
        let budget = WorkloadBudget::start(self.config.limit);
        let result = self.checked(&budget);
        let elapsed = budget.elapsed();
        let outcome = StressOutcome {
            engine: self.engine,
            workload: self.workload,
            operations: budget.done(),
            elapsed,
            result: result.map(Into::into).map_err(Into::into),
        };
        if !io::stderr().is_terminal() {
            eprintln!("{}: {}", self.name(), outcome.line());
        }
        outcome
    }

    fn checked(&self, budget: &WorkloadBudget) -> Result<Summary, WorkloadFailure> {
        let at_the_end = |violation| WorkloadFailure {
            operation: budget.done(),
            violation,
        };
        let oracle = Oracle::new(self.target, self.config.seed).map_err(at_the_end)?;
        let (done, is_done) = mpsc::channel();
        // Draw the bar before the first operation: if the kernel crashes, the console shows the workload's name.
        let bar = self.bar();
        thread::scope(|scope| {
            scope.spawn(|| self.watch(&oracle, budget, &bar, is_done));
            // Magazines are per CPU: figures are reproducible only if the thread stays on one CPU.
            let stays = self.workload.is_sequential && self.config.are_exact();
            let _cpu = stays.then(CpuPin::current);
            // `done` is dropped when the workload returns or panics, which ends `watch`.
            let _done: mpsc::Sender<()> = done;
            let Config { seed, threads, .. } = *self.config;
            self.workload.run(&oracle, budget, seed, threads.into())
        })?;
        oracle.finish().map_err(at_the_end)
    }

    /// Shows progress: a bar on a terminal, else a line every 10 seconds.
    fn watch(
        &self,
        oracle: &Oracle<'_>,
        budget: &WorkloadBudget,
        bar: &ProgressBar,
        is_done: Receiver<()>,
    ) {
        let terminal = io::stderr().is_terminal();
        let period = if terminal { BAR_PERIOD } else { LINE_PERIOD };
        while is_done.recv_timeout(period) == Err(RecvTimeoutError::Timeout) {
            let checked = bytes(oracle.checked_bytes());
            let news = format!("{} ops, {checked} checked", count(budget.done()));
            if terminal {
                bar.set_position(budget.permille());
                bar.set_message(news);
            } else {
                eprintln!("{}: {news} so far", self.name());
            }
        }
        bar.finish_and_clear();
    }

    /// Draws the bar of a run that has not begun.
    fn bar(&self) -> ProgressBar {
        let bar = ProgressBar::new(BAR_LENGTH).with_prefix(self.name());
        if let Ok(style) = ProgressStyle::with_template(BAR) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message("0 ops");
        bar
    }

    fn name(&self) -> String {
        format!("{} {}", self.engine, self.workload.name)
    }
}
