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
    TestError,
    TestResult, //
};

/// The arguments of commands, which are plain data.
///
/// # Safety
///
/// The type has no padding, and every bit pattern is valid for it.
pub(super) unsafe trait Argument: Copy {
    /// Returns the bytes of the argument.
    fn bytes(&self) -> Vec<u8> {
        let start = ptr::from_ref(self).cast::<u8>();
        // SAFETY: All bytes of `self` are initialised, as the trait promises.
        unsafe { std::slice::from_raw_parts(start, size_of::<Self>()) }.to_vec()
    }
}

/// Implements [`Argument`] for structures of the interface, and checks their sizes.
macro_rules! arguments {
    ($($name:ident: $size:ident),* $(,)?) => {$(
        const _: () = assert!(size_of::<uapi::$name>() == uapi::$size as usize);
        // SAFETY: A structure of the interface has fixed-width integers only, and no padding.
        unsafe impl Argument for uapi::$name {}
    )*};
}

// SAFETY: `slablab_extent` has fixed-width integers only, and no padding.
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
    slablab_violation: SLABLAB_VIOLATION_SIZE_VER1,
}

/// Whether the kernel reads and writes an argument, according to the direction in `_IOC`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// The kernel neither reads nor writes the argument, which is a number.
    None = 0,
    /// The kernel reads the argument.
    Write = 1,
    /// The kernel writes the argument.
    Read = 2,
    /// The kernel reads and writes the argument.
    Both = 3,
}

/// The largest size that a request can name.
pub(super) const SIZE_MAX: usize = (1 << 14) - 1;

/// Returns the request `_IOC(direction, type, number, size)`.
pub(super) fn ioc(direction: Direction, kind: u32, number: u32, size: usize) -> u32 {
    (direction as u32) << 30 | (size as u32 & SIZE_MAX as u32) << 16 | kind << 8 | number
}

/// Sends a request with a structure as its argument.
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
    // SAFETY: `raw_ioctl` requires the exposed address of memory that the request may read and write. The
    // argument is as long as the request says and is borrowed exclusively.
    unsafe { raw_ioctl(file.as_fd(), request, address) }.map(drop)
}

/// Sends a request with any number as its argument.
///
/// The kernel may use the number as an address. It must then be an address in a [`GuardedBuffer`], or one at
/// which this process has no memory.
pub(super) fn poke(file: impl AsFd, request: u32, argument: usize) -> Result<i32, Errno> {
    // SAFETY: If the request takes a pointer, `raw_ioctl` requires an address that may be read and written,
    // or one at which this process has no memory. Callers then pass an exposed address in a `GuardedBuffer`,
    // to which no references exist, or an address without memory. If the request takes a number, any argument
    // is allowed.
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

/// The direction of a transfer between a block and memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transfer {
    /// `pread`
    Read,
    /// `pwrite`
    Write,
}

/// Some accessible pages, followed by a guard page that cannot be accessed.
pub(super) struct GuardedBuffer {
    start: NonNull<u8>,
    /// The number of accessible bytes.
    bytes: usize,
}

impl GuardedBuffer {
    /// Creates a buffer with `pages` accessible pages.
    pub(super) fn new(pages: usize) -> TestResult<Self> {
        let bytes = pages * page_size();
        // SAFETY: `mmap_anonymous` must not replace a mapping that is in use. The address is null, so the
        // kernel chooses a free range.
        let start = unsafe {
            mmap_anonymous(
                ptr::null_mut(),
                bytes + page_size(),
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE,
            )
        }?;
        let fence = Self {
            start: NonNull::new(start.cast())
                .ok_or_else(|| TestError::failed("mmap returned address 0"))?,
            bytes,
        };
        fence.protect(bytes, page_size(), MprotectFlags::empty())?;
        Ok(fence)
    }

    fn protect(&self, from: usize, bytes: usize, access: MprotectFlags) -> TestResult {
        let start = self.start.as_ptr().wrapping_add(from).cast::<c_void>();
        // SAFETY: The range is a part of this mapping, and no references to it exist.
        Ok(unsafe { mprotect(start, bytes, access) }?)
    }

    /// Copies `content` to the end of the accessible pages, except for its last `outside` bytes, which would
    /// lie in the guard page. Returns the address.
    ///
    /// The copied part of `content` must fit into the accessible pages.
    pub(super) fn place(&self, content: &[u8], outside: usize) -> usize {
        let inside = &content[..content.len() - outside];
        let start = self.start.as_ptr().wrapping_add(self.bytes - inside.len());
        // SAFETY: `copy_nonoverlapping` requires readable and writable ranges that do not overlap. The target
        // is the end of the accessible pages, into which `inside` fits, and `inside` is not in this mapping,
        // to which no references exist.
        unsafe { ptr::copy_nonoverlapping(inside.as_ptr(), start, inside.len()) };
        start.expose_provenance()
    }

    /// Returns the last `len` accessible bytes.
    pub(super) fn last(&self, len: usize) -> Vec<u8> {
        let start = self.start.as_ptr().wrapping_add(self.bytes - len);
        // SAFETY: `from_raw_parts` requires readable, initialized bytes that nobody writes to. The range is
        // the end of the accessible pages, which the kernel initialized, and no call of the kernel that
        // writes to it is running.
        unsafe { std::slice::from_raw_parts(start, len) }.to_vec()
    }

    /// Transfers up to `len` bytes between a block and the memory at `address`, which
    /// [`GuardedBuffer::place`] returned. The guard page may be in this range.
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
            // SAFETY: `pread64` writes to `len` bytes from `buffer` on, or stops at the guard page. All bytes
            // before the guard page belong to this buffer, and no references to them exist.
            Transfer::Read => unsafe { c::pread64(file, buffer, len, position) },
            // SAFETY: `pwrite64` reads `len` bytes from `buffer` on, or stops at the guard page. All bytes
            // before the guard page belong to this buffer, and nobody writes to them during the call.
            Transfer::Write => unsafe { c::pwrite64(file, buffer, len, position) },
        };
        usize::try_from(moved).map_err(|_| {
            let error = io::Error::last_os_error();
            Errno::from_io_error(&error).unwrap_or(Errno::INVAL)
        })
    }

    /// Moves the `len` bytes at `address`, which [`GuardedBuffer::place`] returned, to byte `from` of the
    /// accessible bytes. Returns the new address.
    pub(super) fn shift_down(&self, address: usize, len: usize, from: usize) -> usize {
        let first = self.start.addr().get();
        assert!(address >= first && len <= self.bytes - (address - first).max(from));
        let old = self.start.as_ptr().wrapping_add(address - first);
        let new = self.start.as_ptr().wrapping_add(from);
        // SAFETY: `copy` requires a readable and a writable range of `len` bytes. Both are in the accessible
        // pages, as was checked above, and no references to the mapping exist.
        unsafe { ptr::copy(old, new, len) };
        new.expose_provenance()
    }

    /// Makes the accessible pages read-only.
    pub(super) fn read_only(&self) -> TestResult {
        self.read_only_from(0)
    }

    /// Makes the accessible pages read-only from byte `from` on, which is the first byte of a page.
    pub(super) fn read_only_from(&self, from: usize) -> TestResult {
        self.protect(from, self.bytes - from, MprotectFlags::READ)
    }
}

impl Drop for GuardedBuffer {
    fn drop(&mut self) {
        // SAFETY: `munmap` requires that nobody uses the range any more. This buffer owns the mapping and is
        // dropped, and no references to it exist.
        let unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.bytes + page_size()) };
        debug_assert!(unmapped.is_ok());
    }
}
