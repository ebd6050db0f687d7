// SPDX-License-Identifier: GPL-2.0

//! Debug mode: each misuse is reported once, with the right name, and other blocks stay intact.

pub(super) mod refusals;

use std::{
    collections::HashSet,
    process,
    thread, //
};

use crate::{
    device::{
        Device,
        Errno, //
    },
    rng::Rng,
    uapi::{
        self,
        Engine,
        Fault,
        Misuse,
        NO_OFFSET,
        slablab_report,
        slablab_stats, //
    },
};

use super::{
    child::{
        Child,
        ChildRole, //
    },
    fixture::{
        MIB,
        POOL_ENGINES,
        exhaust,
        filled,
        has_kasan,
        intact,
        pattern,
        sound,
        write_whole,
        zeros, //
    },
    memory::Argument,
    prelude::*, //
};

suite!("misuse" {
    Pools each_misuse_is_reported_once_and_the_pool_stays_usable,
    Pools correct_use_is_not_reported,
    Pools the_last_reports_can_be_read,
    Pools threads_misuse_one_pool_at_once,
    Once programs_misuse_pools_at_once,
});

/// The flags of a pool in debug mode.
const DEBUG: u32 = uapi::SLABLAB_BIND_PRIVATE | uapi::SLABLAB_BIND_DEBUG;

/// The number of attempts at a misuse whose block is allocated by another thread between two steps.
const TRIES: usize = 100;

/// Opens a session with a pool in debug mode.
#[track_caller]
pub(super) fn debug(engine: Engine, pool_bytes: u64) -> TestResult<Device> {
    let device = Device::open()?;
    device.bind(engine.raw(), DEBUG, pool_bytes)?;
    Ok(device)
}

/// Returns the misuses to test. On a kernel with KASAN, a read after a free is left out: KASAN reports it in
/// the kernel's log, which must stay empty.
fn misuses() -> Vec<Misuse> {
    let (all, has_kasan) = (Misuse::ALL.iter().copied(), has_kasan());
    all.filter(|misuse| !has_kasan || *misuse != Misuse::ReadAfterFree)
        .collect()
}

/// Injects a misuse and returns its report. Tries again when another thread allocated the block between two
/// steps.
#[track_caller]
fn inject(device: &Device, misuse: Misuse, size: u64) -> TestResult<slablab_report> {
    for _ in 0..TRIES {
        match device.inject(misuse.raw(), size) {
            Err(Errno::AGAIN) => {}
            result => return Ok(result?),
        }
    }
    Err(TestError::failed(format!(
        "INJECT failed {TRIES} times with EAGAIN"
    )))
}

/// Returns all reports that the pool keeps.
fn reports(device: &Device) -> TestResult<Vec<slablab_report>> {
    let mut reports = [slablab_report::default(); uapi::SLABLAB_REPORTS_KEPT as usize];
    let reply = device.reports(0, &mut reports)?;
    Ok(reports[..reply.count as usize].to_vec())
}

/// Returns the number of blocks that are quarantined because of a misuse, which are those that it damages.
fn quarantined(misuse: Misuse) -> u64 {
    u64::from(misuse.damaged_bytes(8) > 0)
}

/// Checks that every byte of the pool is accounted for.
#[track_caller]
fn adds_up(stats: &slablab_stats) -> TestResult {
    let parts = stats.live_bytes + stats.cached_bytes + stats.free_bytes;
    check_eq("live + cached + free", parts, stats.pool_bytes)
}

/// Checks the report of a misuse by this process, with a block of `size` bytes.
#[track_caller]
fn is_of(report: &slablab_report, misuse: Misuse, size: u64, pool_bytes: u64) -> TestResult {
    check_eq(
        "fault",
        Fault::from_raw(report.fault),
        Some(misuse.expected()),
    )?;
    check_eq("damaged", report.damaged_bytes, misuse.damaged_bytes(size))?;
    if misuse.expected() == Fault::None {
        return check_eq("process that noticed the misuse", report.noticed.pid, 0);
    }
    check_eq(
        "process that noticed the misuse",
        report.noticed.pid,
        process::id(),
    )?;
    // An address outside of any block has no owner.
    let is_block = !matches!(misuse, Misuse::SlabFreeForeign | Misuse::SlabFreeInvented);
    let owner = if is_block { process::id() } else { 0 };
    check_eq(
        "process that allocated the block",
        report.allocated.pid,
        owner,
    )?;
    let of_free = [Fault::DoubleFree, Fault::ReallocAfterFree].contains(&misuse.expected());
    let was_freed = quarantined(misuse) > 0 || of_free;
    let owner = if was_freed { process::id() } else { 0 };
    check_eq("process that freed the block", report.freed.pid, owner)?;
    check_eq(
        "the report is about a block of this size",
        report.size >= size,
        is_block,
    )?;
    let order = [report.allocated, report.freed, report.noticed].map(|owner| owner.operation);
    check(
        order.iter().filter(|number| **number > 0).is_sorted(),
        format_args!("the operations of allocation, free and report are in order: {order:?}"),
    )?;
    // A report has offsets and sizes, but no addresses.
    if misuse == Misuse::SlabFreeForeign {
        check_eq("offset", report.offset, NO_OFFSET)?;
    } else {
        check(report.offset < pool_bytes, "the block is in the pool")?;
    }
    check(
        report.byte.unsigned_abs() <= report.size + 8,
        "the byte is at most 8 bytes outside of the block",
    )
}

