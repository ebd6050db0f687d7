// SPDX-License-Identifier: GPL-2.0

//! All memory that the module allocates for a call is charged to a budget, which INFO reports.
//!
//! The tests compare the charge with the decrease of free memory. This figure is not exact, because the kernel keeps
//! some freed slabs and frees some pages later. Each test therefore allocates several MiB.

use std::{
    fs, thread,
    time::{
        Duration,
        Instant, //
    },
};

use rustix::{
    param::page_size,
    process::{
        Resource,
        Rlimit,
        getrlimit,
        setrlimit, //
    }, //
};

use crate::{
    device::{
        Device,
        Errno, //
    },
    uapi::{
        self,
        BenchPattern,
        BenchSubject,
        Engine,
        slablab_bench, //
    },
};

use super::{
    bench::small,
    fixture::{
        KIB,
        MIB,
        POOL_UNIT,
        has_kasan,
        has_pool,
        private_of,
        session,
        shared, //
    },
    prelude::*, //
};

suite!("budgets" {
    Pools small_private_pools_are_charged_completely,
    Pools regions_are_charged_completely,
    Each handle_tables_are_charged_completely,
    Once event_rings_are_charged_completely,
    Once every_session_can_have_a_minimal_event_ring,
    Once a_bench_is_charged_completely,
    Each the_end_of_a_session_refunds_its_charges,
    Pools a_pool_that_is_refused_is_not_charged,
    Pools small_pools_end_in_a_refusal_in_bounded_time,
});

/// Returns the bytes that are charged to all sessions, according to INFO.
fn charged(observer: &Device) -> TestResult<u64> {
    let info = observer.info()?;
    Ok(info.private_bytes_used + info.session_memory_used)
}

/// Returns the bytes of free memory: the pages of the page allocator, and those that it keeps for each CPU, which
/// `MemFree` does not count.
fn free_bytes() -> TestResult<u64> {
    let meminfo = fs::read_to_string("/proc/meminfo")?;
    let free_kib = sum_of("MemFree:", &meminfo)
        .ok_or_else(|| TestError::failed("/proc/meminfo has no MemFree"))?;
    let zoneinfo = fs::read_to_string("/proc/zoneinfo")?;
    let kept_pages = sum_of("count:", &zoneinfo)
        .ok_or_else(|| TestError::failed("/proc/zoneinfo has no page counts of CPUs"))?;
    Ok(free_kib * KIB + kept_pages * page_size() as u64)
}

/// Returns the sum of the numbers behind `name` at the beginning of lines, or `None` if no line begins so.
fn sum_of(name: &str, text: &str) -> Option<u64> {
    let rests = text
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix(name));
    let numbers = rests.filter_map(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    numbers.reduce(|sum, number| sum + number)
}

/// Skips a test that compares charges with free memory on a kernel with KASAN, because KASAN allocates
/// memory, too.
fn without_kasan() -> TestResult {
    if has_kasan() {
        return Err(TestError::skipped(
            "KASAN also allocates memory, so charges cannot be compared with free memory",
        ));
    }
    Ok(())
}

/// Compares the charge of `take` with the loss of free memory. The value that `take` returns owns the
/// memory.
///
/// Memory that was freed before may become free during the comparison, so that the loss is too small;
/// the comparison is then repeated. The loss must never be larger than the charge.
fn compare<T>(observer: &Device, mut take: impl FnMut() -> TestResult<T>) -> TestResult {
    /// Tolerance: free slabs that the kernel keeps, and memory of other programs.
    const SLACK: u64 = 512 * KIB;

    without_kasan()?;
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let (charged_before, free_before) = (charged(observer)?, free_bytes()?);
        let taken = take()?;
        let less = free_before.saturating_sub(free_bytes()?);
        let charge = charged(observer)? - charged_before;
        drop(taken);
        let reply =
            format!("the charge is {charge} bytes, and free memory decreased by {less} bytes");
        check(
            charge >= 2 * MIB,
            format_args!("the charge is at least 2 MiB: {reply}"),
        )?;
        check(
            less <= charge + charge / 16 + SLACK,
            format_args!("the charge covers the decrease of free memory: {reply}"),
        )?;
        if charge <= less + less / 8 + SLACK {
            return Ok(());
        }
        check(
            Instant::now() < deadline,
            format_args!("the charge does not exceed the decrease of free memory: {reply}"),
        )?;
        thread::sleep(Duration::from_millis(50));
    }
}

