// SPDX-License-Identifier: GPL-2.0

//! Leaked pins, and pages that can be mapped.

use super::*;
use slab_heap::{
    PAGE_BYTES,
    debug::DebugMode,
    engine::AddRegion, //
};
use slab_host::Process;

/// Returns the address of pages of a block. Unlike the mmap hook, pins the block only during the call.
fn pages(
    session: &TestSession<'_>,
    handle: Handle,
    first: usize,
    count: usize,
) -> Result<NonNull<u8>, SessionError> {
    session.pin(handle)?.pages(first, count)
}

#[test]
fn a_leaked_pin_lasts_until_unpin() {
    let pool = SeedPool::new();
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
        // SAFETY: The block has leaked pins, which nothing uses.
        unsafe { session.unpin(handle) };
        assert_eq!(session.free(handle), Err(SessionError::Pinned));
    }
    // SAFETY: The block has one more leaked pin, which nothing uses.
    unsafe { session.unpin(handle) };
    assert!(session.free(handle).is_ok());
    assert!(session.free(other).is_ok());
    assert_eq!(pool.totals().live_blocks, 0);
}

#[test]
fn a_leaked_pin_lasts_until_the_session_ends() {
    let pool = SeedPool::new();
    let session = pool.session();
    let [handle, other] = [8192, 100].map(|size| allocate(&session, size, 8).unwrap().handle);
    session.pin(handle).unwrap().leak();
    // The session still counts the pinned block, and other blocks can be freed.
    assert!(session.free(other).is_ok());
    assert_eq!((session.stats().blocks, session.stats().bytes), (1, 8192));
    assert_eq!(pool.totals().live_blocks, 1);
    drop(session);
    assert_eq!(pool.totals().live_blocks, 0);
}

#[test]
fn dropping_another_pin_does_not_remove_a_leaked_pin() {
    let pool = SeedPool::new();
    let session = pool.session();
    let handle = allocate(&session, 4096, 8).unwrap().handle;
    let reading = session.pin(handle).unwrap();
    session.pin(handle).unwrap().leak();
    drop(reading);
    assert_eq!(session.free(handle), Err(SessionError::Pinned));
}

#[test]
fn pages_are_inside_the_block() {
    let pool = SeedPool::new();
    let session = pool.session();
    for (size, count) in [(3000, 1), (4096, 1), (4097, 2), (8192, 2), (12_289, 4)] {
        let handle = allocate(&session, size, 8).unwrap().handle;
        let start = pages(&session, handle, 0, count).unwrap();
        assert_eq!(start.addr().get() % PAGE_BYTES, 0);
        for first in 0..count {
            // SAFETY: The block has `count` pages, and `first` is below `count`.
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
    // Blocks of at most 2048 bytes share their page with others.
    for size in [1, 64, 2048] {
        let handle = allocate(&session, size, 8).unwrap().handle;
        assert_eq!(pages(&session, handle, 0, 1), Err(SessionError::NotPages));
    }
}

#[test]
fn bytes_beyond_the_size_are_zero_in_the_last_page() {
    let pool = SeedPool::new();
    let session = pool.session();
    // The block has contents beyond the smaller size, because it had the larger size before.
    let handle = allocate(&session, 8192, 8).unwrap().handle;
    fill(&session, handle, 7);
    reallocate(&session, handle, 5000).unwrap();
    let start = pages(&session, handle, 1, 1).unwrap();
    for byte in PAGE_BYTES..2 * PAGE_BYTES {
        // SAFETY: `start` is the second of the two pages of the block, and `byte` is below two pages.
        let value = unsafe { start.add(byte - PAGE_BYTES).read() };
        assert_eq!(value, if byte < 5000 { 7 } else { 0 }, "byte {byte}");
    }
    assert_eq!(bytes(&session, handle), [7; 5000]);
}

#[test]
fn pages_with_red_zones_are_not_mapped_in_debug_mode() {
    // The pool of the debug engine is a block of another session.
    const REGION: usize = 1 << 19;
    let pool = SeedPool::new();
    let outer = pool.session();
    let block = allocate(&outer, REGION as u64, 4096).unwrap();
    let memory = outer.pin(block.handle).unwrap();
    let (start, _) = memory.bytes_from(0).unwrap();
    let engine = DebugMode::new(
        Seed::new(HostLock::new(State::new())),
        HostLock::default(),
        Process,
    );
    let mut table = vec![0_u64; engine.table_bytes(REGION).div_ceil(8)];
    let table = NonNull::new(table.as_mut_ptr()).unwrap().cast();
    // SAFETY: `add_region` requires unused memory and a zeroed table that outlive the engine's use:
    // the block is pinned until the end of the test and used by nothing else, and the table is a
    // new zeroed vector.
    unsafe { engine.add_region(start, REGION, table) }.unwrap();

    let session = session_on(&engine, POOL, 10);
    for (size, align, expected) in [
        // The first page of the block also contains the red zone before the block.
        (4096, 8, Some(SessionError::NotPages)),
        // The last page of the block also contains the red zone after the block.
        (5000, 4096, Some(SessionError::NotPages)),
        // No page of the block contains a red zone.
        (8192, 4096, None),
    ] {
        let handle = session.allocate(size, align).unwrap().handle;
        let mapped = session.pin(handle).unwrap().pages(0, 1);
        assert_eq!(mapped.err(), expected, "{size} {align}");
    }
}
