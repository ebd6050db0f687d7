// SPDX-License-Identifier: GPL-2.0

//! The memory of a region.

use std::ptr::{
    self,
    NonNull, //
};

use rustix::{
    io::Errno,
    mm::{
        MapFlags,
        MprotectFlags,
        ProtFlags, //
    },
};

/// The bytes of the guard area behind a region.
const GUARD_BYTES: usize = 4096;

/// Zeroed memory, aligned to its length rounded up to a power of two.
///
/// Inaccessible memory follows the region, so that no region begins where another region ends. Otherwise a
/// buddy system that identifies blocks by their addresses would merge blocks of two regions.
///
/// # Invariants
///
/// The `reserved_bytes` bytes at `reservation` are a mapping that this value owns. The `bytes` bytes at
/// `start` lie in that mapping, and are readable and writable.
#[derive(Debug)]
pub(super) struct RegionMapping {
    reservation: NonNull<u8>,
    reserved_bytes: usize,
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: A mapping belongs to the process and not to a thread, so any thread may unmap it. No method
// accesses its bytes.
unsafe impl Send for RegionMapping {}

// SAFETY: The methods of a shared reference only read the fields, which do not change. No method accesses the
// bytes of the mapping.
unsafe impl Sync for RegionMapping {}

impl RegionMapping {
    /// Maps `bytes` bytes, a multiple of the page size that is not 0.
    pub(super) fn new(bytes: usize) -> Result<Self, Errno> {
        let align = bytes.checked_next_power_of_two().ok_or(Errno::NOMEM)?;
        let reserved_bytes = bytes
            .checked_add(align)
            .and_then(|sum| sum.checked_add(GUARD_BYTES))
            .ok_or(Errno::NOMEM)?;
        // SAFETY: The kernel chooses the address, so the new mapping replaces no existing memory.
        let reservation = unsafe {
            rustix::mm::mmap_anonymous(
                ptr::null_mut(),
                reserved_bytes,
                ProtFlags::empty(),
                MapFlags::PRIVATE | MapFlags::NORESERVE,
            )
        }?;
        let reservation = NonNull::new(reservation.cast::<u8>()).ok_or(Errno::NOMEM)?;
        let skip = reservation.align_offset(align);
        // SAFETY: `skip` is below `align`, and the reservation has more than `align` bytes, so the result
        // lies in the reservation.
        let start = unsafe { reservation.add(skip) };
        // INVARIANT: The reservation is new. It has more than `skip + bytes` bytes, so the bytes at `start`
        // lie in it. `open` makes them readable and writable; if `open` fails, the value is dropped before
        // anyone else can use it.
        let mapping = Self {
            reservation,
            reserved_bytes,
            start,
            bytes,
        };
        mapping.open()?;
        Ok(mapping)
    }

    /// Changes the protection of the region to readable and writable.
    fn open(&self) -> Result<(), Errno> {
        let access = MprotectFlags::READ | MprotectFlags::WRITE;
        // SAFETY: By the type invariant the range lies in a mapping that this value owns. Making it
        // accessible does not affect memory that others use.
        unsafe { rustix::mm::mprotect(self.start.as_ptr().cast(), self.bytes, access) }
    }

    /// Returns the first byte.
    pub(super) fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// Returns the length.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for RegionMapping {
    fn drop(&mut self) {
        // SAFETY: By the type invariant this value owns the mapping of this address and length. Its user,
        // `Pool`, drops it after the engine that has `start`, so nobody accesses the memory any more.
        let unmapped =
            unsafe { rustix::mm::munmap(self.reservation.as_ptr().cast(), self.reserved_bytes) };
        debug_assert_eq!(unmapped, Ok(()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_aligned_to_its_rounded_length() {
        for bytes in [0x8000, 0x1_8000, 0x10_0000, 0x30_0000] {
            let mapping = RegionMapping::new(bytes).unwrap();
            assert_eq!(mapping.start().addr().get() % bytes.next_power_of_two(), 0);
            // SAFETY: The mapping has `bytes` bytes, so the result lies in it.
            let last = unsafe { mapping.start().add(bytes - 1) };
            // SAFETY: `last` points to a readable and initialised byte of the mapping, which nobody else
            // uses.
            assert_eq!(unsafe { last.read() }, 0);
        }
    }

    #[test]
    fn a_region_that_cannot_be_is_refused() {
        assert_eq!(
            RegionMapping::new(usize::MAX & !4095).map(|_| ()),
            Err(Errno::NOMEM)
        );
    }
}
