// SPDX-License-Identifier: GPL-2.0

//! Each misuse of the injector is reported by its name, once, and harms nobody.

use super::*;
use crate::guard::{
    Misuse,
    NotDone, //
};
use crate::{
    Refusal,
    testing::blocks::Blocks, //
};

/// Returns what is to be reported, and how many blocks are set aside for it.
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

/// Returns how many bytes are reported as written, of a block of `size`.
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

/// Does each misuse to a block of each size in a new pool in which others have blocks.
fn each<E: TestEngine>(region_bytes: &[usize]) {
    for misuse in Misuse::ALL {
        for size in [1, 8, 17, 64, 100, 1000, 3968, 4096, 8192, 20_000] {
            // There is to be room for a red zone of 1 MiB.
            let zone = match misuse {
                Misuse::SlabLinearOverflow1M => 4 << 20,
                _ => 0,
            };
            let memories: Vec<_> = region_bytes
                .iter()
                .map(|bytes| Memory::new(*bytes + zone))
                .collect();
            let guard = Guarded::<E>::empty();
            for memory in &memories {
                memory.lend(&guard).unwrap();
            }
            let mut others = Blocks::default();
            for number in 0..30 {
                let layout = layout(1 + number * 97, 1 << (number % 7));
                others.allocate(&guard, layout, number as u8).unwrap();
            }
            PID.set(42);
            let report = guard.inject(misuse, size).unwrap();
            sound(&guard);
            let Some((fault, set_aside)) = expected(misuse) else {
                assert_eq!((report, reports(&guard)), (None, Vec::new()), "{misuse:?}");
                continue;
            };
            let report = report.unwrap_or_else(|| panic!("{misuse:?} of {size}"));
            assert_eq!(
                report,
                only(&guard, fault, set_aside),
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
                set_aside > 0 || matches!(fault, Fault::DoubleFree | Fault::ReallocAfterFree);
            assert_eq!(report.freed.pid, if was_freed { 42 } else { 0 });
            // Everybody else's blocks are as they were left.
            let offsets: Vec<_> = others.iter().map(|live| live.offset()).collect();
            for offset in offsets {
                others.release(&guard, offset);
            }
            only(&guard, fault, set_aside);
            goes_on(&guard);
        }
    }
}

#[test]
fn each_is_named_with_the_seed() {
    each::<crate::testing::HostSeed>(&[POOL_BYTES]);
}

#[test]
fn each_is_named_with_the_hybrid() {
    each::<crate::testing::HostHybrid>(&[POOL_BYTES]);
    each::<crate::testing::LockedHybrid>(&[256 << 10, 512 << 10]);
}

on_each_engine! {
    fn without_memory_nothing_is_done(guard) {
        for misuse in Misuse::ALL {
            let most = guard.inject(misuse, 2 * POOL_BYTES);
            assert_eq!(most, Err(NotDone::Refused(Refusal::TooBig)));
        }
        assert_eq!(reports(guard), []);
        goes_on(guard);
    }

    fn misuse_goes_on_until_all_is_set_aside(guard) {
        let mut done = 0;
        while guard.inject(Misuse::WriteAfterFree, 1000).is_ok_and(|report| report.is_some()) {
            done += 1;
        }
        // A block of a thousand is two or less of the seed's, and some of its memory is elsewhere.
        assert!(done > POOL_BYTES / 4096, "{done}");
        assert_eq!(stats(guard).set_aside_blocks, done as u64);
        assert_eq!(stats(guard).reports.iter().sum::<u64>(), done as u64);
        sound(guard);
    }
}
