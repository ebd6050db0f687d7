// SPDX-License-Identifier: GPL-2.0

//! Stale handles, and the growth of the handle table.

use super::*;
use slab_heap::Refusal;
use std::sync::{
    Barrier,
    atomic::{
        AtomicBool,
        AtomicUsize,
        Ordering::SeqCst, //
    },
};

#[test]
fn refused_requests_use_up_no_generation_of_a_stale_handle() {
    let pool = SeedPool::new();
    let session = pool.session();
    // All entries of the first chunk are live, except for one.
    let handles: Vec<_> = (0..1024)
        .map(|_| allocate(&session, 8, 8).unwrap().handle)
        .collect();
    let stale = handles[500];
    session.free(stale).unwrap();
    for _ in 0..2047 {
        let refused = allocate(&session, 64, 8192);
        assert_eq!(refused, Err(SessionError::Refused(Refusal::Unsupported)));
        assert_eq!(session.free(stale), Err(SessionError::NoSuchBlock));
    }
    let mut blocks = 1;
    loop {
        let handle = allocate(&session, 8, 8).unwrap().handle;
        if handle == stale {
            break;
        }
        session.free(handle).unwrap();
        blocks += 1;
    }
    assert_eq!(blocks, 2047);
}

/// The number of chunks that can still be allocated.
static CHUNKS: AtomicUsize = AtomicUsize::new(1);
/// Whether the first thread has added a chunk.
static IS_ADDED: AtomicBool = AtomicBool::new(false);
/// The barrier that the threads pass when both need a chunk.
static BOTH_NEED_A_CHUNK: Barrier = Barrier::new(2);

std::thread_local! {
    static IS_SECOND: Cell<bool> = const { Cell::new(false) };
}

/// A platform on which two threads need a chunk at the same time, and only the first thread gets a chunk.
struct OneChunk<'e>(PhantomData<&'e ()>);

// SAFETY: A reference always yields the same engine. A `HostLock` cannot be cloned, and the test creates the lock
// with a new state. A vector owns its elements alone and always yields the same elements. No engine is quick.
unsafe impl<'e> Platform for OneChunk<'e> {
    type Engine = &'e Seed<HostLock<State>>;
    type Lock = HostLock<SessionState<Self>>;
    type Chunk = Vec<HandleEntry>;
    type Ring = Vec<Event>;

    fn with_quick<W: QuickWork>(_engine: &Self::Engine, _work: W) -> Option<W::Output> {
        None
    }

    fn chunk(&self, entries: usize) -> Option<Vec<HandleEntry>> {
        BOTH_NEED_A_CHUNK.wait();
        while IS_SECOND.get() && !IS_ADDED.load(SeqCst) {
            thread::yield_now();
        }
        CHUNKS
            .fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1))
            .ok()?;
        Some(vec![HandleEntry::VACANT; entries])
    }

    fn event_context() -> EventContext {
        EventContext::default()
    }

    fn interrupted() -> bool {
        false
    }
}

#[test]
fn a_request_uses_the_chunk_that_another_thread_added_meanwhile() {
    let pool = SeedPool::new();
    let quota = Quota {
        bytes: POOL,
        handles: 5000,
    };
    let state = HostLock::new(SessionState::new(quota));
    let session = Session::<OneChunk<'_>>::new(&pool.engine, state, OneChunk(PhantomData), false);
    thread::scope(|scope| {
        scope.spawn(|| {
            session.allocate(8, 8).unwrap();
            IS_ADDED.store(true, SeqCst);
        });
        scope.spawn(|| {
            IS_SECOND.set(true);
            assert_eq!(session.allocate(8, 8).map(|_| ()), Ok(()));
        });
    });
}
