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

/// The C library's, which the standard library is linked with. There is no safe wrapper in rustix.
mod c {
    use super::{
        c_int,
        c_long, //
    };

    pub(super) const SCHED_FIFO: c_int = 1;
    pub(super) const SYS_SCHED_SETSCHEDULER: c_long = 144;

    #[repr(C)]
    pub(super) struct SchedulerParameters {
        pub(super) priority: c_int,
    }

    unsafe extern "C" {
        pub(super) fn syscall(number: c_long, ...) -> c_long;
    }
}

/// Gives this thread a priority above every thread that is not of real time (`SCHED_FIFO`).
pub fn become_first() -> io::Result<()> {
    let parameters = c::SchedulerParameters { priority: 50 };
    let (this_thread, policy): (c_int, c_int) = (0, c::SCHED_FIFO);
    // SAFETY: The kernel reads the parameters, and keeps no pointer to them.
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

/// Lets threads of real time use a CPU for as long as they like, while this lives: the kernel does not
/// throttle them, and reserves no time for other threads.
#[must_use = "the kernel's settings come back when this is dropped"]
pub struct Unthrottled(Vec<(String, String)>);

impl Unthrottled {
    /// Changes the kernel's settings.
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
            // The kernel had this value before, so it takes it.
            let _ = fs::write(path, value);
        }
    }
}
