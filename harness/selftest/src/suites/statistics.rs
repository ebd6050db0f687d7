// SPDX-License-Identifier: GPL-2.0

//! STATS: the statistics of `seed`, which follow the formulas of `docs/seed-design.md`, and the exact
//! statistics.

use crate::{
    device::Device,
    rng::Rng,
    uapi::{
        self,
        Engine,
        slablab_alloc,
        slablab_class_stats,
        slablab_stats, //
    },
};

use super::{
    fixture::{
        KIB,
        MIB,
        POOL_BYTES,
        exhaust,
        has_pool,
        private,
        session,
        shared,
        sound, //
    },
    prelude::*, //
};

suite!("statistics" {
    Once a_new_pool_is_free,
    Once the_first_small_block_grows_its_class_by_64,
    Once the_next_small_block_comes_from_the_slab,
    Once a_large_block_comes_from_the_buddy_system,
    Once each_class_serves_the_sizes_of_the_seed_design,
    Once the_formulas_of_the_seed_design_hold,
    Once the_bytes_of_the_pool_add_up,
    Once slabs_never_return_memory,
    Once refusals_are_counted_by_cause,
    Each operations_are_counted,
    Each the_sums_of_the_sessions_equal_the_pool,
    Each a_session_sees_its_own_share_only,
});

/// The block sizes of the seed's size classes, in bytes.
const CLASSES: [u64; 7] = [64, 128, 256, 512, 1024, 2048, 4096];

/// Returns the used entries of the array of classes.
fn classes(stats: &slablab_stats) -> &[slablab_class_stats] {
    &stats.classes[..stats.class_count as usize]
}

/// Checks the equations that hold for the statistics of the seed at any time.
#[track_caller]
fn consistent(stats: &slablab_stats) -> TestResult {
    let sum = |count: fn(&slablab_class_stats) -> u64| -> u64 {
        classes(stats)
            .iter()
            .map(|class| count(class) * class.block_bytes)
            .sum()
    };
    let (total, used) = (
        sum(|class| class.total_blocks),
        sum(|class| class.used_blocks),
    );
    check_eq(
        "total_bytes",
        stats.total_bytes,
        total + stats.buddy_total_bytes,
    )?;
    check_eq(
        "used_bytes",
        stats.used_bytes,
        used + stats.buddy_actual_bytes,
    )?;
    check_eq(
        "available_bytes",
        stats.available_bytes,
        stats.total_bytes - stats.used_bytes,
    )?;
    check_eq(
        "pool",
        stats.live_bytes + stats.cached_bytes + stats.free_bytes,
        stats.pool_bytes,
    )?;
    check_eq(
        "buddy_total_bytes",
        stats.buddy_total_bytes,
        stats.pool_bytes,
    )?;
    check_eq(
        "free_bytes",
        stats.free_bytes,
        stats.buddy_total_bytes - stats.buddy_actual_bytes,
    )?;
    check_eq("cached_bytes", stats.cached_bytes, total - used)?;
    check_eq(
        "live_blocks",
        stats.live_blocks,
        stats.allocations - stats.frees,
    )?;
    check(
        stats.buddy_user_bytes <= stats.buddy_actual_bytes,
        "buddy_user_bytes is at most buddy_actual_bytes",
    )?;
    check(
        stats.requested_bytes <= stats.live_bytes,
        "requested_bytes is at most live_bytes",
    )
}

/// Checks the path, the class and the order of an allocation.
#[track_caller]
fn came_by(block: &slablab_alloc, path: u32, class_index: u32, order: u32) -> TestResult {
    let cost = &block.cost;
    check_eq(
        "path, class, order",
        (
            u32::from(cost.path),
            u32::from(cost.class_index),
            u32::from(cost.order),
        ),
        (path, class_index, order),
    )
}

/// Returns the statistics, after checking them with [`consistent`].
#[track_caller]
fn figures(device: &Device) -> TestResult<Box<slablab_stats>> {
    let stats = device.stats()?;
    consistent(&stats)?;
    Ok(stats)
}

fn a_new_pool_is_free() -> TestResult {
    let stats = figures(&private(MIB)?)?;
    check_eq("engine", stats.engine, uapi::SLABLAB_ENGINE_SEED)?;
    check_eq(
        "regions and pool size",
        (stats.regions, stats.pool_bytes),
        (1, MIB),
    )?;
    check_eq(
        "total, used",
        (stats.total_bytes, stats.used_bytes),
        (MIB, 0),
    )?;
    check_eq("free", stats.free_bytes, MIB)?;
    check_eq(
        "operations",
        (stats.allocations, stats.frees, stats.live_blocks),
        (0, 0, 0),
    )?;
    let blocks: Vec<_> = classes(&stats)
        .iter()
        .map(|class| class.block_bytes)
        .collect();
    check_eq("classes", blocks, CLASSES.to_vec())?;
    let in_use = classes(&stats)
        .iter()
        .filter(|class| class.total_blocks + class.growths > 0);
    check_eq("classes with memory", in_use.count(), 0)
}

