// SPDX-License-Identifier: GPL-2.0

//! Several CPUs: frees on another CPU, CPUs that go offline, files that are closed during calls.

use std::{
    fs,
    mem::ManuallyDrop,
    os::fd::{
        AsFd,
        AsRawFd,
        FromRawFd,
        OwnedFd, //
    },
    sync::atomic::{
        AtomicBool,
        AtomicU64,
        Ordering, //
    },
    sync::mpsc,
    thread,
    time::Duration,
};

use crate::{
    affinity::CpuPin,
    device::{
        Device,
        Errno, //
    },
    uapi::{
        self,
        Engine,
        slablab_alloc, //
    },
};

use super::{
    child::{
        Child,
        ChildRole, //
    },
    fixture::{
        MAGAZINE_ENGINES,
        POOL_BYTES,
        filled,
        has_pool,
        intact,
        private_of,
        rounds,
        session,
        shared,
        sound, //
    },
    memory::submit,
    prelude::*, //
};

suite!("cpus" {
    Each a_block_can_be_freed_on_another_cpu,
    Each a_file_can_be_closed_during_calls,
    Magazines taking_a_cpu_offline_leaks_nothing,
    Magazines caches_are_flushed_while_a_cpu_goes_offline,
    Pools cpus_can_be_unplugged_under_load,
});

/// The CPU that tests take offline and online.
const GUEST: usize = 1;

/// The longest time for taking a CPU online or offline.
const HOTPLUG_PATIENCE: Duration = Duration::from_secs(20);

/// Returns the number of CPUs. Skips the test on a machine with one CPU.
fn cpus() -> TestResult<usize> {
    match thread::available_parallelism()?.get() {
        1 => Err(TestError::skipped("the machine has one CPU")),
        cpus => Ok(cpus),
    }
}

/// Runs `act` in a thread on a CPU.
fn on<T: Send>(cpu: usize, act: impl FnOnce() -> TestResult<T> + Send) -> TestResult<T> {
    let act = || {
        let _here = CpuPin::to(cpu)?;
        act()
    };
    thread::scope(|scope| scope.spawn(act).join())
        .unwrap_or_else(|_| Err(TestError::failed("the thread panicked")))
}

/// Checks that live, cached and free bytes add up to the size of the pool, and that CHECK finds no violation.
fn exact(device: &Device) -> TestResult {
    let stats = device.stats()?;
    check_eq(
        "live + cached + free",
        stats.live_bytes + stats.cached_bytes + stats.free_bytes,
        stats.pool_bytes,
    )?;
    sound(device)
}

fn a_block_can_be_freed_on_another_cpu(engine: Engine) -> TestResult {
    let cpus = cpus()?;
    let device = session(engine)?;
    for round in 0..rounds(20, 200) {
        let here = round as usize % cpus;
        let sizes = (0..60).map(|n| 1 + (n * n * 13 + round) % 9000);
        let blocks = on(here, || {
            let block = |size| Ok((filled(&device, size, size)?, size));
            sizes.map(block).collect::<TestResult<Vec<_>>>()
        })?;
        on((here + 1) % cpus, || {
            for (handle, size) in blocks {
                intact(&device, handle, size, size)?;
                device.free(handle)?;
            }
            Ok(())
        })?;
        check_eq("session's blocks", device.stats()?.session_blocks, 0)
            .about(format_args!("round {round}"))?;
        if has_pool(engine) {
            exact(&device).about(format_args!("round {round}"))?;
        }
    }
    if MAGAZINE_ENGINES.contains(&engine) {
        device.shrink()?;
        check_eq("cached", device.stats()?.cached_bytes, 0)?;
    }
    Ok(())
}

