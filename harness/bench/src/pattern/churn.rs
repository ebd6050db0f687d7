// SPDX-License-Identifier: GPL-2.0

//! Random toggle: a random slot is filled if it is empty, and emptied if it is full.
//!
//! About half of the slots are empty at any time, so the free memory is scattered.

use slab_heap::Block;

use super::{
    ALIGN,
    PassTally,
    RunningPattern,
    address,
    allocate, //
};
use crate::{
    heap::BenchHeap,
    rng::Rng, //
};

/// The length of the random list of slots, which is repeated.
const STEPS: usize = 1 << 16;

/// The random toggle pattern.
pub(super) struct ChurnPattern {
    size: usize,
    slots: Vec<Option<Block>>,
    steps: Vec<u32>,
    next: usize,
}

impl ChurnPattern {
    /// Fills `slots` slots, empties a random half of them, and runs until the state is typical.
    pub(super) fn new(heap: &dyn BenchHeap, seed: u64, slots: usize, size: usize) -> Self {
        let mut rng = Rng::split(seed, size as u64);
        let filled = (0..slots).map(|_| heap.alloc(size, ALIGN));
        let mut run = Self {
            size,
            slots: filled.collect(),
            steps: (0..STEPS).map(|_| rng.index(slots) as u32).collect(),
            next: 0,
        };
        for slot in 0..slots {
            if rng.chance(1, 2) {
                run.empty(heap, slot);
            }
        }
        run.pass(heap, slots as u64);
        run
    }

    /// Empties a slot.
    fn empty(&mut self, heap: &dyn BenchHeap, slot: usize) {
        if let Some(block) = self.slots[slot].take() {
            // SAFETY: The slot held a live block of this size and is now empty, so it is freed once.
            unsafe { heap.free(block, self.size, ALIGN) };
        }
    }
}

impl RunningPattern for ChurnPattern {
    fn pass(&mut self, heap: &dyn BenchHeap, pairs: u64) -> PassTally {
        let mut tally = PassTally::default();
        for _ in 0..pairs * 2 {
            let slot = &mut self.slots[self.steps[self.next] as usize];
            self.next = (self.next + 1) % STEPS;
            match slot.take() {
                None => *slot = allocate(heap, self.size, &mut tally),
                // SAFETY: The slot held a live block of this size and is now empty, so it is freed once.
                Some(block) => unsafe { heap.free(block, self.size, ALIGN) },
            }
        }
        tally.pairs = pairs;
        tally
    }

    fn live(&self) -> Vec<(usize, usize)> {
        let full = self.slots.iter().flatten();
        full.map(|block| (address(*block), self.size)).collect()
    }

    fn finish(&mut self, heap: &dyn BenchHeap) {
        for slot in 0..self.slots.len() {
            self.empty(heap, slot);
        }
    }
}
