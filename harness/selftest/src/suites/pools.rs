// SPDX-License-Identifier: GPL-2.0

//! Private pools, EXTEND and SHRINK.

use std::sync::{
    Mutex,
    PoisonError, //
};

use crate::{
    device::{
        Device,
        Errno, //
    },
    uapi::{
        self,
        Engine, //
    },
};

use super::{
    fixture::{
        KIB,
        MIB,
        POOL_UNIT,
        exhaust,
        filled,
        has_slabs,
        intact,
        private,
        private_of,
        rounds,
        shared,
        sound,
        unchanged, //
    },
    prelude::*,
    processes::together,
};

suite!("pools" {
    Once private_pools_are_separate,
    Once a_private_pool_is_freed_with_its_session,
    Once two_pools_of_one_size_give_the_same_answers,
    Once an_exhausted_pool_allocates_again_after_extend,
    Once adjacent_regions_never_merge,
    Once a_pool_has_16_regions_at_most,
    Pools threads_that_extend_a_pool_get_a_region_each,
    Once an_extension_of_an_odd_size_is_einval,
    Once private_pools_together_are_bounded,
    Once extensions_of_private_pools_are_bounded_too,
    Magazines shrink_returns_cached_memory,
    Once shrink_without_cached_memory_is_0_or_eopnotsupp,
});

/// Returns the region of an offset.
fn region(offset: u64) -> u64 {
    offset >> uapi::SLABLAB_OFFSET_REGION_SHIFT
}

fn private_pools_are_separate() -> TestResult {
    let (one, other, common) = (private(MIB)?, private(2 * MIB)?, shared(Engine::Seed)?);
    let mine = filled(&one, 5000, 1)?;
    unchanged(&common, || {
        let theirs = filled(&other, 5000, 2)?;
        exhaust(&other, 64)?;
        intact(&other, theirs, 5000, 2)
    })?;
    check_eq(
        "pools",
        (one.info()?.pool_bytes, other.info()?.pool_bytes),
        (MIB, 2 * MIB),
    )?;
    check_eq("blocks", one.stats()?.live_blocks, 1)?;
    drop(other);
    intact(&one, mine, 5000, 1)?;
    sound(&one)
}

fn a_private_pool_is_freed_with_its_session() -> TestResult {
    let observer = Device::open()?;
    let before = observer.info()?.private_bytes_used;
    let device = private(3 * MIB)?;
    filled(&device, 100_000, 1)?;
    let charged = || -> TestResult<u64> {
        let charge = device.info()?.pool_charge;
        check_eq(
            "private_bytes_used",
            observer.info()?.private_bytes_used,
            before + charge,
        )?;
        Ok(charge)
    };
    let first = charged()?;
    check(first >= 3 * MIB, "the charge covers the region")?;
    device.extend(MIB)?;
    check(
        charged()? >= first + MIB,
        "the charge covers the added region",
    )?;
    drop(device);
    check_eq(
        "private_bytes_used",
        observer.info()?.private_bytes_used,
        before,
    )
}

fn two_pools_of_one_size_give_the_same_answers() -> TestResult {
    let offsets = |device: Device| -> TestResult<Vec<u64>> {
        let mut offsets = Vec::new();
        for n in 0..500_u64 {
            let block = device.alloc(1 + n * 37 % 9000, 1)?;
            offsets.push(block.offset);
            if n % 3 == 0 {
                device.free(block.handle)?;
            }
        }
        Ok(offsets)
    };
    let first = offsets(private(8 * MIB)?)?;
    check_eq("offsets", offsets(private(8 * MIB)?)?, first)
}

