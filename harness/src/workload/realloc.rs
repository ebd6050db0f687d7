// SPDX-License-Identifier: GPL-2.0

//! Reallocates blocks in small and large steps, across the border between slabs and page blocks.

use super::WorkloadRun;
use crate::oracle::Violation;

/// The maximum number of live blocks.
const WORKING_SET: usize = 64;

/// The largest block.
const SIZE_MAX: u64 = 16 << 10;

/// The maximum change of the size in a small step.
const STEP_MAX: u64 = 64;

pub(super) fn run(run: &mut WorkloadRun<'_>) -> Result<(), Violation> {
    let mut blocks = Vec::new();
    while run.steps.next() {
        if blocks.len() < WORKING_SET && (run.rng.chance(1, 8) || blocks.is_empty()) {
            let size = run.rng.doubling(1, SIZE_MAX);
            let align = 1 << run.rng.below(8);
            if let Ok(block) = run.client.alloc(size, align)? {
                blocks.push(block);
            }
            continue;
        }
        let Some(mut block) = run.pick(&mut blocks) else {
            continue;
        };
        if run.rng.chance(1, 8) {
            run.client.free(block)?;
            continue;
        }
        let step = 1 + run.rng.below(STEP_MAX);
        let size = match run.rng.below(4) {
            0 => (block.size() + step).min(SIZE_MAX),
            1 => block.size().saturating_sub(step).max(1),
            _ => run.rng.doubling(1, SIZE_MAX),
        };
        // The block is live even if the request was refused.
        let _refused = run.client.realloc(&mut block, size)?.err();
        blocks.push(block);
    }
    run.free_all(&mut blocks)
}
