// SPDX-License-Identifier: GPL-2.0

//! Quotas of a session, the number of sessions, and the privilege to open one.

use std::thread;

use rustix::{
    fs::{
        Mode,
        OFlags,
        openat, //
    },
    process::{
        Gid,
        Uid, //
    },
    thread::{
        set_thread_groups,
        set_thread_res_gid,
        set_thread_res_uid, //
    },
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
        MIB,
        filled,
        has_pool,
        intact,
        private,
        session,
        shared,
        sound,
        unchanged, //
    },
    prelude::*, //
};

suite!("quotas" {
    Once more_bytes_than_a_session_may_have_are_edquot,
    Each a_hundred_thousand_blocks_are_freed_with_their_session,
    Once more_sessions_than_there_may_be_are_enfile,
    Once a_user_without_privilege_cannot_open_the_device,
    Once a_user_without_privilege_cannot_extend_a_pool,
    Each a_user_without_privilege_can_use_a_session_that_was_given_to_him,
    Once only_root_sees_the_device,
});

fn more_bytes_than_a_session_may_have_are_edquot() -> TestResult {
    let info = shared(Engine::Seed)?.info()?;
    let most = info.session_bytes_max;
    let pool = most + 32 * MIB;
    if pool > info.private_bytes_max {
        return Err(TestError::skipped(
            "no private pool can be larger than the quota of a session",
        ));
    }
    let device = private(pool)?;
    let block = filled(&device, 5000, 1)?;
    while device.stats()?.session_bytes + 2 * MIB <= most {
        device.alloc(MIB, 1)?;
    }
    let before = device.stats()?.session_refusals[uapi::SLABLAB_CAUSE_QUOTA as usize];
    let quota = [uapi::SLABLAB_CAUSE_QUOTA];
    unchanged(&device, || {
        refused_because(device.alloc(4 * MIB, 1), Errno::DQUOT, &quota)?;
        refused_because(device.realloc(block, 4 * MIB), Errno::DQUOT, &quota)
    })?;
    let after = device.stats()?.session_refusals[uapi::SLABLAB_CAUSE_QUOTA as usize];
    check_eq("refusals", after - before, 2)?;
    intact(&device, block, 5000, 1)?;
    // Another session has a quota of its own.
    shared(Engine::Seed)?.alloc(MIB, 1)?;
    Ok(())
}

fn a_hundred_thousand_blocks_are_freed_with_their_session(engine: Engine) -> TestResult {
    let observer = shared(engine)?;
    let before = observer.stats()?.live_blocks;
    let device = shared(engine)?;
    let blocks = device.info()?.session_handles_max.min(200_000);
    for n in 0..blocks {
        device
            .alloc(1 + n % 64, 1)
            .map_err(TestError::from)
            .about(n)?;
    }
    check_eq(
        "live blocks",
        observer.stats()?.live_blocks,
        before + blocks,
    )?;
    drop(device);
    check_eq("live blocks", observer.stats()?.live_blocks, before)?;
    if has_pool(engine) {
        sound(&observer)
    } else {
        Ok(())
    }
}

fn more_sessions_than_there_may_be_are_enfile() -> TestResult {
    let first = Device::open()?;
    let info = first.info()?;
    if info.sessions_max > 512 {
        return Err(TestError::skipped(
            "a program cannot open as many files as sessions_max",
        ));
    }
    let mut sessions = Vec::new();
    for used in info.sessions_used..info.sessions_max {
        check_eq("sessions", first.info()?.sessions_used, used)?;
        sessions.push(Device::open()?);
    }
    for _ in 0..3 {
        refused(Device::open(), Errno::NFILE)?;
    }
    check_eq("sessions", first.info()?.sessions_used, info.sessions_max)?;
    sessions.pop();
    sessions.push(Device::open()?);
    drop(sessions);
    check_eq("sessions", first.info()?.sessions_used, info.sessions_used)
}

/// Runs `act` in a new thread, as a user without privileges.
pub(super) fn as_nobody<T: Send>(act: impl FnOnce() -> TestResult<T> + Send) -> TestResult<T> {
    let nobody = || {
        let (user, group) = (Uid::from_raw(1000), Gid::from_raw(1000));
        set_thread_groups(&[])?;
        set_thread_res_gid(group, group, group)?;
        // The user is changed last, because this step drops the privilege for the other steps.
        set_thread_res_uid(user, user, user)?;
        act()
    };
    thread::scope(|scope| scope.spawn(nobody).join())
        .unwrap_or_else(|_| Err(TestError::failed("the thread panicked")))
}

fn a_user_without_privilege_cannot_open_the_device() -> TestResult {
    // The device is opened relative to /dev, so that the kernel checks its mode and not the modes of the
    // directories.
    let folder = rustix::fs::open("/dev", OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
    as_nobody(|| {
        for flags in [OFlags::RDWR, OFlags::RDONLY, OFlags::WRONLY] {
            refused(
                openat(&folder, "slablab", flags, Mode::empty()),
                Errno::ACCESS,
            )?;
        }
        openat(&folder, "null", OFlags::RDWR, Mode::empty())?;
        Ok(())
    })
}

fn a_user_without_privilege_cannot_extend_a_pool() -> TestResult {
    for device in [private(MIB)?, shared(Engine::Seed)?] {
        unchanged(&device, || {
            as_nobody(|| refused(device.extend(MIB), Errno::PERM))
        })?;
    }
    Ok(())
}

fn a_user_without_privilege_can_use_a_session_that_was_given_to_him(engine: Engine) -> TestResult {
    let device = session(engine)?;
    let handle = as_nobody(|| filled(&device, 5000, 1))?;
    intact(&device, handle, 5000, 1)?;
    as_nobody(|| {
        intact(&device, handle, 5000, 1)?;
        device.realloc(handle, 100)?;
        device.stats()?;
        if has_pool(engine) {
            sound(&device)?;
        }
        Ok(device.free(handle)?)
    })
}

fn only_root_sees_the_device() -> TestResult {
    use std::os::unix::fs::{
        FileTypeExt,
        MetadataExt,
        PermissionsExt, //
    };

    let about = std::fs::metadata(uapi::DEVICE)?;
    check(
        about.file_type().is_char_device(),
        "/dev/slablab is a character device",
    )?;
    check_eq("mode", about.permissions().mode() & 0o7777, 0o600)?;
    check_eq("owner", (about.uid(), about.gid()), (0, 0))?;
    let listed = std::fs::read_to_string("/proc/misc")?;
    let minor = rustix::fs::minor(about.rdev());
    let line = listed.lines().find(|line| line.ends_with(" slablab"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    check_eq("minor number in /proc/misc", number, Some(minor))?;
    check(
        std::fs::exists("/sys/class/misc/slablab")?,
        "/sys/class/misc/slablab exists",
    )?;
    check(
        std::fs::exists("/sys/module/slablab")?,
        "/sys/module/slablab exists",
    )
}
