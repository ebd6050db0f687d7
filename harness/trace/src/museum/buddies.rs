// SPDX-License-Identifier: GPL-2.0

//! Exhibits of free blocks that are not coalesced, or only for one order of frees.

use super::{
    KIB,
    MIB,
    exhibits, //
};
use crate::pattern::Maker;

exhibits! {
    "museum/sos-8", 256 * KIB, sos_8,
        "https://github.com/sos-os/kernel/issues/8",
        "A buddy system joined its blocks in one order of frees and returned a wrong block in another order.";
    "museum/emu2-122", MIB, emu2_122,
        "https://github.com/dmsc/emu2/issues/122",
        "Four blocks that were freed in the order of their allocation did not serve a block of three.";
    "museum/buddy-system-allocator-20", 64 * KIB, buddy_system_allocator_20,
        "https://github.com/rcore-os/buddy_system_allocator/issues/20",
        "A new heap refused a block of exactly the size of its memory.";
    "museum/buddy-system-allocator-31", 64 * KIB, buddy_system_allocator_31,
        "https://github.com/rcore-os/buddy_system_allocator/pull/31",
        "A free tried to coalesce two blocks of the largest order to a block of an order that does not exist.";
}

/// The sizes of the report times 1,024, because engines of slablab serve smaller blocks from slabs: the heap
/// had 256 bytes, blocks of 8 and 32 bytes were freed, and a block of 128 bytes was at a wrong place. The trace
/// has the order of frees that failed. Its alignments are 8, and its large blocks are slightly smaller than the
/// halves of the pool, so that headers have room. The last block, of almost the size of the pool, is added.
fn sos_8(trace: &mut Maker) {
    let small = [
        trace.alloc(8 * KIB),
        trace.alloc(8 * KIB),
        trace.alloc(8 * KIB),
    ];
    let middle = trace.alloc(32 * KIB);
    let last = trace.alloc(8 * KIB);
    trace.free_all([small[0], last, middle, small[1], small[2]]);
    let halves = [trace.alloc(127 * KIB), trace.alloc(127 * KIB)];
    trace.free_all(halves);
    trace.alloc(250 * KIB);
}

/// The sizes of the report: blocks of 64 KiB, the first four of them freed, then one of 192 KiB. The report has
/// the 640 KiB of DOS and allocates until none is left. The trace allocates 14 blocks in 1 MiB: the memory behind
/// them is too small for the last block, with headers and without.
fn emu2_122(trace: &mut Maker) {
    let blocks: Vec<_> = (0..14).map(|_| trace.alloc(64 * KIB)).collect();
    trace.free_all(blocks[..4].iter().copied());
    trace.alloc(192 * KIB);
}

/// The report names no size. Pools of slablab are aligned to their size; an allocator with headers in the pool
/// needs more than 64 KiB.
fn buddy_system_allocator_20(trace: &mut Maker) {
    trace.alloc(64 * KIB);
}

/// Two blocks for which a buddy system takes both halves of the pool, freed in both orders, and after each order a
/// block for which it takes the whole pool. The sizes leave room for headers; the report names none.
fn buddy_system_allocator_31(trace: &mut Maker) {
    for order in [[0, 1], [1, 0]] {
        let halves = [trace.alloc(31 * KIB), trace.alloc(31 * KIB)];
        trace.free_all(order.map(|half| halves[half]));
        for _ in 0..2 {
            let whole = trace.alloc(60 * KIB);
            trace.free(whole);
        }
    }
}
