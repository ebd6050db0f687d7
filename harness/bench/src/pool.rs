// SPDX-License-Identifier: GPL-2.0

//! Mapped memory for the pools of allocators.

use std::{
    io,
    ptr::NonNull, //
};

/// The size of a page in bytes.
pub(crate) const PAGE_BYTES: usize = 4096;

/// A range of memory for an allocator.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MemoryRange {
    /// The first byte.
    pub(crate) start: NonNull<u8>,
    /// The length in bytes.
    pub(crate) bytes: usize,
}

/// A populated mapping, aligned to its length rounded up to a power of two.
pub(crate) struct MappedPool {
    memory: MemoryRange,
    mapping: MemoryRange,
}

impl MappedPool {
    /// Maps `bytes` bytes, a multiple of [`PAGE_BYTES`].
    ///
    /// # Errors
    ///
    /// Fails when `mmap` fails.
    pub(crate) fn new(bytes: usize) -> io::Result<Self> {
        let align = bytes.next_power_of_two();
        // SAFETY: A new anonymous mapping at an address that the kernel chooses affects no other memory.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes + align,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast::<u8>()).ok_or(io::ErrorKind::OutOfMemory)?;
        let mapping = MemoryRange {
            start,
            bytes: bytes + align,
        };
        let skip = start.as_ptr().align_offset(align);
        let pool = Self {
            // SAFETY: `skip` is below `align`, and the mapping is `align` bytes longer than the pool.
            memory: unsafe {
                MemoryRange {
                    start: start.add(skip),
                    bytes,
                }
            },
            mapping,
        };
        pool.touch();
        Ok(pool)
    }

    /// Writes to every page, so that no page fault happens during a measurement.
    fn touch(&self) {
        for page in (0..self.memory.bytes).step_by(PAGE_BYTES) {
            // SAFETY: The byte lies within the mapping, and no allocator uses the pool yet.
            unsafe { self.memory.start.add(page).write_volatile(0) };
        }
    }

    /// Returns the memory.
    pub(crate) fn memory(&self) -> MemoryRange {
        self.memory
    }

    /// Returns the first `bytes` bytes of the memory.
    ///
    /// # Panics
    ///
    /// Panics when the pool is smaller.
    pub(crate) fn part(&self, bytes: usize) -> MemoryRange {
        assert!(bytes <= self.memory.bytes);
        MemoryRange {
            bytes,
            ..self.memory
        }
    }
}

impl Drop for MappedPool {
    fn drop(&mut self) {
        // SAFETY: `new` mapped exactly this range, and allocators are dropped before their pool.
        unsafe { libc::munmap(self.mapping.start.as_ptr().cast(), self.mapping.bytes) };
    }
}
