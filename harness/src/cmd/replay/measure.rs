// SPDX-License-Identifier: GPL-2.0

//! Replays one trace on one engine.

use anyhow::{
    Context,
    anyhow,
    ensure, //
};
use serde::{
    Serialize,
    de::DeserializeOwned, //
};
use slablab_trace::{
    Trace,
    search, //
};

use super::{
    document::{
        EngineResult,
        EngineSpace,
        PeerFacts,
        WrongAnswer, //
    },
    plan::Plan,
};
use crate::{
    cmd::stats,
    isolation::{
        self,
        Death,
        Patience,
        underway, //
    },
    replay::{
        Figures,
        RunResult,
        checked,
        fits,
        times, //
    },
    report::bytes,
    session_factory::{
        SessionFactory,
        TargetKind, //
    },
    subject::Subject,
    uapi::{
        self,
        Engine,
        slablab_info, //
    },
};

/// The length of a pool is a multiple of this number of bytes.
pub(crate) const POOL_UNIT: u64 = 32 << 10;

/// The largest pool of the search, as a multiple of the live peak of the trace.
const LARGEST: u64 = 8;

/// Checks that no alignment of a trace exceeds the size of the pool. ALLOC rejects a larger alignment with
/// EINVAL, which is an error of the caller and not a refusal.
pub(in crate::cmd) fn is_possible(trace: &Trace, pool_bytes: u64) -> anyhow::Result<()> {
    let align = u64::from(trace.align_max());
    ensure!(
        align <= pool_bytes,
        "{} has a block that is aligned to {}, which is more than the pool of {}",
        trace.name,
        bytes(align),
        bytes(pool_bytes)
    );
    Ok(())
}

/// Replays a trace on an engine or a peer. A wrong answer is a result, not an error. The crash of an engine is a
/// result, too: engines of the target `sim` run in a child process.
///
/// # Errors
///
/// When a pool is too small for an alignment, a session cannot be opened, or a call fails that must succeed.
pub(in crate::cmd) fn subject(
    plan: &Plan,
    subject: Subject,
    trace: &Trace,
) -> anyhow::Result<EngineResult> {
    if plan.target == TargetKind::Device {
        return here(plan, subject, trace);
    }
    match isolated(|| here(plan, subject, trace))? {
        Ok(result) => Ok(result),
        Err(death) => Ok(EngineResult {
            failure: Some(WrongAnswer::by(&death, trace)),
            ..EngineResult::new(named_engine(plan, subject))
        }),
    }
}

