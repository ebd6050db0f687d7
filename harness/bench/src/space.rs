// SPDX-License-Identifier: GPL-2.0

//! How much memory a trace needs.
//!
//! An allocator's utilisation is the most bytes that the trace has out at once over the smallest
//! pool in which it can be run. What the allocator keeps beside its pool is not in the pool; it is
//! reported by itself.

use std::time::{
    Duration,
    Instant, //
};

use crate::{
    check::{
        Checked,
        Wrong, //
    },
    peers::Peer,
    pool::Pool,
    trace::{
        self,
        Trace, //
    },
};

/// How many times the peak a pool may be.
const LARGEST: usize = 8;

/// The time after which a search is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a trace needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Need {
    /// The bytes of the smallest pool that was found.
    pub(crate) pool_bytes: usize,
    /// The bytes beside it.
    pub(crate) beside_bytes: usize,
    /// The most bytes that are out at once, each block as large as the allocator makes it: no pool
    /// can be smaller.
    pub(crate) rounded_bytes: usize,
}

/// Returns the bytes of a pool that every search can be made in.
pub(crate) fn pool_bytes(traces: &[Trace]) -> usize {
    let peak = traces.iter().map(|trace| trace.peak_bytes).max();
    largest(peak.unwrap_or(0))
}

/// Returns the bytes of the largest pool that is tried for a peak.
fn largest(peak_bytes: usize) -> usize {
    (peak_bytes * LARGEST)
        .next_multiple_of(1 << 20)
        .max(8 << 20)
}

/// Finds the smallest pool that a trace can be run in, by halving; `None` when there is none, or it
/// takes too long.
///
/// # Errors
///
/// The first wrong answer of the run in that pool.
pub(crate) fn smallest(peer: &Peer, pool: &Pool, trace: &Trace) -> Result<Option<Need>, Wrong> {
    let begun = Instant::now();
    let runs = |grains: usize| {
        let within = peer.within(pool, grains * peer.grain);
        within.is_some_and(|within| trace::replay(trace, &*within.heap))
    };
    // No pool of `low` grains will do, and one of `high` will.
    let mut low = trace.peak_bytes.saturating_sub(1) / peer.grain;
    let mut high = largest(trace.peak_bytes) / peer.grain;
    if !peer.has_pool() {
        return Ok(None);
    }
    // Most need little more than the peak.
    let mut step = (low / 8).max(1);
    loop {
        let next = (low + step).min(high);
        if runs(next) {
            high = next;
            break;
        }
        if next == high || begun.elapsed() > PATIENCE {
            return Ok(None);
        }
        (low, step) = (next, step * 2);
    }
    while high - low > 1 {
        if begun.elapsed() > PATIENCE {
            return Ok(None);
        }
        let middle = low + (high - low) / 2;
        if runs(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    let Some(within) = peer.within(pool, high * peer.grain) else {
        return Ok(None);
    };
    let checked = Checked::tight(&*within.heap);
    let complete = trace::replay(trace, &checked);
    checked.verdict()?;
    Ok(complete.then_some(Need {
        pool_bytes: high * peer.grain,
        beside_bytes: within.heap.beside_bytes(),
        rounded_bytes: trace::rounded_peak(trace, |size, align| within.heap.usable(size, align)),
    }))
}