fn small_private_pools_are_charged_completely(engine: Engine) -> TestResult {
    let observer = Device::open()?;
    let info = observer.info()?;
    let most = (info.sessions_max - info.sessions_used).min(50);
    compare(&observer, || {
        let pools = (0..most).map(|_| private_of(engine, 2 * POOL_UNIT));
        pools.collect::<TestResult<Vec<_>>>()
    })
}

fn regions_are_charged_completely(engine: Engine) -> TestResult {
    let observer = Device::open()?;
    compare(&observer, || {
        let device = private_of(engine, 8 * MIB)?;
        device.extend(24 * MIB)?;
        Ok(device)
    })
}

fn handle_tables_are_charged_completely(engine: Engine) -> TestResult {
    let observer = Device::open()?;
    let blocks = observer.info()?.session_handles_max.min(70_000);
    // Blocks of a shared pool are not charged, because the pool is allocated already; slub allocates
    // its blocks from free memory.
    let size = if has_pool(engine) { 64 } else { 1 };
    let warm = shared(engine)?;
    for _ in 0..blocks {
        warm.alloc(size, 1)?;
    }
    if !has_pool(engine) {
        return check(
            charged(&observer)? >= blocks * 64,
            "the handle table of a session on slub is charged",
        );
    }
    drop(warm);
    compare(&observer, || {
        let device = shared(engine)?;
        for _ in 0..blocks {
            device.alloc(size, 1)?;
        }
        Ok(device)
    })
}

fn event_rings_are_charged_completely() -> TestResult {
    let observer = Device::open()?;
    compare(&observer, || {
        let device = session(Engine::Slub)?;
        device.record(uapi::SLABLAB_EVENTS_MAX)?;
        Ok(device)
    })
}

fn every_session_can_have_a_minimal_event_ring() -> TestResult {
    let info = Device::open()?.info()?;
    let mut sessions = Vec::new();
    // Large rings are allocated until one is refused, then a small ring for each of the remaining sessions.
    let mut is_short = false;
    for _ in info.sessions_used..info.sessions_max {
        let device = session(Engine::Slub)?;
        if !is_short {
            match device.record(uapi::SLABLAB_EVENTS_MAX) {
                Ok(()) => {}
                Err(Errno::DQUOT) => is_short = true,
                Err(error) => return Err(error.into()),
            }
        }
        if is_short {
            device.record(1024)?;
        }
        sessions.push(device);
    }
    if !is_short {
        return Err(TestError::skipped(
            "the budget is enough for the largest event ring in every session",
        ));
    }
    let some = &sessions[0];
    check(
        some.info()?.session_memory_used <= some.info()?.session_memory_max,
        "session_memory_used is at most session_memory_max",
    )
}

fn a_bench_is_charged_completely() -> TestResult {
    without_kasan()?;
    let device = Device::open()?;
    for subject in BenchSubject::ENGINES {
        let bench = slablab_bench {
            pool_bytes: 64 * MIB,
            ..small(subject, BenchPattern::Handover)
        };
        let (charged_before, free_before) = (charged(&device)?, free_bytes()?);
        thread::scope(|scope| {
            // The call waits for its second thread; at this point it has allocated all but its samples.
            let alone = scope.spawn(|| device.bench(&bench));
            while charged(&device)? == charged_before {
                thread::sleep(Duration::from_millis(1));
            }
            thread::sleep(Duration::from_millis(50));
            let less = free_before.saturating_sub(free_bytes()?);
            let charge = charged(&device)? - charged_before;
            check(
                less <= charge + charge / 16 + MIB,
                format_args!(
                    "the charge ({charge} bytes) covers the decrease of free memory ({less} bytes)"
                ),
            )?;
            // The charge covers two arrays of slots and, for hybrid, 20 bytes of metadata per page of the
            // pool.
            let table = match subject {
                BenchSubject::Hybrid => bench.pool_bytes / 4096 * 20,
                _ => 0,
            };
            let slots = 2 * 16 * u64::from(bench.slots);
            check(
                charge >= bench.pool_bytes + table + slots,
                format_args!("the charge ({charge} bytes) covers pool, metadata and slots"),
            )?;
            device.bench(&bench)?;
            alone.join().unwrap_or(Err(Errno::IO))?;
            Ok::<_, TestError>(())
        })
        .about(subject)?;
        check_eq("charged bytes", charged(&device)?, charged_before)?;
    }
    Ok(())
}

