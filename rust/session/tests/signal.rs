// SPDX-License-Identifier: GPL-2.0

//! Calls that a fatal signal ends: soon, and without a trace.

use super::{
    submit::{
        alloc_op,
        free_op,
        op,
        sound,
        submit, //
    },
    *, //
};

/// Bytes of the pool.
const LARGE_POOL: usize = 16 * PIECE;

/// Restores what [`LOOKS`] was, also when a test fails.
struct Restored;

impl Drop for Restored {
    fn drop(&mut self) {
        LOOKS.set(usize::MAX);
    }
}

/// Runs `act` with a fatal signal that comes behind `looks` looks for it.
fn after<T>(looks: usize, act: impl FnOnce() -> T) -> T {
    let _restored = Restored;
    LOOKS.set(looks);
    act()
}

/// What a call that is given up leaves as it was.
fn standing(pool: &Pool, session: &TestSession<'_>) -> (u64, u64, u64, SessionStats) {
    let totals = pool.totals();
    (
        totals.live_blocks,
        totals.live_bytes,
        totals.requested_bytes,
        session.stats(),
    )
}

/// Checks that `act` looks for a fatal signal before each of `pieces` pieces, and that a signal leaves
/// everything as it was.
fn looks_before_each_piece<T>(
    pool: &Pool,
    session: &TestSession<'_>,
    pieces: usize,
    act: impl Fn() -> Result<T, SessionError>,
) -> T {
    let before = standing(pool, session);
    for looks in 0..pieces {
        assert_eq!(
            after(looks, &act).err(),
            Some(SessionError::Interrupted),
            "{looks}"
        );
        assert_eq!(standing(pool, session), before, "{looks}");
        sound(pool);
    }
    after(pieces, act).unwrap()
}

#[test]
fn a_fatal_signal_ends_the_zeroing_of_a_new_block() {
    let pool = Pool::of(LARGE_POOL);
    let session = pool.limited(LARGE_POOL, 10);
    for pieces in [1, 2, 4] {
        let size = (pieces * PIECE) as u64;
        let reply =
            looks_before_each_piece(&pool, &session, pieces, || allocate(&session, size, 8));
        // The next handle is not that of the call that was given up.
        session.free(reply.handle).unwrap();
    }
}

#[test]
fn a_fatal_signal_ends_the_copying_of_a_block_that_moves() {
    let pool = Pool::of(LARGE_POOL);
    let session = pool.limited(LARGE_POOL, 10);
    let handle = allocate(&session, 2 * PIECE as u64, 8).unwrap().handle;
    fill(&session, handle, 7);
    // Two pieces are copied, and two are zeroed behind them.
    let size = 4 * PIECE as u64;
    looks_before_each_piece(&pool, &session, 4, || {
        session.reallocate(handle, size).map(drop)
    });
    reallocate(&session, handle, size).unwrap();
    let content = bytes(&session, handle);
    assert!(content[..2 * PIECE].iter().all(|byte| *byte == 7));
    assert!(content[2 * PIECE..].iter().all(|byte| *byte == 0));
}

#[test]
fn a_fatal_signal_ends_a_submission_between_large_operations() {
    let pool = Pool::of(LARGE_POOL);
    let session = pool.limited(LARGE_POOL, 10);
    let size = PIECE as u64 / 2;
    let mut ops = [size; 8].map(alloc_op);
    // It is looked for before each operation, and before the zeroing that belongs to it.
    for looks in 0..16 {
        let ended = after(looks, || submit(&session, &mut ops));
        assert_eq!(
            ended,
            (looks / 2, Some(SessionError::Interrupted)),
            "{looks}"
        );
        assert_eq!(session.stats().blocks as usize, looks / 2);
        for op in &ops[..looks / 2] {
            session.free(op.reply.unwrap().handle).unwrap();
        }
        sound(&pool);
    }
    assert_eq!(submit(&session, &mut ops), (8, None));
    let handles = ops.each_ref().map(|op| op.reply.unwrap().handle);
    let mut frees = handles.map(free_op);
    let large = op(Operation::Reallocate(
        BlockRef::Handle(handles[7].to_bits()),
        2 * PIECE as u64,
    ));
    let ended = after(0, || submit(&session, &mut [large]));
    assert_eq!(ended, (0, Some(SessionError::Interrupted)));
    assert_eq!(submit(&session, &mut frees), (8, None));
}

#[test]
fn an_allocation_that_is_given_up_is_an_event() {
    let pool = Pool::of(LARGE_POOL);
    let session = pool.limited(LARGE_POOL, 10);
    assert!(session.begin_events(vec![Event::VACANT; 4]).is_none());
    let size = 2 * PIECE as u64;
    let error = after(1, || allocate(&session, size, 8)).unwrap_err();
    assert_eq!(error, SessionError::Interrupted);
    let mut events = [Event::VACANT; 4];
    let read = session.events(0, &mut events).unwrap();
    assert_eq!(read.count, 1);
    assert_eq!(
        (events[0].kind, events[0].size, events[0].outcome),
        (
            EventKind::Allocate,
            size,
            EventOutcome::Failed(SessionError::Interrupted)
        )
    );
}
