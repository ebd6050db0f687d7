// SPDX-License-Identifier: GPL-2.0

//! `/dev/slablab`: one open file, which is one session.
//!
//! Each command has a typed method. [`raw_ioctl`] sends malformed requests in tests.

pub mod request;

use std::{
    os::fd::{
        AsFd,
        BorrowedFd,
        OwnedFd, //
    },
    path::Path,
    ptr,
};

use rustix::{
    fs::{
        Mode,
        OFlags, //
    },
    io,
    ioctl::{
        Ioctl,
        IoctlOutput,
        Opcode, //
    },
};

use self::request::Argument;
use crate::{
    target::{
        Refused,
        Target, //
    },
    uapi::{
        self,
        slablab_alloc,
        slablab_bench,
        slablab_bind,
        slablab_check,
        slablab_event,
        slablab_events,
        slablab_extend,
        slablab_extent,
        slablab_fail,
        slablab_info,
        slablab_inject,
        slablab_map,
        slablab_operation,
        slablab_realloc,
        slablab_report,
        slablab_reports,
        slablab_shrink,
        slablab_stats,
        slablab_submit,
        slablab_violation, //
    },
};

pub use rustix::io::Errno;

/// A session on the device.
#[derive(Debug)]
pub struct Device {
    file: OwnedFd,
}

impl Device {
    /// Opens the device.
    pub fn open() -> Result<Self, Errno> {
        Self::open_path(Path::new(uapi::DEVICE))
    }

    /// Opens the device at a path of the caller's choice.
    pub fn open_path(path: &Path) -> Result<Self, Errno> {
        Self::open_with(path, OFlags::RDWR)
    }

    /// Opens the device for reading, for writing, or for both.
    pub fn open_for(access: OFlags) -> Result<Self, Errno> {
        Self::open_with(Path::new(uapi::DEVICE), access)
    }

    fn open_with(path: &Path, access: OFlags) -> Result<Self, Errno> {
        let file = rustix::fs::open(path, access | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { file })
    }

    /// Measures an allocator.
    pub fn bench(&self, bench: &slablab_bench) -> Result<slablab_bench, Errno> {
        let mut bench = *bench;
        self.command(&mut bench)?;
        Ok(bench)
    }

    /// Returns the reports of debug mode from report `number` on.
    pub fn reports(
        &self,
        number: u64,
        reports: &mut [slablab_report],
    ) -> Result<slablab_reports, Errno> {
        let mut reply = slablab_reports {
            count: reports.len().min(uapi::SLABLAB_REPORTS_KEPT as usize) as u32,
            number,
            reports: reports.as_mut_ptr().expose_provenance() as u64,
            ..Default::default()
        };
        self.command(&mut reply)?;
        Ok(reply)
    }

    /// Sends a structure and receives it back.
    fn command<A: Argument>(&self, argument: &mut A) -> Result<(), Errno> {
        let address = ptr::from_mut(argument).expose_provenance();
        // SAFETY: `raw_ioctl` requires the exposed address of memory that the request may read and write. By
        // the contract of `Argument`, the command reads and writes one `A`, every bit pattern of which is
        // valid. `address` is that of `argument`, which this function borrows exclusively. The methods that
        // put another address into the structure borrow that memory exclusively, too.
        unsafe { raw_ioctl(self.as_fd(), A::REQUEST, address) }.map(|_| ())
    }
}

impl Target for Device {
    fn info(&self) -> Result<slablab_info, Errno> {
        let mut info = slablab_info::default();
        self.command(&mut info)?;
        Ok(info)
    }

    fn bind(&self, engine: u32, flags: u32, pool_bytes: u64) -> Result<(), Errno> {
        self.command(&mut slablab_bind {
            engine,
            flags,
            pool_bytes,
            ..Default::default()
        })
    }

    fn alloc(&self, size: u64, align: u64) -> Result<slablab_alloc, Refused> {
        let mut alloc = slablab_alloc {
            size,
            align,
            ..Default::default()
        };
        match self.command(&mut alloc) {
            Ok(()) => Ok(alloc),
            Err(errno) => Err(Refused {
                errno,
                cost: alloc.cost,
            }),
        }
    }

