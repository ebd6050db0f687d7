// SPDX-License-Identifier: GPL-2.0

//! The timeline of a replay: samples of the pool's state.
//!
//! The number of samples (frames) is bounded, however long the trace is. Between two frames, the
//! timeline has the minimum and maximum of the live bytes, and the counts of all refusals.
//!
//! | data | source |
//! |---|---|
//! | requested and usable bytes | the answers to all operations (`trace_blocks`) |
//! | reserved bytes, classes, free blocks | STATS |
//! | pages | MAP (`map_deltas`); for the seed, a model of the seed; for a peer, its live blocks (`live_map`) |

mod live_map;
mod map_deltas;
#[cfg(test)]
mod tests;
mod trace_blocks;

use std::collections::BTreeMap;

use anyhow::Context;
use serde::{
    Deserialize,
    Serialize, //
};
use slablab_trace::{
    Kind,
    Trace, //
};

pub use self::map_deltas::MapDeltas;
use self::{
    map_deltas::MapRecorder,
    trace_blocks::TraceBlocks, //
};
use super::{
    Answer,
    Checked,
    Failure,
    OpOutcome,
    seed_model::SeedModel, //
};
use crate::{
    map::PoolMap,
    oracle::Oracle,
    target::Target,
    uapi::{
        self,
        Cause,
        Engine,
        slablab_info,
        slablab_stats, //
    },
};

/// The bounds of a timeline.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The maximum number of frames, apart from up to two more.
    pub frames: usize,
    /// The maximum number of changed blocks of pages. Up to 8 snapshots may have more.
    pub writes: usize,
}

/// A timeline, in columns with one row per frame.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Timeline {
    /// The bytes of the pool; `None` for an engine without pools.
    pub pool_bytes: Option<u64>,
    /// The operations before the frame. The first row is 0, the last one the length of the trace.
    pub operations: Vec<u64>,
    /// The requested bytes of live blocks.
    pub live: Vec<u64>,
    /// The minimum of `live` since the previous frame.
    pub live_min: Vec<u64>,
    /// The maximum of `live` since the previous frame.
    pub live_max: Vec<u64>,
    /// The usable bytes of live blocks.
    pub usable: Vec<u64>,
    /// The bytes of the pool that are not free for blocks of any size; for an engine without pools, the usable
    /// bytes of live blocks.
    pub reserved: Vec<u64>,
    /// The bytes of the largest free block or free run; 0 if the engine does not report it.
    pub largest_free: Vec<u64>,
    /// The bytes of the free runs that are shorter than a page; 0 if the engine has no free runs.
    pub short_free: Vec<u64>,
    /// The operation before the frame; none in the first row.
    pub last: Vec<Option<TimelineOperation>>,
    /// The bytes of each class's blocks.
    pub class_bytes: Vec<u64>,
    /// The classes that changed since the previous frame, with four numbers each: class, used, total and
    /// magazine blocks.
    pub classes: Vec<Vec<u64>>,
    /// The orders that changed since the previous frame, with three numbers each: order (log2 of the pages),
    /// free and live blocks.
    pub orders: Vec<Vec<u64>>,
    /// The refusals since the previous frame.
    pub refusals: Vec<Refusals>,
    /// The maps of the pool.
    pub map_deltas: Option<MapDeltas>,
}

/// An operation and its result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimelineOperation {
    /// "allocate", "reallocate" or "free".
    pub what: String,
    /// The requested bytes; for a free, the requested bytes of the freed block.
    pub bytes: u64,
    /// The path of the operation, the cause of its refusal, or "left out".
    pub how: String,
    /// Whether the operation succeeded.
    pub done: bool,
    /// The first page of the block after the operation; for a free, before the operation.
    pub page: Option<u64>,
}

/// Requests between two frames that were refused for one cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusals {
    /// The frame after the refusals.
    pub frame: usize,
    /// The cause.
    pub cause: Cause,
    /// The number of refusals.
    pub count: u64,
    /// The first refused operation, counted from 1.
    pub first: u64,
    /// The bytes that the first refused operation requested.
    pub bytes: u64,
}

