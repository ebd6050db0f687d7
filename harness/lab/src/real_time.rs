// SPDX-License-Identifier: GPL-2.0

//! Real-time scheduling, for tests of the latency of preemption.

use std::{
    ffi::{
        c_int,
        c_long, //
    },
    fs,
    io,
    path::Path, //
};

/// Declarations of the C library, which the standard library is linked with. rustix has no safe wrapper of
/// this system call.
mod c {
    use super::{
        c_int,
        c_long, //
    };

    pub(super) const SCHED_FIFO: c_int = 1;
    /// The number of the system call, which depends on the architecture.
    #[cfg(target_arch = "x86_64")]
    pub(super) const SYS_SCHED_SETSCHEDULER: c_long = 144;
    #[cfg(target_arch = "aarch64")]
    pub(super) const SYS_SCHED_SETSCHEDULER: c_long = 119;

    #[repr(C)]
    pub(super) struct SchedulerParameters {
        pub(super) priority: c_int,
    }

    unsafe extern "C" {
        pub(super) fn syscall(number: c_long, ...) -> c_long;
    }
}

/// Makes this thread a real-time thread (`SCHED_FIFO`), so that it runs before every thread that is not.
pub fn become_first() -> io::Result<()> {
    let parameters = c::SchedulerParameters { priority: 50 };
    let (this_thread, policy): (c_int, c_int) = (0, c::SCHED_FIFO);
    // SAFETY: The arguments have the number and types that the system call expects. `parameters` has the
    // layout of `struct sched_param` and lives until the call returns; the kernel only reads it and keeps no
    // pointer to it.
    let result = unsafe {
        c::syscall(
            c::SYS_SCHED_SETSCHEDULER,
            this_thread,
            policy,
            &raw const parameters,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Removes the kernel's limit of real-time threads until the value is dropped: the kernel does not throttle
/// them, and reserves no time for other threads.
#[must_use = "dropping this restores the kernel's settings"]
pub struct Unthrottled(Vec<(String, String)>);

impl Unthrottled {
    /// Changes the kernel's settings, and stores the old ones.
    ///
    /// # Errors
    ///
    /// When this process may not change them.
    pub fn new() -> io::Result<Self> {
        let mut before = Self(Vec::new());
        before.set("/proc/sys/kernel/sched_rt_runtime_us".to_owned(), "-1")?;
        let servers = Path::new("/sys/kernel/debug/sched/fair_server");
        for cpu in fs::read_dir(servers).into_iter().flatten() {
            let runtime = cpu?.path().join("runtime");
            before.set(runtime.to_string_lossy().into_owned(), "0")?;
        }
        Ok(before)
    }

    fn set(&mut self, path: String, value: &str) -> io::Result<()> {
        let old = fs::read_to_string(&path)?.trim().to_owned();
        fs::write(&path, value)?;
        self.0.push((path, old));
        Ok(())
    }
}

impl Drop for Unthrottled {
    fn drop(&mut self) {
        for (path, value) in self.0.drain(..).rev() {
            // The setting had this value before, so the kernel accepts it.
            let _ = fs::write(path, value);
        }
    }
}
