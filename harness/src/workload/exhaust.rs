// SPDX-License-Identifier: GPL-2.0

//! The pool runs full, is emptied, and runs full again.
//!
//! Two fillings in a row ask for the same sizes in the same order. An allocator that lost memory,
//! or did not put its blocks together again, serves less of them the second time. What it keeps
//! against a quick return it is told to give back before, so that both find the same pool. What
//! follows asks for other sizes, and may get less: the seed's slabs keep what they have.
//!
//! Both are done on one CPU. A program that is moved in the middle has left blocks with the CPU that
//! it was on, and its slabs lie otherwise, so that a large block more or less may fit.

use super::Run;
use crate::{
    device::Errno,
    one_cpu::OneCpu,
    oracle::{
        Block,
        Complaint, //
    },
    rng::Rng,
};

/// The smallest block.
const SIZE_MIN: u64 = 16;

/// Three of four blocks are at most this large.
const SMALL_MAX: u64 = 4096;

/// The largest block.
const SIZE_MAX: u64 = 64 << 10;

pub(super) fn run(run: &mut Run<'_>) -> Result<(), Complaint> {
    let mut blocks = Vec::new();
    run.steps.hold_clock();
    loop {
        let here = OneCpu::stay();
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
            return Err(Complaint::Unexpected(format!(
                "{first} blocks fit into the empty pool, but only {second} of the same size after \
                 all were freed"
            )));
        }
    }
    run.free_all(&mut blocks)
}

/// Allocates until a request is refused, and returns how many were served; `None` when the budget
/// ended first.
fn fill(
    run: &mut Run<'_>,
    pattern: u64,
    blocks: &mut Vec<Block>,
) -> Result<Option<usize>, Complaint> {
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

/// Frees all blocks, in no order.
fn empty(run: &mut Run<'_>, blocks: &mut Vec<Block>) -> Result<(), Complaint> {
    while let Some(block) = run.pick(blocks) {
        run.steps.next();
        run.client.free(block)?;
    }
    match run.oracle.target().shrink() {
        Ok(_) | Err(Errno::OPNOTSUPP) => run.oracle.check(),
        Err(errno) => Err(Complaint::Failed {
            call: "SHRINK",
            errno,
        }),
    }
}
