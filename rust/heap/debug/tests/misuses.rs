// SPDX-License-Identifier: GPL-2.0

//! Each injected misuse is reported as its fault, once, and changes no other block.

use super::*;
use crate::debug::{
    Misuse,
    NotDone, //
};
use crate::{
    Refusal,
    testing::blocks::ShadowMap, //
};

/// Returns the expected fault, and the number of blocks that are put into quarantine.
fn expected(misuse: Misuse) -> Option<(Fault, u64)> {
    Some(match misuse {
        Misuse::SlabLinearOverflow
        | Misuse::SlabLinearOverflow8
        | Misuse::SlabLinearOverflow32
        | Misuse::SlabLinearOverflow1M
        | Misuse::VmallocLinearOverflow => (Fault::Overflow, 1),
        Misuse::SlabLinearUnderflow => (Fault::Underflow, 1),
        Misuse::WriteAfterFree | Misuse::WriteBuddyAfterFree => (Fault::WriteAfterFree, 1),
        Misuse::SlabFreeDouble | Misuse::SlabFreeDoubleDelayed | Misuse::SlabFreeDoubleReused => {
            (Fault::DoubleFree, 0)
        }
        Misuse::SlabFreeInterior => (Fault::InteriorFree, 0),
        Misuse::SlabFreeForeign => (Fault::ForeignFree, 0),
        Misuse::SlabFreeInvented => (Fault::InventedFree, 0),
        Misuse::SlabFreeUnaligned => (Fault::UnalignedFree, 0),
        Misuse::SlabFreeCross => (Fault::WrongSizeFree, 0),
        Misuse::ReallocAfterFree => (Fault::ReallocAfterFree, 0),
        Misuse::ReadAfterFree => return None,
    })
}

/// Returns the expected number of changed bytes for a block of `size` bytes.
fn damaged(misuse: Misuse, size: usize) -> usize {
    match misuse {
        Misuse::SlabLinearOverflow | Misuse::VmallocLinearOverflow => 1,
        Misuse::SlabLinearOverflow32 => 32,
        Misuse::SlabLinearOverflow1M => 1 << 20,
        Misuse::SlabLinearOverflow8 | Misuse::SlabLinearUnderflow => 8,
        Misuse::WriteAfterFree => size.min(8),
        Misuse::WriteBuddyAfterFree => 8,
        _ => 0,
    }
}

/// Injects each misuse with each size, each time in a new pool with other live blocks.
fn each<E: TestEngine>(region_bytes: &[usize]) {
    for misuse in Misuse::ALL {
        for size in [1, 8, 17, 64, 100, 1000, 3968, 4096, 8192, 20_000] {
            // The longest overflow needs a red zone of 1 MiB.
            let zone = match misuse {
                Misuse::SlabLinearOverflow1M => 4 << 20,
                _ => 0,
            };
            let memories: Vec<_> = region_bytes
                .iter()
                .map(|bytes| HostMemory::new(*bytes + zone))
                .collect();
            let guard = Guarded::<E>::empty();
            for memory in &memories {
                memory.lend(&guard).unwrap();
            }
            let mut others = ShadowMap::default();
            for number in 0..30 {
                let layout = layout(1 + number * 97, 1 << (number % 7));
                others.allocate(&guard, layout, number as u8).unwrap();
            }
            PID.set(42);
            let report = guard.inject(misuse, size).unwrap();
            sound(&guard);
            let Some((fault, quarantined)) = expected(misuse) else {
                assert_eq!((report, reports(&guard)), (None, Vec::new()), "{misuse:?}");
                continue;
            };
            let report = report.unwrap_or_else(|| panic!("{misuse:?} of {size}"));
            assert_eq!(
                report,
                only(&guard, fault, quarantined),
                "{misuse:?} of {size}"
            );
            assert_eq!(
                report.damaged,
                damaged(misuse, size),
                "{misuse:?} of {size}"
            );
            assert_eq!(report.noticed.pid, 42);
            let is_block = !matches!(misuse, Misuse::SlabFreeForeign | Misuse::SlabFreeInvented);
            assert_eq!(report.allocated.pid, if is_block { 42 } else { 0 });
            assert_eq!(report.size >= size, is_block);
            let was_freed =
                quarantined > 0 || matches!(fault, Fault::DoubleFree | Fault::ReallocAfterFree);
            assert_eq!(report.freed.pid, if was_freed { 42 } else { 0 });
            // The other blocks are unchanged.
            let offsets: Vec<_> = others.iter().map(|live| live.offset()).collect();
            for offset in offsets {
                others.free(&guard, offset);
            }
            only(&guard, fault, quarantined);
            goes_on(&guard);
        }
    }
}

#[test]
fn each_misuse_is_reported_on_the_seed() {
    each::<crate::testing::HostSeed>(&[POOL_BYTES]);
}

#[test]
fn each_misuse_is_reported_on_the_hybrid() {
    each::<crate::testing::HostHybrid>(&[POOL_BYTES]);
    each::<crate::testing::LockedHybrid>(&[256 << 10, 512 << 10]);
}

#[test]
fn each_misuse_is_reported_on_extent() {
    each::<crate::testing::HostExtent>(&[POOL_BYTES]);
    each::<crate::testing::LockedExtent>(&[256 << 10, 512 << 10]);
}

on_each_engine! {
    fn a_misuse_without_memory_changes_nothing(guard) {
        for misuse in Misuse::ALL {
            let most = guard.inject(misuse, 2 * POOL_BYTES);
            assert_eq!(most, Err(NotDone::Refused(Refusal::TooBig)));
        }
        assert_eq!(reports(guard), []);
        goes_on(guard);
    }

    fn misuse_can_be_injected_until_all_memory_is_quarantined(guard) {
        let mut done = 0;
        while guard.inject(Misuse::WriteAfterFree, 1000).is_ok_and(|report| report.is_some()) {
            done += 1;
        }
        // On the seed a padded block of 1000 bytes takes 2048 bytes, and slabs of other classes have taken
        // some memory.
        assert!(done > POOL_BYTES / 4096, "{done}");
        assert_eq!(stats(guard).quarantined_blocks, done as u64);
        assert_eq!(stats(guard).reports.iter().sum::<u64>(), done as u64);
        sound(guard);
    }
}