/// Three threads use one file descriptor while `dup2` repeatedly replaces its file. Each replacement waits
/// until the descriptor was used, so the previous file is closed during calls of the threads.
fn a_file_can_be_closed_during_calls(engine: Engine) -> TestResult {
    let observer = shared(engine)?;
    let before = (
        observer.stats()?.live_blocks,
        observer.info()?.sessions_used,
    );
    let file = OwnedFd::from(shared(engine)?);
    let (number, done, served) = (file.as_raw_fd(), AtomicBool::new(false), AtomicU64::new(0));
    let use_it = || -> TestResult {
        while !done.load(Ordering::Relaxed) {
            let mut alloc = slablab_alloc {
                size: 100,
                align: 8,
                ..Default::default()
            };
            submit(&file, uapi::SLABLAB_NR_ALLOC, &mut alloc)?;
            served.fetch_add(1, Ordering::Relaxed);
            // The descriptor may refer to another file by now, and the block was freed with the previous
            // file.
            let position = crate::device::position(alloc.handle, 0);
            match rustix::io::pwrite(&file, &[1; 100], position) {
                Ok(_) | Err(Errno::NOENT | Errno::NXIO) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    };
    thread::scope(|scope| -> TestResult {
        let threads = [0; 3].map(|_| scope.spawn(use_it));
        let mut seen = 0;
        let replaced = (0..rounds(200, 2000)).try_for_each(|_| -> TestResult {
            while served.load(Ordering::Relaxed) == seen {
                let some = threads.iter().any(|thread| !thread.is_finished());
                check(some, "at least one thread still uses the file")?;
                thread::yield_now();
            }
            seen = served.load(Ordering::Relaxed);
            let next = shared(engine)?;
            // SAFETY: `from_raw_fd` requires an open descriptor without another owner that closes it
            // meanwhile. `file` keeps the descriptor open until the threads have ended, and `ManuallyDrop`
            // prevents a second close.
            let mut place = ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(number) });
            rustix::io::dup2(next.as_fd(), &mut place)?;
            Ok(())
        });
        done.store(true, Ordering::Relaxed);
        for thread in threads {
            let ended = thread.join();
            ended.unwrap_or_else(|_| Err(TestError::failed("a thread panicked")))?;
        }
        replaced
    })?;
    drop(file);
    let after = (
        observer.stats()?.live_blocks,
        observer.info()?.sessions_used,
    );
    check_eq("live blocks and sessions", after, before)
}

/// A CPU that can be taken offline. Dropping the value takes the CPU online again.
struct OfflineCpu(String);

impl OfflineCpu {
    fn guest() -> TestResult<Self> {
        cpus()?;
        let path = format!("/sys/devices/system/cpu/cpu{GUEST}/online");
        match fs::exists(&path)? {
            true => Ok(Self(path)),
            false => Err(TestError::skipped("the kernel cannot take CPUs offline")),
        }
    }

    fn set(&self, online: bool) -> TestResult {
        let (path, (done, wait)) = (self.0.clone(), mpsc::channel());
        // A task that waits for a lock on CPU hotplug cannot be killed, so a thread does the write.
        thread::spawn(move || done.send(fs::write(path, if online { "1" } else { "0" })));
        let hung = |_| {
            TestError::failed(
                "CPU hotplug timed out: the kernel's lock is held, or was released twice",
            )
        };
        wait.recv_timeout(HOTPLUG_PATIENCE).map_err(hung)??;
        check_eq(
            "online",
            fs::read_to_string(&self.0)?.trim(),
            if online { "1" } else { "0" },
        )
    }
}

impl Drop for OfflineCpu {
    fn drop(&mut self) {
        // The CPU may be online already, and `drop` cannot report an error.
        let _ = self.set(true);
    }
}

/// Fills the magazines of this CPU, and returns a block that stays live.
fn fill_magazines(device: &Device) -> TestResult<u32> {
    // The engine may flush all magazines of the CPU when they have the whole reserve, so the last blocks are small.
    for size in [8, 100, 1000, 3000, 4096, 9000, 64] {
        let blocks = (0..60).map(|_| Ok(device.alloc(size, 1)?.handle));
        for handle in blocks.collect::<TestResult<Vec<_>>>()? {
            device.free(handle)?;
        }
    }
    filled(device, 5000, 1)
}

