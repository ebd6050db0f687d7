// SPDX-License-Identifier: GPL-2.0

//! The results of a stress run, and their JSON.

use std::{
    collections::BTreeMap,
    time::Duration, //
};

use serde::{
    Deserialize,
    Deserializer,
    Serialize,
    Serializer,
    de::Error as _, //
};

use crate::{
    cmd::stats,
    fault_injection::FaultArgs,
    isolation::Death,
    oracle::{
        Summary,
        Tally,
        Violation, //
    },
    report::{
        bytes,
        count, //
    },
    session_factory::TargetKind,
    uapi::Engine,
    workload::{
        Limit,
        Workload,
        WorkloadFailure, //
    },
};

/// The parameters that the results depend on.
#[derive(Clone, Debug)]
pub(super) struct Config {
    pub(super) target: TargetKind,
    pub(super) seed: u64,
    pub(super) limit: Limit,
    pub(super) threads: u16,
    /// The size of a private pool; `None` for the shared pool.
    pub(super) pool_mib: Option<u64>,
    /// Whether the private pools are in debug mode.
    pub(super) debug: bool,
    /// The fault injection.
    pub(super) faults: FaultArgs,
}

/// The result of one workload on one engine. The process that ran the workload sends it to its
/// parent.
#[derive(Serialize, Deserialize)]
pub(super) struct StressOutcome {
    pub(super) engine: Engine,
    #[serde(serialize_with = "name_of", deserialize_with = "named")]
    pub(super) workload: &'static Workload,
    pub(super) operations: u64,
    pub(super) elapsed: Duration,
    pub(super) result: Result<Passed, Failed>,
}

/// The figures of a workload that passed.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Passed {
    pub(super) tally: Tally,
    pub(super) checked_bytes: u64,
    pub(super) peak_live_bytes: u64,
    pub(super) trace: u64,
    total_bytes: u64,
    used_bytes: u64,
    available_bytes: u64,
    cached_bytes: u64,
    growths: u64,
}

/// The verdict on a workload that failed.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Failed {
    /// The operation, counted from 1.
    pub(super) operation: u64,
    /// The violated rule.
    pub(super) violation: String,
    /// The violation was found in one of several threads, each of which counts its own operations.
    in_thread: bool,
}

impl From<Summary> for Passed {
    fn from(summary: Summary) -> Self {
        let stats = &summary.stats;
        Self {
            tally: summary.tally,
            checked_bytes: summary.checked_bytes,
            peak_live_bytes: summary.peak_live_bytes,
            trace: summary.trace,
            total_bytes: stats.total_bytes,
            used_bytes: stats.used_bytes,
            available_bytes: stats.available_bytes,
            cached_bytes: stats.cached_bytes,
            growths: stats.classes.iter().map(|class| class.growths).sum(),
        }
    }
}

impl Config {
    /// Returns the command that runs a workload on an engine, with `operations` as `--ops` if there are any.
    pub(super) fn command(
        &self,
        engine: Engine,
        workload: &Workload,
        operations: Option<u64>,
    ) -> String {
        let mut command = format!(
            "slablab stress {} --target {} --engine {engine} --seed {}",
            workload.name,
            self.target.name(),
            self.seed,
        );
        if let Some(operations) = operations {
            command += &format!(" --ops {operations}");
        }
        if !workload.is_sequential {
            command += &format!(" --threads {}", self.threads);
        }
        for option in self.faults.options() {
            command += &format!(" {option}");
        }
        if self.debug {
            command += " --debug";
        }
        match self.pool_mib {
            Some(mib) => command + &format!(" --pool {mib}"),
            None => command + " --shared",
        }
    }
}

impl From<WorkloadFailure> for Failed {
    fn from(failure: WorkloadFailure) -> Self {
        Self {
            operation: failure.operation,
            violation: failure.violation.to_string(),
            in_thread: matches!(failure.violation, Violation::InThread { .. }),
        }
    }
}

impl From<&Death> for Failed {
    fn from(death: &Death) -> Self {
        let operation = death.underway.operation;
        let thread = death.underway.thread;
        Self {
            operation: if thread.is_some() {
                death.operations
            } else {
                operation
            },
            violation: match thread {
                Some(thread) => {
                    format!("thread {thread}, operation {operation} of that thread: {death}")
                }
                None => death.to_string(),
            },
            in_thread: thread.is_some(),
        }
    }
}

fn name_of<S: Serializer>(workload: &Workload, serializer: S) -> Result<S::Ok, S::Error> {
    workload.name.serialize(serializer)
}

fn named<'de, D: Deserializer<'de>>(deserializer: D) -> Result<&'static Workload, D::Error> {
    let name = String::deserialize(deserializer)?;
    Workload::named(&name).ok_or_else(|| D::Error::custom("no such workload"))
}

