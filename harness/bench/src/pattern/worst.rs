// SPDX-License-Identifier: GPL-2.0

//! Worst case of a free: single frees are timed in a heap in which every other block is free.

use std::time::{
    Duration,
    Instant, //
};

use slab_heap::Block;

use super::{
    ALIGN,
    address, //
};
use crate::{
    check::{
        self,
        CheckError, //
    },
    clock::TimestampClock,
    heap::BenchHeap,
    rng::Rng,
};

/// The size of a block in bytes.
pub(crate) const BLOCK_BYTES: usize = 8 << 10;

/// A pattern of single frees.
#[derive(Clone, Debug)]
pub(crate) struct Worst {
    /// The name on the command line and in JSON.
    pub(crate) name: &'static str,
    /// The title in tables.
    pub(crate) title: &'static str,
    /// The number of blocks that are allocated; every other one is then freed.
    pub(crate) blocks: usize,
    /// The number of frees that are timed.
    pub(crate) frees: usize,
    /// The number of repetitions.
    pub(crate) repetitions: usize,
    /// The timeout of the preparation, which is slow where a free searches a list.
    pub(crate) timeout: Duration,
}

impl Worst {
    /// Returns the bytes of a pool that is large enough for every allocator.
    pub(crate) fn pool_bytes(&self) -> usize {
        // 1/32 for headers, and 8 MiB of slack.
        (self.blocks * (BLOCK_BYTES + BLOCK_BYTES / 32) + (8 << 20)).next_multiple_of(1 << 20)
    }

    /// Returns the patterns: 8,149 blocks and 100,000 fragments, or fewer blocks for a brief run.
    pub(crate) fn all(brief: bool) -> Vec<Self> {
        let few = Self {
            name: "worst-8149",
            title: "free, 8,149 blocks",
            blocks: 8_149,
            frees: 2_000,
            repetitions: 9,
            timeout: Duration::from_secs(10),
        };
        let many = Self {
            name: "worst-100000",
            title: "free, 100,000 fragments",
            blocks: 200_000,
            repetitions: 5,
            timeout: Duration::from_secs(5),
            ..few.clone()
        };
        let brief_one = Self {
            name: "worst-999",
            title: "free, 999 blocks",
            blocks: 999,
            frees: 100,
            repetitions: 3,
            ..few.clone()
        };
        if brief {
            vec![brief_one]
        } else {
            vec![few, many]
        }
    }
}

/// Frees a block. Callgrind counts the instructions of this function, so it must not be inlined.
#[inline(never)]
pub(crate) fn measured_free(heap: &dyn BenchHeap, block: Block) {
    // SAFETY: The only caller, `sample`, passes a live block of this layout and does not use it again.
    unsafe { heap.free(block, BLOCK_BYTES, ALIGN) };
}

/// Prepares a heap and returns the duration of each free in nanoseconds, or `None` when the preparation
/// exceeds the timeout.
///
/// # Errors
///
/// Returns the first wrong answer. The baseline always returns the same block, so its blocks are not
/// checked for overlap.
pub(crate) fn sample(
    worst: &Worst,
    heap: &dyn BenchHeap,
    seed: u64,
    clock: &TimestampClock,
    baseline: bool,
) -> Result<Option<Vec<f64>>, CheckError> {
    let begun = Instant::now();
    let mut rng = Rng::new(seed);
    let mut blocks: Vec<Option<Block>> = Vec::with_capacity(worst.blocks);
    let mut late = false;
    for _ in 0..worst.blocks {
        blocks.push(heap.alloc(BLOCK_BYTES, ALIGN));
    }
    for (index, slot) in blocks.iter_mut().enumerate().step_by(2) {
        late |= index % 256 == 0 && begun.elapsed() > worst.timeout;
        if late {
            break;
        }
        free(heap, slot);
    }
    let mut nanoseconds = Vec::with_capacity(worst.frees);
    if !late {
        for _ in 0..worst.frees {
            let slot = &mut blocks[rng.index(worst.blocks / 2) * 2 + 1];
            let block = slot.take().ok_or(CheckError::Refused(BLOCK_BYTES))?;
            let started = clock.now();
            measured_free(heap, block);
            nanoseconds.push(clock.nanoseconds(started, clock.now()));
            *slot = heap.alloc(BLOCK_BYTES, ALIGN);
        }
    }
    let live = blocks.iter().flatten();
    let live = live.map(|block| (address(*block), BLOCK_BYTES)).collect();
    if !baseline {
        check::check_overlap(live)?;
    }
    // After a timeout the blocks are not freed, because the frees would be as slow; dropping the pool
    // releases the memory.
    if !late {
        blocks.iter_mut().rev().for_each(|slot| free(heap, slot));
    }
    Ok((!late).then_some(nanoseconds))
}

/// Frees the block in a slot, if there is one.
fn free(heap: &dyn BenchHeap, slot: &mut Option<Block>) {
    if let Some(block) = slot.take() {
        // SAFETY: The block was allocated with this layout; the slot is now empty, so it is freed once.
        unsafe { heap.free(block, BLOCK_BYTES, ALIGN) };
    }
}
