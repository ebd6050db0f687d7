// SPDX-License-Identifier: GPL-2.0

//! Fault injection: the first allocation or copy in a call fails, then the second, up to the last.
//!
//! The number in `/proc/thread-self/fail-nth` selects the fault
//! (`Documentation/fault-injection/fault-injection.rst`). The kernel counts allocations of slab objects and
//! pages, and copies from and to user memory. A call that fails because of a fault must change nothing;
//! kmemleak reports leaks after the run.

use std::{
    cell::Cell,
    fs,
    os::fd::OwnedFd, //
};

use rustix::{
    fs::{
        Mode,
        OFlags, //
    },
    io, //
};

use crate::{
    device::{
        Device,
        Errno, //
    },
    target::Refused,
    uapi::{
        self,
        BenchPattern,
        BenchSubject,
        Engine,
        slablab_bench,
        slablab_event,
        slablab_extent,
        slablab_operation, //
    },
};

use super::{
    bench::small,
    fixture::{
        MIB,
        POOL_ENGINES,
        POOL_UNIT,
        filled,
        has_map,
        has_pool,
        intact,
        pattern,
        private_of,
        session,
        shared,
        sound,
        usage, //
    },
    mapping::MappedPages,
    module::Module,
    prelude::*, //
};

suite!("faults" {
    Each requests_for_memory_survive_every_fault,
    Each transfers_survive_every_fault,
    Each inspections_survive_every_fault,
    Each recordings_survive_every_fault,
    Each submissions_survive_every_fault,
    Each a_first_request_survives_every_fault,
    Once pools_survive_every_fault,
    Once mappings_survive_every_fault,
    Once opening_survives_every_fault,
    Once benches_survive_every_fault,
});

/// Settings of the kernel's fault injection, which by default excludes allocations that may sleep.
const SETTINGS: [(&str, &str); 7] = [
    ("failslab/ignore-gfp-wait", "N"),
    ("failslab/verbose", "0"),
    ("fail_page_alloc/ignore-gfp-wait", "N"),
    ("fail_page_alloc/ignore-gfp-highmem", "N"),
    ("fail_page_alloc/min-order", "0"),
    ("fail_page_alloc/verbose", "0"),
    ("fail_usercopy/verbose", "0"),
];

/// The size of new pools and regions in bytes. The seed's slabs of all tested sizes fit into it.
const POOL_BYTES: u64 = 16 * POOL_UNIT;

/// The limit of a sweep: more faults than any call has allocations and copies.
const FAULTS_MAX: u32 = 100_000;

/// The size in bytes of the block of known content.
const KNOWN_BYTES: u64 = 3000;

/// Injects faults into calls of this thread.
///
/// Prints the number of swept faults when it is dropped; `scripts/test-debug.sh` adds these numbers up.
pub(super) struct Faults {
    nth: OwnedFd,
    swept: Cell<u32>,
}

/// The result of a call, and whether a fault was injected into it.
type FaultResult<T> = (Result<T, Errno>, bool);

impl Faults {
    /// Prepares faults of every kind.
    pub(super) fn prepare() -> TestResult<Self> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let Ok(nth) = rustix::fs::open("/proc/thread-self/fail-nth", flags, Mode::empty()) else {
            return Err(TestError::skipped(
                "the kernel has no /proc/thread-self/fail-nth",
            ));
        };
        for (setting, value) in SETTINGS {
            fs::write(format!("/sys/kernel/debug/{setting}"), value)?;
        }
        Ok(Self {
            nth,
            swept: Cell::new(0),
        })
    }

    /// Makes a call in which allocation or copy number `nth` fails.
    pub(super) fn strike<T>(
        &self,
        nth: u32,
        call: impl FnOnce() -> Result<T, Errno>,
    ) -> TestResult<FaultResult<T>> {
        let nth = nth.to_string();
        io::pwrite(&self.nth, nth.as_bytes(), 0)?;
        let result = call();
        let mut left = [0; 16];
        // A pending fault also hits the system calls of this function. The count is read as 0 only
        // after the fault was injected, and only then a write can reset the count.
        let struck = matches!(io::pread(&self.nth, &mut left, 0), Ok(1..) if left[0] == b'0');
        while io::pwrite(&self.nth, b"0", 0).is_err() {}
        Ok((result, struck))
    }

    /// Calls `step` with rising numbers, so that each allocation and copy in a call fails once, until no
    /// fault was injected. The last call must succeed. Returns the number of injected faults.
    pub(super) fn sweep<T>(
        &self,
        mut step: impl FnMut(u32) -> TestResult<FaultResult<T>>,
    ) -> TestResult<u32> {
        for nth in 1..FAULTS_MAX {
            let (result, struck) = step(nth).about(format_args!("fault {nth}"))?;
            if !struck {
                result.map_err(TestError::from).about("without a fault")?;
                self.swept.set(self.swept.get() + nth - 1);
                return Ok(nth - 1);
            }
        }
        Err(TestError::failed(format!(
            "{} calls in a row met an injected fault",
            FAULTS_MAX - 1
        )))
    }
}

