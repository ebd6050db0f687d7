// SPDX-License-Identifier: GPL-2.0

//! Single frees, each timed by itself, in a heap in which every other block is free.

use std::{
    ptr,
    time::{
        Duration,
        Instant, //
    },
};

use super::ALIGN;
use crate::{
    check::{
        self,
        Wrong, //
    },
    clock::Clock,
    heap::Heap,
    rng::Rng,
};

/// The size of a block.
pub(crate) const BLOCK_BYTES: usize = 8 << 10;

/// What is tried.
#[derive(Clone, Debug)]
pub(crate) struct Worst {
    /// What it is called on the command line and in JSON.
    pub(crate) name: &'static str,
    /// What it is called in tables.
    pub(crate) title: &'static str,
    /// Blocks that there are, half of which are then freed.
    pub(crate) blocks: usize,
    /// Frees that are timed.
    pub(crate) frees: usize,
    /// Repetitions.
    pub(crate) repetitions: usize,
    /// The time after which the preparation is given up.
    pub(crate) patience: Duration,
}

impl Worst {
    /// Returns the bytes of a pool that it fits into, whoever has it.
    pub(crate) fn pool_bytes(&self) -> usize {
        // A thirtieth for headers, and some.
        (self.blocks * (BLOCK_BYTES + BLOCK_BYTES / 32) + (8 << 20)).next_multiple_of(1 << 20)
    }

    /// Returns what is tried: the figure of 8,149 blocks, and 100,000 fragments;
    /// briefly, less.
    pub(crate) fn all(brief: bool) -> Vec<Self> {
        let few = Self {
            name: "worst-8149",
            title: "free, 8,149 blocks",
            blocks: 8_149,
            frees: 2_000,
            repetitions: 9,
            patience: Duration::from_secs(10),
        };
        let many = Self {
            name: "worst-100000",
            title: "free, 100,000 fragments",
            blocks: 200_000,
            repetitions: 5,
            patience: Duration::from_secs(5),
            ..few.clone()
        };
        let least = Self {
            name: "worst-999",
            title: "free, 999 blocks",
            blocks: 999,
            frees: 100,
            repetitions: 3,
            ..few.clone()
        };
        if brief { vec![least] } else { vec![few, many] }
    }
}

/// Frees a block: the one call that counts.
#[inline(never)]
pub(crate) fn measured_free(heap: &dyn Heap, block: *mut u8) {
    // SAFETY: The only caller has a block of this size.
    unsafe { heap.free(block, BLOCK_BYTES, ALIGN) };
}

/// Prepares a heap, frees blocks, and returns how long each took, in nanoseconds; `None` when the
/// preparation took too long.
///
/// # Errors
///
/// What is wrong with an answer; of the baseline, whose blocks are one, only null.
pub(crate) fn sample(
    worst: &Worst,
    heap: &dyn Heap,
    seed: u64,
    clock: &Clock,
    baseline: bool,
) -> Result<Option<Vec<f64>>, Wrong> {
    let begun = Instant::now();
    let mut rng = Rng::new(seed);
    let mut blocks: Vec<*mut u8> = Vec::with_capacity(worst.blocks);
    let mut late = false;
    for _ in 0..worst.blocks {
        blocks.push(heap.alloc(BLOCK_BYTES, ALIGN));
    }
    for (index, block) in blocks.iter_mut().enumerate().step_by(2) {
        late |= index % 256 == 0 && begun.elapsed() > worst.patience;
        if late {
            break;
        }
        free(heap, block);
    }
    let mut nanoseconds = Vec::with_capacity(worst.frees);
    if !late {
        for _ in 0..worst.frees {
            let block = &mut blocks[rng.index(worst.blocks / 2) * 2 + 1];
            if block.is_null() {
                return Err(Wrong::Null(BLOCK_BYTES));
            }
            let started = clock.now();
            measured_free(heap, *block);
            nanoseconds.push(clock.nanoseconds(started, clock.now()));
            *block = heap.alloc(BLOCK_BYTES, ALIGN);
        }
    }
    let live = blocks.iter().filter(|block| !block.is_null());
    let live = live.map(|block| (block.addr(), BLOCK_BYTES)).collect();
    if !baseline {
        check::distinct(live)?;
    }
    // An allocator with a pool goes with it; to clean up after those that search would take long.
    if !late {
        blocks.iter_mut().rev().for_each(|block| free(heap, block));
    }
    Ok((!late).then_some(nanoseconds))
}

/// Frees a block, if there is one.
fn free(heap: &dyn Heap, block: &mut *mut u8) {
    let block = std::mem::replace(block, ptr::null_mut());
    if !block.is_null() {
        // SAFETY: Allocated with this size, and freed once.
        unsafe { heap.free(block, BLOCK_BYTES, ALIGN) };
    }
}
