// SPDX-License-Identifier: GPL-2.0

//! Fault injection in sessions.

use super::{
    submit::{
        alloc_op,
        assert_sound,
        handle as handle_of,
        op,
        submit, //
    },
    *, //
};

const INJECTED: SessionError = SessionError::Refused(Refusal::Injected);

/// Returns the statistics of pool and session, without the counts of refusals.
fn counters(pool: &SeedPool, session: &TestSession<'_>) -> (Totals, SessionStats) {
    let (mut totals, mut stats) = (pool.totals(), session.stats());
    totals.refusals = Default::default();
    stats.refusals = Default::default();
    (totals, stats)
}

/// Makes 50 requests of four kinds in turn, and returns the numbers of the refused requests.
fn run_requests(pool: &SeedPool, session: &TestSession<'_>) -> Vec<u64> {
    let first = allocate(session, 100, 8).unwrap().handle;
    fill(session, first, 0x5a);
    let mut refused = Vec::new();
    for n in 1..=50 {
        let before = counters(pool, session);
        let error = match n % 4 {
            0 => {
                // The size alternates between 100 and about 8000 bytes, so the block moves each time.
                let size = bytes(session, first).len() as u64 ^ 100 ^ 8000;
                reallocate(session, first, size).err()
            }
            1 => {
                let (done, error) = submit(session, &mut [alloc_op(300)]);
                assert_eq!(done, usize::from(error.is_none()));
                error
            }
            // A request of 5000 bytes needs pages. A request of 1000 bytes needs a slab, which sometimes grows.
            2 => allocate(session, 5000, 8).err(),
            _ => allocate(session, 1000, 8).err(),
        };
        if let Some(error) = error {
            assert_eq!((error, error.errno()), (INJECTED, errno::ENOMEM));
            assert_eq!(counters(pool, session), before);
            refused.push(n);
        }
        assert_eq!(bytes(session, first)[..100], [0x5a; 100]);
    }
    assert_sound(pool);
    refused
}

#[test]
fn every_nth_request_fails_for_every_command() {
    for every in [2, 3, 7, 50, 51, 52, u64::MAX] {
        let pool = SeedPool::new();
        let session = pool.session();
        // Setting the interval again restarts the count.
        session.inject_faults(2, 0);
        let block = allocate(&session, 8, 8).unwrap().handle;
        assert!(session.free(block).is_ok());
        session.inject_faults(every, 0);
        // `run_requests` first allocates the block that it reallocates, so its request `n` is request `n + 1`
        // of the session.
        let expected: Vec<_> = (1..=50).filter(|n| (n + 1) % every == 0).collect();
        assert_eq!(run_requests(&pool, &session), expected, "{every}");
        let refusals = session.stats().refusals[RefusalCause::Injected as usize];
        assert_eq!(refusals as usize, expected.len());
        assert_eq!(pool.totals().refusals[Refusal::Injected as usize], 0);
    }
}

#[test]
fn an_interval_of_one_refuses_every_request() {
    let pool = SeedPool::new();
    let session = pool.session();
    let block = allocate(&session, 100, 8).unwrap().handle;
    session.inject_faults(1, 0);
    let before = counters(&pool, &session);
    for _ in 0..3 {
        assert_eq!(allocate(&session, 100, 8), Err(INJECTED));
        assert_eq!(submit(&session, &mut [alloc_op(100)]), (0, Some(INJECTED)));
        assert_eq!(reallocate(&session, block, 8000), Err(INJECTED));
    }
    assert_eq!(counters(&pool, &session), before);
    assert_eq!(session.stats().refusals[RefusalCause::Injected as usize], 9);
    session.inject_faults(0, 0);
    assert!(reallocate(&session, block, 8000).is_ok());
    assert_sound(&pool);
}

#[test]
fn each_growth_can_be_made_to_fail() {
    for nth in 1.. {
        let pool = SeedPool::new();
        let session = pool.session();
        session.inject_faults(0, nth);
        if nth == 1 {
            assert_eq!(allocate(&session, 100, 8), Err(INJECTED));
        }
        let refused = run_requests(&pool, &session);
        let counted = pool.totals().refusals[Refusal::Injected as usize];
        assert_eq!(
            counted,
            session.stats().refusals[RefusalCause::Injected as usize]
        );
        if counted == 0 {
            // The classes of 128, 512 and 1024 bytes each grow once.
            assert_eq!((nth, refused.len()), (4, 0));
            return;
        }
        assert_eq!((counted as usize, refused.len()), (1, usize::from(nth > 1)));
    }
}

#[test]
fn requests_that_do_not_reach_the_engine_do_not_count_for_fault_injection() {
    let pool = SeedPool::new();
    let session = pool.limited(10_000, 3);
    let block = allocate(&session, 100, 8).unwrap().handle;
    session.inject_faults(2, 0);
    assert_eq!(allocate(&session, 0, 8), Err(SessionError::SizeZero));
    assert_eq!(allocate(&session, 9_999, 8), Err(SessionError::QuotaBytes));
    assert!(reallocate(&session, block, 128).is_ok());
    assert!(allocate(&session, 100, 8).is_ok());
    assert_eq!(allocate(&session, 100, 8), Err(INJECTED));
    session.inject_faults(0, 0);
    assert!(allocate(&session, 100, 8).is_ok());
    assert_eq!(allocate(&session, 100, 8), Err(SessionError::QuotaHandles));
}

#[test]
fn a_failed_reallocation_preserves_handle_and_charge() {
    let pool = SeedPool::new();
    let session = pool.session();
    let mut ops = vec![alloc_op(100)];
    assert_eq!(submit(&session, &mut ops), (1, None));
    let block = handle_of(&ops[0]);
    fill(&session, block, 7);
    session.inject_faults(1, 0);
    let before = counters(&pool, &session);
    let moving = || {
        op(Operation::Reallocate(
            BlockRef::Handle(block.to_bits()),
            4000,
        ))
    };
    assert_eq!(submit(&session, &mut [moving()]), (0, Some(INJECTED)));
    assert_eq!(counters(&pool, &session), before);
    assert_eq!(bytes(&session, block), [7; 100]);
    session.inject_faults(0, 0);
    assert_eq!(submit(&session, &mut [moving()]), (1, None));
    assert!(session.free(block).is_ok());
    assert_sound(&pool);
}
