// SPDX-License-Identifier: GPL-2.0

//! Memory for pools.

use std::{
    io,
    ptr::NonNull, //
};

/// The bytes of a page.
pub(crate) const PAGE_BYTES: usize = 4096;

/// A range of memory that an allocator gets for itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// The first byte.
    pub(crate) start: NonNull<u8>,
    /// The length.
    pub(crate) bytes: usize,
}

/// A mapping, all its pages there, aligned to its length rounded up to a power of two.
pub(crate) struct Pool {
    memory: Memory,
    mapping: Memory,
}

impl Pool {
    /// Maps `bytes` bytes, a multiple of a page.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub(crate) fn new(bytes: usize) -> io::Result<Self> {
        let align = bytes.next_power_of_two();
        // SAFETY: A new mapping, anywhere, touches no other.
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
        let mapping = Memory {
            start,
            bytes: bytes + align,
        };
        let skip = start.as_ptr().align_offset(align);
        let pool = Self {
            // SAFETY: `skip` is below `align`, and the mapping is that much longer than the pool.
            memory: unsafe {
                Memory {
                    start: start.add(skip),
                    bytes,
                }
            },
            mapping,
        };
        pool.touch();
        Ok(pool)
    }

    /// Writes to every page, so that none is missing when time counts.
    fn touch(&self) {
        for page in (0..self.memory.bytes).step_by(PAGE_BYTES) {
            // SAFETY: The byte lies in the mapping, which is the pool's own.
            unsafe { self.memory.start.add(page).write_volatile(0) };
        }
    }

    /// Returns the memory.
    pub(crate) fn memory(&self) -> Memory {
        self.memory
    }

    /// Returns the first `bytes` bytes of it.
    pub(crate) fn part(&self, bytes: usize) -> Memory {
        assert!(bytes <= self.memory.bytes);
        Memory {
            bytes,
            ..self.memory
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // SAFETY: Mapped in `new`; whoever used the memory is gone, by the contract of peers.
        unsafe { libc::munmap(self.mapping.start.as_ptr().cast(), self.mapping.bytes) };
    }
}