fn an_exhausted_pool_allocates_again_after_extend() -> TestResult {
    let device = private(64 * KIB)?;
    let old = filled(&device, 8 * KIB, 1)?;
    exhaust(&device, 8 * KIB)?;
    let reply = device.extend(MIB)?;
    check_eq(
        "region and pool size",
        (reply.region, reply.pool_bytes),
        (1, MIB + 64 * KIB),
    )?;
    let info = device.info()?;
    check_eq("INFO", (info.regions, info.pool_bytes), (2, MIB + 64 * KIB))?;
    let stats = device.stats()?;
    check_eq(
        "STATS",
        (stats.regions, stats.pool_bytes),
        (2, MIB + 64 * KIB),
    )?;
    check_eq("free", stats.free_bytes, MIB)?;
    for size in [64, 8 * KIB, 256 * KIB] {
        let block = device.alloc(size, 1)?;
        check_eq("region", region(block.offset), 1).about(size)?;
        let byte = block.offset & ((1 << uapi::SLABLAB_OFFSET_REGION_SHIFT) - 1);
        check(byte + block.usable <= MIB, "the block is in the region").about(size)?;
    }
    let new = filled(&device, 300_000, 2)?;
    intact(&device, new, 300_000, 2)?;
    intact(&device, old, 8 * KIB, 1)?;
    sound(&device)
}

fn adjacent_regions_never_merge() -> TestResult {
    // No block spans two regions, wherever the regions lie.
    let device = private(MIB)?;
    for _ in 0..3 {
        device.extend(MIB)?;
    }
    let mut regions = [0; 4];
    for _ in 0..4 {
        regions[region(device.alloc(MIB, 1)?.offset) as usize] += 1;
    }
    check_eq("blocks of each region", regions, [1; 4])?;
    check(
        device.alloc(1, 1).is_err(),
        "the full pool refuses a request",
    )?;
    let device = private(MIB)?;
    device.extend(MIB)?;
    refused(device.alloc(2 * MIB, 1), Errno::NOMEM)?;
    sound(&device)
}

fn a_pool_has_16_regions_at_most() -> TestResult {
    let device = private(POOL_UNIT)?;
    for region in 1..uapi::SLABLAB_REGIONS_MAX {
        check_eq("region", device.extend(POOL_UNIT)?.region, region)?;
    }
    let before = device.info()?.private_bytes_used;
    unchanged(&device, || refused(device.extend(POOL_UNIT), Errno::NOSPC))?;
    check_eq(
        "private_bytes_used",
        device.info()?.private_bytes_used,
        before,
    )?;
    let (handles, _) = exhaust(&device, POOL_UNIT)?;
    check_eq("blocks", handles.len(), uapi::SLABLAB_REGIONS_MAX as usize)?;
    sound(&device)
}

fn threads_that_extend_a_pool_get_a_region_each(engine: Engine) -> TestResult {
    const THREADS: u64 = 5;
    for round in 0..rounds(200, 2000) {
        let device = private_of(engine, POOL_UNIT)?;
        let replies = Mutex::new(Vec::new());
        together(THREADS, |_| {
            for _ in 0..4 {
                match device.extend(POOL_UNIT) {
                    Ok(reply) => replies
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push((u64::from(reply.region), reply.pool_bytes)),
                    refusal => refused(refusal, Errno::NOSPC)?,
                }
            }
            Ok(())
        })?;
        let mut replies = replies.into_inner().unwrap_or_else(PoisonError::into_inner);
        replies.sort_unstable();
        let regions = 1..u64::from(uapi::SLABLAB_REGIONS_MAX);
        let expected: Vec<_> = regions.map(|n| (n, (n + 1) * POOL_UNIT)).collect();
        check_eq("regions and pool sizes", replies, expected).about(round)?;
        sound(&device)?;
    }
    Ok(())
}

fn an_extension_of_an_odd_size_is_einval() -> TestResult {
    let device = private(MIB)?;
    unchanged(&device, || {
        for bytes in [0, 1, 4096, POOL_UNIT - 1, POOL_UNIT + 4096, u64::MAX] {
            refused(device.extend(bytes), Errno::INVAL).about(bytes)?;
        }
        Ok(())
    })
}

