// SPDX-License-Identifier: GPL-2.0

//! FAIL: injected refusals leave no trace.

use crate::{
    affinity::CpuPin,
    device::{
        Device,
        Errno, //
    },
    map::PoolMap,
    target::{
        Refused,
        Target, //
    },
    uapi::{
        self,
        Engine,
        slablab_operation, //
    },
};

use super::{
    fixture::{
        KIB,
        MIB,
        POOL_BYTES,
        POOL_ENGINES,
        filled,
        has_map,
        has_pool,
        has_slabs,
        intact,
        private_of,
        session,
        shared,
        sound,
        unchanged, //
    },
    suite,
    verdict::{
        ErrorContext,
        TestResult,
        check_eq,
        refused,
        refused_because, //
    },
};

suite!("fail" {
    Each fault_injection_needs_a_private_pool,
    Once fault_injection_in_an_unbound_session_is_eopnotsupp,
    Once every_pth_request_fails_until_injection_is_disabled,
    Once each_growth_fails_in_turn,
    Once a_submit_ends_at_the_injected_refusal,
    Once a_refused_move_leaves_the_block_unchanged,
    Once other_sessions_are_not_affected,
    Once fault_injection_works_in_debug_mode,
});

const INJECTED: [u32; 1] = [uapi::SLABLAB_CAUSE_INJECTED];

/// Checks that a request is refused by fault injection and leaves pool, map and session unchanged.
#[track_caller]
fn injected<T>(device: &Device, ask: impl FnOnce() -> Result<T, Refused>) -> TestResult {
    let map = || -> TestResult<_> {
        let is_told = device.info()?.capabilities & uapi::SLABLAB_CAP_MAP != 0;
        Ok(is_told.then(|| PoolMap::read(device)).transpose()?)
    };
    let before = map()?;
    unchanged(device, || refused_because(ask(), Errno::NOMEM, &INJECTED))?;
    check_eq("map", map()?, before)?;
    sound(device)
}

/// Returns the number of injected refusals, as counted by the session and by the engine.
fn counts(device: &Device) -> TestResult<(u64, u64)> {
    let stats = device.stats()?;
    let index = uapi::SLABLAB_CAUSE_INJECTED as usize;
    Ok((stats.session_refusals[index], stats.refusals[index]))
}

fn fault_injection_needs_a_private_pool(engine: Engine) -> TestResult {
    let device = shared(engine)?;
    refused(device.fail(2, 0), Errno::OPNOTSUPP)?;
    refused(device.fail(0, 1), Errno::OPNOTSUPP)?;
    for _ in 0..4 {
        let block = device.alloc(64, 8)?;
        device.free(block.handle)?;
    }
    if has_pool(engine) {
        check_eq("injected", session(engine)?.fail(u64::MAX, u64::MAX)?, 0)?;
    }
    Ok(())
}

fn fault_injection_in_an_unbound_session_is_eopnotsupp() -> TestResult {
    let device = Device::open()?;
    refused(device.fail(1, 1), Errno::OPNOTSUPP)?;
    // The refused FAIL did not bind the session.
    device.bind(Engine::Seed.raw(), uapi::SLABLAB_BIND_PRIVATE, MIB)?;
    device.fail(1, 0)?;
    injected(&device, || device.alloc(64, 8))
}

fn every_pth_request_fails_until_injection_is_disabled() -> TestResult {
    for engine in POOL_ENGINES {
        let device = private_of(engine, POOL_BYTES)?;
        let mut total = 0;
        for every in [1, 2, 3, 5] {
            check_eq("injected", device.fail(every, 0)?, total).about(engine)?;
            // The sizes cover blocks of magazines, of slabs, and of whole pages.
            for n in 1..=60 {
                let size = [64, 64, 3000, 20 * KIB][n as usize % 4];
                if n % every == 0 {
                    injected(&device, || device.alloc(size, 8))
                        .about(format_args!("{engine}, every {every}, request {n}"))?;
                    total += 1;
                } else {
                    let handle = filled(&device, size, n)
                        .about(format_args!("{engine}, every {every}, request {n}"))?;
                    intact(&device, handle, size, n)?;
                    device.free(handle)?;
                }
            }
        }
        check_eq("counts", counts(&device)?, (total, 0)).about(engine)?;
        device.fail(0, 0)?;
        for _ in 0..100 {
            let block = device.alloc(64, 8)?;
            device.free(block.handle)?;
        }
        check_eq("counts", counts(&device)?, (total, 0)).about(engine)?;
    }
    Ok(())
}

