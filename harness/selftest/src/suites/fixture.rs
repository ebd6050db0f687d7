// SPDX-License-Identifier: GPL-2.0

//! Fixtures of tests: sessions, blocks filled with a pattern, and snapshots of statistics.

use std::{
    fs,
    sync::atomic::{
        AtomicBool,
        Ordering, //
    },
};

use crate::{
    device::{
        Device,
        Errno, //
    },
    rng::Rng,
    sim::Pool,
    target::{
        Refused,
        Target, //
    },
    uapi::{
        self,
        Engine, //
    },
};

use super::verdict::{
    TestError,
    TestResult,
    check_eq, //
};

/// Whether slow tests have a thousand repetitions.
static LONG: AtomicBool = AtomicBool::new(false);

/// Sets the number of repetitions of all tests.
pub(super) fn set_long(long: bool) {
    LONG.store(long, Ordering::Relaxed);
}

/// Returns the number of repetitions: `long` in a long run, else `usually`.
pub(super) fn rounds(usually: u64, long: u64) -> u64 {
    if LONG.load(Ordering::Relaxed) {
        long
    } else {
        usually
    }
}

/// The number of bytes in a KiB.
pub(super) const KIB: u64 = 1024;

/// The number of bytes in a MiB.
pub(super) const MIB: u64 = 1024 * KIB;

/// The size of a private pool is a multiple of this number of bytes.
pub(super) const POOL_UNIT: u64 = 32 * KIB;

/// The size of a private pool in bytes, unless a test needs another size.
pub(super) const POOL_BYTES: u64 = 4 * MIB;

/// The engines that tests run on.
pub(super) const ENGINES: [Engine; POOL_ENGINES.len() + 1] = {
    let mut engines = [Engine::Slub; POOL_ENGINES.len() + 1];
    let mut n = 0;
    while n < POOL_ENGINES.len() {
        engines[n] = POOL_ENGINES[n];
        n += 1;
    }
    engines
};

/// The engines that have pools in every module: those of `sim`.
pub(super) const POOL_ENGINES: [Engine; Pool::ENGINES.len()] = Pool::ENGINES;

/// The engines that have magazines. These engines also support MAP and SHRINK.
pub(super) const MAGAZINE_ENGINES: [Engine; 2] = [Engine::Hybrid, Engine::Extent];

/// Returns whether an engine has pools.
pub(super) fn has_pool(engine: Engine) -> bool {
    engine != Engine::Slub
}

/// Returns whether an engine has slabs, which grow.
pub(super) fn has_slabs(engine: Engine) -> bool {
    has_pool(engine) && engine != Engine::Extent
}

/// Returns whether an engine supports MAP.
pub(super) fn has_map(engine: Engine) -> bool {
    MAGAZINE_ENGINES.contains(&engine)
}

/// Opens a session, with a private pool if the engine has pools.
#[track_caller]
pub(super) fn session(engine: Engine) -> TestResult<Device> {
    if has_pool(engine) {
        private_of(engine, POOL_BYTES)
    } else {
        shared(engine)
    }
}

/// Opens a session on an engine's shared pool.
#[track_caller]
pub(super) fn shared(engine: Engine) -> TestResult<Device> {
    let device = Device::open()?;
    device.bind(engine.raw(), 0, 0)?;
    Ok(device)
}

/// Opens a session of the seed in a new pool of `pool_bytes` bytes.
#[track_caller]
pub(super) fn private(pool_bytes: u64) -> TestResult<Device> {
    private_of(Engine::Seed, pool_bytes)
}

/// Opens a session of an engine in a new pool of `pool_bytes` bytes.
#[track_caller]
pub(super) fn private_of(engine: Engine, pool_bytes: u64) -> TestResult<Device> {
    let device = Device::open()?;
    device.bind(engine.raw(), uapi::SLABLAB_BIND_PRIVATE, pool_bytes)?;
    Ok(device)
}

/// The usage of a pool by programs: the statistics that a rolled back call must not change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Usage {
    regions: u32,
    pool_bytes: u64,
    live_bytes: u64,
    requested_bytes: u64,
    pub(super) live_blocks: u64,
    session_blocks: u64,
    session_bytes: u64,
    session_allocations: u64,
    session_frees: u64,
    session_reallocations: u64,
}

/// Returns the usage of the session of `device` and of its pool, which a rolled back call must not
/// change.
#[track_caller]
pub(super) fn usage(device: &Device) -> TestResult<[u64; 7]> {
    let standing = Snapshot::of(device)?.standing;
    Ok([
        standing.regions.into(),
        standing.pool_bytes,
        standing.live_bytes,
        standing.requested_bytes,
        standing.live_blocks,
        standing.session_blocks,
        standing.session_bytes,
    ])
}

/// The statistics that a refused call must not change: all except the counts of refusals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Snapshot {
    pub(super) standing: Usage,
    sums: [u64; 3],
    idle_bytes: [u64; 2],
    operations: [u64; 2],
    buddy: [u64; 3],
    classes: Vec<[u64; 4]>,
}