fn taking_a_cpu_offline_leaks_nothing(engine: Engine) -> TestResult {
    let guest = OfflineCpu::guest()?;
    for round in 0..rounds(4, 50) {
        let device = if round % 2 == 0 {
            private_of(engine, POOL_BYTES)?
        } else {
            shared(engine)?
        };
        let block = on(GUEST, || fill_magazines(&device))?;
        let before = device.stats()?;
        check(
            before.magazine_bytes > 0,
            "the magazines of the CPU have blocks",
        )?;
        guest.set(false)?;
        let away = device.stats()?;
        check_eq("live_bytes", away.live_bytes, before.live_bytes)?;
        exact(&device).about("with the CPU offline")?;
        device.shrink()?;
        check_eq(
            "magazine_bytes after SHRINK, with the CPU offline",
            device.stats()?.magazine_bytes,
            0,
        )?;
        exact(&device).about("after SHRINK")?;
        intact(&device, block, 5000, 1)?;
        guest.set(true)?;
        let other = on(GUEST, || fill_magazines(&device))?;
        intact(&device, block, 5000, 1)?;
        device.free(block)?;
        device.free(other)?;
        exact(&device).about("with the CPU online again")?;
        device.shrink()?;
        check_eq(
            "magazine_bytes after SHRINK",
            device.stats()?.magazine_bytes,
            0,
        )?;
    }
    Ok(())
}

/// While a CPU goes offline or online, the kernel holds its lock on CPU hotplug. The module cannot acquire
/// this lock meanwhile, and must not release it. The flushes are spread over the whole transition.
fn caches_are_flushed_while_a_cpu_goes_offline(engine: Engine) -> TestResult {
    let guest = OfflineCpu::guest()?;
    let pools = (0..32)
        .map(|_| private_of(engine, POOL_BYTES))
        .collect::<TestResult<Vec<_>>>()?;
    let flush = |pools: &[Device]| {
        pools.iter().try_for_each(|pool| -> TestResult {
            thread::sleep(Duration::from_micros(100));
            pool.shrink()?;
            Ok(())
        })
    };
    for _ in 0..rounds(4, 50) {
        for pool in &pools {
            let block = on(GUEST, || fill_magazines(pool))?;
            pool.free(block)?;
            check(
                pool.stats()?.magazine_bytes > 0,
                "the magazines of the CPU have blocks",
            )?;
        }
        let halves = pools.split_at(pools.len() / 2);
        for (online, pools) in [(false, halves.0), (true, halves.1)] {
            thread::scope(|scope| {
                let flushes = scope.spawn(|| flush(pools));
                guest.set(online)?;
                let panicked = |_| Err(TestError::failed("the thread panicked"));
                flushes.join().unwrap_or_else(panicked)
            })?;
        }
        for pool in &pools {
            exact(pool)?;
            pool.shrink()?;
            check_eq(
                "magazine_bytes after SHRINK",
                pool.stats()?.magazine_bytes,
                0,
            )?;
        }
    }
    Ok(())
}

fn cpus_can_be_unplugged_under_load(engine: Engine) -> TestResult {
    let guest = OfflineCpu::guest()?;
    let observer = shared(engine)?;
    let before = observer.stats()?.live_blocks;
    let start = |_| Child::start(ChildRole::Stress, engine);
    let mut children = (0..3).map(start).collect::<TestResult<Vec<_>>>()?;
    for child in &mut children {
        child.heard()?;
    }
    for _ in 0..rounds(4, 50) {
        guest.set(false)?;
        thread::sleep(Duration::from_millis(10));
        guest.set(true)?;
        thread::sleep(Duration::from_millis(10));
    }
    check(
        observer.stats()?.live_blocks > before,
        "the children have live blocks",
    )?;
    children.into_iter().try_for_each(Child::kill)?;
    check_eq("live blocks", observer.stats()?.live_blocks, before)?;
    exact(&observer)
}
