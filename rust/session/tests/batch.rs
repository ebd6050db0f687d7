// SPDX-License-Identifier: GPL-2.0

//! Submissions on an engine that has blocks at hand, beside the same operations one by one.

use super::submit::{
    Op,
    alloc_op,
    op,
    sound_engine,
    submit, //
};
use crate::*;
use core::ptr::NonNull;
use slab_heap::{
    Engine, Path,
    hybrid::{
        CpuCache,
        HostCpuCache,
        Hybrid,
        State, //
    },
    per_cpu::PerCpu,
};
use std::{
    sync::Mutex,
    vec,
    vec::Vec, //
};

use super::{
    HostLock,
    POOL,
    Tables, //
};

/// One CPU, at which threads take turns.
#[derive(Default)]
pub(super) struct OneCpu {
    turn: Mutex<()>,
    cache: HostCpuCache,
}

// SAFETY: A closure that is given the cache has the mutex.
unsafe impl PerCpu<CpuCache> for OneCpu {
    fn cpus(&self) -> usize {
        1
    }

    fn get(&self, cpu: usize) -> Option<&CpuCache> {
        (cpu == 0).then(|| &*self.cache)
    }

    fn with_local<R>(&self, f: impl FnOnce(&CpuCache) -> R) -> Option<R> {
        let _turn = self.turn.lock().unwrap();
        Some(f(&self.cache))
    }

    fn try_with_local<R>(&self, f: impl FnOnce(&CpuCache) -> R) -> Option<R> {
        self.with_local(f)
    }

    fn with_remote<R: Send>(&self, cpu: usize, f: impl FnOnce(&CpuCache) -> R + Send) -> Option<R> {
        (cpu == 0).then(|| self.with_local(f))?
    }
}

pub(super) type HostHybrid = Hybrid<HostLock<State>, OneCpu>;

pub(super) type HybridSession<'p> = Session<&'p HostHybrid, HostLock<SessionState<Tables>>, Tables>;

/// The hybrid, in memory full of 0xa5.
pub(super) struct Pool {
    engine: HostHybrid,
    _memory: Vec<u8>,
    _table: Vec<u64>,
}

impl Pool {
    pub(super) fn new() -> Self {
        let engine = Hybrid::new(HostLock(Mutex::new(State::new())), OneCpu::default());
        let mut memory = vec![0xa5_u8; 2 * POOL];
        let mut table = vec![0_u64; engine.table_bytes(POOL) / 8];
        let start = memory.as_mut_ptr();
        let start = start.wrapping_add(start.addr().next_multiple_of(POOL) - start.addr());
        let start = NonNull::new(start).unwrap();
        let records = NonNull::new(table.as_mut_ptr()).unwrap().cast();
        // SAFETY: Both are new, large enough, and stay as long as the engine, whose field is dropped
        // first.
        unsafe { engine.add_region(start, POOL, records) }.unwrap();
        Self {
            engine,
            _memory: memory,
            _table: table,
        }
    }

    pub(super) fn session(&self) -> HybridSession<'_> {
        self.limited(POOL / 2, 1500)
    }

    fn limited(&self, bytes: usize, handles: u32) -> HybridSession<'_> {
        let state = HostLock(Mutex::new(SessionState::new(Limits { bytes, handles })));
        // SAFETY: A reference derefs to what it refers to.
        unsafe { Session::new(&self.engine, state, Tables, false) }
    }
}

/// Looks whether a new block is zeros, and leaves something else there.
fn use_up(session: &HybridSession<'_>, reply: &Reply) {
    let pinned = session.pin(reply.handle).unwrap();
    let (start, _) = pinned.bytes_from(0).unwrap();
    for byte in 0..reply.usable {
        // SAFETY: The block has so many bytes, and is pinned.
        assert_eq!(unsafe { start.add(byte).read() }, 0);
    }
    // SAFETY: As above.
    unsafe { start.write_bytes(0xa5, reply.usable) };
}

