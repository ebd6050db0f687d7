// SPDX-License-Identifier: GPL-2.0

//! Exhibits of memory that serves no later request: leaks and fragmentation.

use super::{
    KIB,
    MIB,
    exhibits, //
};
use crate::{
    pattern::Maker,
    rng::Rng, //
};

exhibits! {
    "museum/wee-alloc-106", 256 * KIB, wee_alloc_106,
        "https://github.com/rustwasm/wee_alloc/issues/106",
        "A loop that allocates and frees two blocks took new memory in each turn, probably because the free list was lost.";
    "museum/linked-list-allocator-66", 128 * KIB, linked_list_allocator_66,
        "https://github.com/rust-osdev/linked-list-allocator/issues/66",
        "A rest behind a block that was too small for a hole was not added when the block was freed.";
    "museum/blog-os-796", 96 * KIB, blog_os_796,
        "https://github.com/phil-opp/blog_os/issues/796",
        "Padding for alignment was never used again.";
    "museum/asterinas-2063", 256 * KIB, asterinas_2063,
        "https://github.com/asterinas/asterinas/pull/2063",
        "A free of a block of several pages freed too few of its pages.";
    "museum/talc-51", 8 * MIB, talc_51,
        "https://github.com/SFBdragon/talc/issues/51",
        "A buffer that moved to a block one page larger at each step took ten times the memory that another way to get pages needed.";
    "museum/redis-8184", 8 * MIB, redis_8184,
        "https://github.com/redis/redis/issues/8184",
        "Values of log-normal sizes took 1.68 times their memory under jemalloc 5.1.";
    "museum/jemalloc-2867", 384 * KIB, jemalloc_2867,
        "https://github.com/jemalloc/jemalloc/issues/2867",
        "After millions of blocks of 120 bytes were freed, much of their memory was still kept for this size.";
}

/// The sizes of the report, which repeats its loop until memory is used up. 64 turns need 10 MiB if nothing is
/// reused.
fn wee_alloc_106(trace: &mut Maker) {
    for _ in 0..64 {
        let first = trace.alloc_aligned(85_196, 1);
        let second = trace.alloc_aligned(80_000, 1);
        trace.free_all([first, second]);
    }
}

/// Each of 64 blocks of 1,024 bytes becomes smaller by a word, again and again: a free and an allocation in
/// the same place. With the bug, each step loses 8 bytes. A live block of 16 bytes behind each block keeps the
/// places apart. The report names no sizes, and the last block, of 64 KiB, is added.
fn linked_list_allocator_66(trace: &mut Maker) {
    let mut blocks = Vec::new();
    let mut between = Vec::new();
    for _ in 0..64 {
        blocks.push(trace.alloc(1024));
        between.push(trace.alloc(16));
    }
    for size in (65..128).rev().map(|words| 8 * words) {
        for block in &mut blocks {
            trace.free(*block);
            *block = trace.alloc(size);
        }
    }
    trace.free_all(blocks);
    trace.free_all(between);
    trace.alloc(64 * KIB);
}

/// Blocks of 8 bytes alternate with blocks aligned to 16, in 16 rounds. With the bug, each round loses 8 bytes
/// for each pair. The report names no sizes; the alignment is that of a later report of the same bug, pull request
/// 1182. The last block, of 64 KiB, is added.
fn blog_os_796(trace: &mut Maker) {
    for _ in 0..16 {
        let blocks: Vec<_> = (0..128)
            .flat_map(|_| [trace.alloc(8), trace.alloc_aligned(16, 16)])
            .collect();
        trace.free_all(blocks);
    }
    trace.alloc(64 * KIB);
}

/// Blocks of 2 to 16 pages, one at a time, four rounds of them: 2 MiB in a pool of 256 KiB. The report names no
/// sizes.
fn asterinas_2063(trace: &mut Maker) {
    for _ in 0..4 {
        for pages in 2..=16 {
            let block = trace.alloc(pages * 4 * KIB);
            trace.free(block);
        }
    }
}

/// The buffer grows by a page of 64 KiB in each step, as in the report. The report does not say how many steps
/// it has; the trace has 24.
fn talc_51(trace: &mut Maker) {
    let mut buffer = trace.alloc(64 * KIB);
    for pages in 2..=24 {
        let larger = trace.alloc(pages * 64 * KIB);
        trace.free(buffer);
        buffer = larger;
    }
}

/// The distribution of the report: median 206, sigma 3.43. The report has 100,000 values and several GB; the
/// trace has 1,000, and cuts values to 64 KiB.
fn redis_8184(trace: &mut Maker) {
    let mut rng = Rng::new(1);
    for _ in 0..1_000 {
        let size = log_normal(&mut rng).clamp(1, 64 * KIB);
        trace.alloc(size);
    }
}

/// Draws a log-normal number with median 206 and sigma 3.43, in integer arithmetic, which gives the same
/// result on every machine. The sum of twelve uniform numbers approximates the normal distribution, and a line
/// approximates 2^x between whole exponents.
fn log_normal(rng: &mut Rng) -> u64 {
    const ONE: i64 = 1 << 16;
    // log2(206), and 3.43 / ln(2), times `ONE`.
    const MEDIAN: i64 = 503_742;
    const SIGMA: i64 = 324_302;
    let uniform = (0..12).map(|_| rng.below(ONE as u64) as i64).sum::<i64>();
    let exponent = (MEDIAN + ((uniform - 6 * ONE) * SIGMA / ONE)).max(0);
    let (whole, part) = (exponent / ONE, exponent % ONE);
    (((ONE + part) as u64) << whole.min(40)) >> 16
}

/// The report has 50,000,000 blocks, the trace has 2,000. The array of their addresses and the order of the frees
/// are those of the report. The last block, of the size of all blocks together, is added.
fn jemalloc_2867(trace: &mut Maker) {
    const BLOCKS: u64 = 2_000;
    let array = trace.alloc(8 * BLOCKS);
    let blocks: Vec<_> = (0..BLOCKS).map(|_| trace.alloc(120)).collect();
    trace.free_all(blocks);
    trace.free(array);
    trace.alloc(120 * BLOCKS);
}
