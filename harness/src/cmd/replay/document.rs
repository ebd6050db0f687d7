// SPDX-License-Identifier: GPL-2.0

//! The results of replays.

use std::{
    collections::BTreeMap,
    path::Path, //
};

use serde::{
    Deserialize,
    Serialize, //
};
use slablab_trace::Trace;

use super::plan::Plan;
use crate::{
    cmd::json,
    fault_injection::FaultArgs,
    isolation::Death,
    replay::{
        Failure,
        Times,
        timeline::Timeline,
        words, //
    },
    session_factory::TargetKind,
    subject::Subject,
};

/// The results of all replays.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::cmd) struct Document {
    pub(in crate::cmd) target: TargetKind,
    pub(in crate::cmd) kernel: String,
    /// The size of the pool in which answers were checked and operations timed.
    pub(in crate::cmd) pool_bytes: u64,
    /// The fault injection.
    #[serde(flatten)]
    pub(in crate::cmd) faults: FaultArgs,
    pub(in crate::cmd) traces: Vec<TraceResult>,
}

/// The results of one trace on all engines.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::cmd) struct TraceResult {
    pub(in crate::cmd) name: String,
    pub(in crate::cmd) source: String,
    pub(in crate::cmd) operations: u64,
    pub(in crate::cmd) peak_bytes: u64,
    pub(in crate::cmd) engines: Vec<EngineResult>,
}

/// The facts about a peer, which the notes below the tables show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::cmd) struct PeerFacts {
    pub(in crate::cmd) package: String,
    pub(in crate::cmd) version: String,
    pub(in crate::cmd) description: String,
    /// The size of the metadata outside of the pool.
    pub(in crate::cmd) metadata_bytes: u64,
    /// The largest alignment, or `None` if every alignment is possible.
    pub(in crate::cmd) align_max: Option<u64>,
    /// The rest of a sentence that begins with "It cannot".
    pub(in crate::cmd) cannot: Option<String>,
    /// Whether the peer reports the usable bytes of its blocks.
    pub(in crate::cmd) knows_usable_bytes: bool,
}

/// The result of one trace on one engine or peer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::cmd) struct EngineResult {
    /// The engine or the peer.
    pub(in crate::cmd) engine: Subject,
    /// The facts about a peer; `None` for an engine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::cmd) peer: Option<PeerFacts>,
    /// Operations that were done.
    pub(in crate::cmd) done: u64,
    /// Operations that were refused, by cause.
    pub(in crate::cmd) refused: BTreeMap<String, u64>,
    /// Operations on blocks whose allocation was refused.
    pub(in crate::cmd) left_out: u64,
    /// Bytes that were read back and compared.
    pub(in crate::cmd) checked_bytes: u64,
    pub(in crate::cmd) space: Option<EngineSpace>,
    pub(in crate::cmd) times: Option<Times>,
    /// The wrong answer that ended the replay.
    pub(in crate::cmd) failure: Option<WrongAnswer>,
    /// The timeline of the pool, which only 'slablab report' records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::cmd) timeline: Option<Timeline>,
}

/// The memory that a trace needs on one engine.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(in crate::cmd) struct EngineSpace {
    /// The smallest sufficient pool; `None` for an engine without pools.
    pub(in crate::cmd) pool_bytes: Option<u64>,
    /// `pool_bytes`; for an engine without pools, the peak of the blocks' usable bytes.
    pub(in crate::cmd) reserved_bytes: u64,
    /// Live peak / `reserved_bytes`.
    pub(in crate::cmd) utilisation: f64,
    /// (Usable - requested bytes at the live peak) / `reserved_bytes`; `None` for a peer that does not report usable
    /// bytes.
    pub(in crate::cmd) internal: Option<f64>,
    /// Bytes in no block at the live peak / `reserved_bytes`; `None` for an engine without pools, and for a peer that
    /// does not report usable bytes.
    pub(in crate::cmd) external: Option<f64>,
}

