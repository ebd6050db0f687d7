// SPDX-License-Identifier: GPL-2.0

//! Submissions that are executed under the session's lock, compared with the same operations in single calls.

use super::submit::{
    SubmittedOperation,
    alloc_op,
    assert_engine_sound,
    op,
    submit, //
};
use crate::*;
use core::ptr::NonNull;
use slab_heap::{
    Path,
    backing_heap::InspectHeap,
    engine::AddRegion,
    extent, hybrid,
    magazines::{
        CacheSize,
        MagazineEngine,
        State, //
    },
};
use slab_host::{
    HostCpus,
    HostLock, //
};
use std::{
    vec,
    vec::Vec, //
};

use proptest::strategy::Strategy;

use super::{
    POOL,
    SessionOn,
    session_on, //
};

/// A heap behind magazines on which the tests of this file run.
pub(super) trait TestHeap: InspectHeap {
    fn state() -> State<Self>
    where
        Self: Sized;
}

impl TestHeap for hybrid::Heap {
    fn state() -> State<Self> {
        State::<Self>::new()
    }
}

impl TestHeap for extent::Heap {
    fn state() -> State<Self> {
        State::<Self>::new()
    }
}

pub(super) type HostEngine<H> = MagazineEngine<H, HostLock<State<H>>, HostCpus>;

pub(super) type LockedSession<'p, H> = SessionOn<'p, HostEngine<H>>;

/// An engine with magazines, with a pool that is filled with 0xa5.
pub(super) struct LockedPool<H: TestHeap> {
    engine: HostEngine<H>,
    _memory: Vec<u8>,
    _table: Vec<u64>,
}

impl<H: TestHeap> LockedPool<H> {
    pub(super) fn new() -> Self {
        let engine = MagazineEngine::new(
            HostLock::new(H::state()),
            HostCpus::new(1, CacheSize::full::<H>()),
        );
        let mut memory = vec![0xa5_u8; 2 * POOL];
        let mut table = vec![0_u64; engine.table_bytes(POOL) / 8];
        let start = memory.as_mut_ptr();
        let start = start.wrapping_add(start.addr().next_multiple_of(POOL) - start.addr());
        let start = NonNull::new(start).unwrap();
        let records = NonNull::new(table.as_mut_ptr()).unwrap().cast();
        // SAFETY: `add_region` requires unused memory and a zeroed, aligned table that outlive the engine, and
        // pointers whose provenance covers both: the vectors are new and large enough, the table is zeroed, the
        // field `engine` is dropped before the vectors, and both pointers come from the whole vectors.
        unsafe { engine.add_region(start, POOL, records) }.unwrap();
        Self {
            engine,
            _memory: memory,
            _table: table,
        }
    }

    pub(super) fn session(&self) -> LockedSession<'_, H> {
        self.limited(POOL / 2, 1500)
    }

    fn limited(&self, bytes: usize, handles: u32) -> LockedSession<'_, H> {
        session_on(&self.engine, bytes, handles)
    }
}

/// Asserts that a new block is zeroed, and fills it with other bytes.
fn check_zeroed_and_fill<H: TestHeap>(session: &LockedSession<'_, H>, reply: &Reply) {
    let pinned = session.pin(reply.handle).unwrap();
    let (start, _) = pinned.bytes_from(0).unwrap();
    for byte in 0..reply.usable {
        // SAFETY: `byte` is below the usable size of the block, which is pinned. All memory of the pool was
        // initialised.
        assert_eq!(unsafe { start.add(byte).read() }, 0);
    }
    // SAFETY: The block has `usable` bytes and is pinned, and no other thread uses it.
    unsafe { start.write_bytes(0xa5, reply.usable) };
}

/// Executes an operation by a single call of the session, and returns whether the operation succeeded.
fn run_alone<H: TestHeap>(
    session: &LockedSession<'_, H>,
    done: &[SubmittedOperation],
    op: &mut SubmittedOperation,
) -> bool {
    let error = match op.operation {
        Operation::Allocate { size, align } => match session.allocate(size, align) {
            Ok(reply) => {
                op.reply = Some(reply);
                return true;
            }
            Err(error) => error,
        },
        Operation::Free(name) => {
            let handle = match name {
                BlockRef::Handle(bits) => Handle::from_bits(bits).ok_or(SessionError::NoSuchBlock),
                BlockRef::Earlier(number) => done
                    .get(number as usize)
                    .and_then(EncodedOperation::allocated)
                    .ok_or(SessionError::BadOperation),
            };
            match handle.and_then(|handle| session.free(handle).map(|_| handle)) {
                Ok(handle) => {
                    op.freed = Some(handle);
                    return true;
                }
                Err(error) => error,
            }
        }
        Operation::Reallocate(..) | Operation::Nothing => unreachable!(),
    };
    op.error = Some(error);
    false
}

