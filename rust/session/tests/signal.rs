// SPDX-License-Identifier: GPL-2.0

//! Tests that calls end soon and change nothing when a fatal signal interrupts them.

use super::{
    submit::{
        alloc_op,
        assert_sound,
        free_op,
        op,
        submit, //
    },
    *, //
};

/// The size of the pool in bytes.
const LARGE_POOL: usize = 16 * PIECE;

/// A guard that resets [`CHECKS_UNTIL_SIGNAL`] when it is dropped, also when a test panics.
struct ResetSignal;

impl Drop for ResetSignal {
    fn drop(&mut self) {
        CHECKS_UNTIL_SIGNAL.set(usize::MAX);
    }
}

/// Runs `act` with a fatal signal that becomes pending after `checks` checks.
fn with_signal_after<T>(checks: usize, act: impl FnOnce() -> T) -> T {
    let _reset = ResetSignal;
    CHECKS_UNTIL_SIGNAL.set(checks);
    act()
}

/// Returns the statistics that an interrupted call must not change.
fn usage(pool: &SeedPool, session: &TestSession<'_>) -> (u64, u64, u64, SessionStats) {
    let totals = pool.totals();
    (
        totals.live_blocks,
        totals.live_bytes,
        totals.requested_bytes,
        session.stats(),
    )
}

/// Asserts that `act` checks for a fatal signal before each of `pieces` pieces, and that an interrupted
/// call changes nothing. Returns the result of the call without a signal.
fn checks_before_each_piece<T>(
    pool: &SeedPool,
    session: &TestSession<'_>,
    pieces: usize,
    act: impl Fn() -> Result<T, SessionError>,
) -> T {
    let before = usage(pool, session);
    for checks in 0..pieces {
        assert_eq!(
            with_signal_after(checks, &act).err(),
            Some(SessionError::Interrupted),
            "{checks}"
        );
        assert_eq!(usage(pool, session), before, "{checks}");
        assert_sound(pool);
    }
    with_signal_after(pieces, act).unwrap()
}

#[test]
fn a_fatal_signal_interrupts_zeroing_between_pieces() {
    let pool = SeedPool::of(LARGE_POOL);
    let session = pool.limited(LARGE_POOL, 10);
    for pieces in [1, 2, 4] {
        let size = (pieces * PIECE) as u64;
        let reply =
            checks_before_each_piece(&pool, &session, pieces, || allocate(&session, size, 8));
        session.free(reply.handle).unwrap();
    }
}

#[test]
fn a_fatal_signal_interrupts_copying_between_pieces() {
    let pool = SeedPool::of(LARGE_POOL);
    let session = pool.limited(LARGE_POOL, 10);
    let handle = allocate(&session, 2 * PIECE as u64, 8).unwrap().handle;
    fill(&session, handle, 7);
    // The call copies two pieces and zeroes two more.
    let size = 4 * PIECE as u64;
    checks_before_each_piece(&pool, &session, 4, || {
        session.reallocate(handle, size).map(drop)
    });
    reallocate(&session, handle, size).unwrap();
    let content = bytes(&session, handle);
    assert!(content[..2 * PIECE].iter().all(|byte| *byte == 7));
    assert!(content[2 * PIECE..].iter().all(|byte| *byte == 0));
}

#[test]
fn a_fatal_signal_interrupts_a_submission_between_operations() {
    let pool = SeedPool::of(LARGE_POOL);
    let session = pool.limited(LARGE_POOL, 10);
    let size = PIECE as u64 / 2;
    let mut ops = [size; 8].map(alloc_op);
    // Each operation checks once before it starts, and once before it zeroes its piece.
    for checks in 0..16 {
        let ended = with_signal_after(checks, || submit(&session, &mut ops));
        assert_eq!(
            ended,
            (checks / 2, Some(SessionError::Interrupted)),
            "{checks}"
        );
        assert_eq!(session.stats().blocks as usize, checks / 2);
        for op in &ops[..checks / 2] {
            session.free(op.reply.unwrap().handle).unwrap();
        }
        assert_sound(&pool);
    }
    assert_eq!(submit(&session, &mut ops), (8, None));
    let handles = ops.each_ref().map(|op| op.reply.unwrap().handle);
    let mut frees = handles.map(free_op);
    let large = op(Operation::Reallocate(
        BlockRef::Handle(handles[7].to_bits()),
        2 * PIECE as u64,
    ));
    let ended = with_signal_after(0, || submit(&session, &mut [large]));
    assert_eq!(ended, (0, Some(SessionError::Interrupted)));
    assert_eq!(submit(&session, &mut frees), (8, None));
}

#[test]
fn an_interrupted_allocation_is_logged() {
    let pool = SeedPool::of(LARGE_POOL);
    let session = pool.limited(LARGE_POOL, 10);
    assert!(session.begin_events(vec![Event::VACANT; 4]).is_none());
    let size = 2 * PIECE as u64;
    let error = with_signal_after(1, || allocate(&session, size, 8)).unwrap_err();
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
