// SPDX-License-Identifier: GPL-2.0

//! Blocks that are mapped with `mmap`.

use std::{
    os::fd::AsFd,
    ptr::{
        self,
        NonNull, //
    },
    slice,
    sync::atomic::AtomicU32,
};

use rustix::{
    mm::{
        MapFlags,
        MprotectFlags,
        MremapFlags,
        MsyncFlags,
        ProtFlags,
        mmap,
        mmap_anonymous,
        mprotect,
        mremap,
        mremap_fixed,
        msync,
        munmap, //
    },
    param::page_size,
    pipe::{
        IoSliceRaw,
        SpliceFlags,
        vmsplice, //
    },
};

use crate::device::{
    Errno,
    position, //
};

use super::verdict::{
    TestResult,
    check, //
};

/// The protection of most mappings.
pub(super) const READ_WRITE: ProtFlags = ProtFlags::READ.union(ProtFlags::WRITE);

/// Pages of a block, mapped.
///
/// Others may write there at any time, so every access is volatile, and there are no references.
pub(super) struct MappedPages {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: The memory belongs to the process, not to a thread.
unsafe impl Send for MappedPages {}

impl MappedPages {
    /// Maps `pages` pages of a block, from page `first` on.
    pub(super) fn new(
        file: impl AsFd,
        handle: u32,
        first: u32,
        pages: usize,
    ) -> Result<Self, Errno> {
        let position = position(handle, first * page_size() as u32);
        Self::with(file, position, pages, READ_WRITE, MapFlags::SHARED)
    }

    /// Maps `pages` pages of a file, from a position on, in whatever way.
    pub(super) fn with(
        file: impl AsFd,
        position: u64,
        pages: usize,
        access: ProtFlags,
        flags: MapFlags,
    ) -> Result<Self, Errno> {
        let bytes = pages * page_size();
        // SAFETY: The kernel chooses an address where nothing is.
        let start = unsafe { mmap(ptr::null_mut(), bytes, access, flags, file, position) }?;
        let start = NonNull::new(start.cast()).ok_or(Errno::FAULT)?;
        Ok(Self { start, bytes })
    }

    /// Makes a mapping of `pages` pages of ordinary memory.
    pub(super) fn anonymous(pages: usize) -> Result<Self, Errno> {
        let bytes = pages * page_size();
        // SAFETY: As in `with`.
        let start =
            unsafe { mmap_anonymous(ptr::null_mut(), bytes, READ_WRITE, MapFlags::PRIVATE) }?;
        let start = NonNull::new(start.cast()).ok_or(Errno::FAULT)?;
        Ok(Self { start, bytes })
    }

    /// Returns where `len` bytes begin, of which the first is byte `byte`; they are mapped.
    fn at(&self, byte: usize, len: usize) -> *mut u8 {
        assert!(byte <= self.bytes && len <= self.bytes - byte);
        self.start.as_ptr().wrapping_add(byte)
    }

    /// Reads `len` bytes from byte `byte` on.
    pub(super) fn read(&self, byte: usize, len: usize) -> Vec<u8> {
        let from = self.at(byte, len);
        // SAFETY: The bytes are mapped, and can be read: tests read no part that they took away.
        let read = |n| unsafe { from.wrapping_add(n).read_volatile() };
        (0..len).map(read).collect()
    }

    /// Reads all that is mapped.
    pub(super) fn whole(&self) -> Vec<u8> {
        self.read(0, self.bytes)
    }

    /// Writes from byte `byte` on.
    pub(super) fn write(&self, byte: usize, content: &[u8]) {
        let to = self.at(byte, content.len());
        for (n, value) in content.iter().enumerate() {
            // SAFETY: As for `read`.
            unsafe { to.wrapping_add(n).write_volatile(*value) };
        }
    }

    /// Returns where it begins.
    pub(super) fn address(&self) -> u64 {
        self.start.addr().get() as u64
    }

