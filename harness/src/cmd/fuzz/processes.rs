// SPDX-License-Identifier: GPL-2.0

//! Starts, kills and awaits the processes, and checks the state of the device afterwards.

use std::{
    env, fmt,
    fs::File,
    os::fd::{
        AsFd,
        AsRawFd,
        OwnedFd, //
    },
    process::{
        self,
        Child,
        Command, //
    },
    thread,
    time::{
        Duration,
        Instant, //
    },
};

use anyhow::{
    Context,
    bail, //
};
use rustix::{
    fs::{
        MemfdFlags,
        ftruncate,
        memfd_create, //
    },
    net::{
        AddressFamily,
        SocketFlags,
        SocketType,
        socketpair, //
    },
    process::{
        WaitOptions,
        getpid,
        set_child_subreaper,
        wait, //
    },
};

use super::reply_counts::{
    ProcessEvent,
    ReplyCounts, //
};
use crate::{
    device::{
        Device,
        Errno, //
    },
    rng::Rng,
    target::Target,
    uapi::{
        self,
        Engine,
        Rule, //
    },
};

/// The time limit for the kernel to release the sessions of the last processes.
const PATIENCE: Duration = Duration::from_secs(10);

/// The parameters of a run.
pub(super) struct Processes {
    pub(super) seed: u64,
    pub(super) calls: u64,
    pub(super) processes: usize,
    pub(super) kills: u64,
}

/// The result of a run.
pub(super) struct Fuzzed {
    pub(super) counts: ReplyCounts,
    pub(super) seconds: f64,
    /// The violated expectations.
    pub(super) violations: Vec<String>,
}

/// Usage of the device that must be the same before and after a run.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Baseline {
    /// Of each engine: the live blocks and the live bytes in its shared pool.
    shared_pools: Vec<(Engine, u64, u64)>,
    private_bytes: u64,
    sessions: u32,
}

/// A running process. The process makes the calls of its number and is killed when the `Runner` is dropped.
struct Runner {
    number: usize,
    process: Child,
}

impl Drop for Runner {
    fn drop(&mut self) {
        // The process may have ended already, so errors are ignored.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Processes {
    /// Returns the command that repeats the run.
    pub(super) fn repeat(&self) -> String {
        format!(
            "repeat: slablab fuzz --seed {} --calls {} --processes {} --kills {}",
            self.seed, self.calls, self.processes, self.kills
        )
    }

    /// Fuzzes the device. `first` is a session that stays open during the run.
    pub(super) fn run(&self, first: Device) -> anyhow::Result<Fuzzed> {
        let before = Baseline::now(&first)?;
        let file = File::from(memfd_create("slablab-fuzz", MemfdFlags::CLOEXEC)?);
        ftruncate(&file, ReplyCounts::BYTES as u64)?;
        let counts = ReplyCounts::map(&file)?;
        // This process becomes the parent of the children of killed processes, so that it can wait for them.
        set_child_subreaper(Some(getpid()))?;
        let begin = Instant::now();
        self.work(&file, counts)?;
        let seconds = begin.elapsed().as_secs_f64();
        Ok(Fuzzed {
            counts,
            seconds,
            violations: violations(&first, &before)?,
        })
    }

    /// Runs the processes until all calls are made, and kills and replaces some of the processes.
    fn work(&self, file: &File, counts: ReplyCounts) -> anyhow::Result<()> {
        let (one, other) = socketpair(
            AddressFamily::UNIX,
            SocketType::DGRAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .context("cannot create the sockets that pass files between the processes")?;
        let begin = |number| self.begin(number, file, &one, &other);
        let mut runners = (0..self.processes)
            .map(begin)
            .collect::<Result<Vec<_>, _>>()?;
        let mut random = Rng::split(self.seed, u64::MAX);
        let mut killed = 0;
        while !runners.is_empty() {
            thread::sleep(Duration::from_micros(random.below(3000)));
            let begun = u128::from(counts.events(ProcessEvent::Begun));
            let due = begun * (u128::from(self.kills) + 1) / u128::from(self.calls.max(1));
            if killed < self.kills && u128::from(killed) < due {
                let victim = random.index(runners.len());
                let number = runners[victim].number;
                // Dropping the runner kills the process and waits for it.
                drop(runners.swap_remove(victim));
                runners.push(begin(number)?);
                counts.happened(ProcessEvent::Kill);
                killed += 1;
            }
            let mut failed = None;
            runners.retain_mut(|runner| match runner.process.try_wait() {
                Ok(None) => true,
                Ok(Some(status)) if status.success() => false,
                Ok(Some(status)) => {
                    failed = Some(format!("process {} failed: {status}", runner.number));
                    false
                }
                Err(error) => {
                    failed = Some(format!(
                        "cannot wait for process {}: {error}",
                        runner.number
                    ));
                    false
                }
            });
            if let Some(failed) = failed {
                bail!("{failed}");
            }
        }
        // Wait for the forked children whose parent was killed.
        while !matches!(wait(WaitOptions::empty()), Err(Errno::CHILD)) {}
        Ok(())
    }

    /// Starts a process. A process with the number of a killed process continues after its last call.
    fn begin(
        &self,
        number: usize,
        file: &File,
        one: &OwnedFd,
        other: &OwnedFd,
    ) -> anyhow::Result<Runner> {
        let tally = format!("/proc/{}/fd/{}", process::id(), file.as_raw_fd());
        let process = Command::new(env::current_exe()?)
            .args(["fuzz", "--tally", &tally])
            .args(["--process", &number.to_string()])
            .args(["--processes", &self.processes.to_string()])
            .args(["--calls", &self.calls.to_string()])
            .args(["--seed", &self.seed.to_string()])
            .stdin(one.as_fd().try_clone_to_owned()?)
            .stdout(other.as_fd().try_clone_to_owned()?)
            .spawn()?;
        Ok(Runner { number, process })
    }
}

/// Opens a session on the shared pool of an engine.
fn shared(engine: Engine) -> Result<Device, Errno> {
    let device = Device::open()?;
    device.bind(engine.raw(), 0, 0)?;
    Ok(device)
}

impl fmt::Display for Baseline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (engine, blocks, bytes) in &self.shared_pools {
            write!(f, "{engine}: {blocks} live blocks, {bytes} live bytes; ")?;
        }
        let (private, sessions) = (self.private_bytes, self.sessions);
        write!(
            f,
            "private pools: {private} bytes; open sessions: {sessions}"
        )
    }
}

