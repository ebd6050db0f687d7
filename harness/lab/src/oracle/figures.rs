// SPDX-License-Identifier: GPL-2.0

//! Checks of the statistics after every block was freed.

use super::{
    Tally,
    Violation, //
};
use crate::uapi::{
    Cause,
    Engine,
    slablab_stats, //
};

/// Compares a figure with its expected value.
pub(super) fn figure(what: &'static str, expected: u64, found: u64) -> Result<(), Violation> {
    if expected == found {
        Ok(())
    } else {
        Err(Violation::Figure {
            what,
            expected,
            found,
        })
    }
}

/// Compares the statistics of the session with the counts of the oracle.
pub(super) fn session_figures(stats: &slablab_stats, tally: &Tally) -> Result<(), Violation> {
    figure("the session's live blocks", 0, stats.session_blocks)?;
    figure("the session's bytes", 0, stats.session_bytes)?;
    figure(
        "the session's allocations",
        tally.allocations,
        stats.session_allocations,
    )?;
    figure("the session's frees", tally.frees, stats.session_frees)?;
    figure(
        "the session's reallocations",
        tally.reallocations,
        stats.session_reallocations,
    )?;
    for cause in Cause::ALL {
        let index = cause.raw() as usize;
        figure(
            "the session's refusals of a cause",
            tally.refusals[index],
            stats.session_refusals[index],
        )?;
    }
    Ok(())
}

/// Checks the statistics of a pool without live blocks.
pub(super) fn pool_figures(stats: &slablab_stats) -> Result<(), Violation> {
    figure("live blocks in the pool", 0, stats.live_blocks)?;
    figure("live bytes in the pool", 0, stats.live_bytes)?;
    figure("requested bytes in the pool", 0, stats.requested_bytes)?;
    figure("frees in the pool", stats.allocations, stats.frees)?;
    figure(
        "cached and free bytes",
        stats.pool_bytes,
        stats.cached_bytes + stats.free_bytes,
    )?;
    figure(
        "available bytes",
        stats.total_bytes.wrapping_sub(stats.used_bytes),
        stats.available_bytes,
    )?;
    for class in stats.classes.iter().take(stats.class_count as usize) {
        figure("used blocks of a class", 0, class.used_blocks)?;
    }
    if stats.engine == Engine::Seed.raw() {
        // `seed` counts slab memory as used, and twice in the total: see "Statistics" in
        // `docs/seed-design.md`.
        figure("used_bytes", stats.cached_bytes, stats.used_bytes)?;
        figure(
            "total_bytes",
            stats.pool_bytes + stats.cached_bytes,
            stats.total_bytes,
        )?;
    }
    Ok(())
}
