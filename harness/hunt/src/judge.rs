// SPDX-License-Identifier: GPL-2.0

//! Replays a trace on a version of an allocator, and judges a submission.
//!
//! The replay is that of `slablab replay`: the oracle checks every answer, the remaining blocks are freed at the end,
//! and the allocator's own check is called. In addition, a refused request is noted, because the sound allocator must
//! serve every request of a submission.

use std::sync::Arc;

use anyhow::Context;
use serde::{
    Deserialize,
    Serialize, //
};
use slablab_lab::{
    oracle::{
        Oracle,
        Violation, //
    },
    replay::{
        Checked,
        OpOutcome,
        words, //
    },
    sim::{
        Pool,
        Sim, //
    },
    target::Target,
    uapi::AllocatorRule,
};
use slablab_trace::Trace;

use crate::{
    Rule,
    Version, //
};

/// The largest number of operations of a submission.
pub const OPERATIONS_MAX: usize = 10_000;

/// The seed of the patterns in blocks.
const PATTERN_SEED: u64 = 1;

/// A rule that broke in a replay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Break {
    /// The rule.
    pub rule: Rule,
    /// The number of the operation, from 1; one more than the number of operations at the end of the replay.
    pub operation: u64,
    /// The operation and what happened, in words.
    pub sentence: String,
}

/// The rules that broke in a replay, at most one for each way to notice it, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The first refused request, and the violation that ended the replay.
    pub breaks: Vec<Break>,
}

impl Report {
    /// Returns the report of a replay in a process that ended.
    pub fn of_death(operation: u64, sentence: String) -> Self {
        let rule = Rule::Ends;
        Self {
            breaks: vec![Break {
                rule,
                operation,
                sentence,
            }],
        }
    }
}

/// Replays a trace on a version, in the pool of its kind.
///
/// # Errors
///
/// There is no memory for the pool.
pub fn replay(version: Version, trace: &Trace) -> anyhow::Result<Report> {
    let bytes = version.kind().pool_bytes();
    let pool = Pool::with_student(version.constructor(), bytes, false);
    let pool = pool.context("no memory for the pool")?;
    Ok(replay_on(&Sim::on(Arc::new(pool), true), trace))
}

/// Replays a trace in a session.
pub fn replay_on(target: &dyn Target, trace: &Trace) -> Report {
    let mut report = Report::default();
    let (operation, violation) = match watched(target, trace, &mut report) {
        Ok(()) => return report,
        Err(failure) => failure,
    };
    let rule = target.violation().ok();
    let rule = rule.and_then(|broken| AllocatorRule::from_raw(broken.rule));
    report.breaks.push(Break {
        rule: Rule::of(&violation, rule),
        operation: operation as u64 + 1,
        sentence: format!("{}: {violation}", what(trace, operation)),
    });
    report
}

/// Replays a trace in a session, and returns the violation that ends the replay.
pub fn violation(target: &dyn Target, trace: &Trace) -> Option<Violation> {
    let watched = watched(target, trace, &mut Report::default());
    watched.err().map(|(_, violation)| violation)
}

/// Returns an operation in words.
fn what(trace: &Trace, operation: usize) -> String {
    words(trace.ops(), operation).unwrap_or_else(|| "the end".to_owned())
}

/// Replays a trace until a violation, and notes the first refused request. An error has the index of the operation.
fn watched(
    target: &dyn Target,
    trace: &Trace,
    report: &mut Report,
) -> Result<(), (usize, Violation)> {
    let oracle = Oracle::new(target, PATTERN_SEED).map_err(|violation| (0, violation))?;
    let mut run = Checked::new(trace, &oracle);
    let count = trace.ops().len();
    for operation in 0..count {
        let advanced = run.advance(operation + 1);
        advanced.map_err(|failure| (operation, failure.violation))?;
        let answer = run.answers().last();
        if let Some(OpOutcome::Refused(cause)) = answer.map(|answer| answer.outcome) {
            if report.breaks.is_empty() {
                report.breaks.push(Break {
                    rule: Rule::NoMemoryLost,
                    operation: operation as u64 + 1,
                    sentence: format!("{}: refused ({cause})", what(trace, operation)),
                });
            }
        }
    }
    run.end().map_err(|failure| (count, failure.violation))?;
    oracle.finish().map_err(|violation| (count, violation))?;
    Ok(())
}

/// The verdict on a submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The trace exposes the defect, and the named rule is the one that broke.
    Accepted(Break),
    /// The trace fails on the sound allocator, too.
    FailsOnSound(Break),
    /// The trace passes on the allocator with the defect.
    NotExposed,
    /// The trace exposes the defect, but another rule broke.
    OtherRule(Break),
}

/// Judges a submission: the reports of the two replays, and the rule that the learner names.
pub fn verdict(sound: Report, defective: Report, named: Rule) -> Verdict {
    if let Some(broken) = sound.breaks.into_iter().next() {
        return Verdict::FailsOnSound(broken);
    }
    let breaks = defective.breaks;
    match breaks.iter().position(|broken| broken.rule == named) {
        Some(index) => Verdict::Accepted(breaks[index].clone()),
        None => match breaks.into_iter().next() {
            Some(broken) => Verdict::OtherRule(broken),
            None => Verdict::NotExposed,
        },
    }
}
