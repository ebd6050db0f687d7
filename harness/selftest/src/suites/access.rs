// SPDX-License-Identifier: GPL-2.0

//! Access: the commands that each open mode allows, and the privilege to block other users.

use rustix::{
    fs::OFlags,
    mm::{
        MapFlags,
        ProtFlags, //
    },
};

use crate::{
    device::{
        Device,
        Errno,
        position,
        request, //
    },
    uapi::{
        self,
        Engine,
        slablab_event, //
    },
};

use super::{
    call::{
        CommandCall,
        SEED,
        SIZE, //
    },
    fixture::{
        POOL_BYTES,
        POOL_ENGINES,
        has_map,
        has_pool,
        intact,
        pattern,
        private_of,
        session,
        shared,
        unchanged,
        write_whole, //
    },
    mapping::{
        MappedPages,
        READ_WRITE, //
    },
    memory::{
        Direction,
        GuardedBuffer,
        ioc,
        poke, //
    },
    prelude::*,
    quotas::as_nobody,
};

suite!("access" {
    Each a_read_only_file_cannot_change_anything,
    Each a_writable_file_allows_every_command,
    Each a_read_only_file_can_inspect_the_pools,
    Each only_a_writable_file_starts_and_ends_recording,
    Once reads_and_writes_need_the_open_mode,
    Once only_an_administrator_may_block_other_users_of_a_shared_pool,
});

/// Access mode 3 of `open`, which allows neither reads nor writes, only ioctls.
const NEITHER: OFlags = OFlags::WRONLY.union(OFlags::RDWR);

/// The commands that do not require a file that is open for writing.
const OBSERVERS: [&str; 6] = ["INFO", "STATS", "CHECK", "MAP", "REPORTS", "EVENTS"];

/// Checks that a file has no session, and never had one.
#[track_caller]
fn without_a_session(device: &Device) -> TestResult {
    let (info, stats) = (device.info()?, device.stats()?);
    check_eq("flags of the session", info.bind_flags, 0)?;
    check_eq(
        "statistics of the session",
        [
            stats.session_blocks,
            stats.session_bytes,
            stats.session_allocations,
            stats.session_frees,
            stats.session_reallocations,
            stats.session_refusals.iter().sum(),
        ],
        [0; 6],
    )
}

fn a_read_only_file_cannot_change_anything(engine: Engine) -> TestResult {
    for access in [OFlags::RDONLY, NEITHER] {
        for call in CommandCall::all(engine)? {
            if OBSERVERS.contains(&call.name) {
                continue;
            }
            let file = Device::open_for(access)?;
            let fence = GuardedBuffer::new(1)?;
            let argument = fence.place(&call.argument, 0);
            let request = ioc(
                Direction::Both,
                uapi::SLABLAB_IOC_TYPE,
                call.number,
                call.argument.len(),
            );
            unchanged(&call.device, || {
                refused(poke(&file, request, argument), Errno::BADF)?;
                // The mode is checked before the argument is read.
                refused(poke(&file, request, 0), Errno::BADF)
            })
            .and_then(|()| {
                check_eq(
                    "argument",
                    fence.last(call.argument.len()),
                    call.argument.clone(),
                )
            })
            .and_then(|()| without_a_session(&file))
            .about(format_args!("{} with access {access:?}", call.name))?;
        }
        let file = Device::open_for(access)?;
        for number in [0, 1, 1 << 20, u32::MAX] {
            refused(file.free(number), Errno::BADF).about("FREE")?;
        }
        without_a_session(&file)?;
        // An unknown command is ENOTTY in every open mode.
        let unknown = ioc(Direction::Both, uapi::SLABLAB_IOC_TYPE, 0x7f, 16);
        refused(poke(&file, unknown, 0), Errno::NOTTY)?;
        let other = request::ALLOC ^ 1 << 8;
        refused(poke(&file, other, 0), Errno::NOTTY)?;
    }
    Ok(())
}

fn a_writable_file_allows_every_command(engine: Engine) -> TestResult {
    for access in [OFlags::WRONLY, OFlags::RDWR] {
        for call in CommandCall::all_on(engine, access)? {
            let fence = GuardedBuffer::new(1)?;
            let argument = fence.place(&call.argument, 0);
            call.send(call.argument.len(), argument)
                .map(drop)
                .map_err(TestError::from)
                .about(format_args!("{} with access {access:?}", call.name))?;
        }
        let device = Device::open_for(access)?;
        device.bind(engine.raw(), 0, 0)?;
        let block = device.alloc(SIZE, 8)?;
        device.free(block.handle)?;
    }
    Ok(())
}