/// Returns the operation that `choice` and `number` select.
fn pick(known: &[Handle], place: usize, choice: usize, number: usize) -> SubmittedOperation {
    let size = 1 << (number % 14);
    let size = size + number as u64 / 14 % size;
    match choice {
        // Only two sizes are used, so that runs of equal allocations occur.
        0..15 => alloc_op([64, 64, 64, 4096][number % 4]),
        15..45 => alloc_op(size.min(4096)),
        45..50 => op(Operation::Allocate {
            size,
            align: 1 << (number % 14),
        }),
        50..52 => op(Operation::Allocate {
            size: [0, 4097, u64::MAX][number % 3],
            align: [8, 3, 1 << 63][number / 3 % 3],
        }),
        52..60 => op(Operation::Free(BlockRef::Earlier(
            (number % (place + 1)) as u32,
        ))),
        60..61 => op(Operation::Free(BlockRef::Handle(number as u32))),
        _ if known.is_empty() => alloc_op(64),
        _ => op(Operation::Free(BlockRef::Handle(
            known[number % known.len()].to_bits(),
        ))),
    }
}

/// Returns a strategy for submissions, as numbers for [`pick`].
fn submissions() -> impl Strategy<Value = Vec<Vec<(usize, usize)>>> {
    let operation = (0..100_usize, 0..1_000_000_usize);
    proptest::collection::vec(proptest::collection::vec(operation, 1..150), 1..12)
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(64))]

    #[test]
    fn a_submission_equals_its_operations_one_by_one_on_hybrid(submissions in submissions()) {
        equals_its_operations::<hybrid::Heap>(submissions);
    }

    #[test]
    fn a_submission_equals_its_operations_one_by_one_on_extent(submissions in submissions()) {
        equals_its_operations::<extent::Heap>(submissions);
    }
}

/// Asserts that a submission and single calls of its operations return the same blocks, costs and errors.
fn equals_its_operations<H: TestHeap>(submissions: Vec<Vec<(usize, usize)>>) {
    let (together_pool, separate_pool) = (LockedPool::<H>::new(), LockedPool::<H>::new());
    let (together, separate) = (together_pool.session(), separate_pool.session());
    let mut known = Vec::new();
    for numbers in submissions {
        let picked = numbers
            .iter()
            .enumerate()
            .map(|(place, (choice, number))| pick(&known, place, *choice, *number));
        let mut ops: Vec<_> = picked.collect();
        let mut single_ops = ops.clone();
        let (done, error) = submit(&together, &mut ops);
        for place in 0..single_ops.len() {
            let (earlier, rest) = single_ops.split_at_mut(place);
            if !run_alone(&separate, earlier, &mut rest[0]) {
                break;
            }
        }
        assert_eq!(error, ops.get(done).and_then(|op| op.error));
        for (op, single) in ops.iter().zip(&single_ops) {
            assert_eq!(
                (op.reply, op.freed, op.error),
                (single.reply, single.freed, single.error)
            );
        }
        assert_eq!(together.stats(), separate.stats());
        for reply in ops.iter().filter_map(|op| op.reply) {
            let was_freed = ops.iter().any(|op| op.freed == Some(reply.handle));
            if !was_freed {
                check_zeroed_and_fill(&together, &reply);
                check_zeroed_and_fill(&separate, &reply);
                known.push(reply.handle);
            }
        }
        assert_engine_sound(&together_pool.engine);
    }
}

