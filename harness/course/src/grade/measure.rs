// SPDX-License-Identifier: GPL-2.0

//! The figures of a grade: utilisation and cost of the engine `student` on a trace.
//!
//! *Utilisation* is a bound, divided by the smallest pool in which the trace is served. Live blocks share no byte, so no
//! allocator serves the trace in fewer bytes than the peak of live bytes. The bound is this peak, rounded up to whole
//! pages, because a pool has whole pages; each size counts as the allocator gets it, rounded up to a multiple of 8. No
//! allocator reaches 100 per cent for most traces, so a rubric sets its thresholds by the model solution.
//!
//! *Cost* is the number of accesses that `Memory` counts, in a pool of [`COST_POOL`] times the bound. The size of this
//! pool does not depend on the allocator, so that an allocator which wastes memory does not gain a larger pool.
//!
//! No figure depends on time. A run ends after [`ACCESSES_MAX`] accesses, also on a fast machine.

use rustix::io::Errno;
use slablab_lab::{
    isolation::Watched,
    sim::Sim,
    target::Target,
    uapi::Engine, //
};
use slablab_trace::{
    Kind,
    Trace,
    search, //
};

/// The granule of sizes and offsets, in bytes.
const GRANULE: u64 = 8;

const PAGE_BYTES: u64 = 4096;

/// The largest pool that is tried, as a multiple of the bound. An allocator that needs a larger pool has utilisation 0.
const POOL_MAX: u64 = 16;

/// The pool of a measurement of cost, as a multiple of the bound.
const COST_POOL: u64 = 4;

/// The largest number of accesses of a run of a trace: 10,000 and more for each operation.
pub(super) const ACCESSES_MAX: u64 = 1 << 26;

/// The number of operations between two checks of the number of accesses.
const STRIDE: usize = 16;

/// The accesses and operations of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    accesses: u64,
    operations: u64,
}

/// Returns the smallest number of pages in which an allocator could serve a trace.
fn bound_pages(trace: &Trace) -> u64 {
    let peak = trace.peak_with(|bytes, _align| u64::from(bytes).next_multiple_of(GRANULE));
    peak.div_ceil(PAGE_BYTES).max(1)
}

/// Returns the utilisation in per mille; 0 if the trace is not served in the largest pool.
///
/// # Errors
///
/// The rule that the allocator broke, in words, or that it made too many accesses.
pub(super) fn utilisation(trace: &Trace) -> Result<u64, String> {
    let bound = bound_pages(trace);
    let smallest = search::smallest(bound..=bound * POOL_MAX, |pages| {
        run(trace, pages).map(|run| run.is_some())
    })?;
    Ok(smallest.map_or(0, |pages| bound * 1000 / pages))
}

/// Returns the accesses and the operations of a trace.
///
/// # Errors
///
/// The rule that the allocator broke, in words, that it made too many accesses, or that a request was refused.
pub(super) fn cost(trace: &Trace) -> Result<(u64, u64), String> {
    match run(trace, bound_pages(trace) * COST_POOL)? {
        Some(run) => Ok((run.accesses, run.operations)),
        None => Err(format!(
            "a request was refused in a pool of {COST_POOL} times the bound"
        )),
    }
}

/// Replays a trace in a new pool, and returns `None` if a request is refused.
fn run(trace: &Trace, pages: u64) -> Result<Option<Run>, String> {
    let sim = Sim::private(Engine::Student, pages * PAGE_BYTES)
        .map_err(|errno| format!("the pool cannot be created: {errno}"))?;
    let target = Watched(Box::new(sim));
    let begin = accesses(&target)?;
    let mut handles = vec![0; trace.blocks()];
    for (index, op) in trace.ops().iter().enumerate() {
        let handle = &mut handles[op.id as usize];
        let result = match op.kind {
            Kind::Alloc { bytes, align } => target
                .alloc(bytes.into(), align.into())
                .map(|reply| *handle = reply.handle)
                .map_err(|refused| refused.errno),
            Kind::Realloc { bytes } => target
                .realloc(*handle, bytes.into())
                .map(drop)
                .map_err(|refused| refused.errno),
            Kind::Free => target.free(*handle),
        };
        let used = match result {
            Ok(()) if index % STRIDE != 0 => continue,
            _ => accesses(&target)? - begin,
        };
        if used > ACCESSES_MAX {
            return Err(format!(
                "the first {} operations of the trace needed more than {ACCESSES_MAX} accesses",
                index + 1
            ));
        }
        match result {
            Ok(()) => {}
            Err(Errno::NOMEM | Errno::OPNOTSUPP) => return Ok(None),
            Err(errno) => return Err(format!("an operation failed: {errno}")),
        }
    }
    Ok(Some(Run {
        accesses: accesses(&target)? - begin,
        operations: trace.ops().len() as u64,
    }))
}

/// Returns the accesses so far.
///
/// # Errors
///
/// The rule that the allocator broke.
fn accesses(target: &Watched) -> Result<u64, String> {
    let reply = target
        .violation()
        .map_err(|errno| format!("the accesses cannot be read: {errno}"))?;
    if reply.rule == 0 {
        return Ok(reply.accesses);
    }
    Err(reply.to_string())
}