/// Runs a trace in a new session, with every answer checked. The blocks stay live at the end.
///
/// # Errors
///
/// When INFO, STATS or MAP fails. A wrong answer to an operation is not an error but a [`Failure`] in the
/// result.
pub fn timeline(
    target: &dyn Target,
    trace: &Trace,
    limits: Limits,
) -> anyhow::Result<Result<Timeline, Failure>> {
    let info = target.info().context("INFO failed")?;
    let has = |capability| info.capabilities & capability != 0;
    let oracle = match Oracle::new(target, 1) {
        Ok(oracle) => oracle,
        Err(violation) => return Ok(Err(Failure::at(&[], 0, violation))),
    };
    // A peer has no number of the ABI.
    let is_peer = info.engine == Engine::Default.raw();
    let mut run = Checked::new(trace, &oracle);
    let mut sampler = TimelineSampler::new(target, trace, &info)?;
    let mut recorder = has(uapi::SLABLAB_CAP_POOL).then(|| MapRecorder::new(limits.writes));
    let moments = moments(trace, limits.frames);
    for (frame, end) in moments.iter().copied().enumerate() {
        if let Err(failure) = run.advance(end) {
            return Ok(Err(failure));
        }
        sampler.frame(target, &info, &run.answers()[sampler.done()..])?;
        let last = frame + 1 == moments.len();
        let Some(recorder) = recorder
            .as_mut()
            .filter(|recorder| last || recorder.wants(frame))
        else {
            continue;
        };
        if has(uapi::SLABLAB_CAP_MAP) {
            recorder.record(frame, &PoolMap::read(target).context("MAP failed")?);
        } else if let Some(seed_model) = &sampler.seed_model {
            recorder.record(frame, &seed_model.map());
        } else if is_peer {
            let live = sampler.trace_blocks.all();
            recorder.record_blocks(frame, live_map::pictured(info.pool_bytes, live));
        }
    }
    let drawn = has(uapi::SLABLAB_CAP_MAP) || sampler.seed_model.is_some() || is_peer;
    let mut timeline = sampler.timeline;
    timeline.map_deltas = recorder.filter(|_| drawn).and_then(MapRecorder::finish);
    Ok(Ok(timeline))
}

/// Returns the numbers of operations after which a frame is sampled: equidistant ones, and the live peak.
fn moments(trace: &Trace, frames: usize) -> Vec<usize> {
    let operations = trace.ops().len();
    let frames = frames.clamp(1, operations);
    let mut moments: Vec<_> = (0..=frames)
        .map(|frame| (operations as u128 * frame as u128 / frames as u128) as usize)
        .chain(peak(trace))
        .collect();
    moments.sort_unstable();
    moments.dedup();
    moments
}

/// Returns the number of operations up to the live peak, if no request is refused.
fn peak(trace: &Trace) -> Option<usize> {
    let mut held = vec![0_u64; trace.blocks()];
    let mut live = 0;
    trace
        .ops()
        .iter()
        .position(|op| {
            let bytes = match op.kind {
                Kind::Alloc { bytes, .. } | Kind::Realloc { bytes } => bytes.into(),
                Kind::Free => 0,
            };
            live = live - std::mem::replace(&mut held[op.id as usize], bytes) + bytes;
            live == trace.peak_bytes()
        })
        .map(|index| index + 1)
}

/// Samples the state of the pool during a replay.
struct TimelineSampler<'run> {
    trace: &'run Trace,
    trace_blocks: TraceBlocks,
    timeline: Timeline,
    /// The model of the seed, as long as its offsets equal the seed's.
    seed_model: Option<SeedModel>,
    /// The last values of each class and of each order.
    classes: BTreeMap<u64, [u64; 3]>,
    orders: BTreeMap<u64, [u64; 2]>,
}

impl<'run> TimelineSampler<'run> {
    fn new(target: &dyn Target, trace: &'run Trace, info: &slablab_info) -> anyhow::Result<Self> {
        let stats = target.stats().context("STATS failed")?;
        let classes = stats.classes.iter().take(stats.class_count as usize);
        Ok(Self {
            trace,
            trace_blocks: TraceBlocks::new(trace),
            seed_model: (Engine::from_raw(info.engine) == Some(Engine::Seed))
                .then(|| SeedModel::new(info.pool_bytes)),
            timeline: Timeline {
                pool_bytes: has_pool(info).then_some(info.pool_bytes),
                class_bytes: classes.map(|class| class.block_bytes).collect(),
                ..Timeline::default()
            },
            classes: BTreeMap::new(),
            orders: BTreeMap::new(),
        })
    }

    /// Returns the number of operations before the last frame.
    fn done(&self) -> usize {
        self.timeline.operations.last().copied().unwrap_or(0) as usize
    }

