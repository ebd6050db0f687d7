// SPDX-License-Identifier: GPL-2.0

//! How much memory a trace needs.
//!
//! An allocator's utilisation is the most bytes that the trace has out at once over the smallest
//! pool in which it can be run. What the allocator keeps beside its pool is not in the pool; it is
//! reported by itself.

use std::{
    ptr,
    time::{
        Duration,
        Instant, //
    },
};

use slablab_trace::{
    ALIGN, Kind, Trace,
    pattern::{
        self,
        Family,
        Pattern, //
    },
    search,
};

use crate::{
    check::{
        Checked,
        Wrong, //
    },
    heap::Heap,
    peers::Peer,
    pool::Pool, //
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

/// Returns the patterns that are measured.
pub(crate) fn patterns() -> impl Iterator<Item = &'static Pattern> {
    pattern::all().filter(|pattern| pattern.family != Family::Literature)
}

/// Returns the bytes of a pool that every search can be made in.
pub(crate) fn pool_bytes<'traces>(traces: impl IntoIterator<Item = &'traces Trace>) -> usize {
    let peak = traces.into_iter().map(Trace::peak_bytes).max();
    largest(peak.unwrap_or(0) as usize)
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
    if !peer.has_pool() {
        return Ok(None);
    }
    let begun = Instant::now();
    let peak_bytes = trace.peak_bytes() as usize;
    let grains = |bytes: usize| (bytes / peer.grain) as u64;
    let range = grains(peak_bytes.next_multiple_of(peer.grain))..=grains(largest(peak_bytes));
    let found = search::smallest(range, |grains| {
        if begun.elapsed() > PATIENCE {
            return Err(());
        }
        let within = peer.within(pool, grains as usize * peer.grain);
        Ok(within.is_some_and(|within| replay(trace, &*within.heap)))
    });
    let Ok(Some(grains)) = found else {
        return Ok(None);
    };
    let bytes = grains as usize * peer.grain;
    let Some(within) = peer.within(pool, bytes) else {
        return Ok(None);
    };
    let checked = Checked::tight(&*within.heap);
    let complete = replay(trace, &checked);
    checked.verdict()?;
    Ok(complete.then_some(Need {
        pool_bytes: bytes,
        beside_bytes: within.heap.beside_bytes(),
        rounded_bytes: trace
            .peak_with(|size, align| within.heap.usable(size as usize, align as usize) as u64)
            as usize,
    }))
}

/// Does what a trace says and says whether there was room for all of it. What is out when there was
/// not is left there.
pub(crate) fn replay(trace: &Trace, heap: &dyn Heap) -> bool {
    const NONE: (*mut u8, usize, usize) = (ptr::null_mut(), 0, ALIGN as usize);
    let mut blocks = vec![NONE; trace.blocks()];
    for op in trace.ops() {
        let (block, size, align) = blocks[op.id as usize];
        let (block, size, align) = match op.kind {
            Kind::Alloc { bytes, align } => {
                let (size, align) = (bytes as usize, align as usize);
                (heap.alloc(size, align), size, align)
            }
            Kind::Realloc { bytes } => {
                let new = bytes as usize;
                // SAFETY: The trace allocated it and has not freed it.
                (unsafe { heap.realloc(block, size, align, new) }, new, align)
            }
            Kind::Free => {
                // SAFETY: The trace allocated it and frees it once.
                unsafe { heap.free(block, size, align) };
                continue;
            }
        };
        if block.is_null() {
            return false;
        }
        blocks[op.id as usize] = (block, size, align);
    }
    true
}