impl Drop for Faults {
    fn drop(&mut self) {
        // If the reader has closed the output, printing the next result fails and ends the run.
        let _ = crate::report::print(format_args!("count: {} faults swept\n", self.swept.get()));
    }
}

/// A session with a block of known content, and the faults for its calls.
struct Site {
    faults: Faults,
    device: Device,
    engine: Engine,
    known: u32,
}

impl Site {
    fn new(engine: Engine) -> TestResult<Self> {
        let device = session(engine)?;
        Ok(Self {
            faults: Faults::prepare()?,
            known: filled(&device, KNOWN_BYTES, 7)?,
            device,
            engine,
        })
    }

    /// Sweeps a call. `prepare` runs before each call. After a call that succeeds, `succeeded` undoes the
    /// call and the preparation. A call that fails must have changed nothing, and `failed` undoes the
    /// preparation.
    fn sweep<P: Copy, T>(
        &self,
        what: &str,
        prepare: impl Fn() -> TestResult<P>,
        call: impl Fn(P) -> Result<T, Errno>,
        succeeded: impl Fn(P, &T) -> TestResult,
        failed: impl Fn(P) -> TestResult,
    ) -> TestResult<u32> {
        let step = |nth| {
            let before = usage(&self.device)?;
            let prepared = prepare()?;
            let ready = usage(&self.device)?;
            let (result, struck) = self.faults.strike(nth, || call(prepared))?;
            match &result {
                Ok(done) => succeeded(prepared, done)?,
                Err(errno) => {
                    expected(*errno)?;
                    check_eq("usage after a fault", usage(&self.device)?, ready)?;
                    failed(prepared)?;
                }
            }
            check_eq("usage", usage(&self.device)?, before)?;
            intact(&self.device, self.known, KNOWN_BYTES, 7)?;
            if has_pool(self.engine) {
                sound(&self.device)?;
            }
            Ok((result, struck))
        };
        self.faults.sweep(step).about(what)
    }

    /// Sweeps a call that changes nothing, and checks that at least one fault was injected.
    fn sweep_quiet<T>(&self, what: &str, call: impl Fn() -> Result<T, Errno>) -> TestResult {
        let nothing = || Ok(());
        let swept = self.sweep(what, nothing, |()| call(), |(), _| Ok(()), |()| Ok(()))?;
        check(
            swept > 0,
            format_args!("at least one fault is injected into {what}"),
        )
    }
}

/// Checks that a fault was reported with the right errno.
#[track_caller]
fn expected(errno: Errno) -> TestResult {
    check(
        matches!(errno, Errno::NOMEM | Errno::FAULT),
        format_args!("an injected fault causes ENOMEM or EFAULT, not {errno:?}"),
    )
}

/// Returns the error number of a refusal.
fn errno(refused: Refused) -> Errno {
    refused.errno
}

fn requests_for_memory_survive_every_fault(engine: Engine) -> TestResult {
    let site = Site::new(engine)?;
    let device = &site.device;
    for size in [100, 5000, 200_000] {
        let swept = site.sweep(
            "ALLOC",
            || Ok(()),
            |()| device.alloc(size, 1).map_err(errno),
            |(), block| Ok(device.free(block.handle)?),
            |()| Ok(()),
        )?;
        check(swept > 0, "at least one fault is injected into ALLOC")?;
        for new in [size - 1, 2 * size, size / 2] {
            site.sweep(
                "REALLOC",
                || filled(device, size, 8),
                |handle| device.realloc(handle, new).map_err(errno),
                |handle, _| Ok(device.free(handle)?),
                |handle| {
                    intact(device, handle, size, 8)?;
                    Ok(device.free(handle)?)
                },
            )?;
        }
        site.sweep(
            "FREE",
            || filled(device, size, 8),
            |handle| device.free(handle),
            |_, ()| Ok(()),
            |handle| Ok(device.free(handle)?),
        )?;
    }
    Ok(())
}

fn transfers_survive_every_fault(engine: Engine) -> TestResult {
    let site = Site::new(engine)?;
    let bytes = pattern(7, KNOWN_BYTES as usize);
    site.sweep_quiet("pread", || {
        site.device.read(site.known, 0, &mut vec![0; bytes.len()])
    })?;
    site.sweep_quiet("pwrite", || site.device.write(site.known, 0, &bytes))
}

