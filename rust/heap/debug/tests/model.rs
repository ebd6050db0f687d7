// SPDX-License-Identifier: GPL-2.0

//! Correct use of the blocks, compared with a shadow map: debug mode reports nothing, and the statistics stay
//! exact.

use super::*;
use crate::{
    cost::Path,
    testing::{
        CPU,
        HostExtent,
        HostHybrid,
        HostSeed,
        blocks::{
            ReportedStatistics,
            ShadowMap, //
        },
        heaps::on_cpus,
        model::{
            ModelOperation,
            operations,
            operations_on,
            regions, //
        },
        shrink,
        with_cpus, //
    },
};
use proptest::prelude::*;

/// Compares debug mode's statistics with the live blocks.
fn compare<E: Engine>(guard: &Guarded<E>, blocks: &ShadowMap) {
    sound(guard.engine());
    let totals = ReportedStatistics::of(guard).totals;
    assert_eq!(totals.live_blocks as usize, blocks.len());
    let requested: usize = blocks.iter().map(|live| live.layout.size()).sum();
    assert_eq!(totals.requested_bytes as usize, requested);
    let parts = totals.live_bytes + totals.cached_bytes + totals.free_bytes;
    assert_eq!(parts, totals.pool_bytes);
    assert_eq!(stats(guard), DebugStats::default());
}

/// Runs operations on an engine in debug mode, and frees all blocks at the end. Expects no report.
fn is_quiet<E: Engine>(guard: &Guarded<E>, operations: &[ModelOperation]) {
    let mut blocks = ShadowMap::default();
    CPU.set(0);
    for (number, operation) in operations.iter().enumerate() {
        match *operation {
            ModelOperation::Allocate(size, align_log2) => {
                // The engine may refuse the request.
                let _ = blocks.allocate(guard, layout(size, 1 << align_log2), number as u8);
            }
            ModelOperation::Release(pick) => {
                if let Some(offset) = blocks.pick(pick) {
                    assert_ne!(blocks.free(guard, offset).path(), Path::None);
                }
            }
            ModelOperation::Resize(pick, size) => {
                resize(guard, &mut blocks, pick, size, number as u8)
            }
            ModelOperation::Move(cpu) => CPU.set(cpu),
            ModelOperation::Shrink => {
                shrink(guard);
            }
        }
        compare(guard, &blocks);
        // A check compares every byte of the pool, so it runs only after every 32 operations.
        if number % 32 == 31 {
            sound(guard);
        }
    }
    while let Some(offset) = blocks.pick(0) {
        blocks.free(guard, offset);
    }
    compare(guard, &blocks);
    goes_on(guard);
}

/// Resizes a block in place, if possible.
fn resize<E: Engine>(
    guard: &Guarded<E>,
    blocks: &mut ShadowMap,
    pick: usize,
    size: usize,
    fill: u8,
) {
    let Some(offset) = blocks.pick(pick) else {
        return;
    };
    let live = blocks.remove(offset);
    let new = layout(size, live.layout.align());
    let keeps = guard.fits_in_place(live.layout, new);
    // SAFETY: The block is live with this layout, the new layout has the same alignment, and nothing uses the
    // block during the call.
    let resized = unsafe { guard.resize(live.block, live.layout, new, &mut Cost::default()) };
    assert_eq!(resized, keeps);
    let now = if resized { new } else { live.layout };
    assert!(live.holds(now.size().min(live.layout.size())));
    blocks.insert(guard, live.block, now, live.class, fill);
}

/// Runs operations in debug mode, on an engine with these regions.
fn run<E: Engine>(engine: E, bytes: &[usize], operations: &[ModelOperation]) {
    let memories = regions(bytes, 0);
    let guard = DebugMode::new(engine, Mutex::default(), Played);
    for memory in &memories {
        memory.lend(&guard).unwrap();
    }
    is_quiet(&guard, operations);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn correct_use_of_the_seed_is_not_reported(operations in operations(150, 12)) {
        // The seed's slabs never return memory, so the pool is larger than all slabs together.
        run(HostSeed::empty(), &[4 << 20], &operations);
        run(HostSeed::empty(), &[0x8000, 4096, 4 << 20], &operations);
    }

    #[test]
    fn correct_use_of_the_hybrid_is_not_reported(operations in operations_on(2, 150, 14)) {
        run(with_cpus(2), &[1 << 20], &operations);
        run(HostHybrid::empty(), &[0x8000, 4096, 1 << 18], &operations);
    }

    #[test]
    fn correct_use_of_extent_is_not_reported(operations in operations_on(2, 150, 14)) {
        run(on_cpus::<crate::extent::Heap>(2), &[1 << 20], &operations);
        run(HostExtent::empty(), &[0x8000, 4096, 1 << 18], &operations);
    }
}

#[test]
fn correct_use_by_threads_is_not_reported() {
    let memory = HostMemory::new(4 << 20);
    let guard = DebugMode::new(with_cpus(4), Mutex::default(), Played);
    memory.lend(&guard).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4_u32 {
            let guard = &guard;
            scope.spawn(move || {
                CPU.set(thread as usize);
                let mut live = Vec::new();
                for round in 0..2000_usize {
                    let size = 1 + round * 37 % 2000;
                    let block = allocate(guard, thread, layout(size, 8));
                    scribble(block.start, 0, size);
                    live.push((block, size));
                    if round % 3 == 0 {
                        let (block, size) = live.swap_remove(round % live.len());
                        free(guard, thread, block.start, layout(size, 8)).unwrap();
                    }
                    if live.len() > 100 {
                        for (block, size) in live.drain(..) {
                            free(guard, thread, block.start, layout(size, 8)).unwrap();
                        }
                    }
                }
                for (block, size) in live {
                    free(guard, thread, block.start, layout(size, 8)).unwrap();
                }
            });
        }
    });
    assert_eq!(reports(&guard), []);
    goes_on(&guard);
}

#[test]
fn each_thread_gets_the_report_of_its_own_misuse() {
    use crate::debug::Misuse;
    let memory = HostMemory::new(8 << 20);
    let guard = DebugMode::new(with_cpus(4), Mutex::default(), Played);
    memory.lend(&guard).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4_u32 {
            let guard = &guard;
            scope.spawn(move || {
                CPU.set(thread as usize);
                PID.set(100 + thread);
                for round in 0..200 {
                    let misuse = Misuse::ALL[round % Misuse::ALL.len()];
                    if let Ok(Some(report)) = guard.inject(misuse, 1 + round * 31 % 5000) {
                        // Another thread detects the write if it allocates the memory first.
                        if report.fault != Fault::WriteAfterFree {
                            assert_eq!(report.noticed.pid, 100 + thread);
                        }
                        assert!([0, 100 + thread].contains(&report.allocated.pid));
                    }
                }
            });
        }
    });
    goes_on(&guard);
}
