// SPDX-License-Identifier: GPL-2.0

//! Which detector notices which defect.
//!
//! Each defect runs with its stored trace and with random traces that the sound version serves completely, under one
//! detector after the other. The detectors behind the engine run on an engine that does not supervise its allocator;
//! else the supervision would be first.
//!
//! The expected table is in `docs/hunt.md`. The test prints the table that it found.

use std::fs;

use crate::support::{
    random_steps,
    session_of,
    stored,
    trace, //
};
use slab_heap::Engine;
use slab_host::HostLock;
use slab_student::{
    State,
    StudentEngine, //
};
use slablab_hunt::{
    Defect, Hunted, Kind, Rule, Version, for_each_version,
    judge::{
        self,
        Report, //
    },
};
use slablab_lab::{
    oracle::Violation,
    sim::{
        Sim,
        student::Constructor, //
    },
    target::Target,
    uapi::{
        self,
        AllocatorFunction, //
    },
};
use slablab_trace::{
    Kind as OpKind,
    Op,
    Trace,
    rng::Rng, //
};

/// The number of random traces for each defect.
const TRACES: u64 = 4;

/// The length of a random trace.
const STEPS: usize = 100;

/// The first and the last line of the table in the document.
const MARKS: [&str; 2] = ["<!-- detectors -->\n", "<!-- /detectors -->\n"];

/// Constructs the engine of a version without supervision.
fn unsupervised<const NUMBER: usize>() -> Box<dyn Engine + Send> {
    let state = HostLock::new(State::<Hunted<NUMBER>>::unsupervised());
    Box::new(StudentEngine::new(state))
}

/// Constructs the engine of a version without supervision, whose allocator writes nothing into free blocks.
fn debuggable<const NUMBER: usize>() -> Box<dyn Engine + Send> {
    let state = HostLock::new(State::<Hunted<NUMBER>>::unsupervised());
    Box::new(StudentEngine::new(state).with_free_block_bytes(0))
}

static UNSUPERVISED: [Constructor; Version::COUNT] = for_each_version!(unsupervised);
static DEBUGGABLE: [Constructor; Version::COUNT] = for_each_version!(debuggable);

/// A detector.
struct Detector {
    name: &'static str,
    /// Whether the detector notices that something is wrong in the replay of a trace on a version.
    notices: fn(&Replay<'_>) -> bool,
    /// Whether the detector is possible for a kind of allocator.
    is_possible: fn(Kind) -> bool,
}

/// A version, a trace, and the report of the supervised replay.
struct Replay<'r> {
    version: Version,
    trace: &'r Trace,
    report: Report,
}

impl Replay<'_> {
    /// Returns whether one of these rules breaks in the supervised replay.
    fn breaks(&self, rules: &[Rule]) -> bool {
        let mut breaks = self.report.breaks.iter();
        breaks.any(|broken| rules.contains(&broken.rule))
    }
}

const DETECTORS: [Detector; 6] = [
    Detector {
        name: "accesses",
        notices: |replay| replay.breaks(&[Rule::AccessInPool, Rule::Untouched, Rule::Ends]),
        is_possible: |_| true,
    },
    Detector {
        name: "answers",
        notices: |replay| replay.breaks(&[Rule::InPool, Rule::Aligned, Rule::Disjoint]),
        is_possible: |_| true,
    },
    Detector {
        name: "own check",
        notices: |replay| {
            notices(
                &unsupervised_session(replay.version),
                replay.trace,
                own_check,
            )
        },
        is_possible: |_| true,
    },
    Detector {
        name: "oracle",
        notices: oracle,
        is_possible: |_| true,
    },
    Detector {
        name: "debug mode",
        notices: |replay| {
            let constructor = DEBUGGABLE[replay.version.number()];
            let sim = session_of(replay.version.kind(), constructor, true);
            notices(&sim, replay.trace, debug_mode)
        },
        // The other allocators write headers and links anywhere in free memory.
        is_possible: |kind| matches!(kind, Kind::Slabs | Kind::Magazines),
    },
    Detector {
        name: "comparison",
        notices: |replay| replay.breaks(&[Rule::NoMemoryLost]),
        is_possible: |_| true,
    },
];

fn unsupervised_session(version: Version) -> Sim {
    session_of(version.kind(), UNSUPERVISED[version.number()], false)
}

/// Returns whether the allocator's own check finds something between two operations.
fn own_check(sim: &Sim) -> bool {
    let _ = sim.check();
    let found = sim.violation().unwrap();
    found.function == AllocatorFunction::Check.raw() || !found.own_sentence().is_empty()
}