impl Baseline {
    fn now(first: &Device) -> anyhow::Result<Self> {
        let info = first.info()?;
        let mut shared_pools = Vec::new();
        let mut shared_charge = 0;
        for engine in info.engines() {
            let device = shared(engine)?;
            let stats = device.stats()?;
            shared_pools.push((engine, stats.live_blocks, stats.live_bytes));
            shared_charge += device.info()?.pool_charge;
        }
        Ok(Self {
            shared_pools,
            // A region that a process added to a shared pool stays, and stays charged to the budget. Leave it out.
            private_bytes: info.private_bytes_used.saturating_sub(shared_charge),
            sessions: info.sessions_used,
        })
    }
}

/// Returns the expectations that the state of the device violates after the run.
fn violations(first: &Device, before: &Baseline) -> anyhow::Result<Vec<String>> {
    let deadline = Instant::now() + PATIENCE;
    let mut after = Baseline::now(first)?;
    while after != *before && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(50));
        after = Baseline::now(first)?;
    }
    let mut violations = Vec::new();
    if after != *before {
        violations.push(format!(
            "the run has changed the usage of the device: before the run {before}; after the run \
             {after}"
        ));
    }
    for engine in first.info()?.engines() {
        let device = shared(engine)?;
        if device.info()?.capabilities & uapi::SLABLAB_CAP_POOL == 0 {
            // Only engines with a pool support CHECK and SHRINK.
            continue;
        }
        let before_shrink = device.check()?.rule;
        device.shrink()?;
        let stats = device.stats()?;
        let after_shrink = device.check()?.rule;
        for (when, rule) in [("", before_shrink), (" after SHRINK", after_shrink)] {
            if rule != Rule::None.raw() {
                violations.push(format!(
                    "{engine}: CHECK{when} found a violation of the rule '{}'",
                    Rule::text(rule)
                ));
            }
        }
        if stats.magazine_bytes != 0 {
            violations.push(format!(
                "{engine}: magazines must be empty after SHRINK, but have {} bytes",
                stats.magazine_bytes
            ));
        }
        let sum = stats.live_bytes + stats.cached_bytes + stats.free_bytes;
        if sum != stats.pool_bytes {
            violations.push(format!(
                "{engine}: the pool has {} bytes, but its live, cached and free bytes are {sum}",
                stats.pool_bytes
            ));
        }
    }
    Ok(violations)
}