    /// Appends a frame after these answers.
    fn frame(
        &mut self,
        target: &dyn Target,
        info: &slablab_info,
        answers: &[Answer],
    ) -> anyhow::Result<()> {
        let first = self.done();
        let frame = self.timeline.operations.len();
        let (mut least, mut most) = (self.trace_blocks.requested, self.trace_blocks.requested);
        let mut refused: BTreeMap<u32, Refusals> = BTreeMap::new();
        let mut last = None;
        for ((index, op), answer) in (first..).zip(&self.trace.ops()[first..]).zip(answers) {
            let change = self.trace_blocks.enter(op, answer);
            // A modified seed differs from the model and has no map.
            self.seed_model
                .take_if(|seed_model| seed_model.enter(op, answer).is_err());
            least = least.min(self.trace_blocks.requested);
            most = most.max(self.trace_blocks.requested);
            let bytes = match op.kind {
                Kind::Alloc { bytes, .. } | Kind::Realloc { bytes } => bytes.into(),
                Kind::Free => change.old.requested,
            };
            if let OpOutcome::Refused(cause) = answer.outcome {
                let entry = refused.entry(cause.raw()).or_insert(Refusals {
                    frame,
                    cause,
                    count: 0,
                    first: index as u64 + 1,
                    bytes,
                });
                entry.count += 1;
            }
            if index + 1 == first + answers.len() {
                last = Some(TimelineOperation::of(op.kind, bytes, answer, &change));
            }
        }
        let timeline = &mut self.timeline;
        timeline.refusals.extend(refused.into_values());
        timeline.operations.push((first + answers.len()) as u64);
        timeline.live.push(self.trace_blocks.requested);
        timeline.live_min.push(least);
        timeline.live_max.push(most);
        timeline.usable.push(self.trace_blocks.usable);
        timeline.last.push(last);
        if has_pool(info) {
            let mut stats = target.stats().context("STATS failed")?;
            if let Some(seed_model) = &self.seed_model {
                seed_model.count(&mut stats);
            }
            timeline
                .reserved
                .push(stats.pool_bytes.saturating_sub(stats.free_bytes));
            self.statistics(&stats);
        } else {
            timeline.reserved.push(self.trace_blocks.usable);
            timeline.largest_free.push(0);
            timeline.short_free.push(0);
            timeline.classes.push(Vec::new());
            timeline.orders.push(Vec::new());
        }
        Ok(())
    }

    /// Appends the statistics that changed since the last frame.
    fn statistics(&mut self, stats: &slablab_stats) {
        let mut changed = Vec::new();
        for (index, class) in (0..u64::from(stats.class_count)).zip(&stats.classes) {
            let now = [class.used_blocks, class.total_blocks, class.magazine_blocks];
            if self.classes.insert(index, now).unwrap_or_default() != now {
                changed.push(index);
                changed.extend(now);
            }
        }
        self.timeline.classes.push(changed);
        let mut changed = Vec::new();
        for (order, reply) in (0_u64..).zip(&stats.orders) {
            let now = [reply.free_blocks, reply.used_blocks];
            if self.orders.insert(order, now).unwrap_or_default() != now {
                changed.push(order);
                changed.extend(now);
            }
        }
        self.timeline.orders.push(changed);
        self.timeline.largest_free.push(stats.largest_free_bytes);
        self.timeline.short_free.push(stats.short_free_bytes);
    }
}

impl TimelineOperation {
    fn of(kind: Kind, bytes: u64, answer: &Answer, change: &trace_blocks::BlockChange) -> Self {
        let (what, block) = match kind {
            Kind::Alloc { .. } => ("allocate", &change.new),
            Kind::Realloc { .. } => ("reallocate", &change.new),
            Kind::Free => ("free", &change.old),
        };
        let how = match answer.outcome {
            OpOutcome::Done => uapi::Path::from_raw(answer.cost.path.into())
                .map_or("none", uapi::Path::name)
                .to_owned(),
            OpOutcome::Refused(cause) => cause.name().to_owned(),
            OpOutcome::LeftOut => "left out".to_owned(),
        };
        Self {
            what: what.to_owned(),
            bytes,
            how,
            done: answer.outcome == OpOutcome::Done,
            page: block.page(),
        }
    }
}

/// Returns whether the engine has a pool.
fn has_pool(info: &slablab_info) -> bool {
    info.capabilities & uapi::SLABLAB_CAP_POOL != 0
}
