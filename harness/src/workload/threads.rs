// SPDX-License-Identifier: GPL-2.0

//! Threads share a session; most blocks are freed by another thread than the one that allocated.
//!
//! The requests of a thread depend on the seed and the thread's number only. The places of the blocks
//! depend on the interleaving of the threads, so for a seed the sums are the same, but the trace is not.

use std::{
    sync::{
        Mutex,
        PoisonError, //
    },
    thread,
};

use super::{
    Steps,
    WorkloadRun, //
};
use crate::{
    isolation::underway,
    oracle::{
        Client,
        ClientBlock,
        Violation, //
    },
    rng::Rng,
};

/// The number of slots through which the threads exchange blocks.
const SLOTS: usize = 256;

/// The largest block.
const SIZE_MAX: u64 = 4096;

type BlockSlots = [Mutex<Option<ClientBlock>>];

pub(super) fn run(run: &mut WorkloadRun<'_>) -> Result<(), Violation> {
    let slots: Vec<Mutex<Option<ClientBlock>>> = (0..SLOTS).map(|_| Mutex::default()).collect();
    let budget = run.steps.budget();
    let results: Vec<Result<(), Violation>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..run.threads)
            .map(|index| {
                let mut steps = budget.share(index, run.threads);
                let mut client = run.oracle.client();
                let rng = Rng::split(run.seed, index as u64);
                let slots = &slots[..];
                scope.spawn(move || {
                    underway::thread(index);
                    let result = exchange(&mut client, &mut steps, rng, slots);
                    steps.report();
                    result.map_err(|violation| {
                        budget.stop();
                        Violation::InThread {
                            thread: index,
                            operation: steps.taken(),
                            violation: Box::new(violation),
                        }
                    })
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
            .collect()
    });
    results.into_iter().collect::<Result<(), _>>()?;
    for slot in slots {
        if let Some(block) = slot.into_inner().unwrap_or_else(PoisonError::into_inner) {
            run.client.free(block)?;
        }
    }
    Ok(())
}

/// Puts new blocks into random slots, and frees the blocks that were in the slots.
fn exchange(
    client: &mut Client<'_>,
    steps: &mut Steps<'_>,
    mut rng: Rng,
    slots: &BlockSlots,
) -> Result<(), Violation> {
    while steps.next() {
        let slot = &slots[rng.index(slots.len())];
        let size = rng.doubling(1, SIZE_MAX);
        let Ok(block) = client.alloc(size, 8)? else {
            continue;
        };
        let taken = slot
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .replace(block);
        if let Some(block) = taken {
            client.free(block)?;
        }
    }
    Ok(())
}
