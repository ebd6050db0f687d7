// SPDX-License-Identifier: GPL-2.0

//! A check compares every byte of the pool, and names the first wrong byte.

use super::*;
use crate::{
    check::{
        self,
        Broken,
        Progress,
        RESTARTS,
        Rule,
        Walk, //
    },
    debug::Misuse,
    testing::{
        HostExtent,
        HostHybrid,
        HostSeed,
        blocks::ShadowMap,
        prelude::*, //
    },
};
use proptest::prelude::*;

/// The size of the pool in tests that damage many bytes, one after the other.
const EVERY_BYTES: usize = 512 << 10;

/// Returns the rule that a check finds broken, and the offset of the wrong byte in the region.
fn broken(engine: &impl Engine) -> Option<(Rule, u64)> {
    match crate::testing::check(engine) {
        Ok(progress) => {
            assert_eq!(progress, Progress::Sound);
            None
        }
        Err(Broken {
            rule,
            class,
            offset,
        }) => {
            assert_eq!(class, None, "{rule:?}");
            Some((rule, offset.unwrap().byte()))
        }
    }
}

/// Fills a third of a pool with blocks of many sizes and alignments, and frees every other one.
fn in_use<E: TestEngine>(guard: &Guarded<E>) -> ShadowMap {
    let mut blocks = ShadowMap::default();
    for number in 0..60_usize {
        let layout = layout(1 + number * number * 7 % 6000, 1 << (number % 13));
        let _ = blocks.allocate(guard, layout, 0x11);
    }
    for number in 0..30 {
        let offset = blocks.pick(number * 3).unwrap();
        blocks.free(guard, offset);
    }
    blocks
}

/// Changes a byte, returns the rule that a check finds broken, and restores the byte.
fn found<E: TestEngine>(
    guard: &Guarded<E>,
    memory: &HostMemory,
    byte: usize,
) -> Option<(Rule, u64)> {
    // SAFETY: The byte lies in the pool of the test.
    let place = unsafe { memory.start().add(byte) };
    // SAFETY: The byte is valid, and no other thread uses debug mode.
    let before = unsafe { place.read() };
    // SAFETY: The byte is valid, and no other thread uses debug mode. The damage is on purpose.
    unsafe { place.write(!before) };
    let found = broken(guard);
    // SAFETY: The byte is valid, and no other thread uses debug mode.
    unsafe { place.write(before) };
    assert_eq!(broken(guard), None);
    found
}

/// Changes bytes of a pool, one at a time, and compares the result of a check with the expected result. By
/// the list of live blocks, a byte belongs to a block, to a red zone or to free memory.
fn every_byte<E: TestEngine>(
    bytes: impl Iterator<Item = usize>,
    is_engine_byte: fn(usize) -> bool,
) {
    let memory = HostMemory::new(EVERY_BYTES);
    let guard = Guarded::<E>::over(&memory);
    let blocks = in_use(&guard);
    assert_eq!(broken(&guard), None);
    let live: Vec<_> = blocks
        .iter()
        .map(|live| (live.offset().byte() as usize, live.layout))
        .collect();
    let (mut zones, mut poison) = (0, 0);
    for byte in bytes {
        let owner = |reach: usize| {
            live.iter().any(|(start, layout)| {
                let front = layout.align().max(64).min(reach);
                (start - front..start + layout.size() + reach.min(64)).contains(&byte)
            })
        };
        if !owner(usize::MAX) && is_engine_byte(byte) {
            continue;
        }
        let found = found(&guard, &memory, byte);
        if owner(0) {
            assert_eq!(found, None, "byte {byte} of a live block");
        } else if owner(usize::MAX) {
            assert_eq!(
                found,
                Some((Rule::RedZones, byte as u64)),
                "zone, byte {byte}"
            );
            zones += 1;
        } else {
            // Behind the first 64 bytes of a red zone there may be more red zone, or free memory.
            let (rule, at) = found.unwrap_or_else(|| panic!("byte {byte} of free memory"));
            assert!(matches!(rule, Rule::RedZones | Rule::Poison), "byte {byte}");
            assert_eq!(at, byte as u64);
            poison += 1;
        }
    }
    assert!(zones > 0 && poison > 0, "{zones} {poison}");
}

#[test]
fn every_wrong_byte_in_the_pool_of_the_seed_is_found() {
    every_byte::<HostSeed>((0..EVERY_BYTES).step_by(173), |byte| byte % 64 < 8);
}

