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

/// Mapped pages of a block.
///
/// Other threads and processes may write to the pages at any time, so every access is volatile, and there are
/// no plain references into the mapping.
pub(super) struct MappedPages {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: The mapping belongs to the process and not to a thread, so any thread may use and unmap it.
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

    /// Maps `pages` pages of a file, from `position` on, with any access and flags.
    pub(super) fn with(
        file: impl AsFd,
        position: u64,
        pages: usize,
        access: ProtFlags,
        flags: MapFlags,
    ) -> Result<Self, Errno> {
        let bytes = pages * page_size();
        // SAFETY: `mmap` must not replace a mapping that is in use. The address is null and no caller passes
        // `MAP_FIXED`, so the kernel chooses a free range.
        let start = unsafe { mmap(ptr::null_mut(), bytes, access, flags, file, position) }?;
        let start = NonNull::new(start.cast()).ok_or(Errno::FAULT)?;
        Ok(Self { start, bytes })
    }

    /// Maps `pages` pages of anonymous memory.
    pub(super) fn anonymous(pages: usize) -> Result<Self, Errno> {
        let bytes = pages * page_size();
        // SAFETY: `mmap_anonymous` must not replace a mapping that is in use. The address is null, so the
        // kernel chooses a free range.
        let start =
            unsafe { mmap_anonymous(ptr::null_mut(), bytes, READ_WRITE, MapFlags::PRIVATE) }?;
        let start = NonNull::new(start.cast()).ok_or(Errno::FAULT)?;
        Ok(Self { start, bytes })
    }

    /// Returns a pointer to the `len` bytes of the mapping from byte `byte` on.
    ///
    /// # Panics
    ///
    /// Panics if the bytes are not in the mapping.
    fn at(&self, byte: usize, len: usize) -> *mut u8 {
        assert!(byte <= self.bytes && len <= self.bytes - byte);
        self.start.as_ptr().wrapping_add(byte)
    }

    /// Reads `len` bytes from byte `byte` on.
    pub(super) fn read(&self, byte: usize, len: usize) -> Vec<u8> {
        let from = self.at(byte, len);
        // SAFETY: `read_volatile` requires aligned, readable and initialized bytes. `at` checked the range,
        // tests read no part that they unmapped, and the kernel initializes all mapped bytes.
        let read = |n| unsafe { from.wrapping_add(n).read_volatile() };
        (0..len).map(read).collect()
    }

    /// Reads the whole mapping.
    pub(super) fn whole(&self) -> Vec<u8> {
        self.read(0, self.bytes)
    }

    /// Writes `content` from byte `byte` on.
    pub(super) fn write(&self, byte: usize, content: &[u8]) {
        let to = self.at(byte, content.len());
        for (n, value) in content.iter().enumerate() {
            // SAFETY: `write_volatile` requires aligned, writable bytes. `at` checked the range, and tests
            // write to no part that they unmapped or made read-only.
            unsafe { to.wrapping_add(n).write_volatile(*value) };
        }
    }

    /// Returns the address of the first byte.
    pub(super) fn address(&self) -> u64 {
        self.start.addr().get() as u64
    }

    /// Returns whether the page is still mapped.
    pub(super) fn has(&self, page: usize) -> bool {
        let start = self.at(page * page_size(), page_size());
        // SAFETY: `msync` may have side effects on a mapped file. The page belongs to no file on a disk, so
        // nothing is written back, and the kernel checks the address.
        unsafe { msync(start.cast(), page_size(), MsyncFlags::ASYNC) }.is_ok()
    }

    /// Copies the whole mapping to a pipe with `write`.
    pub(super) fn copy_to(&self, pipe: impl AsFd) -> Result<usize, Errno> {
        // SAFETY: `quiet` requires that the range is mapped and that nobody writes to it while the slice
        // lives. Callers unmapped no part and write to the mapping only after this call.
        rustix::io::write(pipe, unsafe { self.quiet() })
    }

