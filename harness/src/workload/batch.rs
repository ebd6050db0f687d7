// SPDX-License-Identifier: GPL-2.0

//! SUBMIT of many operations: each call frees a batch of blocks and allocates another one.

use super::WorkloadRun;
use crate::oracle::{
    CheckedOperation,
    ClientBlock,
    Violation, //
};

/// The maximum number of operations of each kind in a call.
const BATCH: usize = 100;

/// The number of live batches.
const BATCHES: usize = 8;

/// The largest block.
const SIZE_MAX: u64 = 4096;

pub(super) fn run(run: &mut WorkloadRun<'_>) -> Result<(), Violation> {
    let mut batches: [Vec<ClientBlock>; BATCHES] = Default::default();
    let mut sizes = Vec::new();
    loop {
        let batch = &mut batches[run.rng.index(BATCHES)];
        let count = 1 + run.rng.index(BATCH);
        // The frees of the old batch count as operations, too.
        let wanted = (0..batch.len() + count).take_while(|_| run.steps.next());
        let count = match wanted.count().checked_sub(batch.len()) {
            Some(count @ 1..) => count,
            _ => break,
        };
        sizes.clear();
        sizes.extend((0..count).map(|_| run.rng.doubling(1, SIZE_MAX)));
        submit(run, batch, &sizes)?;
    }
    for batch in &mut batches {
        submit(run, batch, &[])?;
    }
    Ok(())
}

/// Frees `blocks` and allocates blocks of `sizes`, in one call. The first refused request ends the call,
/// and the sizes behind it are not allocated.
fn submit(
    run: &mut WorkloadRun<'_>,
    blocks: &mut Vec<ClientBlock>,
    sizes: &[u64],
) -> Result<(), Violation> {
    let frees = blocks.drain(..).map(CheckedOperation::Free);
    let allocations = sizes.iter().map(|size| CheckedOperation::Alloc {
        size: *size,
        align: 8,
    });
    let submitted = run
        .client
        .submit(frees.chain(allocations).collect())
        .map_err(|fault| fault.violation)?;
    blocks.extend(
        submitted
            .replies
            .into_iter()
            .filter_map(|reply| reply.block),
    );
    Ok(())
}
