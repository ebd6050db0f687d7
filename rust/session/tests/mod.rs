// SPDX-License-Identifier: GPL-2.0

//! Tests of sessions on the engine `seed`, and the support that all tests share.

mod fault_injection;
mod handles;
mod learner;
mod locked;
mod pin;
mod recording;
mod signal;
mod submit;

use crate::*;
use core::{
    alloc::Layout,
    cell::Cell,
    marker::PhantomData,
    ptr::NonNull, //
};
use slab_heap::{
    Engine, Path, Refusal,
    engine::AddRegion,
    seed::{
        Seed,
        State, //
    },
    stats::{
        Totals,
        Visitor, //
    },
};
use slab_host::HostLock;
use std::{
    alloc::{
        alloc,
        dealloc, //
    },
    thread,
    vec,
    vec::Vec, //
};

std::thread_local! {
    /// The number of chunks that can still be allocated.
    static CHUNKS_LEFT: Cell<usize> = const { Cell::new(usize::MAX) };
    /// The number of checks for a fatal signal before one is pending; `usize::MAX` for never.
    static CHECKS_UNTIL_SIGNAL: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// The platform of a session on an engine that a test owns.
struct TestPlatform<'e, E>(PhantomData<&'e E>);

impl<E> TestPlatform<'_, E> {
    const fn new() -> Self {
        Self(PhantomData)
    }
}

// SAFETY: A reference always yields the same engine, which is its own quick engine. A `HostLock` cannot be cloned,
// and `session_on` creates it with a new state. A vector owns its elements alone and always yields the same elements.
unsafe impl<'e, E: Engine> Platform for TestPlatform<'e, E> {
    type Engine = &'e E;
    type Lock = HostLock<SessionState<Self>>;
    type Chunk = Vec<HandleEntry>;
    type Ring = Vec<Event>;

    fn with_quick<W: QuickWork>(engine: &&'e E, work: W) -> Option<W::Output> {
        engine.capabilities().quick.then(|| work.run(*engine))
    }

    fn chunk(&self, entries: usize) -> Option<Vec<HandleEntry>> {
        let left = CHUNKS_LEFT.get().checked_sub(1)?;
        CHUNKS_LEFT.set(left);
        Some(vec![HandleEntry::VACANT; entries])
    }

    fn event_context() -> EventContext {
        EventContext::default()
    }

    fn interrupted() -> bool {
        match CHECKS_UNTIL_SIGNAL.get() {
            usize::MAX => false,
            0 => true,
            checks => {
                CHECKS_UNTIL_SIGNAL.set(checks - 1);
                false
            }
        }
    }
}

const POOL: usize = 1 << 20;

/// The engine `seed` with a pool that is filled with 0xa5.
struct SeedPool {
    engine: Seed<HostLock<State>>,
    memory: NonNull<u8>,
    layout: Layout,
}

impl SeedPool {
    fn new() -> Self {
        Self::of(POOL)
    }

    /// Creates a pool of `bytes` bytes, a power of two.
    fn of(bytes: usize) -> Self {
        let layout = Layout::from_size_align(bytes, bytes).unwrap();
        // SAFETY: `alloc` requires a size above 0, and `bytes` is a power of two.
        let memory = NonNull::new(unsafe { alloc(layout) }).unwrap();
        let engine = Seed::new(HostLock::new(State::new()));
        // SAFETY: `write_bytes` and `add_region` require `bytes` unused bytes that outlive the
        // engine: they were just allocated, and `drop` frees them when no session uses the engine
        // any more. `seed` needs no table.
        unsafe {
            memory.write_bytes(0xa5, bytes);
            engine
                .add_region(memory, bytes, NonNull::dangling())
                .unwrap();
        }
        Self {
            engine,
            memory,
            layout,
        }
    }

    fn totals(&self) -> Totals {
        struct Capture(Totals);
        impl Visitor for Capture {
            fn totals(&mut self, totals: &Totals) {
                self.0 = *totals;
            }
        }
        let mut capture = Capture(Totals::default());
        self.engine.interfaces().statistics.visit(&mut capture);
        capture.0
    }