fn inspections_survive_every_fault(engine: Engine) -> TestResult {
    let site = Site::new(engine)?;
    let device = &site.device;
    site.sweep_quiet("INFO", || device.info())?;
    site.sweep_quiet("STATS", || device.stats())?;
    if has_pool(engine) {
        site.sweep_quiet("CHECK", || device.check())?;
    }
    if has_map(engine) {
        site.sweep_quiet("SHRINK", || device.shrink())?;
        site.sweep_quiet("MAP", || {
            device.map(0, 0, &mut [slablab_extent::default(); 16])
        })?;
    }
    Ok(())
}

fn recordings_survive_every_fault(engine: Engine) -> TestResult {
    let site = Site::new(engine)?;
    let device = &site.device;
    let swept = site.sweep(
        "EVENTS (begin)",
        || Ok(()),
        |()| device.record(3000),
        |(), ()| Ok(device.end_record()?),
        |()| refused(device.end_record(), Errno::NXIO),
    )?;
    check(
        swept > 2,
        "at least three faults are injected into EVENTS (begin)",
    )?;
    let swept = site.sweep(
        "EVENTS (end)",
        || Ok(device.record(100)?),
        |()| device.end_record(),
        |(), ()| refused(device.end_record(), Errno::NXIO),
        |()| Ok(device.end_record()?),
    )?;
    check(
        swept > 0,
        "at least one fault is injected into EVENTS (end)",
    )?;
    device.record(100)?;
    let handle = filled(device, 100, 8)?;
    for _ in 0..70 {
        refused(device.free(1), Errno::NOENT)?;
    }
    device.free(handle)?;
    site.sweep_quiet("EVENTS (read)", || {
        let mut events = [slablab_event::default(); 100];
        device.events(0, &mut events)
    })?;
    // Recording may also be the first command of a session.
    let step = |nth| {
        let device = Device::open()?;
        let (result, struck) = site.faults.strike(nth, || device.record(100))?;
        if let Err(errno) = &result {
            expected(*errno)?;
            device.record(100)?;
        }
        check_eq("figures", device.stats()?.session_allocations, 0)?;
        Ok((result, struck))
    };
    site.faults.sweep(step).map(|_| ())
}

fn submissions_survive_every_fault(engine: Engine) -> TestResult {
    // The operations are copied in two chunks, the second of which is short.
    const COUNT: usize = 66;
    let site = Site::new(engine)?;
    let device = &site.device;
    let step = |nth| {
        let before = usage(device)?;
        let mut operations = [slablab_operation {
            kind: uapi::SLABLAB_OP_ALLOC as u8,
            bytes: 700,
            ..Default::default()
        }; COUNT];
        let (result, struck) = site.faults.strike(nth, || {
            let submit = device.submit(&mut operations)?;
            match submit.error {
                0 => Ok(()),
                error => Err(Errno::from_raw_os_error(error as i32)),
            }
        })?;
        if let Err(errno) = &result {
            expected(*errno)?;
        }
        // The operations that were written back were executed, also if the call itself failed.
        let mut reply = 0;
        for operation in operations.iter().filter(|operation| operation.handle != 0) {
            device.free(operation.handle)?;
            reply += 1;
        }
        check(
            result.is_err() || reply == COUNT,
            "a SUBMIT without an error executes all operations",
        )?;
        check_eq("usage", usage(device)?, before)?;
        intact(device, site.known, KNOWN_BYTES, 7)?;
        Ok((result, struck))
    };
    site.faults.sweep(step).about("SUBMIT").map(|_| ())
}

fn a_first_request_survives_every_fault(engine: Engine) -> TestResult {
    let faults = Faults::prepare()?;
    let observer = shared(engine)?;
    let before = usage(&observer)?;
    let step = |nth| {
        let device = Device::open()?;
        device.bind(engine.raw(), 0, 0)?;
        // The first request also allocates the session's handle table.
        let (result, struck) = faults.strike(nth, || device.alloc(100, 1).map_err(errno))?;
        if let Err(errno) = &result {
            expected(*errno)?;
            check_eq("usage", usage(&observer)?, before)?;
            device.alloc(100, 1)?;
        }
        drop(device);
        check_eq("usage", usage(&observer)?, before)?;
        Ok((result, struck))
    };
    faults.sweep(step).map(|_| ())
}

