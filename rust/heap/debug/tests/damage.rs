// SPDX-License-Identifier: GPL-2.0

//! Writes to red zones and to free memory, at random places and at the edges.

use super::*;
use crate::testing::{
    HostExtent,
    HostHybrid,
    HostSeed,
    blocks::ShadowMap,
    shrink, //
};
use proptest::prelude::*;

/// Writes `bytes` bytes from `byte` on, relative to a block of this layout, and frees the block.
/// Returns the report.
fn report_of_write_around<E: TestEngine>(
    layout: Layout,
    byte: isize,
    bytes: usize,
    fault: Fault,
) -> Report {
    let memory = HostMemory::new(POOL_BYTES);
    let guard = Guarded::<E>::over(&memory);
    let others = [allocate(&guard, 5, layout), allocate(&guard, 6, layout)];
    let block = allocate(&guard, 7, layout);
    free(&guard, 6, others[1].start, layout).unwrap();
    scribble(block.start, byte, bytes);
    free(&guard, 8, block.start, layout).unwrap();
    free(&guard, 5, others[0].start, layout).unwrap();
    let report = only(&guard, fault, 1);
    assert_eq!(
        (report.offset, report.size),
        (guard.offset(block.start), layout.size())
    );
    assert_eq!((report.byte, report.damaged), (byte, bytes));
    assert_eq!(
        (report.allocated.pid, report.freed.pid, report.noticed.pid),
        (7, 8, 8)
    );
    goes_on(&guard);
    report
}

/// Writes to free memory, and expects that the next allocation of this memory reports the write.
fn expect_report_of_write_after_free<E: TestEngine>(size: usize, byte: usize) {
    let memory = HostMemory::new(POOL_BYTES);
    let guard = Guarded::<E>::over(&memory);
    let layout = layout(size, 8);
    let block = allocate(&guard, 7, layout);
    free(&guard, 8, block.start, layout).unwrap();
    scribble(block.start, byte as isize, 1);
    let next = allocate(&guard, 9, layout);
    assert_ne!(guard.offset(next.start), guard.offset(block.start));
    let report = only(&guard, Fault::WriteAfterFree, 1);
    assert_eq!(
        (report.offset, report.size),
        (guard.offset(block.start), size)
    );
    assert_eq!((report.byte, report.damaged), (byte as isize, 1));
    assert_eq!(
        (report.allocated.pid, report.freed.pid, report.noticed.pid),
        (7, 8, 9)
    );
    free(&guard, 9, next.start, layout).unwrap();
    goes_on(&guard);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn an_overflow_is_reported_to_the_byte(
        size in prop_oneof![1usize..200, 200usize..20_000],
        align_log2 in 0u32..=12,
        skip in 0usize..32,
        bytes in 1usize..=32,
    ) {
        let layout = layout(size, 1 << align_log2);
        let byte = (size + skip) as isize;
        report_of_write_around::<HostSeed>(layout, byte, bytes, Fault::Overflow);
        report_of_write_around::<HostHybrid>(layout, byte, bytes, Fault::Overflow);
        report_of_write_around::<HostExtent>(layout, byte, bytes, Fault::Overflow);
    }

    #[test]
    fn an_underflow_is_reported_to_the_byte(
        size in prop_oneof![1usize..200, 200usize..20_000],
        align_log2 in 0u32..=12,
        skip in 0usize..32,
        bytes in 1usize..=32,
    ) {
        let layout = layout(size, 1 << align_log2);
        let byte = -((skip + bytes) as isize);
        report_of_write_around::<HostSeed>(layout, byte, bytes, Fault::Underflow);
        report_of_write_around::<HostHybrid>(layout, byte, bytes, Fault::Underflow);
        report_of_write_around::<HostExtent>(layout, byte, bytes, Fault::Underflow);
    }

    #[test]
    fn a_write_after_free_is_reported_to_the_byte(
        (size, byte) in prop_oneof![1usize..200, 200usize..20_000]
            .prop_flat_map(|size| (Just(size), 0..size)),
    ) {
        expect_report_of_write_after_free::<HostHybrid>(size, byte);
        expect_report_of_write_after_free::<HostExtent>(size, byte);
    }

    #[test]
    fn a_write_after_free_on_the_seed_is_reported_except_in_links(
        (size, byte) in prop_oneof![1usize..200, 200usize..20_000]
            .prop_flat_map(|size| (Just(size), 0..size)),
    ) {
        // The front red zone has 64 bytes. The first 8 bytes of a page may be a link.
        prop_assume!((byte + 64) % 4096 >= 8);
        expect_report_of_write_after_free::<HostSeed>(size, byte);
    }
}

