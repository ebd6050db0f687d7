// SPDX-License-Identifier: GPL-2.0

//! The memory that a trace needs.
//!
//! The utilisation of an allocator is the trace's peak of live bytes divided by the smallest pool in
//! which the trace can be replayed. Metadata outside the pool is reported separately.

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
        CheckError, //
        Checked,
    },
    heap::Heap,
    peers::Peer,
    pool::Pool, //
};

/// The size of the largest pool that is tried, as a multiple of the peak.
const MAX_PEAKS: usize = 8;

/// The timeout of a search.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The memory that a trace needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SpaceRequired {
    /// The size of the smallest pool in bytes.
    pub(crate) pool_bytes: usize,
    /// The size of the metadata outside the pool, in bytes.
    pub(crate) metadata_bytes: usize,
    /// The peak of live bytes with the allocator's usable sizes, a lower bound for the pool.
    pub(crate) usable_peak_bytes: usize,
}

/// Returns the patterns that are measured.
pub(crate) fn patterns() -> impl Iterator<Item = &'static Pattern> {
    pattern::all().filter(|pattern| pattern.family != Family::Literature)
}

/// Returns the size of a pool that is large enough for the searches of all traces, in bytes.
pub(crate) fn pool_bytes<'traces>(traces: impl IntoIterator<Item = &'traces Trace>) -> usize {
    let peak = traces.into_iter().map(Trace::peak_bytes).max();
    largest(peak.unwrap_or(0) as usize)
}

/// Returns the size of the largest pool that is tried for a peak, in bytes.
fn largest(peak_bytes: usize) -> usize {
    (peak_bytes * MAX_PEAKS)
        .next_multiple_of(1 << 20)
        .max(8 << 20)
}

/// Searches the smallest pool in which a trace can be replayed. Returns `None` when the allocator has
/// no pool, when no pool is large enough, or after [`TIMEOUT`].
///
/// # Errors
///
/// The replay in the smallest pool is checked; its first wrong answer is returned.
pub(crate) fn smallest(
    peer: &Peer,
    pool: &Pool,
    trace: &Trace,
) -> Result<Option<SpaceRequired>, CheckError> {
    if !peer.has_pool() {
        return Ok(None);
    }
    let begun = Instant::now();
    let peak_bytes = trace.peak_bytes() as usize;
    let grains = |bytes: usize| (bytes / peer.grain) as u64;
    let range = grains(peak_bytes.next_multiple_of(peer.grain))..=grains(largest(peak_bytes));
    let found = search::smallest(range, |grains| {
        if begun.elapsed() > TIMEOUT {
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
    let checked = Checked::may_refuse(&*within.heap);
    let complete = replay(trace, &checked);
    checked.result()?;
    Ok(complete.then_some(SpaceRequired {
        pool_bytes: bytes,
        metadata_bytes: within.heap.metadata_bytes(),
        usable_peak_bytes: trace
            .peak_with(|size, align| within.heap.usable(size as usize, align as usize) as u64)
            as usize,
    }))
}

/// Replays a trace and returns whether every request was served. After a refused request, the live
/// blocks are not freed.
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
                // SAFETY: By the invariants of `Trace` the block is live; it has this layout.
                (unsafe { heap.realloc(block, size, align, new) }, new, align)
            }
            Kind::Free => {
                // SAFETY: By the invariants of `Trace` the block is live, and is not used after its free.
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