/// Runs `work`, which uses an engine of the target `sim`, in a child process.
///
/// # Errors
///
/// The error of `work`, or an error if no child can be created.
pub(in crate::cmd) fn isolated<T: Serialize + DeserializeOwned>(
    work: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<Result<T, Death>> {
    let patience = Patience::Limited(isolation::patience());
    let ended = isolation::run(patience, || {
        work().map_err(|error| crate::errno::sentence(&error))
    })?;
    match ended {
        Ok(Ok(result)) => Ok(Ok(result)),
        Ok(Err(error)) => Err(anyhow!(error)),
        Err(death) => Ok(Err(death)),
    }
}

/// Returns the engine that takes the place of the default engine, if that is known before a session is opened.
fn named_engine(plan: &Plan, subject: Subject) -> Subject {
    match subject {
        Subject::Engine(engine) => {
            Subject::Engine(SessionFactory::shared(plan.target).engine_of(engine))
        }
        Subject::Peer(_) => subject,
    }
}

/// Replays a trace on an engine or a peer, without a child process.
fn here(plan: &Plan, subject: Subject, trace: &Trace) -> anyhow::Result<EngineResult> {
    is_possible(trace, plan.pool_bytes)?;
    let target = plan.open(subject, plan.pool_bytes)?;
    let info = target.info().context("INFO failed")?;
    let ran = checked(&*target, trace);
    drop(target);
    let mut result = EngineResult::new(match subject {
        Subject::Engine(engine) => Subject::Engine(Engine::from_raw(info.engine).unwrap_or(engine)),
        Subject::Peer(_) => subject,
    });
    let ran = match ran {
        Ok(ran) => ran,
        Err(failure) => {
            result.failure = Some(WrongAnswer::new(&failure, plan.pool_bytes));
            return Ok(result);
        }
    };
    result.enter(&ran);
    if info.capabilities & uapi::SLABLAB_CAP_PRIVATE == 0 {
        result.space = ran
            .figures
            .is_complete()
            .then(|| EngineSpace::of_blocks(&ran.figures));
    } else if plan.search {
        space(plan, trace, &info, &ran, &mut result)?;
    }
    if plan.passes > 0 && result.failure.is_none() {
        let taken = underway::without_fills(|| {
            times(trace, plan.passes, || plan.open(subject, plan.pool_bytes))
        });
        let taken = taken.with_context(|| format!("{} on {subject}", trace.name))?;
        result.times = (taken.operations > 0).then_some(taken);
    }
    Ok(result)
}

/// Searches for the smallest sufficient pool and measures the fragmentation in it.
fn space(
    plan: &Plan,
    trace: &Trace,
    info: &slablab_info,
    ran: &RunResult,
    result: &mut EngineResult,
) -> anyhow::Result<()> {
    let engine = result.engine;
    let knows_usable = result
        .peer
        .as_ref()
        .is_none_or(|peer| peer.knows_usable_bytes);
    let align = u64::from(trace.align_max());
    let least = trace.peak_bytes().max(align).div_ceil(POOL_UNIT);
    // The checked run was complete in the usual pool, so no larger pool is needed.
    let most = if ran.figures.is_complete() {
        plan.pool_bytes
    } else {
        let most = (trace.peak_bytes().saturating_mul(LARGEST)).max(plan.pool_bytes);
        most.min(plan.pool_bytes_max(info))
    };
    let found = search::smallest(least..=most / POOL_UNIT, |units| {
        let target = plan.open(engine, units * POOL_UNIT)?;
        let about = || {
            format!(
                "{} on {engine} in a pool of {}",
                trace.name,
                bytes(units * POOL_UNIT)
            )
        };
        fits(&*target, trace).with_context(about)
    });
    let Some(units) = found? else {
        return Ok(());
    };
    let pool_bytes = units * POOL_UNIT;
    match checked(&*plan.open(engine, pool_bytes)?, trace) {
        Ok(ran) => {
            result.space = Some(EngineSpace::of_pool(&ran.figures, pool_bytes, knows_usable))
        }
        Err(failure) => result.failure = Some(WrongAnswer::new(&failure, pool_bytes)),
    }
    Ok(())
}

impl EngineResult {
    /// Creates the result of a replay that has not begun.
    fn new(engine: Subject) -> Self {
        Self {
            engine,
            peer: PeerFacts::of(engine),
            done: 0,
            refused: Default::default(),
            left_out: 0,
            checked_bytes: 0,
            space: None,
            times: None,
            failure: None,
            timeline: None,
        }
    }

    /// Copies the figures of a checked run.
    fn enter(&mut self, ran: &RunResult) {
        let refused = stats::refusals(&ran.figures.refusals);
        self.refused = refused
            .into_iter()
            .map(|(cause, count)| (cause.to_owned(), count))
            .collect();
        self.done = ran.figures.done;
        self.left_out = ran.figures.left_out;
        self.checked_bytes = ran.checked_bytes;
    }
}

impl EngineSpace {
    /// Returns the shares of a pool. Without usable sizes, the two kinds of fragmentation cannot be told apart.
    fn of_pool(figures: &Figures, pool_bytes: u64, knows_usable: bool) -> Self {
        let share = |bytes: u64| bytes as f64 / pool_bytes as f64;
        Self {
            pool_bytes: Some(pool_bytes),
            reserved_bytes: pool_bytes,
            utilisation: share(figures.peak_bytes),
            internal: knows_usable.then(|| share(figures.usable_at_peak - figures.peak_bytes)),
            external: knows_usable.then(|| share(pool_bytes - figures.usable_at_peak)),
        }
    }

    fn of_blocks(figures: &Figures) -> Self {
        let utilisation = figures.peak_bytes as f64 / figures.peak_usable as f64;
        Self {
            pool_bytes: None,
            reserved_bytes: figures.peak_usable,
            utilisation,
            internal: Some(1.0 - utilisation),
            external: None,
        }
    }
}