fn private_pools_together_are_bounded() -> TestResult {
    let observer = Device::open()?;
    let info = observer.info()?;
    let rest = info.private_bytes_max - info.private_bytes_used;
    let bind = |bytes| {
        let device = Device::open()?;
        device
            .bind(Engine::Seed.raw(), uapi::SLABLAB_BIND_PRIVATE, bytes)
            .map(|()| device)
    };
    refused(bind(rest + POOL_UNIT), Errno::DQUOT)?;
    refused(bind(1 << 47), Errno::DQUOT)?;
    refused(bind(u64::MAX - POOL_UNIT + 1), Errno::DQUOT)?;
    let some = bind(MIB)?;
    refused(bind(rest), Errno::DQUOT)?;
    refused(bind(rest - MIB + POOL_UNIT), Errno::DQUOT)?;
    check_eq(
        "private_bytes_used",
        observer.info()?.private_bytes_used,
        info.private_bytes_used + some.info()?.pool_charge,
    )?;
    drop(some);
    check_eq(
        "private_bytes_used",
        observer.info()?.private_bytes_used,
        info.private_bytes_used,
    )
}

fn extensions_of_private_pools_are_bounded_too() -> TestResult {
    let device = private(MIB)?;
    let info = device.info()?;
    let rest = (info.private_bytes_max - info.private_bytes_used) / POOL_UNIT * POOL_UNIT;
    unchanged(&device, || {
        refused(device.extend(rest + POOL_UNIT), Errno::DQUOT)?;
        refused(device.extend(1 << 47), Errno::DQUOT)?;
        refused(device.extend(u64::MAX - POOL_UNIT + 1), Errno::DQUOT)
    })?;
    check_eq(
        "private_bytes_used",
        device.info()?.private_bytes_used,
        info.private_bytes_used,
    )?;
    check_eq("region", device.extend(POOL_UNIT)?.region, 1)
}

fn shrink_returns_cached_memory(engine: Engine) -> TestResult {
    let device = private_of(engine, MIB)?;
    let live = filled(&device, 5000, 1)?;
    let mut blocks = Vec::new();
    for size in [8, 100, 1000, 3000] {
        for _ in 0..50 {
            blocks.push(device.alloc(size, 1)?.handle);
        }
    }
    for block in blocks {
        device.free(block)?;
    }
    // The cached bytes are in magazines, and in slabs that are empty or whose other objects are in magazines. `extent`
    // has no slabs.
    let before = device.stats()?;
    let kept = before.cached_bytes;
    check(before.magazine_bytes > 0, "magazines have cached bytes")?;
    check_eq(
        "slabs have cached bytes",
        kept > before.magazine_bytes,
        has_slabs(engine),
    )?;
    let shrink = device.shrink()?;
    check_eq("bytes returned by SHRINK", shrink.bytes, kept)?;
    check_eq("free", shrink.free_bytes, before.free_bytes + kept)?;
    check_eq(
        "bytes returned by a second SHRINK",
        device.shrink()?.bytes,
        0,
    )?;
    let after = device.stats()?;
    check_eq(
        "cached_bytes and magazine_bytes",
        (after.cached_bytes, after.magazine_bytes),
        (0, 0),
    )?;
    check_eq("live_bytes", after.live_bytes, before.live_bytes)?;
    intact(&device, live, 5000, 1)?;
    sound(&device)
}

fn shrink_without_cached_memory_is_0_or_eopnotsupp() -> TestResult {
    // The slabs of the seed never return memory.
    let seed = private(MIB)?;
    let block = filled(&seed, 64, 1)?;
    seed.free(block)?;
    unchanged(&seed, || {
        check_eq("bytes returned by SHRINK", seed.shrink()?.bytes, 0)
    })?;
    refused(shared(Engine::Slub)?.shrink(), Errno::OPNOTSUPP)
}
