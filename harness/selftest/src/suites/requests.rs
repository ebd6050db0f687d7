// SPDX-License-Identifier: GPL-2.0

//! ALLOC, REALLOC, BIND and CHECK: requests and replies.

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
        POOL_BYTES,
        exhaust,
        filled,
        has_map,
        has_pool,
        intact,
        private,
        private_of,
        session,
        shared,
        sound,
        unchanged,
        undone, //
    },
    prelude::*, //
};

suite!("requests" {
    Each info_describes_the_session,
    Each a_size_of_zero_is_einval,
    Each an_alignment_that_is_no_power_of_two_is_einval,
    Each an_alignment_above_the_pool_is_einval,
    Each a_size_above_the_pool_is_enomem_and_too_big,
    Each a_bad_size_for_realloc_leaves_the_block,
    Each an_alignment_above_a_page_is_satisfied_or_eopnotsupp,
    Each a_reply_has_the_path_and_its_cost,
    Once a_full_pool_is_enomem_and_exhausted,
    Once scattered_free_memory_is_enomem_and_fragmented,
    Magazines a_fragmented_refusal_has_linuxs_fragmentation_index,
    Once a_realloc_that_finds_no_memory_leaves_the_block,
    Once a_pool_that_was_full_allocates_again,
    Each binding_after_allocating_is_ebusy,
    Each binding_twice_is_ebusy,
    Once an_unknown_engine_is_einval,
    Once a_private_pool_of_an_odd_size_is_einval,
    Once a_size_for_a_shared_pool_is_einval,
    Once an_engine_without_pools_has_no_private_one,
    Once an_engine_without_pools_cannot_be_checked_or_extended,
    Once a_failed_bind_leaves_the_session_unbound,
    Once an_unbound_session_allocates_from_the_default,
});

fn info_describes_the_session(engine: Engine) -> TestResult {
    let fresh = Device::open()?.info()?;
    check_eq("ABI version", fresh.abi_version, uapi::SLABLAB_ABI_VERSION)?;
    check_eq(
        "engines",
        fresh.engines,
        super::fixture::ENGINES
            .iter()
            .fold(0, |bits, engine| bits | 1 << engine.raw()),
    )?;
    check_eq("page size", fresh.page_bytes, 4096)?;
    check(
        fresh.sessions_used >= 1 && fresh.sessions_used <= fresh.sessions_max,
        "sessions_used counts this session and is at most sessions_max",
    )?;

    let info = session(engine)?.info()?;
    check_eq("engine", info.engine, engine.raw())?;
    let mut capabilities = 0;
    if has_pool(engine) {
        capabilities |= uapi::SLABLAB_CAP_POOL | uapi::SLABLAB_CAP_PRIVATE;
        capabilities |= uapi::SLABLAB_CAP_MMAP;
    }
    if has_map(engine) {
        capabilities |= uapi::SLABLAB_CAP_MAP;
    }
    check_eq("capabilities", info.capabilities, capabilities)?;
    if has_pool(engine) {
        check_eq("flags", info.bind_flags, uapi::SLABLAB_BIND_PRIVATE)?;
        check_eq("pool", (info.pool_bytes, info.regions), (POOL_BYTES, 1))?;
        check_eq(
            "private_bytes_used",
            info.private_bytes_used,
            info.pool_charge,
        )?;
        check(
            info.pool_charge > POOL_BYTES,
            "the charge of a pool is larger than its region",
        )?;
    } else {
        check_eq("flags", info.bind_flags, 0)?;
        check(info.pool_bytes > 0, "pool_bytes is not 0")?;
    }
    check_eq(
        "flags of a shared pool",
        shared(engine)?.info()?.bind_flags,
        0,
    )
}

fn a_size_of_zero_is_einval(engine: Engine) -> TestResult {
    let device = session(engine)?;
    unchanged(&device, || {
        for align in [1, 8, 4096] {
            refused(device.alloc(0, align), Errno::INVAL)?;
        }
        Ok(())
    })
}

fn an_alignment_that_is_no_power_of_two_is_einval(engine: Engine) -> TestResult {
    let device = session(engine)?;
    unchanged(&device, || {
        for align in [0, 3, 12, 4095, 4097, (1 << 32) + 1, u64::MAX] {
            refused(device.alloc(64, align), Errno::INVAL).about(align)?;
        }
        Ok(())
    })
}