    fn session(&self) -> TestSession<'_> {
        self.limited(POOL, 10_000)
    }

    fn limited(&self, bytes: usize, handles: u32) -> TestSession<'_> {
        session_on(&self.engine, bytes, handles)
    }
}

impl Drop for SeedPool {
    fn drop(&mut self) {
        // SAFETY: `of` allocated the memory with this layout. Sessions borrow the pool, so none
        // exists any more.
        unsafe { dealloc(self.memory.as_ptr(), self.layout) };
    }
}

/// A session on an engine `E` that a test owns.
type SessionOn<'e, E> = Session<TestPlatform<'e, E>>;

/// A session on the engine of a [`SeedPool`].
type TestSession<'p> = SessionOn<'p, Seed<HostLock<State>>>;

/// Creates a session on `engine` with a quota.
fn session_on<E: Engine>(engine: &E, bytes: usize, handles: u32) -> SessionOn<'_, E> {
    let state = HostLock::new(SessionState::new(Quota { bytes, handles }));
    Session::new(engine, state, TestPlatform::new(), false)
}

fn allocate(session: &TestSession<'_>, size: u64, align: u64) -> Result<Reply, SessionError> {
    session.allocate(size, align)
}

fn reallocate(session: &TestSession<'_>, handle: Handle, size: u64) -> Result<Reply, SessionError> {
    let pending = session.reallocate(handle, size)?;
    let reply = pending.reply();
    pending.commit();
    Ok(reply)
}

fn bytes(session: &TestSession<'_>, handle: Handle) -> Vec<u8> {
    let pinned = session.pin(handle).unwrap();
    let (start, len) = pinned.bytes_from(0).unwrap();
    // SAFETY: The block is pinned and has `len` bytes, which the session zeroed. No other thread writes to the
    // block.
    unsafe { core::slice::from_raw_parts(start.as_ptr(), len) }.to_vec()
}

fn fill(session: &TestSession<'_>, handle: Handle, byte: u8) {
    let pinned = session.pin(handle).unwrap();
    let (start, len) = pinned.bytes_from(0).unwrap();
    // SAFETY: The block is pinned and has `len` bytes. No other thread uses the block.
    unsafe { start.write_bytes(byte, len) };
}

#[test]
fn new_blocks_are_zero_up_to_their_usable_size() {
    let pool = SeedPool::new();
    let session = pool.session();
    for size in [1, 64, 100, 4096, 5000] {
        let reply = allocate(&session, size, 8).unwrap();
        assert_eq!(bytes(&session, reply.handle), vec![0; size as usize]);
        let start = session.pin(reply.handle).unwrap().bytes_from(0).unwrap().0;
        for byte in 0..reply.usable {
            // SAFETY: `byte` is below the usable size of the block, which is live. All memory of the pool was
            // initialised.
            assert_eq!(unsafe { start.add(byte).read() }, 0);
        }
    }
}

#[test]
fn invalid_sizes_and_alignments_do_not_reach_the_engine() {
    let pool = SeedPool::new();
    let session = pool.session();
    for (size, align, expected) in [
        (0, 8, SessionError::SizeZero),
        (8, 0, SessionError::BadAlign),
        (8, 3, SessionError::BadAlign),
        (8, 2 * POOL as u64, SessionError::BadAlign),
        (8, 1 << 63, SessionError::BadAlign),
        (POOL as u64 + 1, 8, SessionError::Refused(Refusal::TooBig)),
        (u64::MAX, 8, SessionError::Refused(Refusal::TooBig)),
        (
            u64::MAX,
            POOL as u64,
            SessionError::Refused(Refusal::TooBig),
        ),
    ] {
        assert_eq!(
            allocate(&session, size, align),
            Err(expected),
            "{size} {align}"
        );
    }
    assert_eq!(pool.totals().refusals, [0; Refusal::COUNT]);
    assert_eq!(session.stats().refusals[RefusalCause::TooBig as usize], 3);
    assert_eq!(
        allocate(&session, 64, 8192),
        Err(SessionError::Refused(Refusal::Unsupported))
    );
    assert_eq!((session.stats().blocks, session.stats().bytes), (0, 0));
}