fn pools_survive_every_fault() -> TestResult {
    let faults = Faults::prepare()?;
    let observer = Device::open()?;
    let used = observer.info()?.private_bytes_used;
    for engine in POOL_ENGINES {
        let bind =
            |device: &Device| device.bind(engine.raw(), uapi::SLABLAB_BIND_PRIVATE, POOL_BYTES);
        let step = |nth| {
            let device = Device::open()?;
            let (result, struck) = faults.strike(nth, || bind(&device))?;
            if let Err(errno) = &result {
                expected(*errno)?;
                check_eq(
                    "private_bytes_used",
                    observer.info()?.private_bytes_used,
                    used,
                )?;
                bind(&device)?;
            }
            filled(&device, 5000, 1)?;
            sound(&device)?;
            drop(device);
            check_eq(
                "private_bytes_used",
                observer.info()?.private_bytes_used,
                used,
            )?;
            Ok((result, struck))
        };
        faults.sweep(step).about("BIND").about(engine)?;

        let step = |nth| {
            let device = Device::open()?;
            bind(&device)?;
            let known = filled(&device, KNOWN_BYTES, 7)?;
            let before = usage(&device)?;
            let (result, struck) = faults.strike(nth, || device.extend(POOL_BYTES))?;
            if let Err(errno) = &result {
                expected(*errno)?;
                check_eq("usage", usage(&device)?, before)?;
                device.extend(POOL_BYTES)?;
            }
            check_eq("regions", device.stats()?.regions, 2)?;
            intact(&device, known, KNOWN_BYTES, 7)?;
            sound(&device)?;
            Ok((result, struck))
        };
        faults.sweep(step).about("EXTEND").about(engine)?;
    }
    Ok(())
}

fn mappings_survive_every_fault() -> TestResult {
    // A mapping of this size needs more than one page table, wherever it begins.
    const BYTES: u64 = 3 * MIB;
    let faults = Faults::prepare()?;
    for engine in POOL_ENGINES {
        let step = |nth| {
            let device = private_of(engine, 8 * MIB)?;
            let handle = device.alloc(BYTES, 4096)?.handle;
            let map = || MappedPages::new(&device, handle, 0, (BYTES / 4096) as usize);
            let (result, struck) = faults.strike(nth, map)?;
            match &result {
                Ok(_) => refused(device.free(handle), Errno::BUSY)?,
                Err(errno) => {
                    expected(*errno)?;
                    device.free(handle)?;
                }
            }
            sound(&device)?;
            Ok((result, struck))
        };
        faults.sweep(step).about(engine)?;
    }
    Ok(())
}

fn opening_survives_every_fault() -> TestResult {
    let faults = Faults::prepare()?;
    let observer = Device::open()?;
    let sessions = observer.info()?.sessions_used;
    let step = |nth| {
        let (result, struck) = faults.strike(nth, Device::open)?;
        if let Err(errno) = &result {
            expected(*errno)?;
        }
        // If the open failed after the file was created, the kernel drops the file before it returns to the
        // program, so the session is no longer counted here.
        let opened = u32::from(result.is_ok());
        check_eq(
            "sessions",
            observer.info()?.sessions_used,
            sessions + opened,
        )?;
        Ok((result.map(drop), struck))
    };
    faults.sweep(step).map(|_| ())
}

fn benches_survive_every_fault() -> TestResult {
    let faults = Faults::prepare()?;
    let device = Device::open()?;
    let used = device.info()?.private_bytes_used;
    for subject in [BenchSubject::Kmalloc, BenchSubject::KmemCache]
        .into_iter()
        .chain(BenchSubject::ENGINES)
    {
        let bench = slablab_bench {
            pool_bytes: MIB,
            count: 4,
            ..small(subject, BenchPattern::Lifo)
        };
        let step = |nth| {
            let (result, struck) = faults.strike(nth, || device.bench(&bench))?;
            if let Err(errno) = &result {
                expected(*errno)?;
            }
            check_eq(
                "private_bytes_used",
                device.info()?.private_bytes_used,
                used,
            )?;
            Ok((result, struck))
        };
        faults.sweep(step).about(subject)?;
    }
    Ok(())
}

/// Sweeps the loading of the module, which must not be loaded yet.
pub(super) fn loading(module: &Module) -> TestResult {
    let faults = Faults::prepare()?;
    // The file is read here, because the kernel logs a stack trace if finit_module() cannot read the file.
    let image = fs::read(module.path())?;
    let step = |nth| {
        let (result, struck) = faults.strike(nth, || Module::load_image(&image, c"pool_mib=1"))?;
        let there = fs::exists("/sys/module/slablab")? || fs::exists(uapi::DEVICE)?;
        check_eq("the module is loaded", there, result.is_ok())?;
        if result.is_ok() {
            module.unload()?;
        }
        Ok((result, struck))
    };
    faults.sweep(step).map(|_| ())
}
