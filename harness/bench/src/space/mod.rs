// SPDX-License-Identifier: GPL-2.0

//! The memory that a trace needs.
//!
//! The utilisation of an allocator is the trace's peak of live bytes divided by the smallest pool in
//! which the trace can be replayed. Metadata outside the pool is reported separately.

use std::time::{
    Duration,
    Instant, //
};

use slablab_trace::{
    Kind, Trace,
    pattern::{
        self,
        Family,
        Pattern, //
    },
    search,
};

use crate::{
    check::{
        CheckError,
        CheckedHeap, //
    },
    heap::BenchHeap,
    peers::Peer,
    pool::MappedPool, //
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
    pattern::workloads()
        .filter(|pattern| pattern.family != Family::Literature || std::env::var_os("LIT").is_some())
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
    pool: &MappedPool,
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
    let checked = CheckedHeap::may_refuse(&*within.heap);
    let complete = replay(trace, &checked);
    checked.result()?;
    Ok(complete.then_some(SpaceRequired {
        pool_bytes: bytes,
        metadata_bytes: within.heap.metadata_bytes(),
        usable_peak_bytes: trace
            .peak_with(|size, align| within.heap.usable_size(size as usize, align as usize) as u64)
            as usize,
    }))
}

/// Replays a trace and returns whether every request was served. After a refused request, the live
/// blocks are not freed.
pub(crate) fn replay(trace: &Trace, heap: &dyn BenchHeap) -> bool {
    let mut blocks = vec![None; trace.blocks()];
    for op in trace.ops() {
        let place = &mut blocks[op.id as usize];
        *place = match (op.kind, place.take()) {
            (Kind::Alloc { bytes, align }, _) => {
                let (size, align) = (
                    bytes as usize,
                    (align as usize).max(if std::env::var_os("A16").is_some() {
                        16
                    } else {
                        8
                    }),
                );
                let block = heap.alloc(size, align);
                block.map(|block| (block, size, align))
            }
            (Kind::Realloc { bytes }, Some((block, size, align))) => {
                let new = bytes as usize;
                // SAFETY: The block was in its slot of `blocks`, so it is live and has this layout.
                let block = unsafe { heap.realloc(block, size, align, new) };
                block.map(|block| (block, new, align))
            }
            (Kind::Free, Some((block, size, align))) => {
                // SAFETY: The block was in its slot of `blocks`, so it is live and has this layout. `take`
                // emptied the slot, so the block is not used after its free.
                unsafe { heap.free(block, size, align) };
                continue;
            }
            (_, None) => {
                unreachable!("by its invariants a trace resizes and frees live blocks only")
            }
        };
        if place.is_none() {
            return false;
        }
    }
    true
}