#[test]
fn a_revoked_allocation_leaves_no_trace() {
    let pool = SeedPool::new();
    let session = pool.session();
    let before = (pool.totals().live_blocks, session.stats());
    let handle = allocate(&session, 100, 8).unwrap().handle;
    session.revoke(handle);
    assert_eq!((pool.totals().live_blocks, session.stats()), before);
    assert_eq!(session.free(handle), Err(SessionError::NoSuchBlock));
    session.revoke(handle);
    assert_eq!((pool.totals().live_blocks, session.stats()), before);
}

#[test]
fn a_pinned_block_is_not_revoked() {
    let pool = SeedPool::new();
    let session = pool.session();
    let handle = allocate(&session, 100, 8).unwrap().handle;
    let pinned = session.pin(handle).unwrap();
    session.revoke(handle);
    drop(pinned);
    assert_eq!(bytes(&session, handle), [0; 100]);
    let pending = session.reallocate(handle, 5000).unwrap();
    session.revoke(handle);
    pending.commit();
    assert_eq!(bytes(&session, handle).len(), 5000);
    assert!(session.free(handle).is_ok());
    assert_eq!((session.stats().allocations, session.stats().frees), (1, 1));
}

#[test]
fn an_uncommitted_reallocation_leaves_the_block_unchanged() {
    let pool = SeedPool::new();
    let session = pool.session();
    let handle = allocate(&session, 100, 8).unwrap().handle;
    fill(&session, handle, 7);
    let before = (pool.totals(), session.stats());
    for size in [10, 70, 100, 120, 128, 129, 5000] {
        let pending = session.reallocate(handle, size).unwrap();
        assert_eq!(session.free(handle), Err(SessionError::Pinned));
        drop(pending);
        assert_eq!(bytes(&session, handle), [7; 100]);
        let (totals, stats) = (pool.totals(), session.stats());
        assert_eq!(stats, before.1);
        assert_eq!(
            (totals.live_blocks, totals.requested_bytes),
            (before.0.live_blocks, before.0.requested_bytes)
        );
    }
    assert!(session.free(handle).is_ok());
}

#[test]
fn reallocation_preserves_contents_and_zeroes_added_bytes() {
    let pool = SeedPool::new();
    let session = pool.session();
    let handle = allocate(&session, 100, 16).unwrap().handle;
    let mut kept = 100;
    fill(&session, handle, 7);
    for size in [128, 70, 128, 1000, 60_000, 40_000, 5000, 3, 64] {
        let reply = reallocate(&session, handle, size as u64).unwrap();
        kept = kept.min(size);
        let mut expected = vec![7; kept];
        expected.resize(size, 0);
        assert_eq!(bytes(&session, handle), expected, "{size}");
        assert_eq!(session.stats().bytes, reply.usable);
        assert_eq!(pool.totals().requested_bytes, size as u64);
        kept = size;
        fill(&session, handle, 7);
    }
    assert_eq!(
        reallocate(&session, handle, 60).unwrap().cost.path(),
        Path::InPlace
    );
    assert_eq!(session.stats().reallocations, 10);
}

#[test]
fn each_session_has_its_own_quota() {
    let pool = SeedPool::new();
    let (small, other) = (pool.limited(1000, 3), pool.session());
    assert_eq!(allocate(&small, 1025, 8), Err(SessionError::QuotaBytes));
    let handle = allocate(&small, 512, 8).unwrap().handle;
    assert_eq!(
        reallocate(&small, handle, 1025),
        Err(SessionError::QuotaBytes)
    );
    assert_eq!(bytes(&small, handle).len(), 512);
    for _ in 0..2 {
        allocate(&small, 64, 8).unwrap();
    }
    assert_eq!(allocate(&small, 64, 8), Err(SessionError::QuotaHandles));
    assert_eq!(small.stats().refusals[RefusalCause::Quota as usize], 3);
    assert!(allocate(&other, 5000, 8).is_ok());
}