/// Allocates 200 blocks while growth number `nth` fails. Returns for each block whether its allocation was a
/// growth, and the index of the block whose request was refused.
fn grown(engine: Engine, nth: u64) -> TestResult<(Vec<bool>, Option<usize>)> {
    let (device, _cpu) = (private_of(engine, POOL_BYTES)?, CpuPin::current()?);
    device.fail(0, nth)?;
    let (mut blocks, mut growths, mut at) = (Vec::new(), Vec::new(), None);
    while blocks.len() < 200 {
        let number = blocks.len();
        let (size, seed) = ([64, 700, 4096][number % 3], number as u64);
        let before = counts(&device)?;
        let map = || match has_map(engine) {
            true => PoolMap::read(&device).map(Some),
            false => Ok(None),
        };
        let map_before = map()?;
        match device.alloc(size, 8) {
            Ok(block) => {
                growths.push(u32::from(block.cost.path) == uapi::SLABLAB_PATH_GROWTH);
                device.write(
                    block.handle,
                    0,
                    &super::fixture::pattern(seed, size as usize),
                )?;
                blocks.push((block.handle, size, seed));
            }
            Err(refusal) => {
                refused_because::<()>(Err(refusal), Errno::NOMEM, &INJECTED)?;
                check_eq("allocation that was refused before", at, None)?;
                check_eq("counts", counts(&device)?, (before.0 + 1, before.1 + 1))?;
                check_eq("map", map()?, map_before)?;
                sound(&device)?;
                at = Some(number);
            }
        }
    }
    for (handle, size, seed) in blocks {
        intact(&device, handle, size, seed)?;
        device.free(handle)?;
    }
    sound(&device)?;
    Ok((growths, at))
}

fn each_growth_fails_in_turn() -> TestResult {
    for engine in POOL_ENGINES {
        let (growths, _) = grown(engine, 0)?;
        let mut nth = 0;
        for number in (0..growths.len()).filter(|number| growths[*number]) {
            nth += 1;
            let expected = (growths.clone(), Some(number));
            check_eq("growths", grown(engine, nth)?, expected)
                .about(format_args!("{engine}, growth {nth} fails"))?;
        }
        check_eq(
            "growths without a refusal",
            grown(engine, nth + 1)?,
            (growths, None),
        )
        .about(engine)?;
    }
    Ok(())
}

fn a_submit_ends_at_the_injected_refusal() -> TestResult {
    for engine in POOL_ENGINES {
        let device = private_of(engine, POOL_BYTES)?;
        device.fail(5, 0)?;
        let alloc = slablab_operation {
            kind: uapi::SLABLAB_OP_ALLOC as u8,
            bytes: 64,
            ..Default::default()
        };
        let mut operations = [alloc; 8];
        let submit = device.submit(&mut operations)?;
        check_eq("done", submit.done, 4).about(engine)?;
        check_eq("error", submit.error, Errno::NOMEM.raw_os_error() as u32)?;
        let cause = u32::from(operations[4].cost.cause);
        check_eq("cause", cause, uapi::SLABLAB_CAUSE_INJECTED)?;
        check_eq("blocks", device.stats()?.session_blocks, 4)?;
        // The count continues, and a free does not count as a request.
        let handle = operations[0].handle;
        device.free(handle)?;
        let submit = device.submit(&mut [alloc; 8])?;
        check_eq("done", submit.done, 4).about(engine)?;
        check_eq("counts", counts(&device)?, (2, 0))?;
        sound(&device)?;
    }
    Ok(())
}

fn a_refused_move_leaves_the_block_unchanged() -> TestResult {
    for engine in POOL_ENGINES {
        let device = private_of(engine, POOL_BYTES)?;
        let handle = filled(&device, 100, 1)?;
        device.fail(1, 0)?;
        injected(&device, || device.realloc(handle, 30 * KIB)).about(engine)?;
        intact(&device, handle, 100, 1)?;
        // A REALLOC in place allocates nothing, so no refusal is injected.
        device.realloc(handle, 101)?;
        device.fail(0, 1)?;
        if has_slabs(engine) {
            injected(&device, || device.realloc(handle, 2000)).about(engine)?;
            intact(&device, handle, 100, 1)?;
        }
        device.realloc(handle, 2000)?;
        intact(&device, handle, 100, 1)?;
        let growths = u64::from(has_slabs(engine));
        check_eq("counts", counts(&device)?, (1 + growths, growths)).about(engine)?;
    }
    Ok(())
}

fn other_sessions_are_not_affected() -> TestResult {
    for engine in POOL_ENGINES {
        let device = private_of(engine, POOL_BYTES)?;
        device.fail(1, 1)?;
        injected(&device, || device.alloc(64, 8))?;
        for other in [private_of(engine, POOL_BYTES)?, shared(engine)?] {
            let before = counts(&other)?;
            for size in [64, 700, 20 * KIB] {
                let block = other.alloc(size, 8)?;
                other.free(block.handle)?;
            }
            check_eq("counts", counts(&other)?, before).about(engine)?;
        }
    }
    Ok(())
}

fn fault_injection_works_in_debug_mode() -> TestResult {
    for engine in POOL_ENGINES {
        let device = Device::open()?;
        let flags = uapi::SLABLAB_BIND_PRIVATE | uapi::SLABLAB_BIND_DEBUG;
        device.bind(engine.raw(), flags, POOL_BYTES)?;
        if has_slabs(engine) {
            device.fail(0, 1)?;
            injected(&device, || device.alloc(64, 8)).about(engine)?;
        }
        device.fail(2, 0)?;
        let handle = filled(&device, 64, 1)?;
        injected(&device, || device.alloc(64, 8)).about(engine)?;
        intact(&device, handle, 64, 1)?;
        device.free(handle)?;
        check_eq("reports", device.stats()?.reports, Default::default())?;
    }
    Ok(())
}