fn the_first_small_block_grows_its_class_by_64() -> TestResult {
    let device = private(MIB)?;
    let block = device.alloc(50, 8)?;
    came_by(&block, uapi::SLABLAB_PATH_GROWTH, 0, 0)?;
    check_eq("usable", block.usable, 64)?;
    let stats = figures(&device)?;
    let class = stats.classes[0];
    check_eq(
        "blocks",
        (class.total_blocks, class.used_blocks, class.growths),
        (64, 1, 1),
    )?;
    check_eq(
        "buddy",
        (stats.buddy_user_bytes, stats.buddy_actual_bytes),
        (4096, 4096),
    )?;
    check_eq(
        "total, used",
        (stats.total_bytes, stats.used_bytes),
        (MIB + 4096, 64 + 4096),
    )?;
    check_eq(
        "live, cached",
        (stats.live_bytes, stats.cached_bytes),
        (64, 63 * 64),
    )?;
    check_eq("requested", stats.requested_bytes, 50)
}

fn the_next_small_block_comes_from_the_slab() -> TestResult {
    let device = private(MIB)?;
    let mut last = device.alloc(64, 1)?;
    for n in 2..=64 {
        last = device.alloc(64, 1)?;
        came_by(&last, uapi::SLABLAB_PATH_SLAB, 0, uapi::SLABLAB_NO_ORDER).about(n)?;
    }
    came_by(&device.alloc(64, 1)?, uapi::SLABLAB_PATH_GROWTH, 0, 0)?;
    let class = figures(&device)?.classes[0];
    check_eq(
        "blocks",
        (class.total_blocks, class.used_blocks, class.growths),
        (128, 65, 2),
    )?;
    // The block freed last is the first to be used again.
    device.free(last.handle)?;
    check_eq("offset", device.alloc(64, 1)?.offset, last.offset)
}

fn a_large_block_comes_from_the_buddy_system() -> TestResult {
    let device = private(MIB)?;
    for (size, order) in [(8192, 1), (4097, 1), (8193, 2), (200_000, 6)] {
        let block = device.alloc(size, 1)?;
        came_by(
            &block,
            uapi::SLABLAB_PATH_BUDDY,
            uapi::SLABLAB_NO_CLASS,
            order,
        )
        .about(size)?;
        let stats = figures(&device)?;
        check_eq("buddy_user_bytes", stats.buddy_user_bytes, size)?;
        check_eq(
            "buddy_actual_bytes",
            stats.buddy_actual_bytes,
            4096 << order,
        )?;
        check_eq("used", stats.used_bytes, 4096 << order)?;
        check_eq("live", stats.live_bytes, 4096 << order)?;
        check_eq("requested", stats.requested_bytes, size)?;
        device.free(block.handle)?;
        check_eq("used", figures(&device)?.used_bytes, 0)?;
    }
    Ok(())
}

fn each_class_serves_the_sizes_of_the_seed_design() -> TestResult {
    let device = private(POOL_BYTES)?;
    for (index, bytes) in CLASSES.into_iter().enumerate() {
        let smallest = if index == 0 { 1 } else { bytes / 2 + 1 };
        for (size, align) in [(smallest, 1), (bytes, 1), (bytes, bytes), (1, bytes)] {
            let block = device.alloc(size, align)?;
            // The class is the smallest one that is large enough for both the size and the alignment.
            check_eq("class", usize::from(block.cost.class_index), index)
                .and_then(|()| check_eq("usable", block.usable, bytes))
                .about(format_args!("{size} bytes aligned to {align}"))?;
        }
        check_eq("used", figures(&device)?.classes[index].used_blocks, 4).about(bytes)?;
    }
    sound(&device)
}

/// Executes 3,000 operations of all kinds. Runs `each` after every 50th operation and at the end.
fn churn(device: &Device, mut each: impl FnMut(&Device) -> TestResult) -> TestResult {
    let mut handles = Vec::new();
    let mut random = Rng::new(9);
    for n in 0..3_000 {
        let size = random.doubling(1, 100_000);
        let pick = random.index(handles.len().max(1));
        match random.below(16) {
            0..6 => handles.extend(device.alloc(size, 1).ok().map(|block| block.handle)),
            6..8 if !handles.is_empty() => {
                // A refused REALLOC leaves the block unchanged, so its error is ignored.
                let _ = device.realloc(handles[pick], size);
            }
            _ if !handles.is_empty() => device.free(handles.swap_remove(pick))?,
            _ => {}
        }
        if n % 50 == 0 {
            each(device).about(format_args!("after operation {n}"))?;
        }
    }
    for handle in handles {
        device.free(handle)?;
    }
    each(device)
}

