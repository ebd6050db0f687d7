// SPDX-License-Identifier: GPL-2.0

//! Loading and unloading the module: parameters, messages and leaks.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    thread,
    time::{
        Duration,
        Instant, //
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
    child::{
        Child,
        ChildRole, //
    },
    faults,
    fixture::{
        ENGINES,
        KIB,
        MIB,
        POOL_UNIT,
        filled,
        has_kasan,
        intact,
        private,
        rounds,
        shared,
        sound,
        unchanged, //
    },
    kmsg::KernelLog,
    module::Module,
    prelude::*, //
};

suite!("life" {
    Life the_module_describes_itself,
    Life a_module_in_use_is_not_unloaded,
    Life loading_and_unloading_print_a_line_each,
    Life a_bad_parameter_is_einval_and_named_in_one_line,
    Life parameters_at_their_limits_are_accepted,
    Life parameters_are_what_info_says,
    Life parameters_are_shown_in_sysfs_and_the_log,
    Life a_pool_larger_than_the_memory_is_enomem,
    Life the_quota_of_handles_is_exact,
    Life the_quota_of_bytes_is_exact,
    Life tables_of_freed_blocks_stay_within_their_budget,
    Life a_limit_of_0_disables_private_pools,
    Life an_extension_of_a_shared_pool_is_shared,
    Life quotas_leave_memory_for_other_sessions,
    Life many_lives_leak_no_memory,
    Life loading_survives_every_fault,
});

fn loading_survives_every_fault(module: &Module) -> TestResult {
    module.without(|| faults::loading(module))
}

fn the_module_describes_itself(module: &Module) -> TestResult {
    let file = fs::read(module.path())?;
    let says = |text: &str| {
        file.windows(text.len())
            .any(|window| window == text.as_bytes())
    };
    for text in [
        "\0license=GPL",
        "\0description=",
        "\0parm=pool_mib:",
        "\0parm=session_mib:",
        "\0parm=session_handles:",
        "\0parm=private_mib_total:",
        "\0parm=sessions_max:",
    ] {
        check(
            says(text),
            format_args!("modinfo has {:?}", text.trim_start_matches('\0')),
        )?;
    }
    Ok(())
}

fn a_module_in_use_is_not_unloaded(module: &Module) -> TestResult {
    for engine in ENGINES {
        let device = shared(engine)?;
        let handle = filled(&device, 5000, 1)?;
        unchanged(&device, || refused(module.unload(), Errno::AGAIN))?;
        intact(&device, handle, 5000, 1)?;
        device.alloc(100, 1)?;
    }
    module.without(|| {
        check(!fs::exists(uapi::DEVICE)?, "/dev/slablab does not exist")?;
        check(
            !fs::exists("/sys/module/slablab")?,
            "/sys/module/slablab does not exist",
        )?;
        refused(Device::open(), Errno::NOENT)
    })?;
    Device::open()?;
    Ok(())
}

fn loading_and_unloading_print_a_line_each(module: &Module) -> TestResult {
    let one_line = |log: &mut KernelLog, when: &str| {
        let lines = log.complaints()?;
        check_eq("lines", lines.len(), 1).about(format_args!("{when}: {lines:?}"))
    };
    let mut log = KernelLog::follow()?;
    module.without(|| {
        one_line(&mut log, "unloading")?;
        module.load("")?;
        one_line(&mut log, "loading")
    })
}

fn a_bad_parameter_is_einval_and_named_in_one_line(module: &Module) -> TestResult {
    const BAD: [(&str, &str); 14] = [
        ("pool_mib", "0"),
        ("pool_mib", "4097"),
        ("pool_mib", "4294967295"),
        ("session_mib", "0"),
        ("session_mib", "4097"),
        ("session_handles", "0"),
        ("session_handles", "1048577"),
        ("session_handles", "4294967295"),
        ("private_mib_total", "65537"),
        ("sessions_max", "0"),
        ("sessions_max", "4097"),
        // The kernel itself refuses these values.
        ("pool_mib", "many"),
        ("pool_mib", "-1"),
        ("sessions_max", ""),
    ];
    module.without(|| {
        let mut log = KernelLog::follow()?;
        for (name, value) in BAD {
            let parameter = format!("{name}={value}");
            refused(module.load(&parameter), Errno::INVAL).about(&parameter)?;
            let lines = log.complaints()?;
            check_eq("lines", lines.len(), 1).about(format_args!("{parameter}: {lines:?}"))?;
            check(
                lines[0].contains(name),
                format_args!("the log line {:?} names {name}", lines[0]),
            )?;
            check(
                !fs::exists("/sys/module/slablab")?,
                "/sys/module/slablab does not exist",
            )
            .about(&parameter)?;
        }
        Ok(())
    })
}