/// Does an operation alone, and says whether it was done.
fn alone(session: &HybridSession<'_>, done: &[Op], op: &mut Op) -> bool {
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
                    .get(number)
                    .and_then(Request::allocated)
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

/// Returns an operation for two random numbers.
fn pick(known: &[Handle], place: usize, choice: usize, number: usize) -> Op {
    let size = 1 << (number % 14);
    let size = size + number as u64 / 14 % size;
    match choice {
        // What is alike in a row is done in one go.
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
        52..60 => op(Operation::Free(BlockRef::Earlier(number % (place + 1)))),
        60..61 => op(Operation::Free(BlockRef::Handle(number as u32))),
        _ if known.is_empty() => alloc_op(64),
        _ => op(Operation::Free(BlockRef::Handle(
            known[number % known.len()].to_bits(),
        ))),
    }
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(64))]

    /// What is submitted is what is done one by one, to the block, the cost and the denial.
    #[test]
    fn submitted_or_one_by_one_is_the_same(
        submissions in proptest::collection::vec(
            proptest::collection::vec((0..100_usize, 0..1_000_000_usize), 1..150), 1..12),
    ) {
        let (left, right) = (Pool::new(), Pool::new());
        let (together, singly) = (left.session(), right.session());
        let mut known = Vec::new();
        for numbers in submissions {
            let picked = numbers
                .iter()
                .enumerate()
                .map(|(place, (choice, number))| pick(&known, place, *choice, *number));
            let mut ops: Vec<_> = picked.collect();
            let mut twins = ops.clone();
            let (done, error) = submit(&together, &mut ops);
            for place in 0..twins.len() {
                let (earlier, rest) = twins.split_at_mut(place);
                if !alone(&singly, earlier, &mut rest[0]) {
                    break;
                }
            }
            assert_eq!(error, ops.get(done).and_then(|op| op.error));
            for (op, twin) in ops.iter().zip(&twins) {
                assert_eq!((op.reply, op.freed, op.error), (twin.reply, twin.freed, twin.error));
            }
            assert_eq!(together.stats(), singly.stats());
            for reply in ops.iter().filter_map(|op| op.reply) {
                let was_freed = ops.iter().any(|op| op.freed == Some(reply.handle));
                if !was_freed {
                    use_up(&together, &reply);
                    use_up(&singly, &reply);
                    known.push(reply.handle);
                }
            }
            sound_engine(&left.engine);
        }
    }
}

/// Submits operations, all of which are done.
fn all_done(session: &HybridSession<'_>, mut ops: Vec<Op>) -> Vec<Op> {
    assert_eq!(submit(session, &mut ops), (ops.len(), None));
    ops
}

/// Submits the allocation of blocks, some of which were at hand, and returns their handles.
fn allocated(session: &HybridSession<'_>, blocks: usize, size: u64) -> Vec<Handle> {
    let ops = all_done(session, vec![alloc_op(size); blocks]);
    let replies = ops.iter().filter_map(|op| op.reply);
    let at_hand = replies
        .clone()
        .any(|reply| reply.cost.path() == Path::Magazine);
    assert!(at_hand);
    replies.map(|reply| reply.handle).collect()
}

/// Submits the frees of blocks.
fn free_all(session: &HybridSession<'_>, handles: &[Handle]) {
    let frees = handles
        .iter()
        .map(|handle| BlockRef::Handle(handle.to_bits()));
    all_done(
        session,
        frees.map(|name| op(Operation::Free(name))).collect(),
    );
}

#[test]
fn what_moved_is_freed_as_what_it_is() {
    let pool = Pool::new();
    let session = pool.session();
    let handles = allocated(&session, 20, 64);
    for handle in &handles {
        session.reallocate(*handle, 200).unwrap().commit();
    }
    free_all(&session, &handles);
    sound_engine(&pool.engine);
}

#[test]
fn nothing_is_known_of_a_block_by_the_last_one_that_had_its_entry() {
    let pool = Pool::new();
    let session = pool.session();
    // All entries of the first chunk.
    for _ in 0..1024 / 64 {
        free_all(&session, &allocated(&session, 64, 64));
    }
    let allocate = |_| session.allocate(300, 8).unwrap().handle;
    let handles: Vec<_> = (0..20).map(allocate).collect();
    free_all(&session, &handles);
    sound_engine(&pool.engine);
}

#[test]
fn quotas_are_exact_for_what_is_allocated_together() {
    let pool = Pool::new();
    for (bytes, handles, most, cause) in [
        (POOL, 100, 100, SessionError::QuotaHandles),
        (100 * 64, 1000, 100, SessionError::QuotaBytes),
        (100 * 64 + 63, 101, 100, SessionError::QuotaBytes),
    ] {
        let session = pool.limited(bytes, handles);
        // With blocks at hand, for more than there may be.
        for _ in 0..2 {
            let mut ops = vec![alloc_op(64); 150];
            assert_eq!(submit(&session, &mut ops), (most, Some(cause)));
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
