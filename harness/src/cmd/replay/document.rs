// SPDX-License-Identifier: GPL-2.0

//! What replays come to.

use std::collections::BTreeMap;

use serde::{
    Deserialize,
    Serialize, //
};
use slablab_trace::Trace;

use super::measure::Plan;
use crate::{
    opener::TargetKind,
    replay::{
        Failure,
        Times, //
    },
    uapi::Engine,
};

/// Everything that was replayed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Document {
    pub(super) target: TargetKind,
    pub(super) kernel: String,
    /// The pool in which answers were checked and operations timed.
    pub(super) pool_bytes: u64,
    pub(super) traces: Vec<TraceResult>,
}

/// A trace on all engines.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct TraceResult {
    pub(super) name: String,
    pub(super) source: String,
    pub(super) operations: u64,
    pub(super) peak_bytes: u64,
    pub(super) engines: Vec<EngineResult>,
}

/// A trace on one engine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct EngineResult {
    pub(super) engine: Engine,
    /// Operations that were done.
    pub(super) done: u64,
    /// Operations that were refused, by cause.
    pub(super) refused: BTreeMap<String, u64>,
    /// Operations about blocks that were refused.
    pub(super) left_out: u64,
    /// Bytes that were read back and compared.
    pub(super) checked_bytes: u64,
    pub(super) space: Option<Space>,
    pub(super) times: Option<Times>,
    /// The wrong answer that ended it.
    pub(super) failure: Option<Wrong>,
}

/// What memory a trace needs.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Space {
    /// The smallest pool, of an engine with a pool.
    pub(super) pool_bytes: Option<u64>,
    /// That, or the most bytes that blocks had at once.
    pub(super) reserved_bytes: u64,
    /// The live peak over these.
    pub(super) utilisation: f64,
    /// What blocks have beyond what was asked for at that moment, over these.
    pub(super) internal: f64,
    /// What is in no block then, over these; of an engine with a pool.
    pub(super) external: Option<f64>,
}

/// A wrong answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Wrong {
    /// The operation, counted from 1.
    pub(super) operation: u64,
    /// What it is.
    pub(super) what: String,
    /// What is wrong.
    pub(super) complaint: String,
    /// The pool in which it came up.
    pub(super) pool_bytes: u64,
}

impl Wrong {
    /// Notes a wrong answer in a pool.
    pub(super) fn new(failure: &Failure, pool_bytes: u64) -> Self {
        Self {
            operation: failure.operation,
            what: failure.what.clone(),
            complaint: failure.complaint.to_string(),
            pool_bytes,
        }
    }
}

impl Document {
    /// Begins with nothing replayed.
    pub(super) fn new(plan: &Plan) -> Self {
        let kernel = rustix::system::uname();
        Self {
            target: plan.target,
            kernel: kernel.release().to_string_lossy().into_owned(),
            pool_bytes: plan.pool_bytes,
            traces: Vec::new(),
        }
    }

    /// Says whether every answer was right.
    pub(super) fn is_right(&self) -> bool {
        self.results().all(|(_, result)| result.failure.is_none())
    }

    /// Returns each trace with each engine.
    pub(super) fn results(&self) -> impl Iterator<Item = (&TraceResult, &EngineResult)> {
        let one = |trace| (TraceResult::each)(trace);
        self.traces.iter().flat_map(one)
    }

    /// Returns the engines, in their order.
    pub(super) fn engines(&self) -> Vec<Engine> {
        let mut engines = Vec::new();
        for (_, result) in self.results() {
            if !engines.contains(&result.engine) {
                engines.push(result.engine);
            }
        }
        engines
    }
}

impl TraceResult {
    /// Begins with no engine.
    pub(super) fn new(trace: &Trace) -> Self {
        Self {
            name: trace.name.clone(),
            source: trace.source.clone(),
            operations: trace.ops().len() as u64,
            peak_bytes: trace.peak_bytes(),
            engines: Vec::new(),
        }
    }

    fn each(&self) -> impl Iterator<Item = (&Self, &EngineResult)> {
        self.engines.iter().map(move |result| (self, result))
    }
}