/// Makes a test of each function and heap.
macro_rules! on_each_heap {
    ($($test:ident),* $(,)?) => {
        mod on_hybrid {
            $(#[test] fn $test() { super::$test::<slab_heap::hybrid::Heap>(); })*
        }
        mod on_extent {
            $(#[test] fn $test() { super::$test::<slab_heap::extent::Heap>(); })*
        }
    };
}

on_each_heap! {
    a_reallocated_block_is_freed_with_its_new_size_class,
    a_reused_entry_does_not_inherit_the_layout,
    quotas_are_exact_for_a_submission,
    a_block_grows_into_pages_that_were_cached_when_there_is_no_room_for_a_copy,
}

/// Submits operations, and asserts that all succeed.
fn all_done<H: TestHeap>(
    session: &LockedSession<'_, H>,
    mut ops: Vec<SubmittedOperation>,
) -> Vec<SubmittedOperation> {
    assert_eq!(submit(session, &mut ops), (ops.len(), None));
    ops
}

/// Submits allocations, asserts that a magazine served some of them, and returns the handles.
fn allocated<H: TestHeap>(session: &LockedSession<'_, H>, blocks: usize, size: u64) -> Vec<Handle> {
    let ops = all_done(session, vec![alloc_op(size); blocks]);
    let replies = ops.iter().filter_map(|op| op.reply);
    let from_magazine = replies
        .clone()
        .any(|reply| reply.cost.path() == Path::Magazine);
    assert!(from_magazine);
    replies.map(|reply| reply.handle).collect()
}

/// Submits frees of `handles`.
fn free_all<H: TestHeap>(session: &LockedSession<'_, H>, handles: &[Handle]) {
    let frees = handles
        .iter()
        .map(|handle| BlockRef::Handle(handle.to_bits()));
    all_done(
        session,
        frees.map(|name| op(Operation::Free(name))).collect(),
    );
}

fn a_reallocated_block_is_freed_with_its_new_size_class<H: TestHeap>() {
    let pool = LockedPool::<H>::new();
    let session = pool.session();
    let handles = allocated(&session, 20, 64);
    for handle in &handles {
        session.reallocate(*handle, 200).unwrap().commit();
    }
    free_all(&session, &handles);
    assert_engine_sound(&pool.engine);
}

fn a_reused_entry_does_not_inherit_the_layout<H: TestHeap>() {
    let pool = LockedPool::<H>::new();
    let session = pool.session();
    // The test uses all entries of the first chunk once, so that later allocations reuse the entries.
    for _ in 0..1024 / 64 {
        free_all(&session, &allocated(&session, 64, 64));
    }
    let allocate = |_| session.allocate(300, 8).unwrap().handle;
    let handles: Vec<_> = (0..20).map(allocate).collect();
    free_all(&session, &handles);
    assert_engine_sound(&pool.engine);
}

fn quotas_are_exact_for_a_submission<H: TestHeap>() {
    let pool = LockedPool::<H>::new();
    for (bytes, handles, max_blocks, cause) in [
        (POOL, 100, 100, SessionError::QuotaHandles),
        (100 * 64, 1000, 100, SessionError::QuotaBytes),
        (100 * 64 + 63, 101, 100, SessionError::QuotaBytes),
    ] {
        let session = pool.limited(bytes, handles);
        // The second round finds the blocks of the first one in the magazines.
        for _ in 0..2 {
            let mut ops = vec![alloc_op(64); 150];
            assert_eq!(submit(&session, &mut ops), (max_blocks, Some(cause)));
            let replies = ops.iter().filter_map(|op| op.reply);
            free_all(
                &session,
                &replies.map(|reply| reply.handle).collect::<Vec<_>>(),
            );
        }
        assert_eq!(session.stats().bytes, 0);
        assert_eq!(session.stats().blocks, 0);
    }
}

fn a_block_grows_into_pages_that_were_cached_when_there_is_no_room_for_a_copy<H: TestHeap>() {
    const PAGE: u64 = 4096;
    let pool = LockedPool::<H>::new();
    let session = pool.limited(2 * POOL, 1000);
    let block = session.allocate(16 * PAGE, 8).unwrap();
    let neighbour = session.allocate(16 * PAGE, 8).unwrap();
    // After each block of 20 pages, 12 pages stay free: many pages are free, but no 32 contiguous pages. The pages
    // of the neighbour are in a magazine.
    while session.allocate(20 * PAGE, 8).is_ok() {}
    session.free(neighbour.handle).unwrap();
    let grown = session.reallocate(block.handle, 32 * PAGE).unwrap();
    let reply = grown.reply();
    grown.commit();
    assert_eq!(
        (reply.offset, reply.cost.path()),
        (block.offset, Path::InPlace)
    );
    assert_eq!(reply.usable as u64, 32 * PAGE);
}