fn a_read_only_file_can_inspect_the_pools(engine: Engine) -> TestResult {
    for access in [OFlags::RDONLY, NEITHER] {
        let file = Device::open_for(access)?;
        check_eq("engine", file.info()?.engine, Engine::Hybrid.raw())?;
        // The statistics include other sessions of the shared pool.
        let other = shared(Engine::Hybrid)?;
        let before = file.stats()?;
        let block = other.alloc(64, 8)?;
        let after = file.stats()?;
        check_eq("live blocks", after.live_blocks, before.live_blocks + 1)?;
        other.free(block.handle)?;
        check_eq("rule", file.check()?.rule, uapi::SLABLAB_RULE_NONE)?;
        let mut extents = [uapi::slablab_extent::default(); 4];
        check(
            file.map(0, 0, &mut extents)?.count > 0,
            "MAP returns at least one extent",
        )?;
        let mut reports = [uapi::slablab_report::default()];
        refused(file.reports(0, &mut reports), Errno::OPNOTSUPP)?;
        let mut events = [slablab_event::default()];
        refused(file.events(0, &mut events), Errno::NXIO)?;
        without_a_session(&file)?;
    }
    // The same commands on a session of the engine, whose file is open for writing only.
    let device = Device::open_for(OFlags::WRONLY)?;
    device.bind(engine.raw(), 0, 0)?;
    check_eq("engine", device.info()?.engine, engine.raw())?;
    device.stats()?;
    if has_pool(engine) {
        check_eq("rule", device.check()?.rule, uapi::SLABLAB_RULE_NONE)?;
    }
    if has_map(engine) {
        device.map(0, 0, &mut [uapi::slablab_extent::default()])?;
    }
    Ok(())
}

fn only_a_writable_file_starts_and_ends_recording(engine: Engine) -> TestResult {
    for access in [OFlags::RDONLY, NEITHER] {
        let file = Device::open_for(access)?;
        refused(file.record(4), Errno::BADF)?;
        refused(file.end_record(), Errno::BADF)?;
        without_a_session(&file)?;
    }
    for access in [OFlags::WRONLY, OFlags::RDWR] {
        let device = Device::open_for(access)?;
        device.bind(engine.raw(), 0, 0)?;
        device.record(4)?;
        let block = device.alloc(SIZE, 8)?;
        let mut events = [slablab_event::default(); 4];
        check_eq("events", device.events(0, &mut events)?.count, 1)?;
        check_eq("handle", events[0].handle, block.handle)?;
        device.end_record()?;
    }
    Ok(())
}

fn reads_and_writes_need_the_open_mode() -> TestResult {
    const PAGE: u64 = 4096;
    for engine in POOL_ENGINES {
        for access in [OFlags::WRONLY, OFlags::RDWR] {
            let device = Device::open_for(access)?;
            device.bind(engine.raw(), uapi::SLABLAB_BIND_PRIVATE, POOL_BYTES)?;
            let handle = device.alloc(PAGE, PAGE)?.handle;
            write_whole(&device, handle, &pattern(SEED, PAGE as usize))?;
            let map = |access| {
                let at = position(handle, 0);
                MappedPages::with(&device, at, 1, access, MapFlags::SHARED)
            };
            if access == OFlags::RDWR {
                intact(&device, handle, PAGE, SEED)?;
                drop((map(ProtFlags::READ)?, map(READ_WRITE)?));
            } else {
                refused(device.read(handle, 0, &mut [0; 8]), Errno::BADF)?;
                // On this architecture, write access to a page includes read access.
                for access in [ProtFlags::READ, ProtFlags::WRITE, READ_WRITE] {
                    refused(map(access), Errno::ACCESS)?;
                }
            }
            device.free(handle)?;
        }
    }
    // A file that is not open for writing cannot have blocks, so the handle is that of another session.
    let stranger = session(Engine::Hybrid)?;
    let handle = stranger.alloc(PAGE, PAGE)?.handle;
    for access in [OFlags::RDONLY, NEITHER] {
        let file = Device::open_for(access)?;
        let (read, map) = if access == OFlags::RDONLY {
            (Errno::NOENT, Errno::NOENT)
        } else {
            (Errno::BADF, Errno::ACCESS)
        };
        refused(file.read(handle, 0, &mut [0; 8]), read)?;
        refused(file.write(handle, 0, &[0; 8]), Errno::BADF)?;
        let at = position(handle, 0);
        let with = |access| MappedPages::with(&file, at, 1, access, MapFlags::SHARED);
        refused(with(ProtFlags::READ), map)?;
        refused(with(READ_WRITE), Errno::ACCESS)?;
    }
    Ok(())
}

fn only_an_administrator_may_block_other_users_of_a_shared_pool() -> TestResult {
    for engine in POOL_ENGINES {
        let (theirs, own) = (shared(engine)?, private_of(engine, POOL_BYTES)?);
        // A file that was never bound uses a shared pool.
        for device in [&theirs, &Device::open()?] {
            unchanged(device, || {
                as_nobody(|| {
                    refused(device.check(), Errno::PERM).about("CHECK")?;
                    refused(device.shrink(), Errno::PERM).about("SHRINK")
                })
            })?;
        }
        as_nobody(|| {
            own.check()?;
            own.shrink()?;
            Ok(())
        })?;
        theirs.check()?;
        theirs.shrink()?;
    }
    Ok(())
}