/// A wrong answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::cmd) struct WrongAnswer {
    /// The operation, counted from 1.
    pub(in crate::cmd) operation: u64,
    /// The operation in words.
    pub(in crate::cmd) what: String,
    /// The broken rule in words.
    pub(in crate::cmd) violation: String,
    /// The size of the pool in which the answer was wrong.
    pub(in crate::cmd) pool_bytes: u64,
    /// The command that reproduces the wrong answer.
    #[serde(default)]
    pub(in crate::cmd) repeat: String,
}

impl PeerFacts {
    /// Returns the facts about a peer; `None` for an engine.
    pub(in crate::cmd) fn of(subject: Subject) -> Option<Self> {
        let Subject::Peer(kind) = subject else {
            return None;
        };
        let facts = kind.facts();
        Some(Self {
            package: facts.package.to_owned(),
            version: facts.version.to_owned(),
            description: facts.description.to_owned(),
            metadata_bytes: facts.metadata_bytes as u64,
            align_max: facts.align_max.map(|align| align as u64),
            cannot: facts.cannot.map(str::to_owned),
            knows_usable_bytes: kind.knows_usable_bytes(),
        })
    }
}

impl WrongAnswer {
    /// Describes the crash of an engine.
    pub(in crate::cmd) fn by(death: &Death, trace: &Trace) -> Self {
        let operation = death.underway.operation;
        let index = operation.checked_sub(1).map(|index| index as usize);
        let what = index.and_then(|index| words(trace.ops(), index));
        let edge = if index.is_some() {
            "after the last operation"
        } else {
            "before the first operation"
        };
        Self {
            operation,
            what: what.unwrap_or_else(|| edge.to_owned()),
            violation: death.to_string(),
            pool_bytes: death.pool_bytes,
            repeat: String::new(),
        }
    }

    /// Describes a wrong answer in a pool.
    pub(in crate::cmd) fn new(failure: &Failure, pool_bytes: u64) -> Self {
        Self {
            operation: failure.operation,
            what: failure.what.clone(),
            violation: failure.violation.to_string(),
            pool_bytes,
            repeat: String::new(),
        }
    }
}

impl Document {
    /// Creates a document without traces.
    pub(in crate::cmd) fn new(plan: &Plan) -> Self {
        let kernel = rustix::system::uname();
        Self {
            target: plan.target,
            kernel: kernel.release().to_string_lossy().into_owned(),
            pool_bytes: plan.pool_bytes,
            faults: plan.faults,
            traces: Vec::new(),
        }
    }

    /// Reads the JSON that `slablab replay --json` printed.
    pub(in crate::cmd) fn read(file: &Path) -> anyhow::Result<Self> {
        json::read(file, "slablab replay --json")
    }

    /// Returns whether [`Document::read`] can read these bytes.
    pub(in crate::cmd) fn is_document(bytes: &[u8]) -> bool {
        serde_json::from_slice::<Self>(bytes).is_ok()
    }

    /// Adds to each wrong answer the command that reproduces it.
    pub(in crate::cmd) fn say_how_to_repeat(&mut self, command: impl Fn(&str, Subject) -> String) {
        for trace in &mut self.traces {
            for result in &mut trace.engines {
                if let Some(wrong) = &mut result.failure {
                    wrong.repeat = command(&trace.name, result.engine);
                }
            }
        }
    }

    /// Returns whether every answer was right.
    pub(in crate::cmd) fn is_right(&self) -> bool {
        self.results().all(|(_, result)| result.failure.is_none())
    }

    /// Returns all results, each with its trace.
    pub(in crate::cmd) fn results(&self) -> impl Iterator<Item = (&TraceResult, &EngineResult)> {
        self.traces.iter().flat_map(TraceResult::each)
    }

    /// Returns the engines and peers, in the order of their first results.
    pub(in crate::cmd) fn engines(&self) -> Vec<Subject> {
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
    /// Creates the result of a trace without engines.
    pub(in crate::cmd) fn new(trace: &Trace) -> Self {
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