/// All outcomes, and the parameters of the run.
pub(super) struct StressReport {
    pub(super) config: Config,
    pub(super) outcomes: Vec<StressOutcome>,
}

/// The report, for JSON.
#[derive(Serialize)]
pub(super) struct StressDocument {
    target: TargetKind,
    seed: u64,
    operations: Option<u64>,
    seconds: Option<f64>,
    threads: u16,
    pool_mib: Option<u64>,
    debug: bool,
    #[serde(flatten)]
    faults: FaultArgs,
    passed: bool,
    /// The reproducible statistics: only with --ops and a private pool.
    r#final: Vec<FinalStatistics>,
    timing: Vec<Timing>,
    failures: Vec<FailureReport>,
}

/// The statistics of a workload that depend on the parameters only.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct FinalStatistics {
    engine: Engine,
    workload: &'static str,
    operations: u64,
    allocations: u64,
    frees: u64,
    reallocations: u64,
    refusals: BTreeMap<&'static str, u64>,
    checked_bytes: u64,
    #[serde(flatten)]
    sequential: Option<Sequential>,
}

/// The statistics that are reproducible only with one thread.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Sequential {
    peak_live_bytes: u64,
    /// A hash of all replies in their order.
    trace: String,
    total_bytes: u64,
    used_bytes: u64,
    available_bytes: u64,
    cached_bytes: u64,
    growths: u64,
}

#[derive(Serialize)]
struct Timing {
    engine: Engine,
    workload: &'static str,
    seconds: f64,
    operations_per_second: f64,
}

#[derive(Serialize)]
struct FailureReport {
    engine: Engine,
    workload: &'static str,
    seed: u64,
    operation: u64,
    violation: String,
    repeat: String,
}

impl Config {
    /// Returns whether the figures of a sequential workload depend on these parameters only.
    pub(super) fn are_exact(&self) -> bool {
        matches!(self.limit, Limit::Operations(_)) && self.pool_mib.is_some()
    }
}

impl StressOutcome {
    /// Returns the name of the workload's trace.
    pub(super) fn name(&self) -> String {
        format!("{}-{}", self.engine, self.workload.name)
    }

    /// Returns operations per second.
    pub(super) fn rate(&self) -> f64 {
        self.operations as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// Returns the outcome in a line.
    pub(super) fn line(&self) -> String {
        match &self.result {
            Ok(summary) => format!(
                "ok, {} operations in {:.2} s, {} checked",
                count(self.operations),
                self.elapsed.as_secs_f64(),
                bytes(summary.checked_bytes)
            ),
            Err(failure) => format!("FAILED at operation {}", failure.operation),
        }
    }

    /// Returns the command that reproduces a failure.
    pub(super) fn repeat(&self, failure: &Failed, config: &Config) -> String {
        // The failed operation depends on the operations of all threads, so the command repeats all of them.
        let operations = match (failure.in_thread, config.limit) {
            (true, Limit::Operations(all)) => all,
            (true, Limit::Time(_)) => self.operations,
            // A failure before the first operation is repeated by running one operation.
            _ => failure.operation.max(1),
        };
        config.command(self.engine, self.workload, Some(operations))
    }

    /// Returns the statistics that depend on the parameters only.
    pub(super) fn r#final(&self) -> Option<FinalStatistics> {
        let summary = self.result.as_ref().ok()?;
        Some(FinalStatistics {
            engine: self.engine,
            workload: self.workload.name,
            operations: self.operations,
            allocations: summary.tally.allocations,
            frees: summary.tally.frees,
            reallocations: summary.tally.reallocations,
            refusals: stats::refusals(&summary.tally.refusals),
            checked_bytes: summary.checked_bytes,
            sequential: self.workload.is_sequential.then(|| Sequential {
                peak_live_bytes: summary.peak_live_bytes,
                trace: format!("{:016x}", summary.trace),
                total_bytes: summary.total_bytes,
                used_bytes: summary.used_bytes,
                available_bytes: summary.available_bytes,
                cached_bytes: summary.cached_bytes,
                growths: summary.growths,
            }),
        })
    }
}

impl FinalStatistics {
    /// Returns the statistics as one line, for `diff`.
    pub(super) fn line(&self) -> String {
        let refusals: u64 = self.refusals.values().sum();
        let mut line = format!(
            "{} {} operations={} allocations={} frees={} reallocations={} refusals={} \
             checked_bytes={}",
            self.engine,
            self.workload,
            self.operations,
            self.allocations,
            self.frees,
            self.reallocations,
            refusals,
            self.checked_bytes
        );
        if let Some(exact) = &self.sequential {
            line += &format!(
                " peak_live_bytes={} total_bytes={} used_bytes={} available_bytes={} growths={} \
                 trace={}",
                exact.peak_live_bytes,
                exact.total_bytes,
                exact.used_bytes,
                exact.available_bytes,
                exact.growths,
                exact.trace
            );
        }
        line
    }
}

