// SPDX-License-Identifier: GPL-2.0

//! Seven patterns after benchmarks from papers on allocators.
//!
//! The threads of a benchmark are CPUs of the trace, which run a few operations in turn.

use std::{
    cmp::Reverse,
    collections::{
        BinaryHeap,
        VecDeque, //
    },
};

use super::{
    Id,
    Maker,
    patterns, //
};

patterns! { Literature:
    "larson", larson, "server threads replace random blocks, also blocks of an earlier thread";
    "xmalloc", xmalloc, "producers allocate, consumers on other CPUs free";
    "walk", walk, "the live bytes are a random walk, and one block in fifty survives";
    "log-uniform", log_uniform, "log-uniform sizes from 8 B to 64 KiB, replaced at random";
    "pareto", pareto, "heavy-tailed sizes and lifetimes";
    "aligned", aligned, "sizes and alignments of cache lines, device descriptors and pages";
    "sawtooth", sawtooth, "fills and frees all memory, with another size each time";
}

/// The number of CPUs in a pattern with threads.
const CPUS: usize = 4;

/// Imitates the benchmark of Per-Åke Larson and Murali Krishnan, "Memory allocation for long-running server
/// applications" (ISMM 1998): each thread replaces random blocks of its own set; then the thread ends, and
/// the next thread inherits the set.
fn larson(trace: &mut Maker) {
    let held = trace.times(1_000);
    let mut blocks: Vec<Vec<Id>> = vec![Vec::new(); CPUS];
    for (cpu, blocks) in blocks.iter_mut().enumerate() {
        trace.on_cpu(cpu);
        for _ in 0..held {
            let size = trace.between(10, 500);
            blocks.push(trace.alloc(size));
        }
    }
    for _ in 0..5 {
        for _ in 0..trace.times(1_000) {
            for (cpu, blocks) in blocks.iter_mut().enumerate() {
                trace.on_cpu(cpu);
                let index = trace.rng.index(held);
                trace.free(blocks[index]);
                let size = trace.between(10, 500);
                blocks[index] = trace.alloc(size);
            }
        }
        blocks.rotate_left(1);
    }
}

/// Imitates the benchmark of Chuck Lever and David Boreham, "malloc() performance in a multithreaded Linux
/// environment" (USENIX 2000): half of the threads allocate, the other half free, in batches, the oldest
/// batch first.
fn xmalloc(trace: &mut Maker) {
    const BATCH: usize = 32;
    let mut queue: VecDeque<Vec<Id>> = VecDeque::new();
    for _ in 0..trace.times(700) {
        for producer in 0..CPUS / 2 {
            trace.on_cpu(producer);
            let mut batch = Vec::with_capacity(BATCH);
            for _ in 0..BATCH {
                let size = trace.rng.doubling(16, 1024);
                batch.push(trace.alloc(size));
            }
            queue.push_back(batch);
        }
        // Consumers run at random, so the queue grows and shrinks.
        while queue.len() > 64 || (!queue.is_empty() && trace.rng.chance(5, 8)) {
            let consumer = CPUS / 2 + trace.rng.index(CPUS / 2);
            trace.on_cpu(consumer);
            trace.free_all(queue.pop_front().into_iter().flatten());
        }
    }
}

/// Changes the number of live blocks as a random walk. One block in fifty is not freed before the end, so its
/// slab cannot be freed.
fn walk(trace: &mut Maker) {
    let mut held = Vec::new();
    let mut rising = true;
    for step in 0..trace.times(50_000) {
        if step % 500 == 0 {
            rising = trace.rng.chance(1, 2);
        }
        if held.is_empty() || trace.rng.chance(if rising { 5 } else { 3 }, 8) {
            let size = trace.rng.doubling(16, 2048);
            let id = trace.alloc(size);
            if !trace.rng.chance(1, 50) {
                held.push(id);
            }
        } else {
            let id = trace.pick(&mut held);
            trace.free(id);
        }
    }
}

/// Holds `count` live blocks and replaces random ones by blocks of sizes from `draw`.
fn replace(trace: &mut Maker, count: usize, steps: usize, draw: fn(&mut Maker) -> u64) {
    let mut held = Vec::new();
    for _ in 0..trace.times(count) {
        let size = draw(trace);
        held.push(trace.alloc(size));
    }
    for _ in 0..trace.times(steps) {
        let id = trace.pick(&mut held);
        trace.free(id);
        let size = draw(trace);
        held.push(trace.alloc(size));
    }
}

fn log_uniform(trace: &mut Maker) {
    replace(trace, 1_000, 15_000, |trace| {
        trace.rng.doubling(8, (64 << 10) - 1)
    });
}

/// Draws a number from `low` to `high` with the Pareto distribution of shape 1: one number in n is at
/// least n times `low`. Integer arithmetic gives the same results on every machine.
fn heavy(trace: &mut Maker, low: u64, high: u64) -> u64 {
    (low << 32).div_ceil(1 + trace.rng.below(1 << 32)).min(high)
}

fn pareto(trace: &mut Maker) {
    let mut deaths = BinaryHeap::new();
    for now in 0..trace.times(25_000) as u64 {
        while let Some(Reverse((death, id))) = deaths.peek().copied() {
            if death > now {
                break;
            }
            deaths.pop();
            trace.free(id);
        }
        let size = heavy(trace, 16, 64 << 10);
        let id = trace.alloc(size);
        let life = heavy(trace, 500, 1 << 40);
        deaths.push(Reverse((now + life, id)));
    }
}

/// Imitates aligned requests of a kernel: cache lines, device descriptors, pages.
fn aligned(trace: &mut Maker) {
    const ALIGNS: [u32; 6] = [16, 64, 64, 256, 512, 4096];
    let mut held = Vec::new();
    for _ in 0..trace.times(20_000) {
        if held.is_empty() || !trace.rng.chance(held.len() as u64, 2_000) {
            let align = ALIGNS[trace.rng.index(ALIGNS.len())];
            let size = trace.rng.doubling(16, 8192);
            held.push(trace.alloc_aligned(size, align));
        } else {
            let id = trace.pick(&mut held);
            trace.free(id);
        }
    }
}

/// Allocates and frees everything in one size, then in the next: memory of one size class must become
/// available to another.
fn sawtooth(trace: &mut Maker) {
    for size in [64, 2048, 16, 512, 16 << 10, 192, 1024, 40] {
        let count = trace.times((1 << 20) / size);
        let mut held = Vec::new();
        for _ in 0..count {
            held.push(trace.alloc(size as u64));
        }
        trace.free_all(held);
    }
}
