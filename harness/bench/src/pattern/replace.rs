// SPDX-License-Identifier: GPL-2.0

//! Random replacement: the block of a random slot is freed, and one of another size takes its place.

use slab_heap::Block;

use super::{
    ALIGN,
    PassTally,
    RunningPattern,
    address,
    allocate,
    log_uniform, //
};
use crate::{
    heap::BenchHeap,
    rng::Rng, //
};

/// The length of the random list of replacements, which is repeated.
const STEPS: usize = 1 << 16;

/// The number of replacements per slot before the measurement, so that the heap has the typical state
/// of the pattern and not that of a freshly filled heap.
const WARM_UP: usize = 2;

/// A slot: its block and the requested size.
#[derive(Clone, Copy)]
struct ReplaceSlot {
    block: Option<Block>,
    size: u32,
}

/// A replacement: the slot and the size of its next block.
#[derive(Clone, Copy)]
struct Replacement {
    slot: u32,
    size: u32,
}

/// The random replacement pattern. With `USED`, the first and last word of a block are written after the
/// allocation and read before the free.
pub(super) struct ReplacePattern<const USED: bool> {
    slots: Vec<ReplaceSlot>,
    steps: Vec<Replacement>,
    next: usize,
}

impl<const USED: bool> ReplacePattern<USED> {
    /// Fills `slots` slots with blocks of up to `largest` bytes, and runs until the state is typical.
    pub(super) fn new(heap: &dyn BenchHeap, seed: u64, slots: usize, largest: u64) -> Self {
        let mut rng = Rng::split(seed, largest);
        let filled = (0..slots).map(|_| {
            let size = log_uniform(&mut rng, largest);
            let block = heap.alloc(size as usize, ALIGN);
            if USED {
                if let Some(block) = block {
                    mark(block, size);
                }
            }
            ReplaceSlot { block, size }
        });
        let filled = filled.collect();
        let steps = (0..STEPS).map(|_| Replacement {
            slot: rng.index(slots) as u32,
            size: log_uniform(&mut rng, largest),
        });
        let mut run = Self {
            slots: filled,
            steps: steps.collect(),
            next: 0,
        };
        run.pass(heap, (slots * WARM_UP) as u64);
        run
    }
}

/// Returns a pointer to the last word of a block of at least 8 bytes, which may be unaligned.
#[inline(always)]
fn last_word(block: Block, size: u32) -> *mut u64 {
    let last = size as usize - size_of::<u64>();
    block.start.as_ptr().wrapping_add(last).cast()
}

/// Writes the first and last word of a live block of at least 8 bytes.
#[inline(always)]
fn mark(block: Block, size: u32) {
    // SAFETY: The block is live, has at least 8 bytes, and is aligned to 8.
    unsafe { block.start.cast::<u64>().write(u64::from(size)) };
    // SAFETY: The last word lies within the live block; unaligned writes are allowed.
    unsafe { last_word(block, size).write_unaligned(u64::from(size)) };
}

/// Returns whether the words that [`mark`] wrote are unchanged.
#[inline(always)]
fn marked(block: Block, size: u32) -> bool {
    // SAFETY: The block is live and aligned to 8, and `mark` wrote its first word.
    let first = unsafe { block.start.cast::<u64>().read() };
    // SAFETY: The last word lies within the live block, and `mark` wrote it.
    let last = unsafe { last_word(block, size).read_unaligned() };
    // In a block of 9 to 15 bytes the last word overlaps the first one.
    last == u64::from(size) && (first == last || size < 16)
}

impl<const USED: bool> RunningPattern for ReplacePattern<USED> {
    fn pass(&mut self, heap: &dyn BenchHeap, pairs: u64) -> PassTally {
        let mut tally = PassTally::default();
        for _ in 0..pairs {
            let step = self.steps[self.next];
            self.next = (self.next + 1) % STEPS;
            let slot = &mut self.slots[step.slot as usize];
            if let Some(block) = slot.block {
                if USED && !marked(block, slot.size) {
                    tally.wrong += 1;
                }
                // SAFETY: The slot holds a live block of this size, and the slot is refilled below.
                unsafe { heap.free(block, slot.size as usize, ALIGN) };
            }
            let block = allocate(heap, step.size as usize, &mut tally);
            if USED {
                if let Some(block) = block {
                    mark(block, step.size);
                }
            }
            *slot = ReplaceSlot {
                block,
                size: step.size,
            };
        }
        tally.pairs = pairs;
        tally
    }

    fn live(&self) -> Vec<(usize, usize)> {
        let live = |slot: &ReplaceSlot| Some((address(slot.block?), slot.size as usize));
        self.slots.iter().filter_map(live).collect()
    }

    fn finish(&mut self, heap: &dyn BenchHeap) {
        for slot in &mut self.slots {
            if let Some(block) = slot.block.take() {
                // SAFETY: The slot held a live block of this size and is now empty.
                unsafe { heap.free(block, slot.size as usize, ALIGN) };
            }
        }
    }
}