fn the_end_of_a_session_refunds_its_charges(engine: Engine) -> TestResult {
    let observer = Device::open()?;
    let before = charged(&observer)?;
    for _ in 0..3 {
        let device = session(engine)?;
        let empty = charged(&observer)?;
        check(empty > before, "memory for an open file is charged")?;
        for _ in 0..3000 {
            device.alloc(64, 1)?;
        }
        let with_table = charged(&observer)?;
        check(
            with_table >= empty + 3000 * 64,
            format_args!(
                "the charge for 3,000 handles is at least 192,000 bytes, not {}",
                with_table - empty
            ),
        )?;
        device.record(5000)?;
        check(
            charged(&observer)? >= with_table + 5000 * 32,
            "the event ring is charged with at least 32 bytes per event",
        )?;
        refused(device.record(6000), Errno::BUSY)?;
        device.end_record()?;
        check_eq("charged bytes", charged(&observer)?, with_table)?;
        drop(device);
        check_eq("charged bytes", charged(&observer)?, before)?;
    }
    Ok(())
}

fn a_pool_that_is_refused_is_not_charged(engine: Engine) -> TestResult {
    let device = Device::open()?;
    let info = device.info()?;
    let bind = |bytes| device.bind(engine.raw(), uapi::SLABLAB_BIND_PRIVATE, bytes);
    let rest = (info.private_bytes_max - info.private_bytes_used) / POOL_UNIT * POOL_UNIT;
    // A pool that is as large as the rest of the budget exceeds the budget together with its metadata.
    refused(bind(rest), Errno::DQUOT)?;
    refused(bind(1 << 47), Errno::DQUOT)?;
    refused(bind(POOL_UNIT + 1), Errno::INVAL)?;
    check_eq(
        "private_bytes_used",
        device.info()?.private_bytes_used,
        info.private_bytes_used,
    )
}

/// Binds small pools until one is refused. On a small machine with many processors
/// (scripts/tests/budgets.sh), the reason for the refusal is a lack of memory.
fn small_pools_end_in_a_refusal_in_bounded_time(engine: Engine) -> TestResult {
    /// The longest accepted duration of BIND. In an earlier version, calls took 14 s, and then the machine
    /// stopped responding.
    const LONGEST: Duration = Duration::from_secs(5);

    let files = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: files.maximum,
            ..files
        },
    )?;
    let observer = Device::open()?;
    let (charged_before, free_before) = (charged(&observer)?, free_bytes()?);
    let mut pools = Vec::new();
    loop {
        let device = match Device::open() {
            Ok(device) => device,
            Err(Errno::NFILE | Errno::NOMEM | Errno::MFILE) => break,
            Err(error) => return Err(error.into()),
        };
        let begin = Instant::now();
        let bound = device.bind(engine.raw(), uapi::SLABLAB_BIND_PRIVATE, POOL_UNIT);
        let elapsed = begin.elapsed();
        check(
            elapsed < LONGEST,
            format_args!(
                "BIND after {} pools returns within {LONGEST:?}, not {elapsed:?}",
                pools.len()
            ),
        )?;
        match bound {
            Ok(()) => pools.push(device),
            Err(Errno::DQUOT | Errno::NOMEM) => break,
            Err(error) => return Err(error.into()),
        }
    }
    let (charge, less) = (
        charged(&observer)? - charged_before,
        free_before.saturating_sub(free_bytes()?),
    );
    // The kernel itself allocates some memory for each open file.
    let files = pools.len() as u64 * 16 * KIB;
    check(
        less <= charge + charge / 16 + files + MIB,
        format_args!(
            "the charge ({charge} bytes) of {} pools covers the decrease of free memory ({less} bytes)",
            pools.len()
        ),
    )?;
    drop(pools);
    check_eq("charged bytes", charged(&observer)?, charged_before)?;
    private_of(engine, POOL_UNIT)?;
    Ok(())
}