fn an_alignment_above_the_pool_is_einval(engine: Engine) -> TestResult {
    let device = session(engine)?;
    let above = (device.info()?.pool_bytes + 1).next_power_of_two();
    unchanged(&device, || {
        for align in [above, 1 << 62, 1 << 63] {
            refused(device.alloc(64, align), Errno::INVAL).about(align)?;
        }
        Ok(())
    })
}

/// Returns sizes that are larger than a pool of `pool_bytes` bytes.
fn too_big(pool_bytes: u64) -> [u64; 5] {
    [
        pool_bytes + 1,
        1 << 47,
        i64::MAX as u64,
        i64::MAX as u64 + 1,
        u64::MAX,
    ]
}

fn a_size_above_the_pool_is_enomem_and_too_big(engine: Engine) -> TestResult {
    let device = session(engine)?;
    let before = device.stats()?.session_refusals[uapi::SLABLAB_CAUSE_TOO_BIG as usize];
    let sizes = too_big(device.info()?.pool_bytes);
    unchanged(&device, || {
        for size in sizes {
            let answer = device.alloc(size, 8);
            refused_because(answer, Errno::NOMEM, &[uapi::SLABLAB_CAUSE_TOO_BIG]).about(size)?;
        }
        Ok(())
    })?;
    let after = device.stats()?.session_refusals[uapi::SLABLAB_CAUSE_TOO_BIG as usize];
    check_eq(
        "refusals with the cause 'too big'",
        after - before,
        sizes.len() as u64,
    )
}

fn a_bad_size_for_realloc_leaves_the_block(engine: Engine) -> TestResult {
    let device = session(engine)?;
    let handle = filled(&device, 5000, 3)?;
    let sizes = too_big(device.info()?.pool_bytes);
    unchanged(&device, || {
        refused(device.realloc(handle, 0), Errno::INVAL)?;
        for size in sizes {
            let answer = device.realloc(handle, size);
            refused_because(answer, Errno::NOMEM, &[uapi::SLABLAB_CAUSE_TOO_BIG]).about(size)?;
        }
        Ok(())
    })?;
    intact(&device, handle, 5000, 3)
}

fn an_alignment_above_a_page_is_satisfied_or_eopnotsupp(engine: Engine) -> TestResult {
    let device = session(engine)?;
    for (size, align) in [(1, 8192), (64, 65536), (4096, 8192), (8192, 1 << 20)] {
        let answer = device.alloc(size, align);
        let about = format!("{size} bytes aligned to {align}");
        if engine == Engine::Seed {
            refused_because(answer, Errno::OPNOTSUPP, &[uapi::SLABLAB_CAUSE_UNSUPPORTED])
                .about(about)?;
            continue;
        }
        let block = answer?;
        if has_pool(engine) {
            check_eq("offset % align", block.offset % align, 0).about(about)?;
        }
        device.free(block.handle)?;
    }
    check_eq("live blocks", device.stats()?.session_blocks, 0)
}

fn a_reply_has_the_path_and_its_cost(engine: Engine) -> TestResult {
    let device = session(engine)?;
    for (size, align) in [
        (1, 1),
        (64, 64),
        (65, 1),
        (1000, 512),
        (4096, 4096),
        (100_000, 8),
    ] {
        let block = device.alloc(size, align)?;
        let about = format!("{size} bytes aligned to {align}");
        check(
            block.usable >= size,
            "the usable size is at least the requested size",
        )
        .about(&about)?;
        check_eq(
            "cause",
            u32::from(block.cost.cause),
            uapi::SLABLAB_CAUSE_NONE,
        )
        .about(&about)?;
        check_eq(
            "requested size and alignment",
            (block.size, block.align),
            (size, align),
        )?;
        let path = u32::from(block.cost.path);
        if has_pool(engine) {
            let paths: &[u32] = match engine {
                Engine::Extent => &[uapi::SLABLAB_PATH_OTHER],
                _ => &[
                    uapi::SLABLAB_PATH_SLAB,
                    uapi::SLABLAB_PATH_GROWTH,
                    uapi::SLABLAB_PATH_BUDDY, //
                ],
            };
            check(
                paths.contains(&path),
                format_args!("the path {path} is one of {paths:?}"),
            )
            .about(&about)?;
            check(
                block.offset + block.usable <= POOL_BYTES,
                "the block is in the pool",
            )
            .about(&about)?;
            check_eq("offset % align", block.offset % align, 0).about(&about)?;
        } else {
            check_eq("path", path, uapi::SLABLAB_PATH_KERNEL).about(&about)?;
            check_eq("offset", block.offset, uapi::NO_OFFSET).about(&about)?;
        }
    }
    Ok(())
}

