// SPDX-License-Identifier: GPL-2.0

//! A run of a trace as a film: what was in the pool, moment by moment.
//!
//! There are so many frames and no more, however long the trace is. What lies between two of them
//! is not lost: of live bytes the least and the most are kept, refusals are all counted. What a
//! program asked for and was given is taken from the answers of every operation ([`book`]), what
//! the engine holds from its statistics, and its pages from its map ([`reel`]), or, of the seed,
//! which draws none, from its twin's.

mod book;
mod reel;
#[cfg(test)]
mod tests;

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

pub(crate) use self::reel::Reel;
use self::{
    book::Book,
    reel::Recorder, //
};
use super::{
    Answer,
    Checked,
    Failure,
    Fate,
    twin::Twin, //
};
use crate::{
    map::Map,
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

/// How much of a run is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Frames, give or take two.
    pub(crate) frames: usize,
    /// Changes of blocks of pages, unless single pictures need more.
    pub(crate) writes: usize,
}

/// A run, in columns that have a row for each frame.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Film {
    /// The bytes of the pool, of an engine with one.
    pub(crate) pool_bytes: Option<u64>,
    /// The operations before the frame. The first row is 0, the last one the length of the trace.
    pub(crate) operations: Vec<u64>,
    /// Live bytes as asked for.
    pub(crate) live: Vec<u64>,
    /// The least of these since the frame before.
    pub(crate) live_min: Vec<u64>,
    /// The most of these since the frame before.
    pub(crate) live_max: Vec<u64>,
    /// The bytes that live blocks have.
    pub(crate) usable: Vec<u64>,
    /// The bytes that the engine has taken: of a pool what is not in the buddy system, else the
    /// bytes of its blocks.
    pub(crate) reserved: Vec<u64>,
    /// The largest free block of the buddy system, or 0 where the engine does not tell.
    pub(crate) largest_free: Vec<u64>,
    /// The operation before the frame; none in the first row.
    pub(crate) last: Vec<Option<Step>>,
    /// The bytes of each class's blocks.
    pub(crate) class_bytes: Vec<u64>,
    /// What changed in classes: class, used, total and kept by CPUs, one after the other.
    pub(crate) classes: Vec<Vec<u64>>,
    /// What changed in orders: log2 of the bytes, free blocks, and blocks that are out.
    pub(crate) orders: Vec<Vec<u64>>,
    /// What was refused since the frame before.
    pub(crate) refusals: Vec<Refusals>,
    /// The pages.
    pub(crate) reel: Option<Reel>,
}

/// An operation, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Step {
    /// "allocate", "reallocate" or "free".
    pub(crate) what: String,
    /// The bytes that were asked for, or those of what was freed.
    pub(crate) bytes: u64,
    /// By which path it was served, why it was refused, or "left out".
    pub(crate) how: String,
    /// Whether it was done.
    pub(crate) done: bool,
    /// The page in which the block is, or was.
    pub(crate) page: Option<u64>,
}

/// Requests between two frames that were refused for one cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refusals {
    /// The frame behind them.
    pub(crate) frame: usize,
    /// Why.
    pub(crate) cause: Cause,
    /// How many.
    pub(crate) count: u64,
    /// The first one, counted from 1.
    pub(crate) first: u64,
    /// The bytes which that one asked for.
    pub(crate) bytes: u64,
}

/// Runs a trace in a session that is new, with every answer checked. Blocks stay out at the end.
///
/// # Errors
///
/// When a call fails that has to succeed. A wrong answer is a result.
pub(crate) fn film(
    target: &dyn Target,
    trace: &Trace,
    limits: Limits,
) -> anyhow::Result<Result<Film, Failure>> {
    let info = target.info().context("INFO failed")?;
    let has = |capability| info.capabilities & capability != 0;
    let oracle = match Oracle::new(target, 1) {
        Ok(oracle) => oracle,
        Err(complaint) => return Ok(Err(Failure::at(&[], 0, complaint))),
    };
    let mut run = Checked::new(trace, &oracle);
    let mut camera = Camera::new(target, trace, &info)?;
    let mut recorder = has(uapi::SLABLAB_CAP_POOL).then(|| Recorder::new(limits.writes));
    let moments = moments(trace, limits.frames);
    for (frame, end) in moments.iter().copied().enumerate() {
        if let Err(failure) = run.advance(end) {
            return Ok(Err(failure));
        }
        camera.frame(target, &info, &run.answers()[camera.done()..])?;
        let last = frame + 1 == moments.len();
        let Some(recorder) = recorder
            .as_mut()
            .filter(|recorder| last || recorder.wants(frame))
        else {
            continue;
        };
        if has(uapi::SLABLAB_CAP_MAP) {
            recorder.record(frame, &Map::read(target).context("MAP failed")?);
        } else if let Some(twin) = &camera.twin {
            recorder.record(frame, &twin.map());
        }
    }
    let drawn = has(uapi::SLABLAB_CAP_MAP) || camera.twin.is_some();
    let mut film = camera.film;
    film.reel = recorder.filter(|_| drawn).and_then(Recorder::finish);
    Ok(Ok(film))
}

/// Chooses how many operations are before each frame: evenly, and the peak.
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