fn parameters_at_their_limits_are_accepted(module: &Module) -> TestResult {
    let smallest = "pool_mib=1 session_mib=1 session_handles=1 private_mib_total=0 sessions_max=1";
    module.with(smallest, || {
        let device = shared(Engine::Seed)?;
        refused(Device::open(), Errno::NFILE)?;
        device.alloc(1, 1)?;
        refused(device.alloc(1, 1), Errno::DQUOT)
    })?;
    let largest =
        "session_mib=4096 session_handles=1048576 private_mib_total=65536 sessions_max=4096";
    module.with(largest, || {
        let device = shared(Engine::Seed)?;
        device.alloc(1, 1)?;
        sound(&device)
    })
}

fn parameters_are_what_info_says(module: &Module) -> TestResult {
    let parameters =
        "pool_mib=3 session_mib=2 session_handles=5 private_mib_total=9 sessions_max=7";
    module.with(parameters, || {
        let info = shared(Engine::Seed)?.info()?;
        check_eq("pool size", info.pool_bytes, 3 * MIB)?;
        check_eq("session quota", info.session_bytes_max, 2 * MIB)?;
        check_eq("handles", info.session_handles_max, 5)?;
        check_eq("budget of private pools", info.private_bytes_max, 9 * MIB)?;
        check_eq("sessions", info.sessions_max, 7)
    })?;
    let info = shared(Engine::Seed)?.info()?;
    check_eq("default pool size", info.pool_bytes, 64 * MIB)?;
    check_eq("default session quota", info.session_bytes_max, 128 * MIB)?;
    check_eq("default handles", info.session_handles_max, 1 << 20)?;
    check_eq(
        "default budget of private pools",
        info.private_bytes_max,
        256 * MIB,
    )?;
    check_eq("default sessions", info.sessions_max, 64)
}

fn parameters_are_shown_in_sysfs_and_the_log(module: &Module) -> TestResult {
    const GIVEN: [(&str, &str); 5] = [
        ("pool_mib", "3"),
        ("session_mib", "2"),
        ("session_handles", "5"),
        ("private_mib_total", "9"),
        ("sessions_max", "7"),
    ];
    let parameters = GIVEN.map(|(name, value)| format!("{name}={value}"));
    module.without(|| {
        let mut log = KernelLog::follow()?;
        module.load(&parameters.join(" "))?;
        let lines = log.complaints()?;
        check_eq("lines", lines.len(), 1).about(format_args!("{lines:?}"))?;
        for ((name, value), parameter) in GIVEN.iter().zip(&parameters) {
            let file = format!("/sys/module/slablab/parameters/{name}");
            check_eq(name, fs::read_to_string(&file)?.trim(), *value)?;
            let mode = fs::metadata(&file)?.permissions().mode() & 0o7777;
            check_eq("mode", mode, 0o444).about(name)?;
            check(
                lines[0].contains(parameter),
                format_args!("the log line {:?} contains {parameter}", lines[0]),
            )?;
        }
        Ok(module.unload()?)
    })
}

fn a_pool_larger_than_the_memory_is_enomem(module: &Module) -> TestResult {
    if MemoryUsage::now()?.total > 4096 * MIB {
        return Err(TestError::skipped(
            "the machine has enough memory for the largest pool",
        ));
    }
    module.without(|| {
        let load = || refused(module.load("pool_mib=4096"), Errno::NOMEM);
        // The first attempt allocates page tables of the kernel's address space, which the kernel keeps.
        load()?;
        let before = MemoryUsage::now()?;
        load()?;
        before.comes_back()
    })?;
    // A private pool fails in the same way, and leaves the session unbound.
    module.with("private_mib_total=65536", || {
        let device = Device::open()?;
        let bind = |bytes| device.bind(Engine::Seed.raw(), uapi::SLABLAB_BIND_PRIVATE, bytes);
        refused(bind(4096 * MIB + POOL_UNIT), Errno::INVAL)
            .about("BIND above the largest region")?;
        refused(bind(4096 * MIB), Errno::NOMEM)?;
        check_eq("private_bytes_used", device.info()?.private_bytes_used, 0)?;
        bind(MIB)?;
        unchanged(&device, || {
            refused(device.extend(4096 * MIB + POOL_UNIT), Errno::INVAL)?;
            refused(device.extend(4096 * MIB), Errno::NOMEM)
        })?;
        let info = device.info()?;
        check_eq(
            "private_bytes_used",
            info.private_bytes_used,
            info.pool_charge,
        )?;
        check(
            (MIB..2 * MIB).contains(&info.pool_charge),
            format_args!(
                "the charge of a pool of 1 MiB is at least 1 MiB and below 2 MiB, not {} bytes",
                info.pool_charge
            ),
        )
    })
}