on_each_engine! {
    fn both_sides_are_reported_and_the_block_is_quarantined_once(guard) {
        let layout = layout(100, 8);
        let block = allocate(guard, 7, layout);
        scribble(block.start, -8, 116);
        free(guard, 8, block.start, layout).unwrap();
        let faults: Vec<_> = reports(guard)
            .iter()
            .map(|report| (report.fault, report.byte, report.damaged))
            .collect();
        assert_eq!(faults, [(Fault::Underflow, -8, 8), (Fault::Overflow, 100, 8)]);
        assert_eq!(stats(guard).quarantined_blocks, 1);
        goes_on(guard);
    }

    fn the_tail_of_a_shrunk_block_becomes_red_zone(guard) {
        let (larger, smaller) = (layout(3000, 8), layout(2999, 8));
        let block = allocate(guard, 7, larger);
        scribble(block.start, 0, 3000);
        assert!(guard.fits_in_place(larger, smaller));
        // SAFETY: The block is live with this layout, the new layout has the same alignment, and nothing uses
        // the block during the call.
        let resized = unsafe { guard.resize(block, larger, smaller, &mut Cost::default()) };
        assert!(resized);
        assert_eq!(totals(guard).requested_bytes, 2999);
        scribble(block.start, 2999, 1);
        free(guard, 8, block.start, smaller).unwrap();
        let report = only(guard, Fault::Overflow, 1);
        assert_eq!((report.size, report.byte), (2999, 2999));
        goes_on(guard);
    }

    fn a_block_never_grows_in_place(guard) {
        let (smaller, larger) = (layout(100, 8), layout(101, 8));
        let block = allocate(guard, 7, smaller);
        assert!(!guard.fits_in_place(smaller, larger));
        // SAFETY: The block is live with this layout, the new layout has the same alignment, and nothing uses
        // the block during the call.
        let resized = unsafe { guard.resize(block, smaller, larger, &mut Cost::default()) };
        assert!(!resized);
        free(guard, 7, block.start, smaller).unwrap();
        assert_eq!(reports(guard), []);
        goes_on(guard);
    }

    fn the_last_of_several_owners_is_named(guard) {
        // A large block replaces many small blocks, so the records nearest to the write are outdated.
        let small = layout(5000, 8);
        let blocks: Vec<_> = (0..20).map(|_| allocate(guard, 5, small)).collect();
        for block in &blocks {
            free(guard, 6, block.start, small).unwrap();
        }
        shrink(guard);
        let large = layout(POOL_BYTES / 2 - 4096, 8);
        let block = allocate(guard, 7, large);
        free(guard, 8, block.start, large).unwrap();
        shrink(guard);
        let first = block.start.addr().get();
        let inside = blocks.iter().map(|block| block.start.addr().get());
        let inside = inside.filter(|start| *start > first && *start + 5000 < first + large.size());
        let byte = inside.max().unwrap() + 2500 - first;
        scribble(block.start, byte as isize, 3);
        // The allocation may be refused, because only the damaged memory is large enough.
        let _ = guard.allocate(large, &mut Cost::default());
        let report = only(guard, Fault::WriteAfterFree, 1);
        assert_eq!((report.offset, report.size), (guard.offset(block.start), large.size()));
        assert_eq!((report.byte, report.damaged), (byte as isize, 3));
        assert_eq!((report.allocated.pid, report.freed.pid), (7, 8));
    }

    fn the_last_block_of_the_pool_has_a_red_zone(guard) {
        let layout = layout(1000, 8);
        let mut live = Vec::new();
        while let Ok(block) = guard.allocate(layout, &mut Cost::default()) {
            live.push(block);
        }
        let last = live.iter().max_by_key(|block| guard.offset(block.start)).unwrap();
        assert!(guard.offset(last.start).unwrap().byte() as usize + 1000 + 64 <= POOL_BYTES);
        scribble(last.start, 1000, 32);
        for block in &live {
            free(guard, 8, block.start, layout).unwrap();
        }
        assert_eq!(only(guard, Fault::Overflow, 1).offset, guard.offset(last.start));
        goes_on(guard);
    }
}

#[test]
fn memory_that_was_never_allocated_has_no_owner() {
    let memory = HostMemory::new(POOL_BYTES);
    let guard = Guarded::<HostHybrid>::over(&memory);
    scribble(memory.start(), 5000, 2);
    let mut blocks = ShadowMap::default();
    while blocks.allocate(&guard, layout(1000, 8), 0x11).is_ok() {}
    let report = only(&guard, Fault::WriteAfterFree, 1);
    assert_eq!(report.offset.unwrap().byte(), 5000);
    assert_eq!((report.size, report.byte, report.damaged), (0, 0, 2));
    assert_eq!((report.allocated.operation, report.freed.operation), (0, 0));
}
