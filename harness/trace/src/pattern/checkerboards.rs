// SPDX-License-Identifier: GPL-2.0

//! Six checkerboards: two sizes in turns, then all blocks of one size are freed, then larger ones are allocated.
//!
//! The freed memory can serve the larger blocks only if the allocator kept the two sizes apart. All sizes are
//! multiples of 16, so a pool of the size of the peak is enough for an allocator that does.

use super::{
    Maker,
    patterns, //
};

patterns! { Checkerboards:
    "checkerboard-96-416", |trace| checkerboard(trace, 2_000, 96, 416, 512), "96 and 416 B in turns, all 416 freed, then 512 B";
    "checkerboard-48-208", |trace| checkerboard(trace, 3_000, 48, 208, 256), "48 and 208 B in turns, all 208 freed, then 256 B";
    "checkerboard-32-96", |trace| checkerboard(trace, 6_000, 32, 96, 112), "32 and 96 B in turns, all 96 freed, then 112 B";
    "checkerboard-160-864", |trace| checkerboard(trace, 1_000, 160, 864, 1_024), "160 and 864 B in turns, all 864 freed, then 1 KiB";
    "checkerboard-64-4032", |trace| checkerboard(trace, 250, 64, 4_032, 4_096), "64 and 4,032 B in turns, all 4,032 freed, then 4 KiB";
    "checkerboard-three", three, "48, 144 and 304 B in turns, all 304 freed, then 448 B, all 144 freed, then 192 B";
}

/// Allocates `count` pairs of a small and a large block, frees the large ones, and allocates `count` larger ones.
fn checkerboard(trace: &mut Maker, count: usize, small: u64, large: u64, larger: u64) {
    let mut freed = Vec::new();
    for _ in 0..trace.times(count) {
        trace.alloc(small);
        freed.push(trace.alloc(large));
    }
    trace.free_all(freed);
    for _ in 0..trace.times(count) {
        trace.alloc(larger);
    }
}

/// Plays with three sizes, of which two are freed one after the other.
fn three(trace: &mut Maker) {
    let (mut middle, mut large) = (Vec::new(), Vec::new());
    let count = trace.times(2_000);
    for _ in 0..count {
        trace.alloc(48);
        middle.push(trace.alloc(144));
        large.push(trace.alloc(304));
    }
    trace.free_all(large);
    for _ in 0..count {
        trace.alloc(448);
    }
    trace.free_all(middle);
    for _ in 0..count {
        trace.alloc(192);
    }
}
