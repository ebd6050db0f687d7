// SPDX-License-Identifier: GPL-2.0

//! Real-time scheduling, for tests of the latency of preemption.

use std::{
    fs,
    io,
    path::Path, //
};

/// Makes this thread a real-time thread (`SCHED_FIFO`), so that it runs before every thread that is not.
///
/// # Errors
///
/// When this process may not do so.
pub fn become_first() -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: 50 };
    // SAFETY: `sched_setscheduler` requires a pointer to a `sched_param`, which it only reads during the call. 0 names the
    // calling thread. rustix has no safe function for this call.
    match unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameters) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
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
