// SPDX-License-Identifier: GPL-2.0

//! Allocates and frees blocks of many sizes and alignments, as a kernel's caches, buffers and tables need them.

use super::WorkloadRun;
use crate::oracle::Violation;

/// The maximum number of live blocks.
const WORKING_SET: usize = 512;

/// The largest common size.
const COMMON_MAX: u64 = 4096;

/// The largest block.
const SIZE_MAX: u64 = 256 << 10;

/// The largest alignment, as a power of two.
const ALIGN_MAX_LOG2: u64 = 12;

pub(super) fn run(run: &mut WorkloadRun<'_>) -> Result<(), Violation> {
    let mut blocks = Vec::new();
    while run.steps.next() {
        if blocks.len() < WORKING_SET && (run.rng.chance(1, 2) || blocks.is_empty()) {
            let size = if run.rng.chance(1, 32) {
                run.rng.doubling(COMMON_MAX + 1, SIZE_MAX)
            } else {
                run.rng.doubling(1, COMMON_MAX)
            };
            let align = if run.rng.chance(1, 4) {
                1 << run.rng.below(ALIGN_MAX_LOG2 + 1)
            } else {
                8
            };
            if let Ok(block) = run.client.alloc(size, align)? {
                blocks.push(block);
            }
        } else if let Some(block) = run.pick(&mut blocks) {
            run.client.free(block)?;
        }
    }
    run.free_all(&mut blocks)
}