fn the_formulas_of_the_seed_design_hold() -> TestResult {
    churn(&private(MIB)?, |device| figures(device).map(drop))
}

fn the_bytes_of_the_pool_add_up() -> TestResult {
    let device = private(MIB)?;
    churn(&device, sound)?;
    let stats = figures(&device)?;
    check_eq(
        "live bytes, blocks",
        (stats.live_bytes, stats.live_blocks),
        (0, 0),
    )?;
    check_eq("requested", stats.requested_bytes, 0)
}

fn slabs_never_return_memory() -> TestResult {
    let device = private(MIB)?;
    let (handles, _) = exhaust(&device, 64)?;
    check_eq("blocks", handles.len() as u64, MIB / 64)?;
    for handle in handles {
        device.free(handle)?;
    }
    let stats = figures(&device)?;
    check_eq(
        "cached, free",
        (stats.cached_bytes, stats.free_bytes),
        (MIB, 0),
    )?;
    check_eq("growths", stats.classes[0].growths, MIB / 4096)?;
    // By the formulas of `docs/seed-design.md` half of the total is available, but requests of other
    // sizes are refused.
    check_eq("available", stats.available_bytes, MIB)?;
    check(
        device.alloc(65, 1).is_err(),
        "a request of another size class is refused",
    )
}

fn refusals_are_counted_by_cause() -> TestResult {
    let device = private(MIB)?;
    let before = device.stats()?;
    check(
        device.alloc(8, 8192).is_err(),
        "an alignment of 8192 is refused",
    )?;
    exhaust(&device, 8 * KIB)?;
    let after = device.stats()?;
    let more = |cause: u32| {
        after.session_refusals[cause as usize] - before.session_refusals[cause as usize]
    };
    check_eq(
        "refusals with the cause 'unsupported'",
        more(uapi::SLABLAB_CAUSE_UNSUPPORTED),
        1,
    )?;
    check_eq(
        "refusals with the cause 'exhausted'",
        more(uapi::SLABLAB_CAUSE_EXHAUSTED),
        1,
    )?;
    check_eq(
        "refusals with the cause 'none'",
        more(uapi::SLABLAB_CAUSE_NONE),
        0,
    )?;
    check_eq(
        "refusals of the engine with the cause 'exhausted'",
        after.refusals[uapi::SLABLAB_CAUSE_EXHAUSTED as usize],
        1,
    )
}

fn operations_are_counted(engine: Engine) -> TestResult {
    let device = session(engine)?;
    let before = device.stats()?;
    let first = device.alloc(100, 1)?;
    let second = device.alloc(5000, 1)?;
    device.realloc(first.handle, 70_000)?;
    device.free(second.handle)?;
    let after = device.stats()?;
    check_eq("session's allocations", after.session_allocations, 2)?;
    check_eq("session's frees", after.session_frees, 1)?;
    check_eq("session's reallocations", after.session_reallocations, 1)?;
    check_eq("session's blocks", after.session_blocks, 1)?;
    check(
        after.session_bytes >= 70_000,
        "session_bytes covers the block of 70,000 bytes",
    )?;
    check_eq("live blocks", after.live_blocks - before.live_blocks, 1)?;
    check_eq(
        "requested",
        after.requested_bytes - before.requested_bytes,
        70_000,
    )?;
    let balance = |stats: &slablab_stats| stats.allocations - stats.frees;
    check_eq("allocations - frees", balance(&after) - balance(&before), 1)
}

fn the_sums_of_the_sessions_equal_the_pool(engine: Engine) -> TestResult {
    let before = shared(engine)?.stats()?.live_blocks;
    let sessions = [shared(engine)?, shared(engine)?, shared(engine)?];
    for (n, session) in sessions.iter().enumerate() {
        for _ in 0..=n * 10 {
            session.alloc(700, 1)?;
        }
    }
    let mut blocks = 0;
    for session in &sessions {
        blocks += session.stats()?.session_blocks;
    }
    check_eq("blocks of all sessions", blocks, 33)?;
    check_eq("live blocks", sessions[0].stats()?.live_blocks, before + 33)?;
    drop(sessions);
    check_eq("live blocks", shared(engine)?.stats()?.live_blocks, before)
}

fn a_session_sees_its_own_share_only(engine: Engine) -> TestResult {
    let (mine, theirs) = (shared(engine)?, shared(engine)?);
    mine.alloc(64, 1)?;
    let share = mine.stats()?;
    theirs.alloc(64, 1)?;
    theirs.alloc(u64::MAX, 1).err();
    let after = mine.stats()?;
    check_eq(
        "blocks",
        (share.session_blocks, after.session_blocks),
        (1, 1),
    )?;
    check_eq("bytes", after.session_bytes, share.session_bytes)?;
    check_eq("refusals", after.session_refusals, share.session_refusals)?;
    if has_pool(engine) {
        check_eq("session_bytes", share.session_bytes, 64)?;
    }
    Ok(())
}