    /// Says whether there is a page, which may have been taken away.
    pub(super) fn has(&self, page: usize) -> bool {
        let start = self.at(page * page_size(), page_size());
        // SAFETY: This writes nothing back: the page is no file's on a disk.
        unsafe { msync(start.cast(), page_size(), MsyncFlags::ASYNC) }.is_ok()
    }

    /// Has the kernel copy all of it to a pipe.
    pub(super) fn copy_to(&self, pipe: impl AsFd) -> Result<usize, Errno> {
        // SAFETY: Nobody writes to it during the call.
        rustix::io::write(pipe, unsafe { self.quiet() })
    }

    /// Has the kernel keep the pages in a pipe.
    pub(super) fn splice_to(&self, pipe: impl AsFd) -> Result<usize, Errno> {
        // SAFETY: Nobody writes to it during the call.
        let pages = IoSliceRaw::from_slice(unsafe { self.quiet() });
        // SAFETY: What the pipe says later is the callers' to judge.
        unsafe { vmsplice(pipe, &[pages], SpliceFlags::NONBLOCK) }
    }

    /// Returns the bytes for a call to the kernel.
    ///
    /// # Safety
    ///
    /// All of it is mapped, and nobody writes to it while the slice lives.
    unsafe fn quiet(&self) -> &[u8] {
        // SAFETY: As the caller says.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.bytes) }
    }

    /// Allows other access.
    pub(super) fn protect(&self, access: MprotectFlags) -> Result<(), Errno> {
        // SAFETY: There are no references to the range.
        unsafe { mprotect(self.start.as_ptr().cast(), self.bytes, access) }
    }

    /// Allows other access to `pages` pages from page `first` on.
    pub(super) fn protect_part(
        &self,
        first: usize,
        pages: usize,
        access: MprotectFlags,
    ) -> Result<(), Errno> {
        let bytes = pages * page_size();
        // SAFETY: There are no references to the range.
        unsafe { mprotect(self.at(first * page_size(), bytes).cast(), bytes, access) }
    }

    /// Returns the first four bytes as a number that others may change.
    pub(super) fn word(&self) -> &AtomicU32 {
        // SAFETY: They are mapped, aligned, and written to by atomic and volatile accesses alone.
        unsafe { AtomicU32::from_ptr(self.at(0, 4).cast()) }
    }

    /// Has `old` bytes from the beginning on be `new` bytes, wherever.
    ///
    /// Where `old` is not all of it, the kernel makes a mapping beside this one.
    pub(super) fn resize(&mut self, old: usize, new: usize, how: MremapFlags) -> Result<(), Errno> {
        // SAFETY: There are no references to the range.
        let start = unsafe { mremap(self.start.as_ptr().cast(), old, new, how) }?;
        self.start = NonNull::new(start.cast()).ok_or(Errno::FAULT)?;
        self.bytes = new;
        Ok(())
    }

    /// Moves it to where `place` is, which is as long and goes.
    pub(super) fn move_to(&mut self, place: Self) -> TestResult {
        check(place.bytes == self.bytes, "there is as much room")?;
        let to = place.start.as_ptr().cast();
        // SAFETY: Neither range has references to it, and `place` is this function's.
        let start = unsafe {
            mremap_fixed(
                self.start.as_ptr().cast(),
                self.bytes,
                self.bytes,
                MremapFlags::MAYMOVE,
                to,
            )
        }?;
        std::mem::forget(place);
        check(start == to, "it is there")?;
        self.start = NonNull::new(start.cast()).ok_or(Errno::FAULT)?;
        Ok(())
    }

    /// Takes away `pages` pages from page `first` on.
    pub(super) fn punch(&self, first: usize, pages: usize) -> Result<(), Errno> {
        let bytes = pages * page_size();
        // SAFETY: There are no references to the range, and whoever took it away knows it.
        unsafe { munmap(self.at(first * page_size(), bytes).cast(), bytes) }
    }
}

impl Drop for MappedPages {
    fn drop(&mut self) {
        // SAFETY: The range is this value's, and there are no references to it.
        let unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.bytes) };
        debug_assert!(unmapped.is_ok());
    }
}