fn the_quota_of_handles_is_exact(module: &Module) -> TestResult {
    module.with("session_handles=10", || {
        for engine in ENGINES {
            let device = shared(engine)?;
            let mut handles = Vec::new();
            for n in 0..10 {
                handles.push(filled(&device, 64, n)?);
            }
            for _ in 0..2 {
                unchanged(&device, || {
                    let answer = device.alloc(1, 1);
                    refused_because(answer, Errno::DQUOT, &[uapi::SLABLAB_CAUSE_QUOTA])
                })?;
                device.free(handles[9])?;
                handles[9] = filled(&device, 64, 9)?;
            }
            check_eq(
                "refusals",
                device.stats()?.session_refusals[uapi::SLABLAB_CAUSE_QUOTA as usize],
                2,
            )?;
            // A block that moves needs no second handle.
            device.realloc(handles[0], 5000)?;
            for (handle, n) in handles.into_iter().zip(0..10).skip(1) {
                intact(&device, handle, 64, n)?;
            }
            shared(engine)?.alloc(64, 1)?;
        }
        Ok(())
    })
}

fn the_quota_of_bytes_is_exact(module: &Module) -> TestResult {
    module.with("session_mib=1", || {
        let quota = [uapi::SLABLAB_CAUSE_QUOTA];
        for device in [shared(Engine::Seed)?, private(4 * MIB)?] {
            let mut handles = Vec::new();
            for n in 0..16 {
                handles.push(filled(&device, 64 * KIB, n)?);
            }
            check_eq("charged bytes", device.stats()?.session_bytes, MIB)?;
            unchanged(&device, || {
                refused_because(device.alloc(1, 1), Errno::DQUOT, &quota)?;
                refused_because(device.realloc(handles[0], 65 * KIB), Errno::DQUOT, &quota)
            })?;
            device.realloc(handles[0], 100)?;
            // The usable size is charged: 128 bytes.
            check_eq(
                "charged bytes",
                device.stats()?.session_bytes,
                MIB - 64 * KIB + 128,
            )?;
            device.alloc(32 * KIB, 1)?;
            refused_because(device.alloc(32 * KIB, 1), Errno::DQUOT, &quota)?;
            for (handle, n) in handles.into_iter().zip(0..16).skip(1) {
                intact(&device, handle, 64 * KIB, n)?;
            }
            sound(&device)?;
        }
        Ok(())
    })
}

fn tables_of_freed_blocks_stay_within_their_budget(module: &Module) -> TestResult {
    // The budget has the entries of four full sessions, and 1,024 entries for each of the 20 possible
    // sessions. These are 9 × 4,096 entries.
    module.with("session_handles=4096 sessions_max=20", || {
        let mut sessions = Vec::new();
        let refused = loop {
            let device = shared(Engine::Slub)?;
            let mut handles = Vec::new();
            let answer = loop {
                match device.alloc(1, 1) {
                    Ok(block) => handles.push(block.handle),
                    Err(answer) => break answer,
                }
            };
            for handle in handles.drain(..) {
                device.free(handle)?;
            }
            sessions.push(device);
            if answer.errno != Errno::DQUOT {
                break answer;
            }
        };
        refused_because::<()>(Err(refused), Errno::NOMEM, &[uapi::SLABLAB_CAUSE_TABLES])?;
        check_eq("full sessions", sessions.len() - 1, 9)?;
        sessions.remove(0);
        shared(Engine::Slub)?.alloc(1, 1)?;
        Ok(())
    })
}

fn quotas_leave_memory_for_other_sessions(module: &Module) -> TestResult {
    // The quotas of all sessions together are smaller than the shared pool.
    let parameters = "pool_mib=32 session_mib=1 sessions_max=17 private_mib_total=6";
    module.with(parameters, || {
        for engine in ENGINES {
            let (one, other) = (shared(engine)?, shared(engine)?);
            let mine = filled(&one, 5000, 1)?;
            let mut glutton = Child::start(ChildRole::Glutton, engine)?;
            check_eq("sessions of the child", glutton.heard()?, vec![15])?;
            refused(Device::open(), Errno::NFILE)?;
            let info = one.info()?;
            let rest = info.private_bytes_max - info.private_bytes_used;
            check(
                rest < MIB + MIB / 4,
                format_args!(
                    "the remaining budget ({rest} bytes) is too small for another pool of 1 MiB"
                ),
            )?;
            // The other sessions can still allocate up to the quota.
            intact(&one, mine, 5000, 1)?;
            for n in 0..8 {
                filled(&other, 100 * KIB, n)?;
            }
            one.realloc(mine, 500 * KIB)?;
            glutton.kill()?;
            check_eq("private_bytes_used", one.info()?.private_bytes_used, 0)?;
            check_eq("sessions", one.info()?.sessions_used, 2)?;
            shared(engine)?.alloc(64 * KIB, 1)?;
        }
        Ok(())
    })
}

