// SPDX-License-Identifier: GPL-2.0

//! Memory for arguments, always at the same addresses.
//!
//! Fixed addresses make every call reproducible, pointers included. No other memory of the program is
//! near, so that a pointer with a flipped bit points to unmapped memory.

use std::ptr;

use rustix::{
    io,
    mm::{
        MapFlags,
        MprotectFlags,
        ProtFlags,
        mmap_anonymous,
        mprotect, //
    },
};

/// The start of the scratch memory, far below everything that Linux maps for a program.
const BASE: usize = 1 << 36;

/// The size of a part, and of the inaccessible gap behind each part.
const PART: usize = 1 << 18;

/// The end of the part for arguments.
const ARGUMENTS_END: usize = BASE + PART;

/// The start of the part for arrays, to which arguments point.
pub(super) const ARRAY: usize = BASE + 2 * PART;

/// The start of the read-only part.
const CONSTANT: usize = BASE + 4 * PART;

/// The place of an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ArgumentPlace {
    /// In memory that is accessible as a whole.
    Whole,
    /// At the end of accessible memory: this number of its last bytes is inaccessible.
    Over(usize),
    /// In read-only memory.
    Constant,
    /// At an address without memory.
    Nowhere(usize),
}

/// The scratch memory. A process has at most one, because its addresses are fixed.
pub(super) struct ScratchMemory(());

impl ScratchMemory {
    /// Maps the scratch memory.
    pub(super) fn map() -> io::Result<Self> {
        // SAFETY: `FIXED_NOREPLACE` makes the call fail if another mapping overlaps the range, so no memory
        // of the program is replaced.
        unsafe {
            mmap_anonymous(
                ptr::without_provenance_mut(BASE),
                6 * PART,
                ProtFlags::empty(),
                MapFlags::PRIVATE | MapFlags::FIXED_NOREPLACE,
            )
        }?;
        let scratch = Self(());
        let writable = MprotectFlags::READ | MprotectFlags::WRITE;
        scratch.protect(BASE, writable)?;
        scratch.protect(ARRAY, writable)?;
        scratch.protect(CONSTANT, MprotectFlags::READ)?;
        Ok(scratch)
    }

    fn protect(&self, part: usize, access: MprotectFlags) -> io::Result<()> {
        // SAFETY: `part` is the page-aligned start of a part of the mapping. No reference points into the
        // mapping, so the change of access invalidates none.
        unsafe { mprotect(ptr::with_exposed_provenance_mut(part), PART, access) }
    }

    /// Writes an argument to its place, as far as the place is writable, and returns its address.
    pub(super) fn put(&mut self, argument: &[u8], place: ArgumentPlace) -> usize {
        match place {
            ArgumentPlace::Whole => self.store(ARGUMENTS_END - PART, argument),
            ArgumentPlace::Over(outside) => {
                let inside = &argument[..argument.len().saturating_sub(outside)];
                self.store(ARGUMENTS_END - inside.len(), inside)
            }
            ArgumentPlace::Constant => CONSTANT,
            ArgumentPlace::Nowhere(address) => address,
        }
    }

    /// Writes an array to the address that arguments contain.
    pub(super) fn put_array(&mut self, array: &[u8]) {
        self.store(ARRAY, array);
    }

    fn store(&mut self, address: usize, bytes: &[u8]) -> usize {
        let bytes = &bytes[..bytes.len().min(PART)];
        let start = ptr::with_exposed_provenance_mut(address);
        // SAFETY: The source is a slice. The callers pass an address from which on a writable part has at
        // least `bytes.len()` bytes. No reference points into the part, so the ranges do not overlap, and
        // `u8` needs no alignment.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), start, bytes.len()) };
        address
    }

    /// Returns four bytes at an address that [`ScratchMemory::put`] returned or in the array. Returns
    /// `None` if they are not in a readable and writable part.
    pub(super) fn load(&self, address: usize) -> Option<u32> {
        let readable = [BASE, ARRAY].map(|part| part..=part + PART - 4);
        if !readable.iter().any(|part| part.contains(&address)) {
            return None;
        }
        // SAFETY: By the check above, the four bytes lie in a readable part, which the kernel has filled
        // with zeros. Nothing writes to them during the read: `store` needs `&mut self`, and no call is in the kernel.
        Some(unsafe { ptr::with_exposed_provenance::<u32>(address).read_unaligned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_is_where_it_was_put() {
        let mut scratch = ScratchMemory::map().unwrap();
        let argument = [7, 0, 0, 0, 8, 0, 0, 0];
        let whole = scratch.put(&argument, ArgumentPlace::Whole);
        assert_eq!(scratch.load(whole), Some(7));
        let over = scratch.put(&argument, ArgumentPlace::Over(4));
        assert_eq!(scratch.load(over), Some(7));
        assert_eq!(scratch.load(over + 4), None);
        scratch.put_array(&argument);
        assert_eq!(scratch.load(ARRAY + 4), Some(8));
        let nowhere = scratch.put(&argument, ArgumentPlace::Nowhere(0));
        assert_eq!(scratch.load(nowhere), None);
    }
}
