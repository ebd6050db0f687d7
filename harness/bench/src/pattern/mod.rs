// SPDX-License-Identifier: GPL-2.0

//! Patterns of requests that are timed.
//!
//! Sizes and slots are drawn in advance, so a pass only walks a list and calls the allocator. The unit of
//! a pass is a pair: one allocation and one free.

mod batch;
mod churn;
mod pair;
mod replace;
pub(crate) mod worst;

use slab_heap::{
    Block,
    size_class::Class, //
};

use crate::{
    heap::BenchHeap,
    rng::Rng, //
};

/// The alignment of every block in bytes, which is the size of a word.
pub(crate) const ALIGN: usize = 8;

/// The result of a pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PassTally {
    /// The number of pairs.
    pub(crate) pairs: u64,
    /// The number of blocks that were refused or misaligned.
    pub(crate) wrong: u64,
}

/// A pattern that runs on one allocator.
pub(crate) trait RunningPattern {
    /// Runs `pairs` pairs, or a few more to complete a batch.
    fn pass(&mut self, heap: &dyn BenchHeap, pairs: u64) -> PassTally;

    /// Returns the starts and sizes of the live blocks.
    fn live(&self) -> Vec<(usize, usize)>;

    /// Frees all live blocks.
    fn finish(&mut self, heap: &dyn BenchHeap);
}

/// A function that starts a run with a seed.
type Begin = Box<dyn Fn(&dyn BenchHeap, u64) -> Box<dyn RunningPattern>>;

/// A pattern.
pub(crate) struct TimedPattern {
    /// The name on the command line and in JSON.
    pub(crate) name: String,
    /// The title in tables.
    pub(crate) title: String,
    /// The bytes of a pool that is large enough for every allocator.
    pub(crate) pool_bytes: usize,
    /// The number of pairs in the checked pass; 0 for a pattern that writes and checks its blocks
    /// itself.
    pub(crate) checked_pairs: u64,
    begin: Begin,
}

impl TimedPattern {
    /// Starts the pattern on an allocator and allocates its initial blocks.
    pub(crate) fn begin(&self, heap: &dyn BenchHeap, seed: u64) -> Box<dyn RunningPattern> {
        (self.begin)(heap, seed)
    }

    /// Returns whether the pattern allocates and frees one block of a size class of hybrid.
    pub(crate) fn is_class_pair(&self) -> bool {
        self.name.starts_with("class-")
    }
}

/// Allocates a block for a timed pass, and counts it in `tally.wrong` when it is refused or misaligned.
#[inline(always)]
fn allocate(heap: &dyn BenchHeap, size: usize, tally: &mut PassTally) -> Option<Block> {
    let block = heap.alloc(size, ALIGN);
    tally.wrong += u64::from(block.is_none_or(|block| address(block) % ALIGN != 0));
    block
}

/// Returns the address of a block.
#[inline(always)]
fn address(block: Block) -> usize {
    block.start.addr().get()
}

/// Returns all patterns. With `brief`, the patterns hold fewer blocks.
pub(crate) fn all(brief: bool) -> Vec<TimedPattern> {
    const MIB: usize = 1 << 20;
    let scale = if brief { 10 } else { 1 };
    let mut patterns = vec![
        TimedPattern {
            name: "pair-64".into(),
            title: "pair of 64 B".into(),
            pool_bytes: 4 * MIB,
            checked_pairs: 1_000,
            begin: Box::new(|_, _| Box::new(pair::PairPattern::new(64))),
        },
        TimedPattern {
            name: "lifo-64".into(),
            title: "1,000 of 64 B, LIFO".into(),
            pool_bytes: 4 * MIB,
            checked_pairs: 5_000,
            begin: Box::new(|_, _| {
                Box::new(batch::BatchPattern::new(64, 1000, batch::FreeOrder::Lifo))
            }),
        },
        TimedPattern {
            name: "fifo-64".into(),
            title: "1,000 of 64 B, FIFO".into(),
            pool_bytes: 4 * MIB,
            checked_pairs: 5_000,
            begin: Box::new(|_, _| {
                Box::new(batch::BatchPattern::new(64, 1000, batch::FreeOrder::Fifo))
            }),
        },
        TimedPattern {
            name: "replace-4k".into(),
            title: "replace, 8 B … 4 KiB".into(),
            pool_bytes: 64 * MIB,
            checked_pairs: 20_000 / scale,
            begin: Box::new(move |heap, seed| {
                let slots = 10_000 / scale as usize;
                Box::new(replace::ReplacePattern::<false>::new(
                    heap,
                    seed,
                    slots,
                    4 << 10,
                ))
            }),
        },
        TimedPattern {
            name: "replace-4k-used".into(),
            title: "replace to 4 KiB, used".into(),
            pool_bytes: 64 * MIB,
            checked_pairs: 0,
            begin: Box::new(move |heap, seed| {
                let slots = 10_000 / scale as usize;
                Box::new(replace::ReplacePattern::<true>::new(
                    heap,
                    seed,
                    slots,
                    4 << 10,
                ))
            }),
        },
        TimedPattern {
            name: "replace-64k".into(),
            title: "replace, 8 B … 64 KiB".into(),
            pool_bytes: 128 * MIB,
            checked_pairs: 10_000 / scale,
            begin: Box::new(move |heap, seed| {
                let slots = 2_000 / scale as usize;
                Box::new(replace::ReplacePattern::<false>::new(
                    heap,
                    seed,
                    slots,
                    64 << 10,
                ))
            }),
        },
        TimedPattern {
            name: "churn-4160".into(),
            title: "churn of 4,160 B".into(),
            pool_bytes: 96 * MIB,
            checked_pairs: 10_000 / scale,
            begin: Box::new(move |heap, seed| {
                let slots = 8_000 / scale as usize;
                Box::new(churn::ChurnPattern::new(heap, seed, slots, 4_160))
            }),
        },
    ];
    let classes = Class::all().step_by(if brief { 8 } else { 1 });
    patterns.extend(classes.map(|class| {
        let size = class.bytes();
        TimedPattern {
            name: format!("class-{size}"),
            title: format!("pair of {size} B"),
            pool_bytes: 4 * MIB,
            checked_pairs: 100,
            begin: Box::new(move |_, _| Box::new(pair::PairPattern::new(size))),
        }
    }));
    patterns
}

/// Draws a log-uniform size from 8 bytes to just below `end`.
fn log_uniform(rng: &mut Rng, end: u64) -> u32 {
    rng.doubling(8, end - 1) as u32
}
