// SPDX-License-Identifier: GPL-2.0

//! Five patterns whose sizes change over time, while a tenth of the blocks of each phase survives.
//!
//! Each phase fills the memory to the same number of live bytes. Then nine of ten blocks of this phase are freed at
//! random, and the survivors lie scattered over the memory that the next phase needs for other sizes.

use super::{
    Maker,
    patterns, //
};

patterns! { Phases:
    "phases-rising", |trace| phases(trace, &[&[24], &[40], &[72]]), "24, then 40, then 72 B; a tenth of each survives";
    "phases-falling", |trace| phases(trace, &[&[136], &[40], &[24]]), "136, then 40, then 24 B; a tenth of each survives";
    "phases-strings", |trace| phases(trace, &[&[8, 24, 40], &[12, 30, 72], &[10, 20, 56], &[24, 50, 100]]), "four phases of three sizes below 100 B; a tenth of each survives";
    "phases-mixed", |trace| phases(trace, &[&[24, 56], &[32, 100, 300], &[24, 40, 64]]), "two or three sizes of 24 to 300 B a phase; a tenth survives";
    "phases-long", |trace| phases(trace, &[&[24], &[40], &[56], &[72], &[88], &[104]]), "six phases from 24 to 104 B; a tenth of each survives";
}

/// The live bytes at the end of each phase.
const LIVE_BYTES: usize = 256 << 10;

/// Runs phases, each with its sizes in turns.
fn phases(trace: &mut Maker, phases: &[&[u64]]) {
    let limit = trace.times(LIVE_BYTES) as u64;
    let mut survived = 0;
    for sizes in phases {
        let mut blocks = Vec::new();
        let mut live = survived;
        for size in sizes.iter().cycle() {
            if live + size > limit && !blocks.is_empty() {
                break;
            }
            blocks.push(trace.alloc(*size));
            live += size;
        }
        for id in blocks {
            if trace.rng.chance(1, 10) {
                survived += trace.size(id);
            } else {
                trace.free(id);
            }
        }
    }
}
