// SPDX-License-Identifier: GPL-2.0

//! The events that a session logs, compared with its replies.

use super::*;
use proptest::prelude::*;
use slab_heap::{
    Cost,
    debug::DebugMode,
    engine::AddRegion, //
};
use slab_host::Process;
use std::{
    collections::HashMap,
    sync::Mutex, //
};

/// The part of an event that a test can derive from the request and its reply.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Expected {
    kind: EventKind,
    handle: u32,
    size: u64,
    outcome: EventOutcome,
    /// The offset of the block, its usable bytes, and the cost, or `None` for a failed operation.
    reply: Option<(Option<slab_heap::Offset>, u64, Cost)>,
}

impl Expected {
    fn error(kind: EventKind, handle: u32, size: u64, error: SessionError) -> Self {
        Self {
            kind,
            handle,
            size,
            outcome: EventOutcome::Failed(error),
            reply: None,
        }
    }

    fn served(kind: EventKind, size: u64, reply: &Reply) -> Self {
        Self {
            kind,
            handle: reply.handle.to_bits(),
            size,
            outcome: EventOutcome::Served,
            reply: Some((reply.offset, reply.usable as u64, reply.cost)),
        }
    }
}

impl From<&Event> for Expected {
    fn from(event: &Event) -> Self {
        let served = event.outcome == EventOutcome::Served;
        Self {
            kind: event.kind,
            handle: event.handle,
            size: event.size,
            outcome: event.outcome,
            reply: served.then_some((event.offset, event.usable, event.cost)),
        }
    }
}

/// Returns all events, and asserts that none was lost.
fn all<E: Engine>(session: &SessionOn<'_, E>) -> Vec<Event> {
    let mut events = Vec::new();
    loop {
        let mut buffer = [Event::VACANT; 7];
        let read = session.events(events.len() as u64, &mut buffer).unwrap();
        assert_eq!(read.lost, 0);
        events.extend(&buffer[..read.count]);
        if read.count < buffer.len() {
            return events;
        }
    }
}

fn recorded(pool: &SeedPool) -> TestSession<'_> {
    let session = pool.limited(POOL / 2, 300);
    assert!(session.begin_events(vec![Event::VACANT; 1 << 16]).is_none());
    session
}

/// The live blocks of a session, by their handle numbers.
type LiveReplies = HashMap<u32, Reply>;