    /// Adds the pages themselves to a pipe with `vmsplice`, which pins them.
    pub(super) fn splice_to(&self, pipe: impl AsFd) -> Result<usize, Errno> {
        // SAFETY: `quiet` requires that the range is mapped and that nobody writes to it while the slice
        // lives. Callers unmapped no part and write to the mapping only after this call.
        let pages = IoSliceRaw::from_slice(unsafe { self.quiet() });
        // SAFETY: `vmsplice` requires the write end of a pipe for memory that must not be changed. All
        // callers pass a write end, no caller reads the pages from the pipe, and `GIFT` is not set.
        unsafe { vmsplice(pipe, &[pages], SpliceFlags::NONBLOCK) }
    }

    /// Returns the bytes for a call to the kernel.
    ///
    /// # Safety
    ///
    /// The whole range is mapped and readable, and nobody writes to it while the slice lives.
    unsafe fn quiet(&self) -> &[u8] {
        // SAFETY: `from_raw_parts` requires readable, initialized bytes that do not change while the slice
        // lives. The caller guarantees this for the range, and the kernel initializes all mapped bytes.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.bytes) }
    }

    /// Changes the access to the mapping.
    pub(super) fn protect(&self, access: MprotectFlags) -> Result<(), Errno> {
        // SAFETY: The range is a part of this mapping, and no references to it exist.
        unsafe { mprotect(self.start.as_ptr().cast(), self.bytes, access) }
    }

    /// Changes the access to `pages` pages from page `first` on.
    pub(super) fn protect_part(
        &self,
        first: usize,
        pages: usize,
        access: MprotectFlags,
    ) -> Result<(), Errno> {
        let bytes = pages * page_size();
        // SAFETY: The range is a part of this mapping, and no references to it exist.
        unsafe { mprotect(self.at(first * page_size(), bytes).cast(), bytes, access) }
    }

    /// Returns the first four bytes as an atomic number, which other threads and processes may change.
    pub(super) fn word(&self) -> &AtomicU32 {
        // SAFETY: `from_ptr` requires an aligned pointer that is valid as long as the result, and no
        // conflicting access. The bytes begin a page, are mapped as long as `self`, and are written by atomic
        // and volatile accesses only, never at the same time.
        unsafe { AtomicU32::from_ptr(self.at(0, 4).cast()) }
    }

    /// Resizes the first `old` bytes of the mapping to `new` bytes, which may move if `how` allows it.
    ///
    /// If `old` is not the length of the mapping, a successful call creates a second mapping.
    pub(super) fn resize(&mut self, old: usize, new: usize, how: MremapFlags) -> Result<(), Errno> {
        // SAFETY: The range is a part of this mapping, and no references to it exist.
        let start = unsafe { mremap(self.start.as_ptr().cast(), old, new, how) }?;
        self.start = NonNull::new(start.cast()).ok_or(Errno::FAULT)?;
        self.bytes = new;
        Ok(())
    }

    /// Moves the mapping to the address of `place`, which has the same length and is unmapped.
    pub(super) fn move_to(&mut self, place: Self) -> TestResult {
        check(
            place.bytes == self.bytes,
            "both mappings have the same length",
        )?;
        let to = place.start.as_ptr().cast();
        // SAFETY: `mremap_fixed` requires two page-aligned ranges that may be changed and to which no
        // references exist. Both ranges are mappings of `MappedPages`. `self` is borrowed exclusively, and
        // this function owns `place`.
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
        check(
            start == to,
            "mremap moved the mapping to the requested address",
        )?;
        self.start = NonNull::new(start.cast()).ok_or(Errno::FAULT)?;
        Ok(())
    }

    /// Unmaps `pages` pages from page `first` on.
    pub(super) fn punch(&self, first: usize, pages: usize) -> Result<(), Errno> {
        let bytes = pages * page_size();
        // SAFETY: `munmap` requires that nobody uses the range any more. No references to it exist, and the
        // test that unmaps it does not access it later.
        unsafe { munmap(self.at(first * page_size(), bytes).cast(), bytes) }
    }
}

impl Drop for MappedPages {
    fn drop(&mut self) {
        // SAFETY: `munmap` requires that nobody uses the range any more. This value owns the range and is
        // dropped, and no references to it exist.
        let unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.bytes) };
        debug_assert!(unmapped.is_ok());
    }
}