impl Snapshot {
    /// Reads the statistics of the session of `device` and of its pool.
    #[track_caller]
    pub(super) fn of(device: &Device) -> TestResult<Self> {
        let stats = device.stats()?;
        let class_count = (stats.class_count as usize).min(stats.classes.len());
        Ok(Self {
            standing: Usage {
                regions: stats.regions,
                pool_bytes: stats.pool_bytes,
                live_bytes: stats.live_bytes,
                requested_bytes: stats.requested_bytes,
                live_blocks: stats.live_blocks,
                session_blocks: stats.session_blocks,
                session_bytes: stats.session_bytes,
                session_allocations: stats.session_allocations,
                session_frees: stats.session_frees,
                session_reallocations: stats.session_reallocations,
            },
            sums: [stats.total_bytes, stats.used_bytes, stats.available_bytes],
            idle_bytes: [stats.cached_bytes, stats.free_bytes],
            operations: [stats.allocations, stats.frees],
            buddy: [
                stats.buddy_user_bytes,
                stats.buddy_actual_bytes,
                stats.buddy_total_bytes,
            ],
            classes: stats.classes[..class_count]
                .iter()
                .map(|class| {
                    [
                        class.block_bytes,
                        class.total_blocks,
                        class.used_blocks,
                        class.growths,
                    ]
                })
                .collect(),
        })
    }
}

/// Runs `act` and checks that it did not change the statistics.
#[track_caller]
pub(super) fn unchanged(device: &Device, act: impl FnOnce() -> TestResult) -> TestResult {
    let before = Snapshot::of(device)?;
    act()?;
    check_eq("figures", Snapshot::of(device)?, before)
}

/// Runs `act` and checks that it did not change the usage by programs.
#[track_caller]
pub(super) fn undone(device: &Device, act: impl FnOnce() -> TestResult) -> TestResult {
    let before = Snapshot::of(device)?.standing;
    act()?;
    check_eq(
        "state of session and pool",
        Snapshot::of(device)?.standing,
        before,
    )
}

/// Returns `len` non-zero bytes that depend on `seed` and on their position.
pub(super) fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let mut random = Rng::new(seed);
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        bytes.extend((random.next() | 0x1010_1010_1010_1010).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Allocates a block and fills it with the pattern of `seed`.
#[track_caller]
pub(super) fn filled(device: &Device, size: u64, seed: u64) -> TestResult<u32> {
    let handle = device.alloc(size, 1)?.handle;
    write_whole(device, handle, &pattern(seed, to_len(size)))?;
    Ok(handle)
}

/// Checks that the block contains the pattern of `seed`.
#[track_caller]
pub(super) fn intact(device: &Device, handle: u32, size: u64, seed: u64) -> TestResult {
    let got = read_whole(device, handle, to_len(size))?;
    same_bytes(&got, &pattern(seed, to_len(size)))
}

/// Compares bytes; the error names the first difference.
#[track_caller]
pub(super) fn same_bytes(got: &[u8], expected: &[u8]) -> TestResult {
    check_eq("bytes", got.len(), expected.len())?;
    match got
        .iter()
        .zip(expected)
        .position(|(got, expected)| got != expected)
    {
        None => Ok(()),
        Some(at) => Err(TestError::failed(format!(
            "byte {at} of {}: expected {:#04x}, got {:#04x}",
            got.len(),
            expected[at],
            got[at]
        ))),
    }
}

/// Checks that `len` bytes from `byte` on are zero.
#[track_caller]
pub(super) fn zeros(device: &Device, handle: u32, byte: u32, len: usize) -> TestResult {
    let mut bytes = vec![0xff; len];
    check_eq("bytes read", device.read(handle, byte, &mut bytes)?, len)?;
    match bytes.iter().position(|byte| *byte != 0) {
        None => Ok(()),
        Some(at) => Err(TestError::failed(format!(
            "byte {at} of {len}: expected zero, got {:#04x}",
            bytes[at]
        ))),
    }
}

/// Reads a block of `len` bytes from its beginning.
#[track_caller]
pub(super) fn read_whole(device: &Device, handle: u32, len: usize) -> TestResult<Vec<u8>> {
    let mut bytes = vec![0; len];
    check_eq("bytes read", device.read(handle, 0, &mut bytes)?, len)?;
    Ok(bytes)
}

/// Writes a block from its beginning.
#[track_caller]
pub(super) fn write_whole(device: &Device, handle: u32, bytes: &[u8]) -> TestResult {
    check_eq(
        "bytes written",
        device.write(handle, 0, bytes)?,
        bytes.len(),
    )
}

/// Allocates blocks of `size` bytes until a request is refused; returns the blocks and the refusal.
#[track_caller]
pub(super) fn exhaust(device: &Device, size: u64) -> TestResult<(Vec<u32>, Refused)> {
    let mut handles = Vec::new();
    loop {
        match device.alloc(size, 1) {
            Ok(block) => handles.push(block.handle),
            Err(refused) => return Ok((handles, refused)),
        }
    }
}

/// Runs CHECK on the pool of `device`, which must find no violation.
#[track_caller]
pub(super) fn sound(device: &Device) -> TestResult {
    let check = device.check()?;
    check_eq("broken rule", check.rule, uapi::SLABLAB_RULE_NONE)
}

/// Turns a size into the length of a buffer.
pub(super) fn to_len(size: u64) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}

/// Returns whether the kernel has KASAN.
pub(super) fn has_kasan() -> bool {
    let symbols = fs::read_to_string("/proc/kallsyms").unwrap_or_default();
    symbols.contains(" kasan_report\n")
}

/// Returns whether an error means that the kernel does not have a feature.
pub(super) fn is_missing(errno: Errno) -> bool {
    matches!(errno, Errno::NOSYS | Errno::AFNOSUPPORT)
}
