// SPDX-License-Identifier: GPL-2.0

//! Buffers that end at unmapped or read-only pages, and system calls with arbitrary arguments.

use std::{
    ffi::c_void,
    io,
    os::fd::{
        AsFd,
        AsRawFd, //
    },
    ptr::{
        self,
        NonNull, //
    },
};

use rustix::{
    mm::{
        MapFlags,
        MprotectFlags,
        ProtFlags,
        mmap_anonymous,
        mprotect,
        munmap, //
    },
    param::page_size, //
};

use crate::{
    device::{
        Errno,
        raw_ioctl, //
    },
    uapi,
};

use super::verdict::{
    TestError, //
    TestResult,
};

/// Plain data: what the commands take.
///
/// # Safety
///
/// The type has no padding and is valid whatever its bytes are.
pub(super) unsafe trait Argument: Copy {
    /// Returns its bytes.
    fn bytes(&self) -> Vec<u8> {
        let start = ptr::from_ref(self).cast::<u8>();
        // SAFETY: All bytes of `self` are initialised, as the trait promises.
        unsafe { std::slice::from_raw_parts(start, size_of::<Self>()) }.to_vec()
    }
}

/// Declares structures of the interface to be arguments.
macro_rules! arguments {
    ($($name:ident: $size:ident),* $(,)?) => {$(
        const _: () = assert!(size_of::<uapi::$name>() == uapi::$size as usize);
        // SAFETY: A structure of the interface has fixed-width integers only, and no padding.
        unsafe impl Argument for uapi::$name {}
    )*};
}

// SAFETY: As above.
unsafe impl Argument for uapi::slablab_extent {}

arguments! {
    slablab_info: SLABLAB_INFO_SIZE_VER1,
    slablab_bind: SLABLAB_BIND_SIZE_VER1,
    slablab_alloc: SLABLAB_ALLOC_SIZE_VER1,
    slablab_realloc: SLABLAB_REALLOC_SIZE_VER1,
    slablab_stats: SLABLAB_STATS_SIZE_VER1,
    slablab_check: SLABLAB_CHECK_SIZE_VER1,
    slablab_extend: SLABLAB_EXTEND_SIZE_VER1,
    slablab_shrink: SLABLAB_SHRINK_SIZE_VER1,
    slablab_map: SLABLAB_MAP_SIZE_VER1,
    slablab_submit: SLABLAB_SUBMIT_SIZE_VER1,
    slablab_operation: SLABLAB_OPERATION_SIZE_VER1,
    slablab_bench: SLABLAB_BENCH_SIZE_VER1,
    slablab_inject: SLABLAB_INJECT_SIZE_VER1,
    slablab_report: SLABLAB_REPORT_SIZE_VER1,
    slablab_reports: SLABLAB_REPORTS_SIZE_VER1,
    slablab_fail: SLABLAB_FAIL_SIZE_VER1,
    slablab_event: SLABLAB_EVENT_SIZE_VER1,
    slablab_events: SLABLAB_EVENTS_SIZE_VER1,
}

/// Whether the kernel reads and writes an argument, according to the direction in `_IOC`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// Neither: the argument is a number.
    None = 0,
    /// The kernel reads it.
    Write = 1,
    /// The kernel writes it.
    Read = 2,
    /// Both.
    Both = 3,
}

/// The largest size that a request can name.
pub(super) const SIZE_MAX: usize = (1 << 14) - 1;

/// Returns the request `_IOC(direction, type, number, size)`.
pub(super) fn ioc(direction: Direction, kind: u32, number: u32, size: usize) -> u32 {
    (direction as u32) << 30 | (size as u32 & SIZE_MAX as u32) << 16 | kind << 8 | number
}

/// Makes a request with a structure as its argument.
pub(super) fn submit<T: Argument>(
    file: impl AsFd,
    number: u32,
    argument: &mut T,
) -> Result<(), Errno> {
    let request = ioc(
        Direction::Both,
        uapi::SLABLAB_IOC_TYPE,
        number,
        size_of::<T>(),
    );
    let address = ptr::from_mut(argument).expose_provenance();
    // SAFETY: The argument is as long as the request says, and may be overwritten.
    unsafe { raw_ioctl(file.as_fd(), request, address) }.map(drop)
}

/// Makes a request with any number as its argument.
///
/// The kernel may take the number for an address: what is there is either a [`GuardedBuffer`]'s or no
/// memory of this program.
pub(super) fn poke(file: impl AsFd, request: u32, argument: usize) -> Result<i32, Errno> {
    // SAFETY: The callers pass numbers that are no addresses of this program, or those of fences,
    // which are made to be overwritten.
    unsafe { raw_ioctl(file.as_fd(), request, argument) }
}

/// Functions of the C library: `rustix` takes slices, which cannot point to unmapped memory.
mod c {
    use std::ffi::{
        c_int,
        c_void, //
    };