fn each_misuse_is_reported_once_and_the_pool_stays_usable(engine: Engine) -> TestResult {
    for misuse in misuses() {
        for size in [1, 24, 100, 4000, 20_000] {
            is_named_once(engine, misuse, size)
                .about(format_args!("{misuse} with a block of {size} bytes"))?;
        }
    }
    Ok(())
}

fn is_named_once(engine: Engine, misuse: Misuse, size: u64) -> TestResult {
    // The pool must have room for a red zone of 1 MiB.
    let pool_bytes = match misuse {
        Misuse::SlabLinearOverflow1M => 4 * MIB,
        _ => MIB,
    };
    let device = debug(engine, pool_bytes)?;
    let blocks = [(1, 10), (300, 11), (5000, 12)];
    let mut mine = Vec::new();
    for (size, seed) in blocks {
        mine.push((filled(&device, size, seed)?, size, seed));
    }
    let report = inject(&device, misuse, size)?;
    is_of(&report, misuse, size, pool_bytes)?;
    let is_noticed = misuse.expected() != Fault::None;
    check_eq(
        "reports",
        reports(&device)?.iter().map(Argument::bytes).collect(),
        is_noticed
            .then(|| report.bytes())
            .into_iter()
            .collect::<Vec<_>>(),
    )?;

    let stats = device.stats()?;
    for fault in Fault::ALL {
        let expected = u64::from(is_noticed && *fault == misuse.expected());
        check_eq(fault.name(), stats.reports[fault.raw() as usize], expected)?;
    }
    check_eq("quarantined", stats.quarantined_blocks, quarantined(misuse))?;
    check_eq(
        "live",
        stats.live_blocks,
        mine.len() as u64 + quarantined(misuse),
    )?;
    check_eq("requested", stats.requested_bytes, 5301)?;
    check_eq("charged", stats.session_bytes, 5301)?;
    adds_up(&stats)?;
    sound(&device)?;

    // Other blocks are intact, and the pool stays usable without the quarantined blocks.
    for (handle, size, seed) in mine {
        intact(&device, handle, size, seed)?;
        device.free(handle)?;
    }
    let mut rest = Vec::new();
    for size in [20_000, 4000, 1] {
        let (handles, _) = exhaust(&device, size)?;
        for handle in &handles {
            zeros(&device, *handle, 0, size as usize)?;
            write_whole(&device, *handle, &pattern(1, size as usize))?;
        }
        rest.extend(handles);
    }
    check(!rest.is_empty(), "the pool has memory for more blocks")?;
    for handle in rest {
        device.free(handle)?;
    }
    let after = device.stats()?;
    check_eq("reports", after.reports, stats.reports)?;
    check_eq("live", after.live_blocks, quarantined(misuse))?;
    adds_up(&after)?;
    sound(&device)
}

fn correct_use_is_not_reported(engine: Engine) -> TestResult {
    let device = debug(engine, 4 * MIB)?;
    let mut random = Rng::new(3);
    let mut mine: Vec<(u32, u64, u64)> = Vec::new();
    for seed in 0..2_000 {
        let size = random.doubling(1, 20_000);
        match random.below(4) {
            0 | 1 => {
                let align = 1 << random.below(13);
                if let Ok(block) = device.alloc(size, align) {
                    check_eq("usable", block.usable, size)?;
                    check_eq("alignment", block.offset % align, 0)?;
                    zeros(&device, block.handle, 0, size as usize)?;
                    write_whole(&device, block.handle, &pattern(seed, size as usize))?;
                    mine.push((block.handle, size, seed));
                }
            }
            2 if !mine.is_empty() => {
                let place = random.index(mine.len());
                let (handle, old, seed) = &mut mine[place];
                intact(&device, *handle, *old, *seed)?;
                if device.realloc(*handle, size).is_ok() {
                    if size > *old {
                        zeros(&device, *handle, *old as u32, (size - *old) as usize)?;
                    }
                    write_whole(&device, *handle, &pattern(*seed, size as usize))?;
                    *old = size;
                }
            }
            _ if !mine.is_empty() => {
                let (handle, size, seed) = mine.swap_remove(random.index(mine.len()));
                intact(&device, handle, size, seed)?;
                device.free(handle)?;
            }
            _ => {}
        }
    }
    let stats = device.stats()?;
    let requested: u64 = mine.iter().map(|(_, size, _)| size).sum();
    check_eq("requested", stats.requested_bytes, requested)?;
    check_eq("charged", stats.session_bytes, requested)?;
    check_eq("reports", stats.reports, [0; 16])?;
    check_eq(
        "quarantined",
        (stats.quarantined_blocks, stats.quarantined_bytes),
        (0, 0),
    )?;
    adds_up(&stats)?;
    sound(&device)
}

