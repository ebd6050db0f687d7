// SPDX-License-Identifier: GPL-2.0

//! Workloads: typical uses of an allocator, each in its own file.
//!
//! A workload makes its decisions from its seed and from replies only, never from time, addresses or the
//! order of a hash table. The operations of a single-threaded workload are therefore the same for the same
//! seed, and a longer run begins with the operations of a shorter run.

mod abuse;
mod batch;
mod budget;
mod churn;
mod exhaust;
mod fragment;
mod mixed;
mod realloc;
#[cfg(test)]
mod tests;
mod threads;

pub(crate) use self::budget::{
    Limit,
    Steps,
    WorkloadBudget, //
};
use crate::{
    oracle::{
        Client,
        ClientBlock,
        Oracle,
        Violation, //
    },
    rng::Rng,
    uapi::Cause,
};

/// A workload.
pub(crate) struct Workload {
    /// The name.
    pub(crate) name: &'static str,
    /// One line for the help.
    pub(crate) about: &'static str,
    /// Whether all figures are the same for the same seed and number of operations.
    pub(crate) is_sequential: bool,
    /// Runs the workload.
    run: fn(&mut WorkloadRun<'_>) -> Result<(), Violation>,
}

/// All workloads, in the order in which they are run.
pub(crate) static WORKLOADS: [Workload; 8] = [
    Workload {
        name: "churn",
        about: "small blocks are allocated and freed in waves",
        is_sequential: true,
        run: churn::run,
    },
    Workload {
        name: "mixed",
        about: "random sizes from 1 byte to 256 KiB, alignments up to 4096",
        is_sequential: true,
        run: mixed::run,
    },
    Workload {
        name: "exhaust",
        about: "fill the pool, free all blocks, fill it again: the same number of blocks must fit",
        is_sequential: true,
        run: exhaust::run,
    },
    Workload {
        name: "fragment",
        about: "request a large block when every other block is free, and when all blocks are free",
        is_sequential: true,
        run: fragment::run,
    },
    Workload {
        name: "realloc",
        about: "blocks grow and shrink without losing their contents",
        is_sequential: true,
        run: realloc::run,
    },
    Workload {
        name: "batch",
        about: "SUBMIT of many frees and allocations in one call",
        is_sequential: true,
        run: batch::run,
    },
    Workload {
        name: "threads",
        about: "threads share a session and free each other's blocks",
        is_sequential: false,
        run: threads::run,
    },
    Workload {
        name: "abuse",
        about: "invalid requests must fail with the right error and without a side effect",
        is_sequential: true,
        run: abuse::run,
    },
];

/// An upper bound for the requests in a row that fault injection refuses, with a margin: it refuses at most
/// every second request, and in addition one that needs a new slab.
const INJECTED_MAX: usize = 8;

/// One run of a workload.
pub(crate) struct WorkloadRun<'r> {
    oracle: &'r Oracle<'r>,
    client: Client<'r>,
    steps: Steps<'r>,
    rng: Rng,
    seed: u64,
    threads: usize,
}

/// A violation and its operation.
#[derive(Debug)]
pub(crate) struct WorkloadFailure {
    /// The operation, counted from 1.
    pub(crate) operation: u64,
    /// The violated rule.
    pub(crate) violation: Violation,
}

impl Workload {
    /// Returns the workload with this name.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        WORKLOADS.iter().find(|workload| workload.name == name)
    }

    /// Runs the workload until the budget is used up, and frees all blocks.
    pub(crate) fn run(
        &self,
        oracle: &Oracle<'_>,
        budget: &WorkloadBudget,
        seed: u64,
        threads: usize,
    ) -> Result<(), WorkloadFailure> {
        let mut run = WorkloadRun {
            oracle,
            client: oracle.client(),
            steps: budget.share(0, 1),
            rng: Rng::split(seed, stream(self.name)),
            seed,
            threads,
        };
        let result = (self.run)(&mut run);
        run.steps.report();
        result.map_err(|violation| WorkloadFailure {
            operation: match violation {
                // Each thread counts its own steps.
                Violation::InThread { .. } => budget.done(),
                _ => run.steps.taken(),
            },
            violation,
        })
    }
}

/// Returns the number of a workload's random stream: workloads with the same seed make different decisions.
fn stream(name: &str) -> u64 {
    name.bytes()
        .fold(0, |number, byte| (number << 8) | u64::from(byte))
}

impl WorkloadRun<'_> {
    /// Frees all blocks. Frees after the end of the budget do not count as operations.
    fn free_all(&mut self, blocks: &mut Vec<ClientBlock>) -> Result<(), Violation> {
        while let Some(block) = blocks.pop() {
            self.steps.next();
            self.client.free(block)?;
        }
        Ok(())
    }

    /// Allocates a block, or returns the cause of the refusal. Repeats requests that fault injection
    /// refuses, for workloads that compare how many blocks fit.
    fn alloc_if_it_fits(&mut self, size: u64) -> Result<Result<ClientBlock, Cause>, Violation> {
        for _ in 0..INJECTED_MAX {
            match self.client.alloc(size, 8)? {
                // Try again: fault injection refuses only few requests in a row.
                Err(Cause::Injected) => {}
                answer => return Ok(answer),
            }
        }
        Err(Violation::Unexpected(format!(
            "{INJECTED_MAX} requests in a row were refused with the cause of fault injection"
        )))
    }

    /// Removes a random block, if there is one.
    fn pick(&mut self, blocks: &mut Vec<ClientBlock>) -> Option<ClientBlock> {
        if blocks.is_empty() {
            return None;
        }
        let index = self.rng.index(blocks.len());
        Some(blocks.swap_remove(index))
    }
}
