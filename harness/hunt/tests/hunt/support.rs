// SPDX-License-Identifier: GPL-2.0

//! Code that the tests share: random traces, a quick replay, and the search for a short trace that exposes a defect.

use std::{
    fs,
    path::PathBuf,
    sync::Arc, //
};

use slablab_hunt::{
    Defect,
    Kind,
    Rule,
    Version, //
};
use slablab_lab::{
    oracle::Violation,
    sim::{
        Pool,
        Sim,
        student::Constructor, //
    },
    target::Target,
    uapi::AllocatorRule, //
};
use slablab_trace::{
    Builder,
    Trace,
    format,
    rng::Rng, //
};

/// An operation of a random trace. Blocks are named by the index of the step that allocates them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Allocates a block.
    Alloc { bytes: u32, align: u32 },
    /// Resizes a block.
    Resize { block: usize, bytes: u32 },
    /// Frees a block.
    Free { block: usize },
}

/// Opens a session with a version.
pub(crate) fn session(version: Version) -> Sim {
    session_of(version.kind(), version.constructor(), false)
}

/// Opens a session with an engine, in debug mode or not.
pub(crate) fn session_of(kind: Kind, constructor: Constructor, debug: bool) -> Sim {
    let pool = Pool::with_student(constructor, kind.pool_bytes(), debug).unwrap();
    Sim::on(Arc::new(pool), true)
}

/// The result of a quick replay.
#[derive(Debug, Default)]
pub(crate) struct Quick {
    /// For each step, whether it was served. A step on a block that was refused is not executed, and not served.
    pub(crate) served: Vec<bool>,
    /// The first rule that broke.
    pub(crate) broken: Option<Rule>,
}

/// Returns the rule that the allocator of a session broke.
fn violation(sim: &Sim) -> Option<Rule> {
    let rule = AllocatorRule::from_raw(sim.violation().ok()?.rule)?;
    (rule != AllocatorRule::None)
        .then(|| Rule::of(&Violation::Allocator(String::new()), Some(rule)))
}

/// Replays steps without the oracle, up to the first refusal if `stops` says so.
pub(crate) fn quick(version: Version, steps: &[Step], stops: bool) -> Quick {
    let sim = session(version);
    let mut handles = vec![None; steps.len()];
    let mut result = Quick::default();
    for (index, step) in steps.iter().enumerate() {
        let served = match *step {
            Step::Alloc { bytes, align } => {
                let block = sim.alloc(bytes.into(), align.into());
                handles[index] = block.ok().map(|block| block.handle);
                handles[index].is_some()
            }
            Step::Resize { block, bytes } => {
                handles[block].is_some_and(|handle| sim.realloc(handle, bytes.into()).is_ok())
            }
            Step::Free { block } => handles[block]
                .take()
                .is_some_and(|handle| sim.free(handle).is_ok()),
        };
        result.served.push(served);
        if !served && result.broken.is_none() {
            result.broken = violation(&sim).or(Some(Rule::NoMemoryLost));
            if stops {
                return result;
            }
        }
    }
    for handle in handles.into_iter().flatten() {
        let _ = sim.free(handle);
    }
    let _ = sim.check();
    result.broken = result.broken.or_else(|| violation(&sim));
    result
}

/// Returns a random trace of about `length` steps that the sound version serves completely.
pub(crate) fn random_steps(kind: Kind, rng: &mut Rng, length: usize) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut live = Vec::new();
    let edges = [
        8, 16, 24, 40, 64, 72, 128, 136, 1024, 2048, 2056, 3000, 4000, 4096, 4104, 5000, 12_288,
    ];
    let favourite = edges[rng.index(edges.len())];
    let only_favourite = rng.chance(1, 3);
    let size = |rng: &mut Rng| match rng.below(8) {
        _ if only_favourite => favourite,
        0..4 => edges[rng.index(edges.len())],
        4 => rng.doubling(1, 4096) as u32,
        5 => rng.doubling(4096, kind.pool_bytes()) as u32,
        _ => favourite,
    };
    let growth = 40 + rng.below(50);
    while steps.len() < length {
        let dice = rng.below(100);
        if dice < growth || live.is_empty() {
            let bytes = size(rng).max(1);
            let align = match rng.below(8) {
                0 => 1 << (3 + rng.below(11)),
                1 => 16,
                _ => 8,
            };
            live.push(steps.len());
            steps.push(Step::Alloc { bytes, align });
        } else if dice < 95 && !rng.chance(1, 4) {
            let place = match rng.below(3) {
                0 => live.len() - 1,
                1 => 0,
                _ => rng.index(live.len()),
            };
            let block = live.swap_remove(place);
            steps.push(Step::Free { block });
        } else {
            let block = live[rng.index(live.len())];
            let bytes = size(rng).max(1);
            steps.push(Step::Resize { block, bytes });
        }
    }
    if rng.chance(1, 2) {
        for block in live {
            steps.push(Step::Free { block });
        }
        let bytes = if kind == Kind::Buddy {
            2 << 20
        } else {
            kind.pool_bytes() as u32
        };
        steps.push(Step::Alloc { bytes, align: 8 });
    }
    // A refused request can change an allocator: it flushes magazines. So the rest is replayed again.
    loop {
        let served = quick(Version::Sound(kind), &steps, false).served;
        if served.iter().all(|served| *served) {
            return steps;
        }
        steps = kept(&steps, |index| served[index]);
    }
}

