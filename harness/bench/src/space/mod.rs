// SPDX-License-Identifier: GPL-2.0

//! The memory that a trace needs.
//!
//! The utilisation of an allocator is the trace's peak of live bytes divided by the smallest pool in
//! which the trace can be replayed. Metadata outside the pool is reported separately. The bound of the
//! utilisation is that of an allocator which rounds sizes to the alignment and loses nothing else.

pub(crate) mod groups;
pub(crate) mod means;
mod measure;

use std::{
    convert::Infallible,
    ops::RangeInclusive, //
};

use slablab_trace::{
    Kind,
    Trace,
    search, //
};

pub(crate) use self::measure::{
    TraceRun,
    measure, //
};

use crate::{
    check::{
        CheckError,
        CheckedHeap, //
    },
    heap::BenchHeap,
    peers::Peer,
    pool::{
        MappedPool,
        PAGE_BYTES, //
    },
};

/// The size of the largest pool that is tried, as a multiple of the peak.
const MAX_PEAKS: usize = 8;

/// The size of the largest pool that is tried for a trace with a small peak, in bytes.
const SMALL_LARGEST: usize = 32 << 20;

/// The alignment of a request for which a trace says nothing else, in bytes.
const DEFAULT_ALIGN: usize = slablab_trace::ALIGN as usize;

/// The number of steps from the smallest pool that is tried to its double.
const STEPS: u64 = 16;

/// The memory that a trace needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SpaceRequired {
    /// The size of the smallest pool in bytes.
    pub(crate) pool_bytes: usize,
    /// The size of the metadata outside the pool without the caches of CPUs, in bytes.
    pub(crate) metadata_bytes: usize,
    /// The size of the cache of one CPU outside the pool, in bytes.
    pub(crate) cache_bytes: usize,
    /// The peak of live bytes with the allocator's usable sizes, a lower bound for the pool.
    pub(crate) usable_peak_bytes: usize,
}

/// Returns the upper bound of the utilisation of a trace: no fragmentation, no header and no metadata, but sizes
/// rounded up to `align` and a pool of whole pages.
pub(crate) fn bound(trace: &Trace, align: usize) -> f64 {
    let rounded = trace.peak_with(|size, _| u64::from(size).next_multiple_of(align as u64));
    trace.peak_bytes() as f64 / rounded.next_multiple_of(PAGE_BYTES as u64) as f64
}

/// Returns the size of the largest pool that is tried for a peak, in bytes.
fn largest(peak_bytes: usize) -> usize {
    (peak_bytes * MAX_PEAKS)
        .next_multiple_of(1 << 20)
        .max(SMALL_LARGEST)
}

/// Searches the smallest number of a range that fits, in steps of 1/16 of the first number: one step after the other
/// until the end of a step fits, then by bisection inside of this step.
///
/// A larger pool may be too small for an allocator to which a smaller one is enough, for example because buddies lie
/// elsewhere. A bisection over the whole range would find any of these sizes.
///
/// # Errors
///
/// Returns the first error of `fits`.
fn smallest_in_steps<E>(
    range: RangeInclusive<u64>,
    mut fits: impl FnMut(u64) -> Result<bool, E>,
) -> Result<Option<u64>, E> {
    let (mut first, last) = range.into_inner();
    let step = (first / STEPS).max(1);
    while first <= last {
        let end = (first + step - 1).min(last);
        if fits(end)? {
            return search::smallest(first..=end, fits);
        }
        first = end + 1;
    }
    Ok(None)
}

/// Searches the smallest pool in which a trace can be replayed, with the alignment [`request_align`]. Returns `None`
/// when the allocator has no pool, or when no pool is large enough.
///
/// # Errors
///
/// The replay in the smallest pool is checked; its first wrong answer is returned.
pub(crate) fn smallest(
    peer: &Peer,
    pool: &MappedPool,
    trace: &Trace,
    align: usize,
) -> Result<Option<SpaceRequired>, CheckError> {
    if !peer.has_pool() {
        return Ok(None);
    }
    let peak_bytes = trace.peak_bytes() as usize;
    let grains = |bytes: usize| (bytes / peer.grain) as u64;
    let first = grains(peak_bytes.next_multiple_of(peer.grain));
    let fits = |grains: u64| {
        let within = peer.within(pool, grains as usize * peer.grain);
        Ok::<_, Infallible>(within.is_some_and(|within| replay(trace, align, &*within.heap)))
    };
    let found = smallest_in_steps(first..=grains(largest(peak_bytes)), fits);
    let Ok(Some(grains)) = found else {
        return Ok(None);
    };
    let bytes = grains as usize * peer.grain;
    let Some(within) = peer.within(pool, bytes) else {
        return Ok(None);
    };
    let checked = CheckedHeap::may_refuse(&*within.heap);
    let complete = replay(trace, align, &checked);
    checked.result()?;
    Ok(complete.then_some(SpaceRequired {
        pool_bytes: bytes,
        metadata_bytes: within.heap.metadata_bytes(),
        cache_bytes: within.heap.cache_bytes(),
        usable_peak_bytes: trace.peak_with(|size, own| {
            let align = request_align(align, own);
            within.heap.usable_size(size as usize, align) as u64
        }) as usize,
    }))
}

/// Returns the alignment of a request for which the trace says `own`. At the alignment 8 of a table, requests keep
/// their own alignment, which is 8 in all traces but `aligned`. At another one, all requests have this alignment.
fn request_align(align: usize, own: u32) -> usize {
    match align {
        DEFAULT_ALIGN => own as usize,
        _ => align,
    }
}

/// Replays a trace with the alignment [`request_align`], and returns whether every request was served. After a refused
/// request, the live blocks are not freed.
pub(crate) fn replay(trace: &Trace, align: usize, heap: &dyn BenchHeap) -> bool {
    let mut blocks = vec![None; trace.blocks()];
    for op in trace.ops() {
        let place = &mut blocks[op.id as usize];
        *place = match (op.kind, place.take()) {
            (Kind::Alloc { bytes, align: own }, _) => {
                let (size, align) = (bytes as usize, request_align(align, own));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_search_finds_the_first_step_that_fits() {
        let found = |range, fits: &dyn Fn(u64) -> bool| {
            smallest_in_steps::<()>(range, |number| Ok(fits(number))).unwrap()
        };
        for least in [1, 99, 100, 107, 150, 799, 800, 801] {
            let expected = (least <= 800).then_some(least.max(100));
            assert_eq!(found(100..=800, &|number| number >= least), expected);
        }
        // 200 to 299 fit, 300 to 499 do not, 500 and more fit again.
        let gap = |number| (200..300).contains(&number) || number >= 500;
        assert_eq!(found(100..=800, &gap), Some(200));
        assert_eq!(smallest_in_steps(1..=9, |_| Err("enough")), Err("enough"));
    }
}
