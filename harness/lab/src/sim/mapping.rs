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
/// Memory that nobody can touch follows it, so that no region ever begins where another one ends:
/// a buddy system that knows its blocks by address would merge across that border.
///
/// # Invariants
///
/// `reservation` to `reservation + reserved_bytes` is mapped and this mapping's own. `start` to
/// `start + bytes` lies in it, and is readable and writable.
#[derive(Debug)]
pub(super) struct RegionMapping {
    reservation: NonNull<u8>,
    reserved_bytes: usize,
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: The mapping is memory that belongs to the process, not to a thread, and has no methods
// that touch its bytes.
unsafe impl Send for RegionMapping {}

// SAFETY: As for `Send`.
unsafe impl Sync for RegionMapping {}

impl RegionMapping {
    /// Maps `bytes` bytes, a multiple of the page size that is not 0.
    pub(super) fn new(bytes: usize) -> Result<Self, Errno> {
        let align = bytes.checked_next_power_of_two().ok_or(Errno::NOMEM)?;
        let reserved_bytes = bytes
            .checked_add(align)
            .and_then(|sum| sum.checked_add(GUARD_BYTES))
            .ok_or(Errno::NOMEM)?;
        // SAFETY: A new mapping at an address of the kernel's choice touches nothing that exists.
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
        // SAFETY: `skip` is less than `align`, and the reservation has `bytes` more than that.
        let start = unsafe { reservation.add(skip) };
        // INVARIANT: `start` was made readable and writable only if `open` succeeds; if not, the
        // mapping is dropped here and its memory never seen.
        let mapping = Self {
            reservation,
            reserved_bytes,
            start,
            bytes,
        };
        mapping.open()?;
        Ok(mapping)
    }

    /// Makes the region readable and writable.
    fn open(&self) -> Result<(), Errno> {
        let access = MprotectFlags::READ | MprotectFlags::WRITE;
        // SAFETY: By the type invariant the range lies in this mapping, which nobody else uses.
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
        // SAFETY: By the type invariant the range is this mapping's own; those who were given
        // `start` promised not to outlive it.
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
            // SAFETY: The mapping is this test's own, and has that byte.
            let last = unsafe { mapping.start().add(bytes - 1) };
            // SAFETY: As above.
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
