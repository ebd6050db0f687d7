// SPDX-License-Identifier: GPL-2.0

//! Fills a pool with slabs, page blocks and free blocks.

use anyhow::Context;

use crate::{
    rng::Rng,
    target::Target, //
};

/// The number of operations that fill the pool.
const OPERATIONS: usize = 8_000;

/// The largest size that is allocated from slabs.
const SMALL_MAX: u64 = 4096;

/// The largest size of a page block.
const LARGE_MAX: u64 = 64 << 10;

/// Fills up to three quarters of a pool with random operations from `seed`, and frees about every third
/// block again, so that slabs have holes and free pages are fragmented.
pub(super) fn fill(target: &dyn Target, seed: u64) -> anyhow::Result<()> {
    let goal = target.info().context("INFO failed")?.pool_bytes / 4 * 3;
    let mut random = Rng::new(seed);
    let mut live: Vec<(u32, u64)> = Vec::new();
    let mut usable = 0;
    for _ in 0..OPERATIONS {
        if usable < goal && (live.is_empty() || random.chance(2, 3)) {
            let size = if random.chance(1, 32) {
                random.doubling(SMALL_MAX + 1, LARGE_MAX)
            } else {
                random.doubling(8, SMALL_MAX)
            };
            // A refused request does not change the picture.
            if let Ok(block) = target.alloc(size, 8) {
                live.push((block.handle, block.usable));
                usable += block.usable;
            }
        } else if !live.is_empty() {
            let (handle, bytes) = live.swap_remove(random.index(live.len()));
            target.free(handle).context("FREE failed")?;
            usable -= bytes;
        }
    }
    for (handle, _) in live {
        if random.chance(1, 3) {
            target.free(handle).context("FREE failed")?;
        }
    }
    Ok(())
}