fn a_full_pool_is_enomem_and_exhausted() -> TestResult {
    let device = private(MIB)?;
    let (handles, refusal) = exhaust(&device, 8 * KIB)?;
    check_eq("blocks", handles.len() as u64, MIB / (8 * KIB))?;
    refused_because(
        Err::<(), _>(refusal),
        Errno::NOMEM,
        &[uapi::SLABLAB_CAUSE_EXHAUSTED],
    )?;
    unchanged(&device, || {
        let answer = device.alloc(1, 1);
        refused_because(answer, Errno::NOMEM, &[uapi::SLABLAB_CAUSE_EXHAUSTED])
    })?;
    check_eq("free bytes", device.stats()?.free_bytes, 0)
}

fn scattered_free_memory_is_enomem_and_fragmented() -> TestResult {
    let device = private(MIB)?;
    let (handles, _) = exhaust(&device, 8 * KIB)?;
    // Every other block in the order of the offsets is freed, so no two free blocks are buddies.
    let mut placed = Vec::new();
    for handle in handles {
        let block = device.realloc(handle, 8 * KIB)?;
        placed.push((block.offset, handle));
    }
    placed.sort_unstable();
    for (_, handle) in placed.iter().step_by(2) {
        device.free(*handle)?;
    }
    check_eq("free bytes", device.stats()?.free_bytes, MIB / 2)?;
    unchanged(&device, || {
        let answer = device.alloc(16 * KIB, 1);
        refused_because(answer, Errno::NOMEM, &[uapi::SLABLAB_CAUSE_FRAGMENTED])
    })?;
    device.alloc(8 * KIB, 1)?;
    sound(&device)
}

fn a_fragmented_refusal_has_linuxs_fragmentation_index(engine: Engine) -> TestResult {
    let device = private_of(engine, MIB)?;
    let mut placed = Vec::new();
    while let Ok(block) = device.alloc(8 * KIB, 1) {
        placed.push((block.offset, block.handle));
    }
    check_eq("blocks", placed.len(), 128)?;
    placed.sort_unstable();
    for (_, handle) in placed.iter().step_by(2) {
        device.free(*handle)?;
    }
    let Err(refused) = device.alloc(16 * KIB, 1) else {
        return Err(TestError::failed(
            "the request was served, but should have been refused",
        ));
    };
    let cost = refused.cost;
    check_eq(
        "cause",
        u32::from(cost.cause),
        uapi::SLABLAB_CAUSE_FRAGMENTED,
    )?;
    // The formula of mm/vmstat.c, for 128 free pages in 64 free blocks and a request for 4 pages.
    let index: u64 = 1000 - (1000 + 128 * 1000 / 4) / 64;
    check_eq("fragmentation index", u64::from(cost.fragmentation), index)?;
    // Refusals for other causes have no index.
    let Err(refused) = device.alloc(2 * MIB, 1) else {
        return Err(TestError::failed(
            "the request was served, but should have been refused",
        ));
    };
    check_eq("fragmentation index", refused.cost.fragmentation, 0)
}

fn a_realloc_that_finds_no_memory_leaves_the_block() -> TestResult {
    let device = private(MIB)?;
    let handle = filled(&device, 8 * KIB, 4)?;
    exhaust(&device, 8 * KIB)?;
    let causes = [
        uapi::SLABLAB_CAUSE_EXHAUSTED,
        uapi::SLABLAB_CAUSE_FRAGMENTED,
    ];
    unchanged(&device, || {
        refused_because(device.realloc(handle, 64 * KIB), Errno::NOMEM, &causes)
    })?;
    intact(&device, handle, 8 * KIB, 4)
}

fn a_pool_that_was_full_allocates_again() -> TestResult {
    let device = private(MIB)?;
    for round in 0..3 {
        let (handles, _) = exhaust(&device, 8 * KIB)?;
        check_eq("blocks", handles.len() as u64, MIB / (8 * KIB)).about(round)?;
        for handle in handles {
            device.free(handle)?;
        }
    }
    device.alloc(MIB, 1)?;
    sound(&device)
}

fn binding_after_allocating_is_ebusy(engine: Engine) -> TestResult {
    let device = Device::open()?;
    let handle = filled(&device, 100, 5)?;
    undone(&device, || {
        refused(device.bind(engine.raw(), 0, 0), Errno::BUSY)
    })?;
    device.free(handle)?;
    refused(device.bind(engine.raw(), 0, 0), Errno::BUSY)
}

