// SPDX-License-Identifier: GPL-2.0

//! The searches of all traces, alignments and allocators, on all CPUs.
//!
//! The result of a search does not depend on time, so several searches may run at once. Each thread has a pool of its
//! own, and constructs and uses its allocators alone.

use std::{
    num::NonZero,
    sync::{
        atomic::{
            AtomicUsize,
            Ordering, //
        },
        mpsc,
    },
    thread,
};

use anyhow::Context;
use slablab_trace::Trace;

use super::{
    SpaceRequired,
    largest,
    smallest, //
};
use crate::{
    peers::Peer,
    pool::MappedPool, //
};

/// A trace with the alignment of its requests.
pub(crate) struct TraceRun<'traces> {
    /// The trace.
    pub(crate) trace: &'traces Trace,
    /// The alignment in bytes.
    pub(crate) align: usize,
}

/// Searches the smallest pool of each run for each allocator, and returns the results by run and allocator. Only
/// thread-safe variants of allocators are measured, because a lock makes no difference. Calls `progress` before each
/// search.
///
/// # Errors
///
/// Returns the first wrong answer, or the failure to map a pool.
pub(crate) fn measure(
    runs: &[TraceRun<'_>],
    peers: &[Peer],
    progress: impl Fn(&str),
) -> anyhow::Result<Vec<Vec<Option<SpaceRequired>>>> {
    let peak_bytes = runs.iter().map(|run| run.trace.peak_bytes()).max();
    let pool_bytes = largest(peak_bytes.unwrap_or(0) as usize);
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let next = AtomicUsize::new(0);
    let (sender, receiver) = mpsc::channel();
    let mut found = vec![vec![None; peers.len()]; runs.len()];
    thread::scope(|scope| {
        for _ in 0..threads {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                let send = |answer: anyhow::Result<_>| sender.send(answer).is_ok();
                let pool = match MappedPool::new(pool_bytes) {
                    Ok(pool) => pool,
                    Err(error) => {
                        send(Err(error.into()));
                        return;
                    }
                };
                loop {
                    let job = next.fetch_add(1, Ordering::Relaxed);
                    let (row, place) = (job / peers.len().max(1), job % peers.len().max(1));
                    let Some((run, peer)) = runs.get(row).zip(peers.get(place)) else {
                        break;
                    };
                    let required = match peer.threads {
                        true => smallest(peer, &pool, run.trace, run.align),
                        false => Ok(None),
                    };
                    let required = required.with_context(|| {
                        format!("{} with the trace '{}'", peer.name, run.trace.name)
                    });
                    if !send(required.map(|required| (row, place, required))) {
                        break;
                    }
                }
            });
        }
        drop(sender);
        for answer in receiver {
            let (row, place, required) = answer?;
            progress(&format!("{} {}", runs[row].trace.name, peers[place].name));
            found[row][place] = required;
        }
        anyhow::Ok(())
    })?;
    Ok(found)
}
