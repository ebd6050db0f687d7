// SPDX-License-Identifier: GPL-2.0

//! Fills a pool with slabs, page blocks and free blocks.

use anyhow::Context;

use crate::{
    rng::Rng,
    target::Target, //
};

/// Operations that fill it.
const OPERATIONS: usize = 8_000;

/// Objects are up to here.
const SMALL_MAX: u64 = 4096;

/// Blocks of pages are up to here.
const LARGE_MAX: u64 = 64 << 10;

/// Fills up to three quarters of a pool with what `seed` says, and frees about every third block
/// again, so that slabs have holes and free pages are in pieces.
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