    unsafe extern "C" {
        pub(super) fn pread64(file: c_int, to: *mut c_void, len: usize, position: i64) -> isize;
        pub(super) fn pwrite64(
            file: c_int,
            from: *const c_void,
            len: usize,
            position: i64,
        ) -> isize;
    }
}

/// Which way bytes go between a block and memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transfer {
    /// `pread`
    Read,
    /// `pwrite`
    Write,
}

/// Memory with an end: some pages, and behind them one that cannot be touched.
pub(super) struct GuardedBuffer {
    start: NonNull<u8>,
    /// Bytes that can be touched.
    bytes: usize,
}

impl GuardedBuffer {
    /// Makes a fence of `pages` pages that can be touched.
    pub(super) fn new(pages: usize) -> TestResult<Self> {
        let bytes = pages * page_size();
        // SAFETY: The mapping is new and nobody's.
        let start = unsafe {
            mmap_anonymous(
                ptr::null_mut(),
                bytes + page_size(),
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE,
            )
        }?;
        let fence = Self {
            start: NonNull::new(start.cast()).ok_or_else(|| TestError::failed("mapped at 0"))?,
            bytes,
        };
        fence.protect(bytes, page_size(), MprotectFlags::empty())?;
        Ok(fence)
    }

    fn protect(&self, from: usize, bytes: usize, access: MprotectFlags) -> TestResult {
        let start = self.start.as_ptr().wrapping_add(from).cast::<c_void>();
        // SAFETY: The range is part of the mapping, to which there are no references.
        Ok(unsafe { mprotect(start, bytes, access) }?)
    }

    /// Puts `content` where all of it but the last `outside` bytes can be touched; returns where.
    ///
    /// `content` is not longer than what can be touched.
    pub(super) fn place(&self, content: &[u8], outside: usize) -> usize {
        let inside = &content[..content.len() - outside];
        let start = self.start.as_ptr().wrapping_add(self.bytes - inside.len());
        // SAFETY: `inside` ends where the part that can be touched ends, and is no longer than it;
        // there are no references to the mapping.
        unsafe { ptr::copy_nonoverlapping(inside.as_ptr(), start, inside.len()) };
        start.expose_provenance()
    }

    /// Returns the last `len` bytes that can be touched.
    pub(super) fn last(&self, len: usize) -> Vec<u8> {
        let start = self.start.as_ptr().wrapping_add(self.bytes - len);
        // SAFETY: The range is part of the mapping, can be read, and nobody writes to it now.
        unsafe { std::slice::from_raw_parts(start, len) }.to_vec()
    }

    /// Moves up to `len` bytes between a block and the memory at `address`, which [`GuardedBuffer::place`]
    /// returned; the end of the fence may be in between.
    pub(super) fn transfer(
        &self,
        file: impl AsFd,
        transfer: Transfer,
        position: u64,
        address: usize,
        len: usize,
    ) -> Result<usize, Errno> {
        let file = file.as_fd().as_raw_fd();
        let position = i64::try_from(position).map_err(|_| Errno::INVAL)?;
        let buffer = ptr::with_exposed_provenance_mut::<c_void>(address);
        let moved = match transfer {
            // SAFETY: The kernel stops where the fence does; what it touches before is the
            // fence's, to which there are no references.
            Transfer::Read => unsafe { c::pread64(file, buffer, len, position) },
            // SAFETY: As above.
            Transfer::Write => unsafe { c::pwrite64(file, buffer, len, position) },
        };
        usize::try_from(moved).map_err(|_| {
            let error = io::Error::last_os_error();
            Errno::from_io_error(&error).unwrap_or(Errno::INVAL)
        })
    }

    /// Moves the `len` bytes at `address`, which [`GuardedBuffer::place`] returned, to where they begin
    /// `from` bytes behind the first one that can be touched; returns where.
    pub(super) fn shift_down(&self, address: usize, len: usize, from: usize) -> usize {
        let first = self.start.addr().get();
        assert!(address >= first && len <= self.bytes - (address - first).max(from));
        let old = self.start.as_ptr().wrapping_add(address - first);
        let new = self.start.as_ptr().wrapping_add(from);
        // SAFETY: Both ranges are part of what can be touched, as was checked above; there are no
        // references to the mapping.
        unsafe { ptr::copy(old, new, len) };
        new.expose_provenance()
    }

    /// Keeps everybody from writing.
    pub(super) fn read_only(&self) -> TestResult {
        self.read_only_from(0)
    }

    /// Keeps everybody from writing from byte `from` on, which begins a page.
    pub(super) fn read_only_from(&self, from: usize) -> TestResult {
        self.protect(from, self.bytes - from, MprotectFlags::READ)
    }
}

impl Drop for GuardedBuffer {
    fn drop(&mut self) {
        // SAFETY: The mapping is this fence's, and there are no references to it.
        let unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.bytes + page_size()) };
        debug_assert!(unmapped.is_ok());
    }
}
