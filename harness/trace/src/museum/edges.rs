// SPDX-License-Identifier: GPL-2.0

//! Exhibits of sizes near a limit, and of neighbours that are split or joined wrongly.

use super::{
    KIB,
    MIB,
    exhibits, //
};
use crate::pattern::Maker;

exhibits! {
    "museum/talc-47", 256 * KIB, talc_47,
        "https://github.com/SFBdragon/talc/issues/47",
        "A request slightly smaller than a page of 64 KiB asked for one page again and again, for ever.";
    "museum/talc-49", 32 * MIB, talc_49,
        "https://github.com/SFBdragon/talc/pull/49",
        "The high byte of the size of a free block of 16 to 32 MiB was read as the mark of an allocated block.";
    "museum/zephyr-90306", 32 * KIB, zephyr_90306,
        "https://github.com/zephyrproject-rtos/zephyr/issues/90306",
        "A request of nearly the size of the heap passed the check of its size and crashed the system."
        [refusable: ZEPHYR_POOL - 16];
    "museum/zephyr-29460", 64 * KIB, zephyr_29460,
        "https://github.com/zephyrproject-rtos/zephyr/pull/29460",
        "The rest behind an aligned block was cut too early, so the next block overlapped the aligned block.";
    "museum/zephyr-30852", 64 * KIB, zephyr_30852,
        "https://github.com/zephyrproject-rtos/zephyr/pull/30852",
        "A realloc within the last unit of a block split nothing off a free neighbour and broke the list.";
    "museum/nanvix-1536", MIB, nanvix_1536,
        "https://github.com/nanvix/nanvix/pull/1536",
        "No slab and no other allocator was responsible for sizes from 513 to 4,095.";
}

/// The size of the pool of `zephyr-90306`.
const ZEPHYR_POOL: u32 = 32 << 10;

/// The report names no exact size, so the trace tries all distances up to 64 bytes in steps of one word. The
/// memory of the report grows page by page; that of a pool does not.
fn talc_47(trace: &mut Maker) {
    for distance in (0..=64).step_by(8) {
        let block = trace.alloc(64 * KIB - distance);
        trace.free(block);
    }
}

/// Makes a free block of 16 MiB, whose size has the bit 24 set, and frees the block behind it. Then blocks in
/// the free memory must not overlap, and a block of 24 MiB needs the coalesced memory. The report names no
/// requests, only the size of the free block.
fn talc_49(trace: &mut Maker) {
    let large = trace.alloc(16 * MIB);
    let behind = trace.alloc(64 * KIB);
    trace.free(large);
    let inside = [trace.alloc(MIB), trace.alloc(MIB)];
    trace.free_all(inside);
    trace.free(behind);
    trace.alloc(24 * MIB);
}

/// The report has a heap of 2,048 bytes and a request of 2,033. The trace is for a pool of 32 KiB, and
/// tries each size from 15 bytes below the size of the pool. An allocator may refuse these requests; the
/// small requests in between must be served.
fn zephyr_90306(trace: &mut Maker) {
    for size in ZEPHYR_POOL - 15..=ZEPHYR_POOL {
        let block = trace.alloc(size.into());
        trace.free(block);
        let block = trace.alloc(16);
        trace.free(block);
    }
}

/// The report names no sizes. Small blocks follow each aligned block, so one of them begins in the rest that was
/// cut off.
fn zephyr_29460(trace: &mut Maker) {
    for align in [16, 32, 64, 128, 256] {
        for size in [8, 24, 100] {
            trace.alloc_aligned(size, align);
            trace.alloc(8);
            trace.alloc(16);
        }
    }
}

/// The unit is 8 bytes. Blocks grow byte by byte within a unit; the neighbour behind the block is live at
/// first, and free later. The report names no sizes.
fn zephyr_30852(trace: &mut Maker) {
    for size in [17, 25, 41, 57] {
        let block = trace.alloc(size);
        let neighbour = trace.alloc(size);
        let last = trace.alloc(size);
        for more in 1..8 {
            trace.realloc(block, size + more);
        }
        trace.free(neighbour);
        for more in 0..8 {
            trace.realloc(block, size + more);
        }
        for _ in 0..4 {
            trace.alloc(size);
        }
        trace.free(last);
    }
}

/// Sizes from 513 to 4,095 in steps of 199 bytes.
fn nanvix_1536(trace: &mut Maker) {
    for size in (513..4_096).step_by(199) {
        trace.alloc(size);
    }
    trace.alloc(4_095);
}
