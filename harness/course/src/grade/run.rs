// SPDX-License-Identifier: GPL-2.0

//! Runs the tests and the measurements of a rubric on the engine `student` of this process.
//!
//! Each test and each trace runs in a child process of its own, with limits on time and memory. An allocator that
//! panics, crashes or never returns therefore loses the points of that test only.

use std::{
    fs::File,
    time::Duration, //
};

use rustix::{
    process::{
        Resource,
        Rlimit,
        setrlimit, //
    },
    stdio::{
        dup2_stderr,
        dup2_stdout, //
    },
};
use serde::{
    Deserialize,
    Serialize,
    de::DeserializeOwned, //
};
use slablab_lab::{
    isolation::{
        self,
        Patience,
        underway, //
    },
    sim::student,
};

use super::{
    measure,
    workload, //
};
use crate::{
    rubric::Rubric,
    suites,
    verify::{
        self,
        Explained, //
    },
};

/// The time after which a request counts as endless. An endless loop that accesses the pool ends earlier, at a number
/// of accesses that is the same on every machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// The processor time of a child, in seconds. A test of a model solution needs less than 1, emulated less than 10.
const CPU_SECONDS: u64 = 120;

/// The memory of a child, in bytes: its address space.
const MEMORY_BYTES: u64 = 1 << 30;

/// The largest file of a child, in bytes.
const FILE_BYTES: u64 = 64 << 20;

/// The result of a test.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum TestResult {
    /// The test passed.
    Passed,
    /// The test failed.
    Failed(Explained),
    /// The test was not run, because its parent failed or was not run.
    NotRun,
}

/// A figure of a trace.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Figure {
    /// The name of the workload.
    pub trace: String,
    /// The figure, or the reason why there is none.
    pub result: Result<Quantity, String>,
}

/// The figure of a trace as a fraction, so that nothing is rounded before the mean is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Quantity {
    /// Utilisation in per mille, or the accesses.
    pub amount: u64,
    /// 1, or the operations.
    pub of: u64,
}

/// The results of a rubric, from which the points are computed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Measurement {
    /// The results of the tests, in the order of the rubric.
    pub tests: Vec<TestResult>,
    /// The utilisation of each trace; `None` if the gate is closed or the rubric has no such section.
    pub utilisation: Option<Vec<Figure>>,
    /// The cost of each trace.
    pub cost: Option<Vec<Figure>>,
}

impl Measurement {
    /// Runs the tests and the measurements. The traces are those of `seed`.
    ///
    /// # Errors
    ///
    /// The rubric names a test or a trace that does not exist, or no process can be created.
    pub fn take(rubric: &Rubric, seed: u64) -> anyhow::Result<Self> {
        rubric.check()?;
        let mut tests = Vec::<TestResult>::new();
        for named in &rubric.tests {
            let parent = rubric.tests[..tests.len()]
                .iter()
                .position(|test| Some(&test.sentence) == named.parent.as_ref());
            let result = match (parent, suites::named(&named.sentence)) {
                (Some(parent), _) if tests[parent] != TestResult::Passed => TestResult::NotRun,
                (_, Some(test)) => {
                    match verify::run_prepared(test, PATIENCE, rubric.whole_pages, limit)? {
                        None => TestResult::Passed,
                        Some(failed) => TestResult::Failed(failed),
                    }
                }
                (_, None) => anyhow::bail!("there is no test \"{}\"", named.sentence),
            };
            tests.push(result);
        }
        let is_open = !rubric.gate || tests.iter().all(|test| *test == TestResult::Passed);
        let measured =
            |traces: Option<&Vec<String>>,
             measure: &dyn Fn(&slablab_trace::Trace) -> Result<Quantity, String>| {
                let traces = traces.filter(|_| is_open);
                let figure = |name: &String| {
                    let workload = workload::named(name)
                        .ok_or_else(|| anyhow::anyhow!("there is no trace {name}"))?;
                    let trace = workload.trace(seed);
                    let result = limited(|| underway::without_fills(|| measure(&trace)))?;
                    anyhow::Ok(Figure {
                        trace: name.clone(),
                        result,
                    })
                };
                let figures =
                    traces.map(|traces| traces.iter().map(figure).collect::<anyhow::Result<_>>());
                figures.transpose()
            };
        let utilisation = rubric.utilisation.as_ref().map(|section| &section.traces);
        let too_large = too_large(rubric, student::type_bytes());
        let cost = rubric.cost.as_ref().map(|section| &section.traces);
        Ok(Self {
            utilisation: measured(utilisation, &|trace| {
                Ok(Quantity {
                    amount: measure::utilisation(trace)?,
                    of: 1,
                })
            })?,
            cost: measured(cost, &|trace| {
                if let Some(reason) = &too_large {
                    return Err(reason.clone());
                }
                let (amount, of) = measure::cost(trace)?;
                Ok(Quantity { amount, of })
            })?,
            tests,
        })
    }
}

/// Returns the reason why the cost is not measured, if the allocator's type is larger than the rubric allows.
fn too_large(rubric: &Rubric, type_bytes: Option<usize>) -> Option<String> {
    let (bytes, most) = (type_bytes?, rubric.cost.as_ref()?.type_bytes);
    (bytes > most).then(|| {
        format!(
            "the type Student has {bytes} bytes. Accesses to it are not counted, so it can have at most {most}. The pool \
             and notes have room for the rest"
        )
    })
}

/// Runs `work` in a child process with limits on time and memory. A child that ends without a result has failed.
///
/// # Errors
///
/// No process can be created.
fn limited<T: Serialize + DeserializeOwned>(
    work: impl FnOnce() -> Result<T, String>,
) -> anyhow::Result<Result<T, String>> {
    let ended = isolation::run(Patience::Limited(PATIENCE), || {
        limit()?;
        work()
    })?;
    Ok(ended.unwrap_or_else(|death| Err(death.to_string())))
}

/// Limits the time and the memory of this process, and closes its outputs: a panic while a panic is handled would print
/// the allocator's text where the results are printed.
fn limit() -> Result<(), String> {
    let closed = File::options()
        .write(true)
        .open("/dev/null")
        .and_then(|nowhere| {
            dup2_stdout(&nowhere)?;
            Ok(dup2_stderr(&nowhere)?)
        });
    closed.map_err(|error| format!("the outputs cannot be closed: {error}"))?;
    let limits = [
        (Resource::Cpu, CPU_SECONDS),
        (Resource::As, MEMORY_BYTES),
        // The result is written to a pipe, and the journal of a test to memory.
        (Resource::Fsize, FILE_BYTES),
    ];
    for (resource, most) in limits {
        let limit = Rlimit {
            current: Some(most),
            maximum: Some(most),
        };
        setrlimit(resource, limit)
            .map_err(|errno| format!("the process cannot be limited: {errno}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bitmap of the pool in the type would make all accesses free.
    #[test]
    fn a_type_that_is_larger_than_the_rubric_allows_has_no_cost() {
        let rubric = Rubric::parse(include_str!("../../02-first-fit/rubric.toml")).unwrap();
        let reason = too_large(&rubric, Some(1024)).unwrap();
        assert!(
            reason.contains("1024 bytes") && reason.contains("at most 256"),
            "{reason}"
        );
        assert_eq!(too_large(&rubric, Some(256)), None);
        assert_eq!(too_large(&rubric, None), None);
    }
}
