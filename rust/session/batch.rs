// SPDX-License-Identifier: GPL-2.0

//! The fast path of submissions: several operations under one hold of the session's lock.
//!
//! A batch uses only the engine's CPU-local cache, with preemption disabled. Consecutive
//! allocations of the same size, and consecutive frees, run in loops that look up the size class
//! and the quota once. The first operation that the cache cannot serve, or that is invalid, ends
//! the batch; the slow path in `submit.rs` executes it and finds the error.

use core::alloc::Layout;

use slab_heap::errand::{
    AtHand,
    Errand, //
};

use crate::{
    entry::Allocation,
    error::SessionError,
    handle::Handle,
    memory::zero_words,
    request::{
        BlockRef,
        Operation,
        Reply,
        Request,
        allocated_by, //
    },
    state::{
        LOCKED_ALLOC_MAX,
        SessionState, //
    },
    storage::Storage,
};

/// The largest number of operations under one lock hold. Between two batches the lock is free and the
/// scheduler can run.
pub(crate) const BATCH_OPS: usize = 64;

/// The largest number of bytes that are zeroed under one lock hold.
const BATCH_BYTES: usize = 32 * LOCKED_ALLOC_MAX;

/// The next step of a submission.
pub(crate) enum Next {
    /// Continue with another batch.
    Continue,
    /// The next operation is a reallocation, which is a segment of its own.
    Reallocate,
    /// The next operation needs the slow path.
    SlowPath,
    /// The next operation failed. The error is not reported yet.
    Failed(SessionError),
    /// The next operation failed, and the error is reported.
    FailedAndReported(SessionError),
}

/// Operations that are executed under one lock hold.
pub(crate) struct Batch<'a, Q, S: Storage> {
    /// The state of the session, whose lock is held.
    pub(crate) state: &'a mut SessionState<S>,
    /// The operations of the submission, up to the last one of the batch.
    pub(crate) requests: &'a mut [Q],
    /// The number of the first of `requests` in the submission.
    pub(crate) base: usize,
    /// The number of `requests` that are done.
    pub(crate) end: &'a mut usize,
}

impl<Q: Request, S: Storage> Errand for Batch<'_, Q, S> {
    type Outcome = Next;

    #[inline(always)]
    fn run(self, engine: &impl AtHand) -> Next {
        let Self {
            state,
            requests,
            base,
            end,
        } = self;
        let (mut done, mut bytes) = (*end, BATCH_BYTES);
        let next = loop {
            let Some((earlier, rest)) = requests.split_at_mut_checked(done) else {
                break Next::Continue;
            };
            let [request, ..] = &mut *rest else {
                break Next::Continue;
            };
            let count = match request.operation() {
                Ok(Operation::Allocate { size, align }) => {
                    // The rest of the budget may not suffice for this block. The next batch starts with
                    // a full one.
                    if bytes < LOCKED_ALLOC_MAX {
                        break Next::Continue;
                    }
                    allocate_run(state, engine, rest, size, align, &mut bytes)
                }
                Ok(Operation::Free(BlockRef::Handle(_))) => free_run(state, engine, rest),
                Ok(Operation::Free(BlockRef::Earlier(number))) => {
                    let handle = allocated_by(earlier, base, number).map(Handle::to_bits);
                    usize::from(handle.is_ok_and(|number| free(state, engine, number, request)))
                }
                Ok(Operation::Reallocate(..)) => break Next::Reallocate,
                Ok(Operation::Nothing) => 1,
                Err(_) => 0,
            };
            if count == 0 {
                break Next::SlowPath;
            }
            done += count;
        };
        *end = done;
        next
    }
}

/// Allocates for the first of `requests` and the ones after it with the same size and alignment,
/// until the table, the quota, the budget of `bytes`, or the CPU-local cache is exhausted. Returns
/// the number of allocations, and subtracts their bytes from `bytes`.
#[inline(never)]
fn allocate_run<Q: Request, S: Storage, A: AtHand>(
    state: &mut SessionState<S>,
    engine: &A,
    requests: &mut [Q],
    size: u64,
    align: u64,
    bytes: &mut usize,
) -> usize {
    // The slow path refuses invalid sizes and alignments, and serves large ones.
    if size.wrapping_sub(1) >= LOCKED_ALLOC_MAX as u64 || align > LOCKED_ALLOC_MAX as u64 {
        return 0;
    }
    let Ok(layout) = Layout::from_size_align(size as usize, align as usize) else {
        return 0;
    };
    let Some(class) = engine.size(layout) else {
        return 0;
    };
    let (usable, hint) = (engine.usable(class), engine.known(class));
    let mut reservation = state.reserve_bulk(usable, *bytes);
    for request in requests {
        if !request.allocates(size, align) {
            break;
        }
        let Some(slot) = reservation.next() else {
            break;
        };
        let Some((block, cost)) = engine.allocate(class, layout) else {
            break;
        };
        // SAFETY: `zero_words` requires a live block of `usable` bytes that nothing else accesses,
        // and multiples of a word. The engine just allocated the block with `usable` bytes, and no
        // handle names it. By the contract of `AtHand`, its address and size are multiples of 8.
        unsafe { zero_words(block.start, usable) };
        let allocation = Allocation {
            block,
            layout,
            charge: usable,
        };
        let handle = slot.commit(allocation, hint);
        request.on_served(&Reply::new(handle, &allocation, cost));
    }
    let count = reservation.committed();
    *bytes = bytes.wrapping_sub(count.wrapping_mul(usable));
    count
}

/// Frees the blocks of the first of `requests` and of the frees after it, until one is invalid or the
/// CPU-local cache is full. Returns the number of frees.
#[inline(never)]
fn free_run<Q: Request, S: Storage>(
    state: &mut SessionState<S>,
    engine: &impl AtHand,
    requests: &mut [Q],
) -> usize {
    let mut count = 0;
    for request in requests {
        match request.frees() {
            Some(number) if free(state, engine, number, request) => count += 1,
            _ => break,
        }
    }
    count
}

/// Frees the block with this handle number into the CPU-local cache. Returns `false` and changes
/// nothing if no live block without pins has this number, or the cache is full.
#[inline(always)]
fn free<Q: Request, S: Storage>(
    state: &mut SessionState<S>,
    engine: &impl AtHand,
    number: u32,
    request: &mut Q,
) -> bool {
    let freed = state.try_remove(number, |entry| {
        let Allocation { block, layout, .. } = entry.allocation;
        // SAFETY: `AtHand::release` requires a live block of this engine, its current layout, that
        // nothing uses the block any more, and a hint that belongs to the block. The table contains
        // the block with its layout, has no pin of it, and removes it if `release` succeeds. The
        // hint was stored when this engine allocated the block, and `end_move` clears the hint of a
        // resized block.
        let cost = unsafe { engine.release(block, layout, entry.hint) }?;
        Some((entry.handle, cost))
    });
    let Ok(Some((handle, cost))) = freed else {
        return false;
    };
    request.on_freed(handle, cost);
    true
}
