// SPDX-License-Identifier: GPL-2.0

//! What allocators are made to do while time counts.
//!
//! Sizes and places are drawn before, so a pass does nothing but walk a list and call. Its unit is
//! a pair: one block allocated and one freed.

mod batch;
mod churn;
mod pair;
mod replace;
pub(crate) mod worst;

use slab_heap::class::Class;

use crate::{
    heap::Heap,
    rng::Rng, //
};

/// What every block is aligned to: what a program's words need.
pub(crate) const ALIGN: usize = 8;

/// What a pass did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Pairs that were done.
    pub(crate) pairs: u64,
    /// Answers that were null or misaligned.
    pub(crate) wrong: u64,
}

/// A pattern at work on one allocator.
pub(crate) trait Run {
    /// Does `pairs` pairs, or a few more to end in the state that it began in.
    fn pass(&mut self, heap: &dyn Heap, pairs: u64) -> Tally;

    /// Returns starts and sizes of the blocks that are out.
    fn live(&self) -> Vec<(usize, usize)>;

    /// Frees what is out.
    fn finish(&mut self, heap: &dyn Heap);
}

/// How a run is begun.
type Begin = Box<dyn Fn(&dyn Heap, u64) -> Box<dyn Run>>;

/// A pattern.
pub(crate) struct Pattern {
    /// What it is called on the command line and in JSON.
    pub(crate) name: String,
    /// What it is called in tables.
    pub(crate) title: String,
    /// The bytes of a pool that it fits into, whoever has it.
    pub(crate) pool_bytes: usize,
    /// Pairs in the checked pass; none where the pattern itself writes to its blocks, and checks
    /// what it finds there.
    pub(crate) checked_pairs: u64,
    begin: Begin,
}

impl Pattern {
    /// Begins on an allocator: fills what is full when it is under way.
    pub(crate) fn begin(&self, heap: &dyn Heap, seed: u64) -> Box<dyn Run> {
        (self.begin)(heap, seed)
    }

    /// Says whether it is a pair of one of the hybrid's class sizes.
    pub(crate) fn is_class_pair(&self) -> bool {
        self.name.starts_with("class-")
    }
}

/// Allocates a block for a timed pass and counts what is plainly wrong with it.
///
/// Null counts as aligned and is counted by itself.
#[inline(always)]
fn taken(heap: &dyn Heap, size: usize, tally: &mut Tally) -> *mut u8 {
    let block = heap.alloc(size, ALIGN);
    tally.wrong += u64::from(block.is_null() | (block.addr() % ALIGN != 0));
    block
}

/// Makes the list of patterns. Brief ones hold fewer blocks.
pub(crate) fn all(brief: bool) -> Vec<Pattern> {
    const MIB: usize = 1 << 20;
    let scale = if brief { 10 } else { 1 };
    let mut patterns = vec![
        Pattern {
            name: "pair-64".into(),
            title: "pair of 64 B".into(),
            pool_bytes: 4 * MIB,
            checked_pairs: 1_000,
            begin: Box::new(|_, _| Box::new(pair::Pair::new(64))),
        },
        Pattern {
            name: "lifo-64".into(),
            title: "1,000 of 64 B, LIFO".into(),
            pool_bytes: 4 * MIB,
            checked_pairs: 5_000,
            begin: Box::new(|_, _| Box::new(batch::Batch::new(64, 1000, batch::Order::Lifo))),
        },
        Pattern {
            name: "fifo-64".into(),
            title: "1,000 of 64 B, FIFO".into(),
            pool_bytes: 4 * MIB,
            checked_pairs: 5_000,
            begin: Box::new(|_, _| Box::new(batch::Batch::new(64, 1000, batch::Order::Fifo))),
        },
        Pattern {
            name: "replace-4k".into(),
            title: "replace, 8 B … 4 KiB".into(),
            pool_bytes: 64 * MIB,
            checked_pairs: 20_000 / scale,
            begin: Box::new(move |heap, seed| {
                let slots = 10_000 / scale as usize;
                Box::new(replace::Replace::<false>::new(heap, seed, slots, 4 << 10))
            }),
        },
        Pattern {
            name: "replace-4k-used".into(),
            title: "replace to 4 KiB, used".into(),
            pool_bytes: 64 * MIB,
            checked_pairs: 0,
            begin: Box::new(move |heap, seed| {
                let slots = 10_000 / scale as usize;
                Box::new(replace::Replace::<true>::new(heap, seed, slots, 4 << 10))
            }),
        },
        Pattern {
            name: "replace-64k".into(),
            title: "replace, 8 B … 64 KiB".into(),
            pool_bytes: 128 * MIB,
            checked_pairs: 10_000 / scale,
            begin: Box::new(move |heap, seed| {
                let slots = 2_000 / scale as usize;
                Box::new(replace::Replace::<false>::new(heap, seed, slots, 64 << 10))
            }),
        },
        Pattern {
            name: "churn-4160".into(),
            title: "churn of 4,160 B".into(),
            pool_bytes: 96 * MIB,
            checked_pairs: 10_000 / scale,
            begin: Box::new(move |heap, seed| {
                let slots = 8_000 / scale as usize;
                Box::new(churn::Churn::new(heap, seed, slots, 4_160))
            }),
        },
    ];
    let classes = Class::all().step_by(if brief { 8 } else { 1 });
    patterns.extend(classes.map(|class| {
        let size = class.bytes();
        Pattern {
            name: format!("class-{size}"),
            title: format!("pair of {size} B"),
            pool_bytes: 4 * MIB,
            checked_pairs: 100,
            begin: Box::new(move |_, _| Box::new(pair::Pair::new(size))),
        }
    }));
    patterns
}

/// Draws a size from 8 bytes to just below `end`, every doubling as likely as every other.
fn log_uniform(rng: &mut Rng, end: u64) -> u32 {
    rng.doubling(8, end - 1) as u32
}
