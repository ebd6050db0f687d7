// SPDX-License-Identifier: GPL-2.0

//! Sessions on the seed, with a scarce supply of tables.

mod batch;
mod fault_injection;
mod pin;
mod recording;
mod signal;
mod submit;

use crate::*;
use core::{
    alloc::Layout,
    cell::Cell,
    ptr::NonNull, //
};
use slab_heap::{
    Engine, Path, Refusal,
    lock::Lock,
    seed::{
        Seed,
        State, //
    },
    stats::{
        Totals,
        Visitor, //
    },
};
use std::{
    alloc::{
        alloc,
        dealloc, //
    },
    sync::Mutex,
    thread,
    vec,
    vec::Vec, //
};

struct HostLock<T>(Mutex<T>);

// SAFETY: The standard library's mutex keeps both promises.
unsafe impl<T> Lock<T> for HostLock<T> {
    fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        f(&mut self.0.lock().unwrap())
    }
}

std::thread_local! {
    /// Tables that there is memory for.
    static TABLES: Cell<usize> = const { Cell::new(usize::MAX) };
    /// Looks for a fatal signal until there is one.
    static LOOKS: Cell<usize> = const { Cell::new(usize::MAX) };
}

pub(crate) struct Tables;

// SAFETY: A vector is its entries' only owner.
unsafe impl Storage for Tables {
    type Chunk = Vec<Slot>;
    type Ring = Vec<Event>;

    fn chunk(&self, entries: usize) -> Option<Vec<Slot>> {
        let left = TABLES.get().checked_sub(1)?;
        TABLES.set(left);
        Some(vec![Slot::VACANT; entries])
    }

    fn event_context() -> EventContext {
        EventContext::default()
    }

    fn interrupted() -> bool {
        match LOOKS.get() {
            usize::MAX => false,
            0 => true,
            looks => {
                LOOKS.set(looks - 1);
                false
            }
        }
    }
}

const POOL: usize = 1 << 20;

/// The seed, in memory full of 0xa5.
struct Pool {
    engine: Seed<HostLock<State>>,
    memory: NonNull<u8>,
    layout: Layout,
}

impl Pool {
    fn new() -> Self {
        Self::of(POOL)
    }

    /// Makes a pool of `bytes` bytes, a power of two.
    fn of(bytes: usize) -> Self {
        let layout = Layout::from_size_align(bytes, bytes).unwrap();
        // SAFETY: The layout's size is not zero.
        let memory = NonNull::new(unsafe { alloc(layout) }).unwrap();
        let engine = Seed::new(HostLock(Mutex::new(State::new())));
        // SAFETY: The memory is new, and freed after the engine's last use.
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
        struct Keep(Totals);
        impl Visitor for Keep {
            fn totals(&mut self, totals: &Totals) {
                self.0 = *totals;
            }
        }
        let mut keep = Keep(Totals::default());
        self.engine.visit(&mut keep);
        keep.0
    }

    fn session(&self) -> TestSession<'_> {
        self.limited(POOL, 10_000)
    }

    fn limited(&self, bytes: usize, handles: u32) -> TestSession<'_> {
        let state = HostLock(Mutex::new(SessionState::new(Limits { bytes, handles })));
        // SAFETY: A reference derefs to what it refers to.
        unsafe { Session::new(&self.engine, state, Tables, false) }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // SAFETY: Allocated in `new`; sessions borrow the pool, so they are gone.
        unsafe { dealloc(self.memory.as_ptr(), self.layout) };
    }
}

type TestSession<'p> = Session<&'p Seed<HostLock<State>>, HostLock<SessionState<Tables>>, Tables>;

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
    // SAFETY: The block is pinned, and nobody writes to it meanwhile.
    unsafe { core::slice::from_raw_parts(start.as_ptr(), len) }.to_vec()
}

fn fill(session: &TestSession<'_>, handle: Handle, byte: u8) {
    let pinned = session.pin(handle).unwrap();
    let (start, len) = pinned.bytes_from(0).unwrap();
    // SAFETY: The block is pinned, and nobody reads it meanwhile.
    unsafe { start.write_bytes(byte, len) };
}

#[test]
fn new_blocks_are_zero_up_to_their_usable_size() {
    let pool = Pool::new();
    let session = pool.session();
    for size in [1, 64, 100, 4096, 5000] {
        let reply = allocate(&session, size, 8).unwrap();
        assert_eq!(bytes(&session, reply.handle), vec![0; size as usize]);
        let start = session.pin(reply.handle).unwrap().bytes_from(0).unwrap().0;
        for byte in 0..reply.usable {
            // SAFETY: The block has that many usable bytes.
            assert_eq!(unsafe { start.add(byte).read() }, 0);
        }
    }
}

#[test]
fn bad_sizes_and_alignments_are_denied_before_the_engine_sees_them() {
    let pool = Pool::new();
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
fn an_allocation_that_is_revoked_leaves_no_trace() {
    let pool = Pool::new();
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
fn a_block_that_is_in_use_is_not_revoked() {
    let pool = Pool::new();
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
fn a_reallocation_that_is_not_published_leaves_the_block_as_it_was() {
    let pool = Pool::new();
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
fn reallocation_keeps_contents_and_adds_zeros() {
    let pool = Pool::new();
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
fn quotas_are_the_sessions_own() {
    let pool = Pool::new();
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
fn a_session_never_sees_the_blocks_of_another() {
    let pool = Pool::new();
    let (one, two) = (pool.session(), pool.session());
    let handle = allocate(&one, 64, 8).unwrap().handle;
    fill(&one, handle, 1);
    assert_eq!(two.free(handle), Err(SessionError::NoSuchBlock));
    assert!(two.pin(handle).is_err());
    // The same number, another block.
    assert_eq!(allocate(&two, 64, 8).unwrap().handle, handle);
    fill(&two, handle, 2);
    assert_eq!(
        (bytes(&one, handle), bytes(&two, handle)),
        (vec![1; 64], vec![2; 64])
    );
}

#[test]
fn positions_outside_of_a_block_are_denied() {
    let pool = Pool::new();
    let session = pool.session();
    let handle = allocate(&session, 100, 8).unwrap().handle;
    let pinned = session.pin(handle).unwrap();
    assert_eq!(pinned.bytes_from(99).unwrap().1, 1);
    for byte in [100, 128, usize::MAX] {
        assert_eq!(pinned.bytes_from(byte), Err(SessionError::OutOfBlock));
    }
}

#[test]
fn no_memory_for_a_table_is_a_refusal_that_passes() {
    let pool = Pool::new();
    let session = pool.session();
    TABLES.set(1);
    for _ in 0..1024 {
        allocate(&session, 64, 8).unwrap();
    }
    assert_eq!(allocate(&session, 64, 8), Err(SessionError::NoTable));
    assert_eq!(session.stats().refusals[RefusalCause::Tables as usize], 1);
    TABLES.set(usize::MAX);
    assert!(allocate(&session, 64, 8).is_ok());
    assert_eq!(pool.totals().live_blocks, 1025);
}

#[test]
fn a_full_pool_is_a_refusal_that_passes() {
    let pool = Pool::new();
    let session = pool.session();
    let handles: Vec<_> = (0..POOL / 8192)
        .map(|_| allocate(&session, 8192, 8).unwrap().handle)
        .collect();
    // The quota is as large as the pool, so it is reached first.
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
fn the_end_of_a_session_frees_everything() {
    let pool = Pool::new();
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
fn threads_share_a_session() {
    let pool = Pool::new();
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