/// Returns the steps that `keep` selects, without those on blocks that are not allocated any more.
pub(crate) fn kept(steps: &[Step], keep: impl Fn(usize) -> bool) -> Vec<Step> {
    let mut places = vec![None; steps.len()];
    let mut result = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        if !keep(index) {
            continue;
        }
        let step = match *step {
            Step::Alloc { .. } => {
                places[index] = Some(result.len());
                *step
            }
            Step::Resize { block, bytes } => match places[block] {
                Some(block) => Step::Resize { block, bytes },
                None => continue,
            },
            Step::Free { block } => match places[block].take() {
                Some(block) => Step::Free { block },
                None => continue,
            },
        };
        result.push(step);
    }
    result
}

/// Returns steps as a trace.
pub(crate) fn trace(name: &str, steps: &[Step]) -> Trace {
    let mut builder = Builder::new();
    let mut ids = vec![0; steps.len()];
    for (index, step) in steps.iter().enumerate() {
        match *step {
            Step::Alloc { bytes, align } => ids[index] = builder.alloc(bytes, align),
            Step::Resize { block, bytes } => builder.realloc(ids[block], bytes),
            Step::Free { block } => builder.free(ids[block]),
        }
    }
    builder.finish(name, "a search with random traces")
}

/// Returns whether steps expose a defect: the sound version serves all, and the rule of the defect breaks.
pub(crate) fn exposes(defect: Defect, steps: &[Step]) -> bool {
    quick(Version::Defective(defect), steps, true).broken == Some(defect.rule())
        && quick(Version::Sound(defect.kind()), steps, true)
            .broken
            .is_none()
}

/// Searches for a short trace that exposes a defect: the shortest of a few.
pub(crate) fn search(defect: Defect) -> Option<Vec<Step>> {
    let found = (0..200).filter_map(|seed| {
        let mut rng = Rng::split(seed, defect as u64);
        let length = [6, 20, 60, 200, 600][(seed % 5) as usize];
        let steps = random_steps(defect.kind(), &mut rng, length);
        exposes(defect, &steps).then(|| shrunk(steps, |steps| exposes(defect, steps)))
    });
    found.take(5).min_by_key(Vec::len)
}

/// Removes steps, and simplifies sizes, as long as `holds` does.
pub(crate) fn shrunk(mut steps: Vec<Step>, holds: impl Fn(&[Step]) -> bool) -> Vec<Step> {
    let mut piece = steps.len();
    while piece > 0 {
        let mut first = 0;
        while first < steps.len() {
            let shorter = kept(&steps, |index| !(first..first + piece).contains(&index));
            if shorter.len() < steps.len() && holds(&shorter) {
                steps = shorter;
            } else {
                first += piece;
            }
        }
        piece /= 2;
    }
    for index in 0..steps.len() {
        for simple in [8, 16, 64, 1024, 4096] {
            let mut simpler = steps.clone();
            match &mut simpler[index] {
                Step::Alloc { bytes, align } if *bytes > simple || *align > 8 => {
                    (*bytes, *align) = ((*bytes).min(simple), 8);
                }
                Step::Resize { bytes, .. } if *bytes > simple => *bytes = simple,
                _ => continue,
            }
            if holds(&simpler) {
                steps = simpler;
                break;
            }
        }
    }
    steps
}

/// Returns the path of the stored trace of a defect.
pub(crate) fn path(defect: Defect) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("traces");
    folder.join(format!("{}.trace", defect.name()))
}

/// Reads the stored trace of a defect.
pub(crate) fn stored(defect: Defect) -> Trace {
    let bytes = fs::read(path(defect)).unwrap();
    format::parse(defect.name(), &bytes).unwrap()
}
