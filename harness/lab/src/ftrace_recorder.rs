// SPDX-License-Identifier: GPL-2.0

//! Records the kernel's own allocations with ftrace.
//!
//! The recorder uses its own tracing instance, so other tracing is not affected.

use std::{
    fs,
    io,
    path::{
        Path,
        PathBuf, //
    },
    process, //
};

use anyhow::Context;
use slablab_trace::ftrace;

/// The mount point of tracefs.
const TRACEFS: &str = "/sys/kernel/tracing";

/// A tracing instance of the kernel, which is removed when the value is dropped.
pub struct Recorder {
    instance: PathBuf,
}

impl Recorder {
    /// Creates a tracing instance with a buffer of `buffer_kib` KiB for each CPU. The instance does not
    /// record yet.
    ///
    /// # Errors
    ///
    /// When there is no ftrace, or this process may not use it.
    pub fn new(buffer_kib: u64) -> anyhow::Result<Self> {
        let instances = Path::new(TRACEFS).join("instances");
        remove_left(&instances);
        let instance = instances.join(format!("slablab-{}", process::id()));
        fs::create_dir(&instance).with_context(|| {
            format!(
                "{TRACEFS}: cannot record; recording needs root, a kernel with CONFIG_FTRACE, and \
                 'mount -t tracefs tracefs {TRACEFS}'"
            )
        })?;
        let recorder = Self { instance };
        recorder.set("tracing_on", "0")?;
        recorder.set("buffer_size_kb", &buffer_kib.to_string())?;
        // A global clock orders the events of all CPUs.
        recorder.set("trace_clock", "global")?;
        let mut known = 0;
        for event in ftrace::events() {
            let file = format!("events/{event}/enable");
            // A kernel may lack some of these events.
            if recorder.instance.join(&file).exists() {
                recorder.set(&file, "1")?;
                known += 1;
            }
        }
        anyhow::ensure!(
            known > 0,
            "{TRACEFS}: the kernel has no kmem events to record"
        );
        Ok(recorder)
    }

    /// Records while `act` runs, and returns its result and the recording.
    ///
    /// # Errors
    ///
    /// When a file of the kernel cannot be written, read or parsed.
    pub fn record<T>(
        &self,
        name: &str,
        act: impl FnOnce() -> T,
    ) -> anyhow::Result<(T, ftrace::KmemTrace)> {
        self.set("tracing_on", "1")?;
        let result = act();
        self.set("tracing_on", "0")?;
        let file = self.instance.join("trace");
        let text = fs::read(&file).with_context(|| file.display().to_string())?;
        let recorded = ftrace::parse(name, &text).with_context(|| file.display().to_string())?;
        Ok((result, recorded))
    }

    fn set(&self, file: &str, value: &str) -> anyhow::Result<()> {
        let path = self.instance.join(file);
        fs::write(&path, value).with_context(|| path.display().to_string())
    }
}

/// Removes the instances of recorders that were killed.
fn remove_left(instances: &Path) {
    for entry in fs::read_dir(instances).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("slablab-"));
        let is_left = |number: &str| {
            let is_number = number.parse::<u32>().is_ok();
            is_number && !Path::new("/proc").join(number).exists()
        };
        if number.is_some_and(is_left) {
            // Another process may have removed the folder already, so an error is ignored.
            let _ = fs::remove_dir(entry.path());
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // Removing the folder removes the instance with its files, and disables its events.
        if let Err(error) = fs::remove_dir(&self.instance) {
            if error.kind() != io::ErrorKind::NotFound {
                eprintln!("{}: {error}", self.instance.display());
            }
        }
    }
}
