// SPDX-License-Identifier: GPL-2.0

//! Refusals of INJECT: without privilege, in pools without debug mode, with invalid arguments.

use crate::{
    device::{
        Device,
        Errno, //
    },
    uapi::{
        self,
        Engine,
        Misuse,
        slablab_bind,
        slablab_inject,
        slablab_report,
        slablab_reports, //
    },
};

use crate::suites::{
    fixture::{
        KIB,
        MIB,
        POOL_ENGINES,
        POOL_UNIT,
        has_pool,
        private_of,
        shared,
        sound,
        unchanged, //
    },
    memory::{
        Argument,
        submit, //
    },
    prelude::*,
    quotas::as_nobody,
};

use super::{
    DEBUG,
    debug,
    inject,
    reports, //
};

suite!("misuse/refusals" {
    Each debug_mode_needs_a_private_pool,
    Once a_user_without_privilege_cannot_misuse_a_pool,
    Once only_a_pool_in_debug_mode_can_be_misused,
    Once wrong_arguments_are_einval_and_nothing_is_done,
    Once a_block_larger_than_any_pool_is_enomem,
    Once owner_records_are_charged_as_private_memory,
});

fn debug_mode_needs_a_private_pool(engine: Engine) -> TestResult {
    let device = Device::open()?;
    let bind = |flags, pool_bytes| device.bind(engine.raw(), flags, pool_bytes);
    refused(bind(uapi::SLABLAB_BIND_DEBUG, 0), Errno::INVAL)?;
    refused(bind(uapi::SLABLAB_BIND_DEBUG, MIB), Errno::INVAL)?;
    refused(bind(DEBUG, 0), Errno::INVAL)?;
    for bit in 2..32 {
        refused(bind(DEBUG | 1 << bit, MIB), Errno::INVAL)?;
    }
    if !has_pool(engine) {
        return refused(bind(DEBUG, MIB), Errno::OPNOTSUPP);
    }
    // With the owner records, the charge of some of these sizes exceeds 64 bits.
    for pool_bytes in [u64::MAX - POOL_UNIT + 1, 1 << 63, 3 << 62] {
        refused(bind(DEBUG, pool_bytes), Errno::DQUOT)?;
    }
    bind(DEBUG, MIB)?;
    check_eq("flags", device.info()?.bind_flags, DEBUG)
}

fn a_user_without_privilege_cannot_misuse_a_pool() -> TestResult {
    for engine in POOL_ENGINES {
        let device = debug(engine, MIB)?;
        inject(&device, Misuse::SlabFreeDouble, 100)?;
        for misuse in Misuse::ALL {
            unchanged(&device, || {
                as_nobody(|| refused(device.inject(misuse.raw(), 100), Errno::PERM))
            })?;
        }
        // The privilege is checked before the arguments.
        as_nobody(|| refused(device.inject(0, 0), Errno::PERM))?;
        check_eq("reports", as_nobody(|| reports(&device))?.len(), 1)?;
    }
    Ok(())
}

fn only_a_pool_in_debug_mode_can_be_misused() -> TestResult {
    let mut without = vec![Device::open()?, shared(Engine::Slub)?];
    for engine in POOL_ENGINES {
        without.push(shared(engine)?);
        without.push(private_of(engine, MIB)?);
    }
    let mut room = [slablab_report::default(); 4];
    for device in without {
        unchanged(&device, || {
            refused(
                device.inject(Misuse::SlabFreeDouble.raw(), 100),
                Errno::OPNOTSUPP,
            )?;
            refused(device.reports(0, &mut room), Errno::OPNOTSUPP)
        })?;
    }
    Ok(())
}

fn wrong_arguments_are_einval_and_nothing_is_done() -> TestResult {
    let device = debug(Engine::Hybrid, MIB)?;
    let right = slablab_inject {
        misuse: uapi::SLABLAB_MISUSE_SLAB_FREE_DOUBLE,
        size: 100,
        ..Default::default()
    };
    let most = Misuse::ALL.len() as u32;
    for misuse in [0, most + 1, most + 2, 1 << 16, u32::MAX] {
        is_einval(
            &device,
            uapi::SLABLAB_NR_INJECT,
            slablab_inject { misuse, ..right },
        )?;
    }
    is_einval(
        &device,
        uapi::SLABLAB_NR_INJECT,
        slablab_inject { size: 0, ..right },
    )?;
    let right = slablab_reports {
        count: 1,
        ..Default::default()
    };
    for count in [0, uapi::SLABLAB_REPORTS_KEPT + 1, u32::MAX] {
        is_einval(
            &device,
            uapi::SLABLAB_NR_REPORTS,
            slablab_reports { count, ..right },
        )?;
    }
    // Reports are written to addresses of the program only.
    inject(&device, Misuse::SlabFreeDouble, 100)?;
    for reports in [0, u64::MAX, 0xffff_8880_0000_0000] {
        let mut sent = slablab_reports { reports, ..right };
        refused(
            submit(&device, uapi::SLABLAB_NR_REPORTS, &mut sent),
            Errno::FAULT,
        )?;
    }
    // A second BIND is refused, also in debug mode.
    let mut bind = slablab_bind {
        engine: Engine::Hybrid.raw(),
        flags: DEBUG,
        pool_bytes: MIB,
        ..Default::default()
    };
    refused(
        submit(&device, uapi::SLABLAB_NR_BIND, &mut bind),
        Errno::BUSY,
    )
}

/// Checks that an argument is refused with EINVAL, and that the argument and all statistics stay unchanged.
#[track_caller]
fn is_einval<T: Argument>(device: &Device, number: u32, argument: T) -> TestResult {
    let mut sent = argument;
    unchanged(device, || {
        refused(submit(device, number, &mut sent), Errno::INVAL)
    })?;
    check_eq("argument", sent.bytes(), argument.bytes())
}

fn a_block_larger_than_any_pool_is_enomem() -> TestResult {
    for engine in POOL_ENGINES {
        let device = debug(engine, MIB)?;
        for misuse in Misuse::ALL {
            for size in [
                MIB,
                MIB + 1,
                1 << 40,
                i64::MAX as u64,
                u64::MAX - 64,
                u64::MAX,
            ] {
                refused(device.inject(misuse.raw(), size), Errno::NOMEM).about(size)?;
            }
        }
        let stats = device.stats()?;
        check_eq("reports", stats.reports, [0; 16])?;
        check_eq("live", stats.live_blocks, 0)?;
        sound(&device)?;
    }
    Ok(())
}

fn owner_records_are_charged_as_private_memory() -> TestResult {
    for engine in POOL_ENGINES {
        let before = shared(engine)?.info()?.private_bytes_used;
        let device = debug(engine, 512 * KIB)?;
        let used = device.info()?.private_bytes_used - before;
        check_eq("pool_charge", device.info()?.pool_charge, used)?;
        // The charge covers the pool, owner records of 3/8 of its size, and the engine's metadata.
        let least = 512 * KIB / 8 * 11;
        check(
            used >= least,
            format_args!("the charge of a new pool is at least {least} bytes, not {used}"),
        )?;
        device.extend(512 * KIB)?;
        let more = device.info()?.pool_charge - used;
        check(
            (least..least + 16 * KIB).contains(&more),
            format_args!(
                "the charge of another region is {least} bytes or less than 16 KiB above, not {more}"
            ),
        )?;
        drop(device);
        check_eq(
            "private_bytes_used",
            shared(engine)?.info()?.private_bytes_used,
            before,
        )?;
    }
    Ok(())
}