#[test]
fn every_wrong_byte_in_the_pool_of_the_hybrid_is_found() {
    every_byte::<HostHybrid>((0..EVERY_BYTES).step_by(173), |_| false);
}

#[test]
fn every_wrong_byte_in_the_pool_of_extent_is_found() {
    every_byte::<HostExtent>((0..EVERY_BYTES).step_by(173), |_| false);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn a_check_finds_an_overflow_before_the_block_is_freed(
        size in prop_oneof![1usize..200, 200usize..20_000],
        align_log2 in 0u32..=16,
        skip in 0usize..64,
    ) {
        let memory = HostMemory::new(POOL_BYTES);
        let guard = Guarded::<HostHybrid>::over(&memory);
        let layout = layout(size, 1 << align_log2);
        let block = allocate(&guard, 7, layout);
        scribble(block.start, (size + skip) as isize, 1);
        let byte = guard.offset(block.start).unwrap().byte() + (size + skip) as u64;
        prop_assert_eq!(broken(&guard), Some((Rule::RedZones, byte)));
        // The check makes no report. The free makes the report.
        prop_assert_eq!(reports(&guard), []);
        free(&guard, 7, block.start, layout).unwrap();
        only(&guard, Fault::Overflow, 1);
        prop_assert_eq!(broken(&guard), None);
    }
}

on_each_engine! {
    fn a_check_finds_a_write_after_free_before_the_memory_is_allocated(guard) {
        let layout = layout(1000, 8);
        let block = allocate(guard, 7, layout);
        free(guard, 7, block.start, layout).unwrap();
        scribble(block.start, 100, 8);
        let byte = guard.offset(block.start).unwrap().byte() + 100;
        assert_eq!(broken(guard), Some((Rule::Poison, byte)));
        assert_eq!(reports(guard), []);
        allocate(guard, 8, layout);
        only(guard, Fault::WriteAfterFree, 1);
        assert_eq!(broken(guard), None);
    }

    fn a_check_takes_a_bounded_number_of_steps(guard) {
        let mut walk = Walk::new();
        let mut steps = 0;
        while guard.check(&mut walk).unwrap() == Progress::More {
            steps += 1;
        }
        // A check takes one step for each page, and some steps for records and for the engine's metadata.
        let pages = POOL_BYTES / 4096;
        assert!((0..3 * pages).contains(&steps), "{steps}");
    }

    fn a_sweep_restarts_after_a_change_and_ends_after_too_many(guard) {
        let layout = layout(1000, 8);
        let mut walk = Walk::new();
        while walk.sweep.is_none() {
            assert_eq!(guard.check(&mut walk), Ok(Progress::More));
        }
        for _ in 0..RESTARTS {
            assert_eq!(guard.check(&mut walk), Ok(Progress::More));
            let block = allocate(guard, 1, layout);
            free(guard, 1, block.start, layout).unwrap();
            assert_eq!(guard.check(&mut walk), Ok(Progress::More));
        }
        assert_eq!(guard.check(&mut walk), Ok(Progress::More));
        allocate(guard, 1, layout);
        assert_eq!(guard.check(&mut walk), Ok(Progress::Disturbed));
    }

    fn a_check_after_an_injected_misuse_finds_nothing(guard) {
        for misuse in Misuse::ALL {
            let _ = guard.inject(misuse, 300);
            assert_eq!(broken(guard), None, "{misuse:?}");
        }
    }
}

#[test]
fn checks_concurrent_with_threads_find_nothing() {
    let memory = HostMemory::new(1 << 20);
    let guard = DebugMode::new(crate::testing::with_cpus(2), Mutex::default(), Played);
    memory.lend(&guard).unwrap();
    let done = core::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..3000_usize {
                let layout = layout(1 + round * 37 % 3000, 8);
                let block = allocate(&guard, 1, layout);
                scribble(block.start, 0, layout.size());
                let new = self::layout(layout.size() / 2 + 1, 8);
                // SAFETY: The block is live with this layout, the new layout has the same alignment, and
                // nothing uses the block during the call.
                let resized = unsafe { guard.resize(block, layout, new, &mut Cost::default()) };
                let layout = if resized { new } else { layout };
                free(&guard, 1, block.start, layout).unwrap();
            }
            done.store(true, core::sync::atomic::Ordering::Relaxed);
        });
        while !done.load(core::sync::atomic::Ordering::Relaxed) {
            let result = check::run(&mut Walk::new(), |walk| guard.check(walk));
            assert!(
                matches!(result, Ok(Progress::Sound | Progress::Disturbed)),
                "{result:?}"
            );
        }
    });
    sound(&guard);
}
