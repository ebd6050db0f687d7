// SPDX-License-Identifier: GPL-2.0

//! Fills the pool, frees all blocks, and fills the pool again.
//!
//! Both fillings request the same sizes in the same order. If an allocator lost memory or did not
//! coalesce, fewer blocks fit the second time. SHRINK is called before each filling, so that cached
//! memory makes no difference. The next pair of fillings requests other sizes, and fewer blocks may
//! fit, because the seed's slabs never return memory.
//!
//! Both fillings run on one CPU. If the thread moved in between, its old CPU's magazine would still
//! have blocks, so that one large block more or less could fit.

use super::WorkloadRun;
use crate::{
    affinity::CpuPin,
    device::Errno,
    oracle::{
        ClientBlock,
        Violation, //
    },
    rng::Rng,
};

/// The smallest block.
const SIZE_MIN: u64 = 16;

/// Three of four blocks are at most this large.
const SMALL_MAX: u64 = 4096;

/// The largest block.
const SIZE_MAX: u64 = 64 << 10;

pub(super) fn run(run: &mut WorkloadRun<'_>) -> Result<(), Violation> {
    let mut blocks = Vec::new();
    run.steps.hold_clock();
    loop {
        let here = CpuPin::current();
        let pattern = run.rng.next();
        let Some(first) = fill(run, pattern, &mut blocks)? else {
            break;
        };
        empty(run, &mut blocks)?;
        let Some(second) = fill(run, pattern, &mut blocks)? else {
            break;
        };
        empty(run, &mut blocks)?;
        run.steps.release_clock();
        if second < first && run.oracle.is_alone() && here.is_ok() {
            return Err(Violation::Unexpected(format!(
                "{first} blocks fit into the empty pool, but only {second} of the same sizes \
                 after all blocks were freed"
            )));
        }
    }
    run.free_all(&mut blocks)
}

/// Allocates until a request is refused, and returns the number of blocks; `None` if the budget ends first.
fn fill(
    run: &mut WorkloadRun<'_>,
    pattern: u64,
    blocks: &mut Vec<ClientBlock>,
) -> Result<Option<usize>, Violation> {
    let mut sizes = Rng::new(pattern);
    while run.steps.next() {
        let size = if sizes.chance(3, 4) {
            sizes.doubling(SIZE_MIN, SMALL_MAX)
        } else {
            sizes.doubling(SMALL_MAX + 1, SIZE_MAX)
        };
        match run.alloc_if_it_fits(size)? {
            Ok(block) => blocks.push(block),
            Err(_full) => {
                run.oracle.check()?;
                return Ok(Some(blocks.len()));
            }
        }
    }
    Ok(None)
}

/// Frees all blocks in random order.
fn empty(run: &mut WorkloadRun<'_>, blocks: &mut Vec<ClientBlock>) -> Result<(), Violation> {
    while let Some(block) = run.pick(blocks) {
        run.steps.next();
        run.client.free(block)?;
    }
    match run.oracle.target().shrink() {
        Ok(_) | Err(Errno::OPNOTSUPP) => run.oracle.check(),
        Err(errno) => Err(Violation::Failed {
            call: "SHRINK",
            errno,
        }),
    }
}
