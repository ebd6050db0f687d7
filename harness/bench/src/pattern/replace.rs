// SPDX-License-Identifier: GPL-2.0

//! Slots that are full, and of which a random one is emptied and filled with another size.

use std::ptr;

use super::{
    ALIGN,
    Run,
    Tally,
    log_uniform,
    taken, //
};
use crate::{
    heap::Heap,
    rng::Rng, //
};

/// The length of the list of replacements, which is gone through in a circle.
const STEPS: usize = 1 << 16;

/// Replacements that are done before it counts, for each slot: the state is then the pattern's own
/// and not that of a heap just filled.
const SETTLE: usize = 2;

/// What is in a slot.
#[derive(Clone, Copy)]
struct Slot {
    block: *mut u8,
    size: u32,
}

/// A slot and the size that it gets.
#[derive(Clone, Copy)]
struct Step {
    slot: u32,
    size: u32,
}

/// Random replacement. Where blocks are `USED`, a word at each end is written after it came and
/// read before it goes.
pub(super) struct Replace<const USED: bool> {
    slots: Vec<Slot>,
    steps: Vec<Step>,
    next: usize,
}

impl<const USED: bool> Replace<USED> {
    /// Fills `slots` slots with sizes of up to `largest` bytes, and settles.
    pub(super) fn new(heap: &dyn Heap, seed: u64, slots: usize, largest: u64) -> Self {
        let mut rng = Rng::split(seed, largest);
        let filled = (0..slots).map(|_| {
            let size = log_uniform(&mut rng, largest);
            let block = heap.alloc(size as usize, ALIGN);
            if USED && !block.is_null() {
                mark(block, size);
            }
            Slot { block, size }
        });
        let filled = filled.collect();
        let steps = (0..STEPS).map(|_| Step {
            slot: rng.index(slots) as u32,
            size: log_uniform(&mut rng, largest),
        });
        let mut run = Self {
            slots: filled,
            steps: steps.collect(),
            next: 0,
        };
        run.pass(heap, (slots * SETTLE) as u64);
        run
    }
}

/// Returns the place of the last word of a block of at least 8 bytes.
#[inline(always)]
fn last_word(block: *mut u8, size: u32) -> *mut u64 {
    block.wrapping_add(size as usize - size_of::<u64>()).cast()
}

/// Writes both ends of a block of at least 8 bytes.
#[inline(always)]
fn mark(block: *mut u8, size: u32) {
    // SAFETY: The block is out and has a word, aligned.
    unsafe { block.cast::<u64>().write(u64::from(size)) };
    // SAFETY: The last word lies in the block.
    unsafe { last_word(block, size).write_unaligned(u64::from(size)) };
}

/// Says whether the last word of a block is as it was written.
#[inline(always)]
fn marked(block: *mut u8, size: u32) -> bool {
    // SAFETY: As above, and the block was marked when it came.
    let first = unsafe { block.cast::<u64>().read() };
    // SAFETY: As above.
    let last = unsafe { last_word(block, size).read_unaligned() };
    // In a block of 9 … 15 bytes the last word overwrites the first.
    last == u64::from(size) && (first == last || size < 16)
}

impl<const USED: bool> Run for Replace<USED> {
    fn pass(&mut self, heap: &dyn Heap, pairs: u64) -> Tally {
        let mut tally = Tally::default();
        for _ in 0..pairs {
            let step = self.steps[self.next];
            self.next = (self.next + 1) % STEPS;
            let slot = &mut self.slots[step.slot as usize];
            if !slot.block.is_null() {
                if USED && !marked(slot.block, slot.size) {
                    tally.wrong += 1;
                }
                // SAFETY: The slot has a block that was allocated with this size.
                unsafe { heap.free(slot.block, slot.size as usize, ALIGN) };
            }
            let block = taken(heap, step.size as usize, &mut tally);
            if USED && !block.is_null() {
                mark(block, step.size);
            }
            *slot = Slot {
                block,
                size: step.size,
            };
        }
        tally.pairs = pairs;
        tally
    }

    fn live(&self) -> Vec<(usize, usize)> {
        let full = self.slots.iter().filter(|slot| !slot.block.is_null());
        full.map(|slot| (slot.block.addr(), slot.size as usize))
            .collect()
    }

    fn finish(&mut self, heap: &dyn Heap) {
        for slot in &mut self.slots {
            let block = std::mem::replace(&mut slot.block, ptr::null_mut());
            if !block.is_null() {
                // SAFETY: The slot had a block that was allocated with this size.
                unsafe { heap.free(block, slot.size as usize, ALIGN) };
            }
        }
    }
}