/// Returns whether debug mode has reported something, or finds red zones or poison changed.
fn debug_mode(sim: &Sim) -> bool {
    let stats = sim.stats().unwrap();
    let rule = sim.check().map_or(0, |check| check.rule);
    let damage = [uapi::Rule::RedZones.raw(), uapi::Rule::Poison.raw()];
    stats.reports.iter().any(|count| *count > 0) || damage.contains(&rule)
}

/// Returns whether the oracle, not the allocator's own check, finds a wrong answer or wrong contents.
fn oracle(replay: &Replay<'_>) -> bool {
    let sim = unsupervised_session(replay.version);
    matches!(judge::violation(&sim, replay.trace), Some(violation) if !matches!(violation, Violation::Allocator(_)))
}

/// Replays a trace as a program that writes to all bytes of its blocks, and returns whether `notices` does after one of
/// the operations.
fn notices(sim: &Sim, trace: &Trace, notices: fn(&Sim) -> bool) -> bool {
    let mut handles = vec![None; trace.blocks()];
    let step = |op: &Op| {
        let handle = &mut handles[op.id as usize];
        let (named, bytes) = match (op.kind, *handle) {
            (OpKind::Alloc { bytes, align }, _) => {
                let block = sim.alloc(bytes.into(), align.into()).ok();
                *handle = block.map(|block| block.handle);
                (*handle, bytes)
            }
            (OpKind::Realloc { bytes }, Some(named)) => {
                let resized = sim.realloc(named, bytes.into());
                (resized.ok().map(|_| named), bytes)
            }
            (OpKind::Free, Some(named)) => {
                let _ = sim.free(named);
                *handle = None;
                (None, 0)
            }
            (_, None) => (None, 0),
        };
        if let Some(named) = named {
            let _ = sim.write(named, 0, &vec![op.id as u8 | 1; bytes as usize]);
        }
        notices(sim)
    };
    if trace.ops().iter().any(step) {
        return true;
    }
    for handle in handles.into_iter().flatten() {
        let _ = sim.free(handle);
    }
    notices(sim)
}

/// Returns random traces that the sound version of a kind serves completely.
fn random_traces(kind: Kind) -> Vec<Trace> {
    let steps = |seed| random_steps(kind, &mut Rng::split(seed, 77), STEPS);
    (0..TRACES).map(|seed| trace("", &steps(seed))).collect()
}

/// Returns the traces with which a defect is tested.
fn traces(defect: Defect) -> Vec<Trace> {
    let mut traces = random_traces(defect.kind());
    traces.push(stored(defect));
    traces
}

/// Replays traces on a version under all detectors, and returns which of them notice something; `None` for a detector
/// that is not possible.
fn noticed(version: Version, traces: &[Trace]) -> [Option<bool>; DETECTORS.len()] {
    let mut noticed =
        DETECTORS.map(|detector| (detector.is_possible)(version.kind()).then_some(false));
    for trace in traces {
        let report = judge::replay(version, trace).unwrap();
        let replay = Replay {
            version,
            trace,
            report,
        };
        for (noticed, detector) in noticed.iter_mut().zip(&DETECTORS) {
            if *noticed == Some(false) {
                *noticed = Some((detector.notices)(&replay));
            }
        }
    }
    noticed
}

#[test]
fn the_table_says_which_detector_notices_which_defect() {
    let names: Vec<_> = DETECTORS.iter().map(|detector| detector.name).collect();
    let mut table = format!(
        "| defect | rule | {} |\n|---|---|{}\n",
        names.join(" | "),
        "---|".repeat(names.len())
    );
    for defect in Defect::ALL {
        let noticed = noticed(Version::Defective(defect), &traces(defect));
        assert!(
            noticed.contains(&Some(true)),
            "no detector notices {}",
            defect.name()
        );
        let cells = noticed.map(|noticed| match noticed {
            Some(true) => "yes",
            Some(false) => "-",
            None => "n/a",
        });
        let rule = defect.rule().name();
        table += &format!("| {} | `{rule}` | {} |\n", defect.name(), cells.join(" | "));
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/hunt.md");
    let text = fs::read_to_string(path).unwrap();
    let expected = text
        .split(MARKS[0])
        .nth(1)
        .and_then(|rest| rest.split(MARKS[1]).next());
    println!("{table}");
    assert_eq!(expected, Some(&*table), "docs/hunt.md has another table");
}

#[test]
fn no_detector_notices_anything_on_the_sound_versions() {
    for kind in Kind::ALL {
        let noticed = noticed(Version::Sound(kind), &random_traces(kind));
        assert!(
            !noticed.contains(&Some(true)),
            "{}: {noticed:?}",
            kind.name()
        );
    }
}
