// SPDX-License-Identifier: GPL-2.0

//! Bad frees, and their reports.

use super::*;
use crate::{
    debug::Owner,
    testing::shrink, //
};

on_each_engine! {
    fn a_double_free_is_reported_with_all_three_operations(guard) {
        let layout = layout(100, 8);
        let block = allocate(guard, 7, layout);
        free(guard, 8, block.start, layout).unwrap();
        assert_eq!(free(guard, 9, block.start, layout), Err(BadFree::NotLive));
        let report = only(guard, Fault::DoubleFree, 0);
        assert_eq!((report.offset, report.size, report.byte), (guard.offset(block.start), 100, 0));
        assert_eq!(report.allocated, Owner { operation: 1, pid: 7 });
        assert_eq!(report.freed, Owner { operation: 2, pid: 8 });
        assert_eq!(report.noticed, Owner { operation: 3, pid: 9 });
        goes_on(guard);
    }

    fn a_double_free_is_detected_after_other_frees(guard) {
        let layout = layout(100, 8);
        let blocks: Vec<_> = (0..40).map(|_| allocate(guard, 7, layout)).collect();
        for block in &blocks {
            free(guard, 8, block.start, layout).unwrap();
        }
        assert_eq!(free(guard, 9, blocks[3].start, layout), Err(BadFree::NotLive));
        let report = only(guard, Fault::DoubleFree, 0);
        assert_eq!(report.offset, guard.offset(blocks[3].start));
        assert_eq!((report.allocated.operation, report.freed.operation), (4, 44));
        goes_on(guard);
    }

    fn a_free_of_a_quarantined_block_is_a_double_free(guard) {
        let layout = layout(100, 8);
        let block = allocate(guard, 7, layout);
        scribble(block.start, 100, 1);
        free(guard, 8, block.start, layout).unwrap();
        only(guard, Fault::Overflow, 1);
        assert_eq!(free(guard, 9, block.start, layout), Err(BadFree::NotLive));
        assert_eq!(guard.report(1).unwrap().fault, Fault::DoubleFree);
        goes_on(guard);
    }

    fn a_free_of_an_address_in_a_block_is_interior(guard) {
        let layout = layout(5000, 8);
        let block = allocate(guard, 7, layout);
        // SAFETY: The block has 5000 bytes.
        let inside = unsafe { block.start.add(4992) };
        assert_eq!(free(guard, 9, inside, layout), Err(BadFree::Interior));
        let report = only(guard, Fault::InteriorFree, 0);
        assert_eq!((report.offset, report.size, report.byte), (guard.offset(block.start), 5000, 4992));
        assert_eq!((report.allocated.pid, report.noticed.pid), (7, 9));
        assert_eq!(report.freed, Owner::default());
        // The block is still live.
        free(guard, 7, block.start, layout).unwrap();
        goes_on(guard);
    }

    fn a_free_of_an_address_of_an_earlier_block_is_interior(guard) {
        // A large block replaces many small blocks, whose records are then outdated.
        let small = layout(5000, 8);
        let blocks: Vec<_> = (0..20).map(|_| allocate(guard, 1, small)).collect();
        for block in &blocks {
            free(guard, 2, block.start, small).unwrap();
        }
        shrink(guard);
        let large = layout(POOL_BYTES / 2 - 4096, 8);
        let block = allocate(guard, 3, large);
        let first = block.start.addr().get();
        let inside = blocks.iter().map(|block| block.start);
        let inside: Vec<_> = inside
            .filter(|start| (first + 1..first + large.size()).contains(&start.addr().get()))
            .collect();
        assert!(!inside.is_empty());
        for start in &inside {
            assert_eq!(free(guard, 4, *start, small), Err(BadFree::Interior));
        }
        assert!(reports(guard).iter().all(|report| report.offset == guard.offset(block.start)));
        assert_eq!(stats(guard).reports[Fault::InteriorFree as usize], inside.len() as u64);
        free(guard, 3, block.start, large).unwrap();
        goes_on(guard);
    }

    fn a_free_of_an_address_outside_of_the_pool_is_foreign(guard) {
        let elsewhere = std::boxed::Box::new([0u64; 8]);
        let start = NonNull::from(&*elsewhere).cast();
        assert_eq!(free(guard, 9, start, layout(8, 8)), Err(BadFree::Foreign));
        let report = only(guard, Fault::ForeignFree, 0);
        assert_eq!((report.offset, report.size, report.named_size), (None, 0, 8));
        assert_eq!(*elsewhere, [0; 8]);
        goes_on(guard);
    }

    fn a_free_of_an_address_without_a_block_is_invented(guard) {
        let layout = layout(64, 8);
        let block = allocate(guard, 7, layout);
        // SAFETY: The block is followed by a red zone.
        let zone = unsafe { block.start.add(64) };
        assert_eq!(free(guard, 9, zone, layout), Err(BadFree::NotLive));
        let report = only(guard, Fault::InventedFree, 0);
        let byte = guard.offset(block.start).unwrap().byte() + 64;
        assert_eq!((report.offset.unwrap().byte(), report.size), (byte, 0));
        free(guard, 7, block.start, layout).unwrap();
        goes_on(guard);
    }

    fn a_free_of_an_address_that_is_no_multiple_of_a_word_is_unaligned(guard) {
        let layout = layout(64, 8);
        let block = allocate(guard, 7, layout);
        for byte in 1..8 {
            // SAFETY: The block has 64 bytes.
            let inside = unsafe { block.start.add(byte) };
            assert_eq!(free(guard, 9, inside, layout), Err(BadFree::NotLive));
            let report = guard.report(byte as u64 - 1).unwrap();
            assert_eq!(report.fault, Fault::UnalignedFree);
            assert_eq!((report.offset, report.byte), (guard.offset(block.start), byte as isize));
        }
        free(guard, 7, block.start, layout).unwrap();
        goes_on(guard);
    }

    fn a_free_with_another_size_is_refused(guard) {
        let block = allocate(guard, 7, layout(100, 8));
        for (number, size) in [1, 99, 101, 200, 5000].into_iter().enumerate() {
            let freed = free(guard, 9, block.start, layout(size, 8));
            assert_eq!(freed, Err(BadFree::WrongSize));
            let report = guard.report(number as u64).unwrap();
            assert_eq!(report.fault, Fault::WrongSizeFree);
            assert_eq!((report.offset, report.size, report.named_size), (guard.offset(block.start), 100, size));
        }
        assert_eq!(stats(guard).reports.iter().sum::<u64>(), 5);
        free(guard, 7, block.start, layout(100, 8)).unwrap();
        goes_on(guard);
    }

    fn the_log_has_the_last_reports(guard) {
        let block = allocate(guard, 7, layout(100, 8));
        for size in 101..141 {
            free(guard, 9, block.start, layout(size, 8)).unwrap_err();
        }
        let logged = |number| guard.report(number).map(|report| (report.number, report.named_size));
        assert_eq!(logged(0), Some((24, 125)));
        assert_eq!(logged(30), Some((30, 131)));
        assert_eq!(logged(39), Some((39, 140)));
        assert_eq!(logged(40), None);
        free(guard, 7, block.start, layout(100, 8)).unwrap();
    }
}
