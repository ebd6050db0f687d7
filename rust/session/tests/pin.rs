// SPDX-License-Identifier: GPL-2.0

//! Pins that are kept, and pages that a program may be shown.

use super::*;
use slab_heap::{
    class::PAGE_BYTES,
    guard::{
        Caller,
        Guard, //
    }, //
};

/// Returns the address of pages of a block, as the mmap hook asks for them.
fn pages(
    session: &TestSession<'_>,
    handle: Handle,
    first: usize,
    count: usize,
) -> Result<NonNull<u8>, SessionError> {
    session.pin(handle)?.pages(first, count)
}

#[test]
fn a_kept_pin_holds_a_block_until_it_is_taken_back() {
    let pool = Pool::new();
    let session = pool.session();
    let [handle, other] = [8192, 100].map(|size| allocate(&session, size, 8).unwrap().handle);
    session.pin(handle).unwrap().leak();
    for _ in 0..3 {
        assert_eq!(session.free(handle), Err(SessionError::Pinned));
        assert_eq!(reallocate(&session, handle, 100), Err(SessionError::Pinned));
        session.revoke(handle);
        fill(&session, handle, 7);
        assert_eq!(bytes(&session, handle), [7; 8192]);
        session.pin(handle).unwrap().leak();
        session.pin_again(handle);
    }
    for _ in 0..6 {
        session.unpin(handle);
        assert_eq!(session.free(handle), Err(SessionError::Pinned));
    }
    session.unpin(handle);
    assert!(session.free(handle).is_ok());
    assert!(session.free(other).is_ok());
    assert_eq!(pool.totals().live_blocks, 0);
}

#[test]
fn a_kept_pin_holds_a_block_until_the_session_ends() {
    let pool = Pool::new();
    let session = pool.session();
    let [handle, other] = [8192, 100].map(|size| allocate(&session, size, 8).unwrap().handle);
    session.pin(handle).unwrap().leak();
    // It counts, and others come and go.
    assert!(session.free(other).is_ok());
    assert_eq!((session.stats().blocks, session.stats().bytes), (1, 8192));
    assert_eq!(pool.totals().live_blocks, 1);
    drop(session);
    assert_eq!(pool.totals().live_blocks, 0);
}

#[test]
fn a_block_that_is_used_while_its_pin_is_kept_stays_kept() {
    let pool = Pool::new();
    let session = pool.session();
    let handle = allocate(&session, 4096, 8).unwrap().handle;
    let reading = session.pin(handle).unwrap();
    session.pin(handle).unwrap().leak();
    drop(reading);
    assert_eq!(session.free(handle), Err(SessionError::Pinned));
}

#[test]
fn pages_are_those_of_the_block_and_no_others() {
    let pool = Pool::new();
    let session = pool.session();
    for (size, count) in [(3000, 1), (4096, 1), (4097, 2), (8192, 2), (12_289, 4)] {
        let handle = allocate(&session, size, 8).unwrap().handle;
        let start = pages(&session, handle, 0, count).unwrap();
        assert_eq!(start.addr().get() % PAGE_BYTES, 0);
        for first in 0..count {
            // SAFETY: The block has that many pages.
            let page = unsafe { start.add(first * PAGE_BYTES) };
            assert_eq!(pages(&session, handle, first, count - first), Ok(page));
            for count in [count - first + 1, usize::MAX - first, usize::MAX] {
                let beyond = pages(&session, handle, first, count);
                assert_eq!(
                    beyond,
                    Err(SessionError::OutOfBlock),
                    "{size}: {first}, {count}"
                );
            }
        }
        for first in [count, count + 1, usize::MAX] {
            assert_eq!(
                pages(&session, handle, first, 1),
                Err(SessionError::OutOfBlock),
                "{size}: {first}"
            );
        }
    }
    // Others lie in the same page.
    for size in [1, 64, 2048] {
        let handle = allocate(&session, size, 8).unwrap().handle;
        assert_eq!(pages(&session, handle, 0, 1), Err(SessionError::NotPages));
    }
}

#[test]
fn what_lies_behind_a_blocks_size_is_zero_in_its_last_page() {
    let pool = Pool::new();
    let session = pool.session();
    // Its larger size leaves content behind its smaller one.
    let handle = allocate(&session, 8192, 8).unwrap().handle;
    fill(&session, handle, 7);
    reallocate(&session, handle, 5000).unwrap();
    let start = pages(&session, handle, 1, 1).unwrap();
    for byte in PAGE_BYTES..2 * PAGE_BYTES {
        // SAFETY: The block has two pages, of which this is the second.
        let there = unsafe { start.add(byte - PAGE_BYTES).read() };
        assert_eq!(there, if byte < 5000 { 7 } else { 0 }, "byte {byte}");
    }
    assert_eq!(bytes(&session, handle), [7; 5000]);
}

#[test]
fn in_debug_mode_pages_are_shown_only_without_red_zones_in_them() {
    struct Nobody;
    impl Caller for Nobody {
        fn pid(&self) -> u32 {
            1
        }
    }

    // Its pool is a block of another.
    const REGION: usize = 1 << 19;
    let pool = Pool::new();
    let outer = pool.session();
    let block = allocate(&outer, REGION as u64, 4096).unwrap();
    let memory = outer.pin(block.handle).unwrap();
    let (start, _) = memory.bytes_from(0).unwrap();
    let engine = Guard::new(
        Seed::new(HostLock(Mutex::new(State::new()))),
        HostLock(Mutex::default()),
        Nobody,
    );
    let mut table = vec![0_u64; engine.table_bytes(REGION).div_ceil(8)];
    let table = NonNull::new(table.as_mut_ptr()).unwrap().cast();
    // SAFETY: The block is pinned, and nobody else uses it; the table has as many bytes, zeros.
    unsafe { engine.add_region(start, REGION, table) }.unwrap();

    let state = HostLock(Mutex::new(SessionState::new(Limits {
        bytes: POOL,
        handles: 10,
    })));
    // SAFETY: A reference derefs to what it refers to.
    let session = unsafe { Session::new(&engine, state, Tables, false) };
    for (size, align, expected) in [
        // In front of it.
        (4096, 8, Some(SessionError::NotPages)),
        // Behind it, in the last page.
        (5000, 4096, Some(SessionError::NotPages)),
        // Both outside.
        (8192, 4096, None),
    ] {
        let handle = session.allocate(size, align).unwrap().handle;
        let shown = session.pin(handle).unwrap().pages(0, 1);
        assert_eq!(shown.err(), expected, "{size} {align}");
    }
}
