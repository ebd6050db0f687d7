// SPDX-License-Identifier: GPL-2.0

//! Allocates and frees small blocks in waves, as most programs do.

use super::WorkloadRun;
use crate::oracle::Violation;

/// The maximum number of live blocks.
const WORKING_SET: usize = 1024;

/// The largest block.
const SIZE_MAX: u64 = 4096;

/// The number of operations in half a wave.
const WAVE: u64 = 4096;

pub(super) fn run(run: &mut WorkloadRun<'_>) -> Result<(), Violation> {
    let mut blocks = Vec::new();
    while run.steps.next() {
        // In the first half of a wave two of three operations allocate, in the second half two of three free.
        let rising = (run.steps.taken() / WAVE) % 2 == 0;
        let allocate = run.rng.chance(if rising { 2 } else { 1 }, 3);
        if blocks.len() < WORKING_SET && (allocate || blocks.is_empty()) {
            let size = run.rng.doubling(1, SIZE_MAX);
            if let Ok(block) = run.client.alloc(size, 8)? {
                blocks.push(block);
            }
        } else if let Some(block) = run.pick(&mut blocks) {
            run.client.free(block)?;
        }
    }
    run.free_all(&mut blocks)
}