/// Executes the operation that `action`, `pick` and `size` select, and returns its expected event.
fn step(
    session: &TestSession<'_>,
    live: &mut LiveReplies,
    action: u8,
    pick: usize,
    size: u64,
) -> Expected {
    let mut names: Vec<_> = live.keys().copied().collect();
    names.sort_unstable();
    let name = names.get(pick % names.len().max(1)).copied();
    let size = match size % 16 {
        0 => 0,
        1 => 2 * POOL as u64,
        2 => size % (POOL as u64 / 4),
        _ => size % 5000,
    };
    match (action, name) {
        (0..=4, _) | (_, None) => {
            let align = if pick % 20 == 0 { 3 } else { 1 << (pick % 13) };
            match allocate(session, size, align) {
                Ok(reply) => {
                    live.insert(reply.handle.to_bits(), reply);
                    Expected::served(EventKind::Allocate, size, &reply)
                }
                Err(error) => Expected::error(EventKind::Allocate, 0, size, error),
            }
        }
        (5 | 6, Some(name)) => {
            let handle = Handle::from_bits(name).unwrap();
            let before = live.remove(&name).unwrap();
            let had = bytes(session, handle).len() as u64;
            let cost = session.free(handle).unwrap();
            Expected {
                reply: Some((before.offset, before.usable as u64, cost)),
                ..Expected::served(EventKind::Free, had, &before)
            }
        }
        (7 | 8, Some(name)) => {
            let handle = Handle::from_bits(name).unwrap();
            match reallocate(session, handle, size) {
                Ok(reply) => {
                    live.insert(name, reply);
                    Expected::served(EventKind::Reallocate, size, &reply)
                }
                Err(error) => Expected::error(EventKind::Reallocate, name, size, error),
            }
        }
        (9, Some(name)) => {
            let pinned = session.pin(Handle::from_bits(name).unwrap()).unwrap();
            let error = session.free(Handle::from_bits(name).unwrap()).unwrap_err();
            drop(pinned);
            Expected::error(EventKind::Free, name, 0, error)
        }
        (10, _) => {
            let name = (1 << 30) | pick as u32;
            let error = reallocate(session, Handle::from_bits(name).unwrap(), size).unwrap_err();
            Expected::error(EventKind::Reallocate, name, size, error)
        }
        _ => {
            let bits = u64::MAX - pick as u64;
            let error = session.parse_handle(bits, EventKind::Free, 0).unwrap_err();
            Expected::error(EventKind::Free, u32::MAX, 0, error)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_event_equals_the_reply(
        steps in prop::collection::vec((0_u8..12, 0_usize..1000, 0_u64..1 << 40), 1..300)
    ) {
        let pool = SeedPool::new();
        let session = recorded(&pool);
        let mut live = LiveReplies::new();
        let expected: Vec<_> = steps
            .iter()
            .map(|(action, pick, size)| step(&session, &mut live, *action, *pick, *size))
            .collect();
        let events = all(&session);
        prop_assert_eq!(events.iter().map(Expected::from).collect::<Vec<_>>(), expected);
        // A session without a log returns the same replies.
        let (other_pool, mut other_live) = (SeedPool::new(), LiveReplies::new());
        let other = other_pool.limited(POOL / 2, 300);
        for ((action, pick, size), event) in steps.iter().zip(&events) {
            let answer = step(&other, &mut other_live, *action, *pick, *size);
            prop_assert_eq!(answer, Expected::from(event));
        }
        prop_assert_eq!(session.stats(), other.stats());
    }
}

#[test]
fn a_stopped_log_starts_empty_again() {
    let pool = SeedPool::new();
    let session = recorded(&pool);
    let handle = allocate(&session, 64, 8).unwrap().handle;
    assert!(session.begin_events(vec![Event::VACANT; 9]).is_some());
    assert_eq!(session.end_events().map(|ring| ring.len()), Some(1 << 16));
    assert_eq!(session.end_events(), None);
    assert_eq!(session.events(0, &mut []), Err(EventReadError::Off));
    allocate(&session, 64, 8).unwrap();
    assert!(session.begin_events(vec![Event::VACANT; 9]).is_none());
    assert_eq!(all(&session), []);
    session.free(handle).unwrap();
    assert_eq!(all(&session).len(), 1);
}

#[test]
fn rolled_back_operations_are_logged() {
    let pool = SeedPool::new();
    let session = recorded(&pool);
    let reply = allocate(&session, 100, 16).unwrap();
    session.revoke(reply.handle);
    let kept = allocate(&session, 64, 8).unwrap();
    drop(session.reallocate(kept.handle, 5000).unwrap());
    let events = all(&session);
    let kinds: Vec<_> = events
        .iter()
        .map(|event| (event.kind, event.handle))
        .collect();
    let (revoked, kept) = (reply.handle.to_bits(), kept.handle.to_bits());
    assert_eq!(
        kinds,
        [
            (EventKind::Allocate, revoked),
            (EventKind::Revoke, revoked),
            (EventKind::Allocate, kept),
            (EventKind::Reallocate, kept)
        ]
    );
    assert_eq!((events[1].offset, events[1].size), (reply.offset, 100));
    assert_eq!((events[0].align_log2, events[1].align_log2), (4, 4));
    assert_eq!(
        (events[3].outcome, events[3].size),
        (EventOutcome::RolledBack, 5000)
    );
    assert_eq!((events[3].offset, events[3].usable), (None, 0));
}

#[test]
fn each_operation_of_a_submission_is_logged() {
    use super::submit::{
        alloc_op,
        free_op,
        op,
        submit, //
    };
    let pool = SeedPool::new();
    let session = recorded(&pool);
    let old = allocate(&session, 64, 8).unwrap().handle;
    let mut ops: Vec<_> = (1..40).map(|n| alloc_op(n * 50)).collect();
    ops.push(op(Operation::Reallocate(BlockRef::Earlier(3), 9000)));
    ops.push(op(Operation::Free(BlockRef::Earlier(7))));
    ops.push(free_op(old));
    ops.push(free_op(old));
    let count = ops.len();
    let error = SessionError::NoSuchBlock;
    assert_eq!(submit(&session, &mut ops), (count - 1, Some(error)));
    for wrong in [
        op(Operation::Free(BlockRef::Earlier(0))),
        op(Operation::Reallocate(BlockRef::Handle(1), 7)),
        alloc_op(0),
    ] {
        assert_eq!(submit(&session, &mut [wrong]).0, 0);
    }
    let events: Vec<_> = all(&session)[1..].iter().map(Expected::from).collect();
    let reply = |place: usize| ops[place].reply.unwrap();
    for (place, event) in events[..39].iter().enumerate() {
        let size = 50 * (place as u64 + 1);
        assert_eq!(
            *event,
            Expected::served(EventKind::Allocate, size, &reply(place))
        );
    }
    assert_eq!(
        events[39],
        Expected::served(EventKind::Reallocate, 9000, &reply(39))
    );
    assert_eq!(reply(39).handle, reply(3).handle);
    let summary = |event: &Expected| (event.kind, event.handle, event.outcome);
    let seventh = reply(7).handle.to_bits();
    assert_eq!(
        summary(&events[40]),
        (EventKind::Free, seventh, EventOutcome::Served)
    );
    assert_eq!(
        summary(&events[41]),
        (EventKind::Free, old.to_bits(), EventOutcome::Served)
    );
    let name = old.to_bits();
    assert_eq!(
        events[42..],
        [
            Expected::error(EventKind::Free, name, 0, error),
            Expected::error(EventKind::Free, 0, 0, SessionError::BadOperation),
            Expected::error(EventKind::Reallocate, 1, 7, error),
            Expected::error(EventKind::Allocate, 0, 0, SessionError::SizeZero),
        ]
    );
    // Rolling back a segment logs one event for each allocation.
    let before = all(&session).len();
    let mut ops = vec![alloc_op(64); 20];
    drop(submit::execute(&session, &mut ops, 0, 0));
    let kinds: Vec<_> = all(&session)[before..]
        .iter()
        .map(|event| event.kind)
        .collect();
    assert_eq!(
        kinds,
        [[EventKind::Allocate; 20], [EventKind::Revoke; 20]].concat()
    );
}

/// Asserts that the events are a valid sequential history, and returns the number of successful
/// operations.
fn check_history(events: &[Event]) -> usize {
    let mut live: HashMap<u32, Event> = HashMap::new();
    let mut served = 0;
    for event in events {
        let last = live.get(&event.handle).copied();
        match (event.kind, event.outcome) {
            (EventKind::Allocate, EventOutcome::Served) => {
                assert_eq!(last, None, "{event:?}");
            }
            (EventKind::Free | EventKind::Revoke, EventOutcome::Served) => {
                let last = last.unwrap();
                assert_eq!((event.offset, event.size), (last.offset, last.size));
                live.remove(&event.handle);
                served += 1;
                continue;
            }
            (EventKind::Reallocate, EventOutcome::Served) => assert!(last.is_some(), "{event:?}"),
            (EventKind::Free, EventOutcome::Failed(SessionError::NoSuchBlock)) => {
                assert_eq!(last, None);
                continue;
            }
            (_, outcome) => panic!("{outcome:?}"),
        }
        served += 1;
        live.remove(&event.handle);
        // Live blocks do not overlap.
        let start = event.offset.unwrap().to_bits();
        for other in live.values() {
            let other_start = other.offset.unwrap().to_bits();
            assert!(start >= other_start + other.usable || other_start >= start + event.usable);
        }
        live.insert(event.handle, *event);
    }
    served
}

/// Runs threads that allocate blocks, and reallocate and free blocks of any thread. Returns the number of
/// successful operations.
fn run_threads<E: Engine>(session: &SessionOn<'_, E>) -> usize {
    let handles = Mutex::new(Vec::new());
    let done = Mutex::new(0);
    thread::scope(|scope| {
        for thread in 0..4_u64 {
            let (handles, done) = (&handles, &done);
            scope.spawn(move || {
                let mut count = 0;
                for round in 0..400 {
                    let size = 1 + (round * 37 + thread) % 300;
                    let handle = session.allocate(size, 8).unwrap().handle;
                    handles.lock().unwrap().push(handle);
                    count += 1;
                    if round % 3 == 0 {
                        let mine = handles.lock().unwrap().pop().unwrap();
                        session.reallocate(mine, 4 * size).unwrap().commit();
                        handles.lock().unwrap().push(mine);
                        count += 1;
                    }
                    if round % 8 > 0 {
                        let place = (round * 7) as usize;
                        let any = {
                            let mut handles = handles.lock().unwrap();
                            let place = place % handles.len().max(1);
                            (!handles.is_empty()).then(|| handles.swap_remove(place))
                        };
                        if let Some(any) = any {
                            session.free(any).unwrap();
                            assert_eq!(session.free(any), Err(SessionError::NoSuchBlock));
                            count += 1;
                        }
                    }
                }
                *done.lock().unwrap() += count;
            });
        }
    });
    done.into_inner().unwrap()
}

#[test]
fn concurrent_operations_are_logged_in_a_linearizable_order() {
    let pool = SeedPool::new();
    let session = pool.session();
    assert!(session.begin_events(vec![Event::VACANT; 1 << 14]).is_none());
    assert_eq!(run_threads(&session), check_history(&all(&session)));
}

#[test]
fn realloc_shrink_is_logged_before_the_tail_is_released() {
    shrink_and_allocate::<slab_heap::hybrid::Heap>();
    shrink_and_allocate::<slab_heap::extent::Heap>();
}

/// Shrinks blocks and allocates others with several threads, and checks the recorded history.
fn shrink_and_allocate<H: locked::TestHeap>() {
    const ROUNDS: usize = 10_000;
    let pool = locked::LockedPool::<H>::new();
    let session = pool.session();
    assert!(session.begin_events(vec![Event::VACANT; 1 << 18]).is_none());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..ROUNDS {
                    let large = session.allocate(20_000, 8).unwrap().handle;
                    session.reallocate(large, 5000).unwrap().commit();
                    let other = session.allocate(9000, 8).unwrap().handle;
                    session.free(large).unwrap();
                    session.free(other).unwrap();
                }
            });
        }
    });
    assert_eq!(check_history(&all(&session)), 4 * ROUNDS * 5);
}

#[test]
fn concurrent_operations_on_a_slow_engine_are_logged_in_a_linearizable_order() {
    let pool = SeedPool::new();
    let engine = Seed::new(HostLock::new(State::new()));
    let state = HostLock::new(slab_heap::debug::State::new());
    let guard = DebugMode::new(engine, state, Process);
    assert!(!guard.capabilities().quick);
    let mut table = vec![0_u64; guard.table_bytes(POOL).div_ceil(8)];
    let start = NonNull::new(table.as_mut_ptr().cast()).unwrap();
    // SAFETY: `add_region` requires unused memory and a zeroed table that outlive the engine's use:
    // the pool's own engine has no live block and is not used, the table is a new zeroed vector,
    // and both are dropped after the session.
    unsafe { guard.add_region(pool.memory, POOL, start) }.unwrap();
    let session = session_on(&guard, POOL, 10_000);
    assert!(session.begin_events(vec![Event::VACANT; 1 << 14]).is_none());
    assert_eq!(run_threads(&session), check_history(&all(&session)));
}