    fn free(&self, handle: u32) -> Result<(), Errno> {
        // SAFETY: FREE takes its argument by value, so `raw_ioctl` allows any argument.
        unsafe { raw_ioctl(self.as_fd(), request::FREE, handle as usize) }.map(|_| ())
    }

    fn realloc(&self, handle: u32, size: u64) -> Result<slablab_realloc, Refused> {
        let mut realloc = slablab_realloc {
            handle,
            size,
            ..Default::default()
        };
        match self.command(&mut realloc) {
            Ok(()) => Ok(realloc),
            Err(errno) => Err(Refused {
                errno,
                cost: realloc.cost,
            }),
        }
    }

    fn stats(&self) -> Result<Box<slablab_stats>, Errno> {
        let mut stats = Box::<slablab_stats>::default();
        self.command(&mut *stats)?;
        Ok(stats)
    }

    fn violation(&self) -> Result<slablab_violation, Errno> {
        let mut violation = slablab_violation::default();
        self.command(&mut violation)?;
        Ok(violation)
    }

    fn check(&self) -> Result<slablab_check, Errno> {
        let mut check = slablab_check::default();
        self.command(&mut check)?;
        Ok(check)
    }

    fn extend(&self, bytes: u64) -> Result<slablab_extend, Errno> {
        let mut extend = slablab_extend {
            bytes,
            ..Default::default()
        };
        self.command(&mut extend)?;
        Ok(extend)
    }

    fn shrink(&self) -> Result<slablab_shrink, Errno> {
        let mut shrink = slablab_shrink::default();
        self.command(&mut shrink)?;
        Ok(shrink)
    }

    fn map(
        &self,
        region: u32,
        page: u32,
        extents: &mut [slablab_extent],
    ) -> Result<slablab_map, Errno> {
        let mut map = slablab_map {
            region,
            page,
            count: extents.len().min(uapi::SLABLAB_MAP_EXTENTS_MAX as usize) as u32,
            extents: extents.as_mut_ptr().expose_provenance() as u64,
            ..Default::default()
        };
        self.command(&mut map)?;
        Ok(map)
    }

    fn submit(&self, operations: &mut [slablab_operation]) -> Result<slablab_submit, Errno> {
        let mut submit = slablab_submit {
            count: u32::try_from(operations.len()).map_err(|_| Errno::INVAL)?,
            operations: operations.as_mut_ptr().expose_provenance() as u64,
            ..Default::default()
        };
        self.command(&mut submit)?;
        Ok(submit)
    }

    fn inject(&self, misuse: u32, size: u64) -> Result<slablab_report, Errno> {
        let mut inject = slablab_inject {
            misuse,
            size,
            ..Default::default()
        };
        self.command(&mut inject)?;
        Ok(inject.report)
    }

    fn fail(&self, every: u64, growth: u64) -> Result<u64, Errno> {
        let mut fail = slablab_fail {
            every,
            growth,
            ..Default::default()
        };
        self.command(&mut fail)?;
        Ok(fail.injected)
    }

    fn record(&self, events: u32) -> Result<(), Errno> {
        self.command(&mut slablab_events {
            op: uapi::SLABLAB_EVENTS_BEGIN,
            count: events,
            ..Default::default()
        })
    }

    fn events(&self, number: u64, events: &mut [slablab_event]) -> Result<slablab_events, Errno> {
        let mut reply = slablab_events {
            op: uapi::SLABLAB_EVENTS_READ,
            count: events.len().min(uapi::SLABLAB_EVENTS_MAX as usize) as u32,
            number,
            events: events.as_mut_ptr().expose_provenance() as u64,
            ..Default::default()
        };
        self.command(&mut reply)?;
        Ok(reply)
    }

    fn end_record(&self) -> Result<(), Errno> {
        self.command(&mut slablab_events {
            op: uapi::SLABLAB_EVENTS_END,
            ..Default::default()
        })
    }

    fn read(&self, handle: u32, byte: u32, buffer: &mut [u8]) -> Result<usize, Errno> {
        io::pread(&self.file, buffer, position(handle, byte))
    }

    fn write(&self, handle: u32, byte: u32, bytes: &[u8]) -> Result<usize, Errno> {
        io::pwrite(&self.file, bytes, position(handle, byte))
    }

    fn file(&self) -> Option<BorrowedFd<'_>> {
        Some(self.as_fd())
    }
}