/// Returns how many operations are done when most bytes are live, if all are served.
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

/// What is being filmed.
struct Camera<'run> {
    trace: &'run Trace,
    book: Book,
    film: Film,
    /// The seed's twin, as long as they agree.
    twin: Option<Twin>,
    /// What was last said of each class and each order.
    classes: BTreeMap<u64, [u64; 3]>,
    orders: BTreeMap<u64, [u64; 2]>,
}

impl<'run> Camera<'run> {
    fn new(target: &dyn Target, trace: &'run Trace, info: &slablab_info) -> anyhow::Result<Self> {
        let stats = target.stats().context("STATS failed")?;
        let classes = stats.classes.iter().take(stats.class_count as usize);
        Ok(Self {
            trace,
            book: Book::new(trace),
            twin: (Engine::from_raw(info.engine) == Some(Engine::Seed))
                .then(|| Twin::new(info.pool_bytes)),
            film: Film {
                pool_bytes: has_pool(info).then_some(info.pool_bytes),
                class_bytes: classes.map(|class| class.block_bytes).collect(),
                ..Film::default()
            },
            classes: BTreeMap::new(),
            orders: BTreeMap::new(),
        })
    }

    /// Returns the operations before the last frame.
    fn done(&self) -> usize {
        self.film.operations.last().copied().unwrap_or(0) as usize
    }

    /// Takes a frame, behind these answers.
    fn frame(
        &mut self,
        target: &dyn Target,
        info: &slablab_info,
        answers: &[Answer],
    ) -> anyhow::Result<()> {
        let first = self.done();
        let frame = self.film.operations.len();
        let (mut least, mut most) = (self.book.requested, self.book.requested);
        let mut refused: BTreeMap<u32, Refusals> = BTreeMap::new();
        let mut last = None;
        for ((index, op), answer) in (first..).zip(&self.trace.ops()[first..]).zip(answers) {
            let change = self.book.enter(op, answer);
            // A seed that is no longer the textbook's has no map.
            self.twin.take_if(|twin| twin.enter(op, answer).is_err());
            least = least.min(self.book.requested);
            most = most.max(self.book.requested);
            let bytes = match op.kind {
                Kind::Alloc { bytes, .. } | Kind::Realloc { bytes } => bytes.into(),
                Kind::Free => change.old.requested,
            };
            if let Fate::Refused(cause) = answer.fate {
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
                last = Some(Step::of(op.kind, bytes, answer, &change));
            }
        }
        let film = &mut self.film;
        film.refusals.extend(refused.into_values());
        film.operations.push((first + answers.len()) as u64);
        film.live.push(self.book.requested);
        film.live_min.push(least);
        film.live_max.push(most);
        film.usable.push(self.book.usable);
        film.last.push(last);
        if has_pool(info) {
            let mut stats = target.stats().context("STATS failed")?;
            if let Some(twin) = &self.twin {
                twin.count(&mut stats);
            }
            film.reserved
                .push(stats.pool_bytes.saturating_sub(stats.free_bytes));
            self.statistics(&stats);
        } else {
            film.reserved.push(self.book.usable);
            film.largest_free.push(0);
            film.classes.push(Vec::new());
            film.orders.push(Vec::new());
        }
        Ok(())
    }

    /// Keeps what the statistics say anew.
    fn statistics(&mut self, stats: &slablab_stats) {
        let mut changed = Vec::new();
        for (index, class) in (0..u64::from(stats.class_count)).zip(&stats.classes) {
            let now = [class.used_blocks, class.total_blocks, class.magazine_blocks];
            if self.classes.insert(index, now).unwrap_or_default() != now {
                changed.push(index);
                changed.extend(now);
            }
        }
        self.film.classes.push(changed);
        let mut changed = Vec::new();
        let mut largest = 0;
        for (order, told) in (u64::from(uapi::SLABLAB_ORDER_MIN)..).zip(&stats.orders) {
            let now = [told.free_blocks, told.used_blocks];
            if told.free_blocks > 0 {
                largest = 1 << order;
            }
            if self.orders.insert(order, now).unwrap_or_default() != now {
                changed.push(order);
                changed.extend(now);
            }
        }
        self.film.orders.push(changed);
        self.film.largest_free.push(largest);
    }
}

impl Step {
    fn of(kind: Kind, bytes: u64, answer: &Answer, change: &book::Change) -> Self {
        let (what, block) = match kind {
            Kind::Alloc { .. } => ("allocate", &change.new),
            Kind::Realloc { .. } => ("reallocate", &change.new),
            Kind::Free => ("free", &change.old),
        };
        let how = match answer.fate {
            Fate::Done => uapi::Path::from_raw(answer.cost.path.into())
                .map_or("none", uapi::Path::name)
                .to_owned(),
            Fate::Refused(cause) => cause.name().to_owned(),
            Fate::LeftOut => "left out".to_owned(),
        };
        Self {
            what: what.to_owned(),
            bytes,
            how,
            done: answer.fate == Fate::Done,
            page: block.page(),
        }
    }
}

/// Says whether an engine has a pool.
fn has_pool(info: &slablab_info) -> bool {
    info.capabilities & uapi::SLABLAB_CAP_POOL != 0
}
