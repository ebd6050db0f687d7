// SPDX-License-Identifier: GPL-2.0

//! Small blocks come and go: the day of most programs.

use super::WorkloadRun;
use crate::oracle::Violation;

/// The maximum number of live blocks.
const WORKING_SET: usize = 1024;

/// The largest block.
const SIZE_MAX: u64 = 4096;

/// Operations between high and low tide.
const WAVE: u64 = 4096;

pub(super) fn run(run: &mut WorkloadRun<'_>) -> Result<(), Violation> {
    let mut blocks = Vec::new();
    while run.steps.next() {
        // At rising tide two of three operations allocate, then two of three free.
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