fn binding_twice_is_ebusy(engine: Engine) -> TestResult {
    let device = session(engine)?;
    unchanged(&device, || {
        for other in super::fixture::ENGINES {
            refused(device.bind(other.raw(), 0, 0), Errno::BUSY)?;
        }
        refused(
            device.bind(Engine::Seed.raw(), uapi::SLABLAB_BIND_PRIVATE, MIB),
            Errno::BUSY,
        )
    })?;
    check_eq("engine", device.info()?.engine, engine.raw())
}

fn an_unknown_engine_is_einval() -> TestResult {
    let device = Device::open()?;
    for engine in [Engine::Slub.raw() + 1, 31, 32, 33, 1 << 31, u32::MAX] {
        refused(device.bind(engine, 0, 0), Errno::INVAL).about(engine)?;
    }
    Ok(())
}

fn a_private_pool_of_an_odd_size_is_einval() -> TestResult {
    let device = Device::open()?;
    let before = device.info()?;
    for bytes in [0, 1, 4096, 32 * KIB - 1, 32 * KIB + 1, 48 * KIB, u64::MAX] {
        let answer = device.bind(Engine::Seed.raw(), uapi::SLABLAB_BIND_PRIVATE, bytes);
        refused(answer, Errno::INVAL).about(bytes)?;
    }
    check_eq(
        "private_bytes_used",
        device.info()?.private_bytes_used,
        before.private_bytes_used,
    )?;
    check_eq(
        "smallest pool",
        private(32 * KIB)?.info()?.pool_bytes,
        32 * KIB,
    )
}

fn a_size_for_a_shared_pool_is_einval() -> TestResult {
    let device = Device::open()?;
    for bytes in [1, 32 * KIB, u64::MAX] {
        refused(device.bind(Engine::Seed.raw(), 0, bytes), Errno::INVAL).about(bytes)?;
        refused(device.bind(Engine::Slub.raw(), 0, bytes), Errno::INVAL).about(bytes)?;
    }
    Ok(())
}

fn an_engine_without_pools_has_no_private_one() -> TestResult {
    let device = Device::open()?;
    let answer = device.bind(Engine::Slub.raw(), uapi::SLABLAB_BIND_PRIVATE, MIB);
    refused(answer, Errno::OPNOTSUPP)
}

fn an_engine_without_pools_cannot_be_checked_or_extended() -> TestResult {
    let device = shared(Engine::Slub)?;
    unchanged(&device, || {
        refused(device.check().map(drop), Errno::OPNOTSUPP)?;
        refused(device.extend(MIB), Errno::OPNOTSUPP)
    })
}

fn a_failed_bind_leaves_the_session_unbound() -> TestResult {
    let device = Device::open()?;
    refused(device.bind(99, 0, 0), Errno::INVAL)?;
    refused(
        device.bind(Engine::Seed.raw(), uapi::SLABLAB_BIND_PRIVATE, 1),
        Errno::INVAL,
    )?;
    refused(
        device.bind(Engine::Slub.raw(), uapi::SLABLAB_BIND_PRIVATE, MIB),
        Errno::OPNOTSUPP,
    )?;
    let most = device.info()?.private_bytes_max;
    let answer = device.bind(
        Engine::Seed.raw(),
        uapi::SLABLAB_BIND_PRIVATE,
        most + 32 * KIB,
    );
    refused(answer, Errno::DQUOT)?;
    device.bind(Engine::Seed.raw(), uapi::SLABLAB_BIND_PRIVATE, 64 * KIB)?;
    check_eq("pool", device.info()?.pool_bytes, 64 * KIB)
}

fn an_unbound_session_allocates_from_the_default() -> TestResult {
    let device = Device::open()?;
    let default = device.info()?.engine;
    check(
        default != uapi::SLABLAB_ENGINE_DEFAULT,
        "INFO names the default engine",
    )?;
    filled(&device, 100, 6)?;
    check_eq("engine", device.info()?.engine, default)?;
    let chosen = Device::open()?;
    chosen.bind(uapi::SLABLAB_ENGINE_DEFAULT, 0, 0)?;
    check_eq("engine", chosen.info()?.engine, default)?;
    check_eq(
        "live blocks according to another session",
        chosen.stats()?.live_blocks,
        device.stats()?.live_blocks,
    )
}