#[test]
fn a_session_cannot_access_the_blocks_of_another() {
    let pool = SeedPool::new();
    let (one, two) = (pool.session(), pool.session());
    let handle = allocate(&one, 64, 8).unwrap().handle;
    fill(&one, handle, 1);
    assert_eq!(two.free(handle), Err(SessionError::NoSuchBlock));
    assert!(two.pin(handle).is_err());
    // The same handle number names a different block in each session.
    assert_eq!(allocate(&two, 64, 8).unwrap().handle, handle);
    fill(&two, handle, 2);
    assert_eq!(
        (bytes(&one, handle), bytes(&two, handle)),
        (vec![1; 64], vec![2; 64])
    );
}

#[test]
fn positions_outside_a_block_are_rejected() {
    let pool = SeedPool::new();
    let session = pool.session();
    let handle = allocate(&session, 100, 8).unwrap().handle;
    let pinned = session.pin(handle).unwrap();
    assert_eq!(pinned.bytes_from(99).unwrap().1, 1);
    for byte in [100, 128, usize::MAX] {
        assert_eq!(pinned.bytes_from(byte), Err(SessionError::OutOfBlock));
    }
}

#[test]
fn allocation_succeeds_again_when_the_table_can_grow() {
    let pool = SeedPool::new();
    let session = pool.session();
    CHUNKS_LEFT.set(1);
    for _ in 0..1024 {
        allocate(&session, 64, 8).unwrap();
    }
    assert_eq!(allocate(&session, 64, 8), Err(SessionError::NoTable));
    assert_eq!(session.stats().refusals[RefusalCause::Tables as usize], 1);
    CHUNKS_LEFT.set(usize::MAX);
    assert!(allocate(&session, 64, 8).is_ok());
    assert_eq!(pool.totals().live_blocks, 1025);
}

#[test]
fn allocation_succeeds_again_when_the_pool_has_space() {
    let pool = SeedPool::new();
    let session = pool.session();
    let handles: Vec<_> = (0..POOL / 8192)
        .map(|_| allocate(&session, 8192, 8).unwrap().handle)
        .collect();
    // The quota equals the pool, so it is exhausted first.
    assert_eq!(allocate(&session, 64, 8), Err(SessionError::QuotaBytes));
    let other = pool.session();
    assert_eq!(
        allocate(&other, 8192, 8),
        Err(SessionError::Refused(Refusal::Exhausted))
    );
    session.free(handles[0]).unwrap();
    assert!(allocate(&other, 8192, 8).is_ok());
}

#[test]
fn dropping_a_session_frees_its_blocks() {
    let pool = SeedPool::new();
    let session = pool.session();
    for n in 0..5000 {
        let handle = allocate(&session, 1 + n % 200, 8).unwrap().handle;
        if n % 3 == 0 {
            session.free(handle).unwrap();
        }
    }
    assert!(pool.totals().live_blocks > 3000);
    drop(session);
    let totals = pool.totals();
    assert_eq!(
        (
            totals.live_blocks,
            totals.live_bytes,
            totals.requested_bytes
        ),
        (0, 0, 0)
    );
}

#[test]
fn threads_can_share_a_session() {
    let pool = SeedPool::new();
    let session = pool.session();
    thread::scope(|scope| {
        for thread in 0..4_u8 {
            let session = &session;
            scope.spawn(move || {
                for round in 0..200 {
                    let size = 1 + (round * 37) % 2000;
                    let handle = allocate(session, size, 8).unwrap().handle;
                    fill(session, handle, thread);
                    let handle = reallocate(session, handle, size + 100)
                        .map(|r| r.handle)
                        .unwrap();
                    let contents = bytes(session, handle);
                    assert!(contents[..size as usize].iter().all(|byte| *byte == thread));
                    session.free(handle).unwrap();
                }
            });
        }
    });
    assert_eq!((session.stats().blocks, pool.totals().live_blocks), (0, 0));
}