impl StressReport {
    /// Creates a report without outcomes.
    pub(super) fn new(config: Config) -> Self {
        Self {
            config,
            outcomes: Vec::new(),
        }
    }

    /// Returns whether every workload passed.
    pub(super) fn has_passed(&self) -> bool {
        self.outcomes.iter().all(|outcome| outcome.result.is_ok())
    }

    /// Returns the statistics of all workloads that depend on the parameters only.
    pub(super) fn finals(&self) -> impl Iterator<Item = FinalStatistics> {
        let outcomes = self.outcomes.iter();
        let exact = outcomes.filter(|outcome| !self.depends_on_order(outcome));
        exact.filter_map(StressOutcome::r#final)
    }

    /// Returns whether the figures of an outcome also depend on the order of the threads: `--fail-*` counts
    /// the requests of all threads.
    pub(super) fn depends_on_order(&self, outcome: &StressOutcome) -> bool {
        !outcome.workload.is_sequential && self.config.faults.is_any()
    }

    /// Returns the report for JSON.
    pub(super) fn document(&self) -> StressDocument {
        let Config {
            target,
            seed,
            limit,
            threads,
            pool_mib,
            debug,
            faults,
        } = self.config;
        let (operations, seconds) = match limit {
            Limit::Operations(operations) => (Some(operations), None),
            Limit::Time(time) => (None, Some(time.as_secs_f64())),
        };
        StressDocument {
            target,
            seed,
            operations,
            seconds,
            threads,
            pool_mib,
            debug,
            faults,
            passed: self.has_passed(),
            r#final: self.finals().collect(),
            timing: self
                .outcomes
                .iter()
                .map(|outcome| Timing {
                    engine: outcome.engine,
                    workload: outcome.workload.name,
                    seconds: outcome.elapsed.as_secs_f64(),
                    operations_per_second: outcome.rate(),
                })
                .collect(),
            failures: self
                .outcomes
                .iter()
                .filter_map(|outcome| {
                    let failure = outcome.result.as_ref().err()?;
                    Some(FailureReport {
                        engine: outcome.engine,
                        workload: outcome.workload.name,
                        seed,
                        operation: failure.operation,
                        violation: failure.violation.clone(),
                        repeat: outcome.repeat(failure, &self.config),
                    })
                })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(workload: &str, violation: Violation, limit: Limit) -> StressReport {
        let mut report = StressReport::new(Config {
            target: TargetKind::Sim,
            seed: 7,
            limit,
            threads: 4,
            pool_mib: Some(16),
            debug: true,
            faults: FaultArgs {
                fail_every: None,
                fail_growth: Some(3),
            },
        });
        report.outcomes.push(StressOutcome {
            engine: Engine::Seed,
            workload: Workload::named(workload).unwrap(),
            operations: 900,
            elapsed: Duration::from_secs(3),
            result: Err(Failed::from(WorkloadFailure {
                operation: 123,
                violation,
            })),
        });
        report
    }

    #[test]
    fn a_failure_says_how_to_repeat_it() {
        let violation = Violation::BadHandle { handle: 0 };
        let report = failed("churn", violation, Limit::Time(Duration::from_secs(3)));
        assert!(!report.has_passed());
        let document = serde_json::to_value(report.document()).unwrap();
        assert_eq!(document["passed"], false);
        assert_eq!(
            document["failures"][0]["repeat"],
            "slablab stress churn --target sim --engine seed --seed 7 --ops 123 --fail-growth 3 \
             --debug --pool 16"
        );
        assert_eq!(document["failures"][0]["operation"], 123);
        assert!(document["final"].as_array().unwrap().is_empty());
    }

    #[test]
    fn threads_are_repeated_whole() {
        let violation = || Violation::InThread {
            thread: 1,
            operation: 30,
            violation: Box::new(Violation::BadHandle { handle: 0 }),
        };
        for (limit, operations) in [
            (Limit::Time(Duration::from_secs(3)), 900),
            (Limit::Operations(5000), 5000),
        ] {
            let report = failed("threads", violation(), limit);
            let failure = report.outcomes[0].result.as_ref().unwrap_err();
            assert_eq!(
                report.outcomes[0].repeat(failure, &report.config),
                format!(
                    "slablab stress threads --target sim --engine seed --seed 7 \
                     --ops {operations} --threads 4 --fail-growth 3 --debug --pool 16"
                )
            );
        }
    }
}
