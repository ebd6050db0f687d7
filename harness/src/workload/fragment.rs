// SPDX-License-Identifier: GPL-2.0

//! Fragments the pool, then frees all blocks.
//!
//! All blocks are too large for slabs, so this tests the buddy system. While every other block is
//! free, a large request may be refused, but only with the cause "fragmented". When all blocks are
//! free, the buddy system must have coalesced them, and the large request must succeed.

use super::WorkloadRun;
use crate::{
    oracle::{
        ClientBlock,
        Violation, //
    },
    uapi::Cause,
};

/// The smallest block: one byte more than the largest size class.
const SIZE_MIN: u64 = 4097;

/// The largest block, except for the large requests.
const SIZE_MAX: u64 = 16 << 10;

/// The large request is the pool divided by `LARGE_PART`, but at most `LARGE_MAX`.
const LARGE_PART: u64 = 4;
const LARGE_MAX: u64 = 16 << 20;

pub(super) fn run(run: &mut WorkloadRun<'_>) -> Result<(), Violation> {
    let info = run
        .oracle
        .target()
        .info()
        .map_err(|errno| Violation::Failed {
            call: "INFO",
            errno,
        })?;
    let large = (info.pool_bytes / LARGE_PART).clamp(SIZE_MAX, LARGE_MAX);

    let mut blocks = Vec::new();
    run.steps.hold_clock();
    while fill(run, &mut blocks)? {
        // Sort by offset, so that each freed block is between two live ones. Blocks of an engine without
        // offsets stay in the order of their allocation.
        blocks.sort_by_key(ClientBlock::offset);
        let mut kept = Vec::with_capacity(blocks.len().div_ceil(2));
        for (index, block) in blocks.drain(..).enumerate() {
            if index % 2 == 0 {
                kept.push(block);
            } else {
                run.steps.next();
                run.client.free(block)?;
            }
        }
        blocks = kept;
        run.oracle.check()?;

        if let Some(cause) = refused(run, large)? {
            if !matches!(cause, Cause::Fragmented | Cause::Quota) && run.oracle.is_alone() {
                return Err(Violation::Unexpected(format!(
                    "with half of the pool free, a request of {large} bytes was refused as {cause}, \
                     but must be refused as fragmented"
                )));
            }
        }
        run.free_all(&mut blocks)?;
        run.oracle.check()?;
        if let Some(cause) = refused(run, large)? {
            if run.oracle.is_alone() {
                return Err(Violation::Unexpected(format!(
                    "with all of the pool free, a request of {large} bytes was refused as {cause}"
                )));
            }
        }
        run.steps.release_clock();
    }
    run.free_all(&mut blocks)
}

/// Allocates until a request is refused. Returns `false` if the budget ends first.
fn fill(run: &mut WorkloadRun<'_>, blocks: &mut Vec<ClientBlock>) -> Result<bool, Violation> {
    while run.steps.next() {
        let size = run.rng.doubling(SIZE_MIN, SIZE_MAX);
        match run.alloc_if_it_fits(size)? {
            Ok(block) => blocks.push(block),
            Err(_full) => return Ok(true),
        }
    }
    Ok(false)
}

/// Allocates a block and frees it. Returns the cause if the request was refused.
fn refused(run: &mut WorkloadRun<'_>, size: u64) -> Result<Option<Cause>, Violation> {
    run.steps.next();
    match run.alloc_if_it_fits(size)? {
        Ok(block) => run.client.free(block).map(|()| None),
        Err(cause) => Ok(Some(cause)),
    }
}
