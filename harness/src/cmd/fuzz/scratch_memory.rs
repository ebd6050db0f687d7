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

/// Where it begins: far below everything that Linux maps for a program.
const BASE: usize = 1 << 36;

/// Bytes of a part, and of what cannot be touched behind it.
const PART: usize = 1 << 18;

/// The end of the part for arguments.
const ARGUMENTS_END: usize = BASE + PART;

/// Where arrays are that arguments point to.
pub(super) const ARRAY: usize = BASE + 2 * PART;

/// Where nobody can write.
const CONSTANT: usize = BASE + 4 * PART;

/// Where an argument lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ArgumentPlace {
    /// Where all of it can be touched.
    Whole,
    /// Where the last so many bytes cannot.
    Over(usize),
    /// Where it cannot be written.
    Constant,
    /// At an address where the program has nothing.
    Nowhere(usize),
}

/// The memory. There is one in a program.
pub(super) struct ScratchMemory(());

impl ScratchMemory {
    /// Maps it.
    pub(super) fn map() -> io::Result<Self> {
        // SAFETY: The mapping is new; where there is another one already, this fails.
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
        // SAFETY: A part of the mapping, to which there are no references.
        unsafe { mprotect(ptr::with_exposed_provenance_mut(part), PART, access) }
    }

    /// Puts an argument in its place, as far as it can be written there, and returns its address.
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

    /// Puts an array where arguments say that it is.
    pub(super) fn put_array(&mut self, array: &[u8]) {
        self.store(ARRAY, array);
    }

    fn store(&mut self, address: usize, bytes: &[u8]) -> usize {
        let bytes = &bytes[..bytes.len().min(PART)];
        let start = ptr::with_exposed_provenance_mut(address);
        // SAFETY: As many bytes of a writable part begin there; there are no references to it.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), start, bytes.len()) };
        address
    }

    /// Returns four bytes at an address that [`ScratchMemory::put`] returned, or of the array; `None` where
    /// they cannot be read.
    pub(super) fn load(&self, address: usize) -> Option<u32> {
        let readable = [BASE, ARRAY].map(|part| part..=part + PART - 4);
        if !readable.iter().any(|part| part.contains(&address)) {
            return None;
        }
        // SAFETY: Four bytes of a readable part, which nobody writes to now.
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