impl AsFd for Device {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl From<Device> for OwnedFd {
    fn from(device: Device) -> Self {
        device.file
    }
}

/// Opens the device. An error contains advice.
pub fn open_device() -> anyhow::Result<Device> {
    Device::open().map_err(|errno| {
        let advice = match errno {
            Errno::NOENT => {
                "the module is not loaded; 'make run' and 'make shell' load it in a virtual machine; \
                 --target sim needs no module"
            }
            Errno::ACCESS | Errno::PERM => "only root may open the device; --target sim needs no privilege",
            Errno::USERS | Errno::MFILE | Errno::NFILE | Errno::BUSY => {
                "too many sessions are open"
            }
            _ => "the device cannot be opened",
        };
        anyhow::Error::from(errno).context(format!("{}: {advice}", uapi::DEVICE))
    })
}

/// Returns the file position of a byte of a block: `SLABLAB_POSITION` of the header.
pub fn position(handle: u32, byte: u32) -> u64 {
    (u64::from(handle) << uapi::SLABLAB_POSITION_HANDLE_SHIFT) | u64::from(byte)
}

/// Sends any request with any argument.
///
/// # Safety
///
/// - If the request takes a pointer, `argument` must be the exposed address of memory that the
///   request may read and write, or an address at which this process has no memory.
/// - If the request takes its argument by value, any `argument` is allowed.
pub unsafe fn raw_ioctl(file: BorrowedFd<'_>, request: u32, argument: usize) -> Result<i32, Errno> {
    // SAFETY: The memory that an ioctl accesses must match what the driver expects. The caller promises this:
    // `argument` is a value, or an address that the request may access.
    unsafe { rustix::ioctl::ioctl(file, Raw { request, argument }) }
}

/// Any request with any argument.
struct Raw {
    request: u32,
    argument: usize,
}

// SAFETY:
// - The caller of `raw_ioctl`, which alone creates a `Raw`, promises that `argument` is what the request
//   expects, and that the call is safe.
// - `output_from_ptr` returns the result of the system call, and does not use the pointer.
// - `IS_MUTATING` is true.
unsafe impl Ioctl for Raw {
    type Output = i32;

    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        self.request
    }

    fn as_ptr(&mut self) -> *mut std::ffi::c_void {
        ptr::with_exposed_provenance_mut(self.argument)
    }

    unsafe fn output_from_ptr(
        output: IoctlOutput,
        _argument: *mut std::ffi::c_void,
    ) -> Result<i32, Errno> {
        Ok(output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_numbers_are_those_of_the_header() {
        // The values that `_IOWR` and `_IO` of C compute.
        assert_eq!(request::INFO, 0xc068_bb00);
        assert_eq!(request::BIND, 0xc020_bb01);
        assert_eq!(request::ALLOC, 0xc030_bb02);
        assert_eq!(request::FREE, 0x0000_bb03);
        assert_eq!(request::REALLOC, 0xc028_bb04);
        assert_eq!(request::STATS, 0xcbb8_bb05);
        assert_eq!(request::CHECK, 0xc020_bb06);
        assert_eq!(request::EXTEND, 0xc020_bb07);
        assert_eq!(request::SHRINK, 0xc018_bb09);
        assert_eq!(request::MAP, 0xc020_bb08);
        assert_eq!(request::SUBMIT, 0xc018_bb0a);
        assert_eq!(request::VIOLATION, 0xc068_bb10);
        assert_eq!(request::BENCH, 0xc0b8_bb0b);
        assert_eq!(request::INJECT, 0xc078_bb0c);
        assert_eq!(request::REPORTS, 0xc020_bb0d);
        assert_eq!(request::FAIL, 0xc020_bb0e);
        assert_eq!(request::EVENTS, 0xc028_bb0f);
    }

    #[test]
    fn a_device_that_is_not_there_is_enoent() {
        let missing = Path::new("/dev/slablab-is-not-here");
        assert_eq!(Device::open_path(missing).map(|_| ()), Err(Errno::NOENT));
    }

    #[test]
    fn a_file_that_is_no_device_answers_enotty() {
        let null = Device::open_path(Path::new("/dev/null")).unwrap();
        assert_eq!(null.info().map(|_| ()), Err(Errno::NOTTY));
        assert_eq!(null.free(1), Err(Errno::NOTTY));
    }
}