fn the_last_reports_can_be_read(engine: Engine) -> TestResult {
    let device = debug(engine, MIB)?;
    check_eq(
        "reports before the first misuse",
        reports(&device)?.len(),
        0,
    )?;
    for _ in 0..40 {
        inject(&device, Misuse::SlabFreeCross, 100)?;
    }
    let numbers: Vec<_> = reports(&device)?
        .iter()
        .map(|report| report.number)
        .collect();
    check_eq("numbers of the reports", numbers, (24..40).collect())?;
    // A short array receives a part of the reports, from any number on.
    let mut part = [slablab_report::default(); 3];
    for (from, first, count, next) in [
        (0, 24, 3, 27),
        (30, 30, 3, 33),
        (38, 38, 2, 40),
        (40, 0, 0, 40),
        (u64::MAX, 0, 0, u64::MAX),
    ] {
        let reply = device.reports(from, &mut part)?;
        check_eq("count", reply.count, count)?;
        check_eq("number of the next report", reply.number, next)?;
        if count > 0 {
            check_eq("number of the first report", part[0].number, first)?;
        }
    }
    Ok(())
}

fn threads_misuse_one_pool_at_once(engine: Engine) -> TestResult {
    const THREADS: u64 = 4;
    const ROUNDS: usize = 60;
    let device = &debug(engine, 64 * MIB)?;
    let misuses = &misuses();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                scope.spawn(move || -> TestResult {
                    for round in 0..ROUNDS {
                        let handle = filled(device, 100, thread)?;
                        let misuse = misuses[round % misuses.len()];
                        // Another thread may allocate the block between two steps of the misuse (EAGAIN).
                        // After a write to a free block, another thread may also get the report.
                        match device.inject(misuse.raw(), 100) {
                            Err(Errno::AGAIN) => {}
                            Ok(report) if report.fault == 0 => {}
                            result => is_of(&result?, misuse, 100, 64 * MIB).about(misuse)?,
                        }
                        intact(device, handle, 100, thread)?;
                        device.free(handle)?;
                    }
                    Ok(())
                })
            })
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| match thread.join() {
                Ok(outcome) => outcome,
                Err(_) => Err(TestError::failed("a thread panicked")),
            })
    })?;
    let stats = device.stats()?;
    check_eq("live", stats.live_blocks, stats.quarantined_blocks)?;
    adds_up(&stats)?;
    sound(device)
}

/// Misuses private pools in debug mode. This is the work of a child program ([`ChildRole::Vandal`]).
pub(super) fn vandal(engine: Engine) -> TestResult {
    for round in 0..3 {
        let device = debug(engine, 8 * MIB)?;
        let misuses = misuses();
        for misuse in &misuses {
            let report = inject(&device, *misuse, 100 + round)?;
            is_of(&report, *misuse, 100 + round, 8 * MIB).about(*misuse)?;
        }
        let noticed = misuses.iter();
        let noticed = noticed.filter(|misuse| misuse.expected() != Fault::None);
        let stats = device.stats()?;
        check_eq(
            "reports",
            stats.reports.iter().sum(),
            noticed.count() as u64,
        )?;
        check_eq("quarantined", stats.quarantined_blocks, 8)?;
        sound(&device)?;
    }
    Ok(())
}

fn programs_misuse_pools_at_once() -> TestResult {
    for engine in POOL_ENGINES {
        // A session with another pool is not affected.
        let neighbour = debug(engine, MIB)?;
        let handle = filled(&neighbour, 5000, 1)?;
        let mut vandals = Vec::new();
        for _ in 0..6 {
            vandals.push(Child::start(ChildRole::Vandal, engine)?);
        }
        let pids: HashSet<_> = vandals.iter().map(Child::id).collect();
        check_eq("processes with a report", pids.len(), vandals.len())?;
        for vandal in vandals {
            vandal.succeeds()?;
        }
        intact(&neighbour, handle, 5000, 1)?;
        check_eq("reports", neighbour.stats()?.reports, [0; 16])?;
        sound(&neighbour)?;
    }
    Ok(())
}