fn a_limit_of_0_disables_private_pools(module: &Module) -> TestResult {
    module.with("private_mib_total=0", || {
        let device = Device::open()?;
        let answer = device.bind(Engine::Seed.raw(), uapi::SLABLAB_BIND_PRIVATE, 32 * KIB);
        refused(answer, Errno::DQUOT)?;
        device.bind(Engine::Seed.raw(), 0, 0)?;
        device.alloc(64, 1)?;
        Ok(())
    })
}

fn an_extension_of_a_shared_pool_is_shared(module: &Module) -> TestResult {
    module.with("pool_mib=1", || {
        let (one, other) = (shared(Engine::Seed)?, shared(Engine::Seed)?);
        one.alloc(MIB, 1)?;
        refused(other.alloc(64, 1), Errno::NOMEM)?;
        check_eq("pool", one.extend(MIB)?.pool_bytes, 2 * MIB)?;
        check_eq("pool", other.info()?.pool_bytes, 2 * MIB)?;
        let block = other.alloc(64, 1)?;
        check_eq(
            "region",
            block.offset >> uapi::SLABLAB_OFFSET_REGION_SHIFT,
            1,
        )?;
        // The new region stays, and stays charged, after the session that added it has ended.
        let charged = other.info()?.private_bytes_used;
        check(
            (MIB..MIB + MIB / 16).contains(&charged),
            format_args!(
                "the charge of a region of 1 MiB is below 1.0625 MiB, not {charged} bytes"
            ),
        )?;
        check_eq("charged bytes", other.info()?.pool_charge, charged)?;
        drop(one);
        check_eq("charged bytes", other.info()?.private_bytes_used, charged)?;
        check_eq("pool", shared(Engine::Seed)?.info()?.pool_bytes, 2 * MIB)?;
        sound(&other)
    })
}

/// The machine's use of memory, in bytes.
#[derive(Clone, Copy, Debug)]
struct MemoryUsage {
    total: u64,
    available: u64,
    slab: u64,
    /// The memory that vmalloc mapped: pools, and the module itself.
    vmalloc: u64,
}

impl MemoryUsage {
    /// Reads /proc/meminfo and /proc/vmallocinfo.
    fn now() -> TestResult<Self> {
        /// The areas that are not counted: mappings that wait to be unmapped, and the stacks of threads.
        const NOT_OURS: [&str; 4] = ["unpurged", "vm_map_ram", "copy_process", "thread_stack"];

        let meminfo = fs::read_to_string("/proc/meminfo")?;
        let field = |name: &str| {
            let line = meminfo.lines().find(|line| line.starts_with(name));
            let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
            kib.map(|kib| kib * KIB)
                .ok_or_else(|| TestError::failed(format!("/proc/meminfo has no {name}")))
        };
        let areas = fs::read_to_string("/proc/vmallocinfo")?;
        let vmalloc = areas
            .lines()
            .filter(|line| !NOT_OURS.iter().any(|other| line.contains(other)))
            .filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
            .sum();
        Ok(Self {
            total: field("MemTotal:")?,
            available: field("MemAvailable:")?,
            slab: field("Slab:")?,
            vmalloc,
        })
    }

    /// Waits until the use of memory is as low as in this measurement.
    ///
    /// The kernel frees memory with a delay, in the background. Vmalloc'd memory must be the same to the
    /// byte. Free memory and slab caches may differ by up to `SLACK`, because of per-CPU caches. With
    /// KASAN they are not compared, because KASAN keeps freed objects and stores stack traces.
    fn comes_back(&self) -> TestResult {
        /// The tolerance: less than one page for each of a hundred cycles of loading and unloading.
        const SLACK: u64 = 100 * 4 * KIB - 1;

        let deadline = Instant::now() + Duration::from_secs(3);
        loop {
            let now = Self::now()?;
            if now.vmalloc <= self.vmalloc
                && (has_kasan()
                    || now.slab <= self.slab + SLACK && now.available + SLACK >= self.available)
            {
                return Ok(());
            }
            let lost = format_args!("no memory leaks: before {self:?}, after {now:?}").to_string();
            check(Instant::now() < deadline, lost)?;
            thread::sleep(Duration::from_millis(50));
        }
    }
}

fn many_lives_leak_no_memory(module: &Module) -> TestResult {
    let life = || -> TestResult {
        module.load("pool_mib=1")?;
        let device = private(64 * KIB)?;
        device.record(5000)?;
        device.alloc(100, 1)?;
        shared(Engine::Slub)?.alloc(5000, 1)?;
        drop(device);
        Ok(module.unload()?)
    };
    module.without(|| {
        // The first rounds fill the kernel's caches.
        for _ in 0..10 {
            life()?;
        }
        let before = MemoryUsage::now()?;
        for n in 0..rounds(100, 1000) {
            life().about(format_args!("load and unload number {n}"))?;
        }
        before.comes_back()
    })
}
