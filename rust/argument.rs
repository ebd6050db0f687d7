// SPDX-License-Identifier: GPL-2.0

//! Structures on their way between a program and the kernel.
//!
//! An [`IoctlArg`] is the argument of one call: it is read once, whole, and the reply is written
//! over it. Its length is the program's to choose, within the rules at the head of `slablab.h`.

use core::ptr;

use kernel::{
    bindings,
    prelude::*,
    uaccess::{
        UserPtr,
        UserSlice,
        UserSliceReader, //
    }, //
};

use crate::uapi::Argument;

/// Bytes of a longer argument's tail that are looked at together.
const TAIL_CHUNK: usize = 64;

/// The place in the program where a reply goes.
pub(crate) struct IoctlArg {
    address: usize,
    bytes: usize,
}

impl IoctlArg {
    /// Reads the argument of `bytes` bytes at `address`.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] when it is shorter than the structure's first version, [`E2BIG`] when it is
    /// longer than the structure and does not end in zeros, [`EFAULT`].
    pub(crate) fn read<T: Argument>(address: usize, bytes: usize) -> Result<(T, Self)> {
        let mut value = T::default();
        let arg = Self::read_into(&mut value, address, bytes)?;
        Ok((value, arg))
    }

    /// Reads what the argument tells over `value`, which is all zeros.
    ///
    /// # Errors
    ///
    /// As for [`IoctlArg::read`].
    #[inline]
    pub(crate) fn read_into<T: Argument>(
        value: &mut T,
        address: usize,
        bytes: usize,
    ) -> Result<Self> {
        let arg = Self { address, bytes };
        if bytes == size_of::<T>() {
            // What `UserSliceReader::read` does, but in place and of a size that the compiler
            // knows, so that the kernel need not look where the copy ends.
            //
            // SAFETY: `value` is valid for writes of as many bytes, and a `T` whatever they are.
            let left = unsafe {
                bindings::_copy_from_user(
                    ptr::from_mut(value).cast(),
                    UserPtr::from_addr(address).as_const_ptr(),
                    bytes,
                )
            };
            return if left == 0 { Ok(arg) } else { Err(EFAULT) };
        }
        if bytes < T::SIZE_VER1 {
            return Err(EINVAL);
        }
        let known = bytes.min(size_of::<T>());
        let mut reader = UserSlice::new(UserPtr::from_addr(address), bytes).reader();
        reader.read_slice(&mut T::as_bytes_mut(value)[..known])?;
        ensure_zeros(reader)?;
        Ok(arg)
    }

    /// Writes the reply, or as much of it as the program knows.
    ///
    /// # Errors
    ///
    /// [`EFAULT`].
    #[inline]
    pub(crate) fn reply<T: Argument>(self, value: &T) -> Result {
        if self.bytes == size_of::<T>() {
            const { assert!(T::OUTPUT_START < size_of::<T>()) };
            // As in `begin_into`.
            //
            // SAFETY: There are so many bytes of `value` from there on.
            let left = unsafe {
                bindings::_copy_to_user(
                    UserPtr::from_addr(self.address.wrapping_add(T::OUTPUT_START)).as_mut_ptr(),
                    ptr::from_ref(value).byte_add(T::OUTPUT_START).cast(),
                    const { size_of::<T>() - T::OUTPUT_START },
                )
            };
            return if left == 0 { Ok(()) } else { Err(EFAULT) };
        }
        self.write_early(value)
    }

    /// Writes a reply that is not the last one.
    ///
    /// # Errors
    ///
    /// [`EFAULT`].
    #[inline]
    pub(crate) fn write_early<T: Argument>(&self, value: &T) -> Result {
        let mut writer = UserSlice::new(UserPtr::from_addr(self.address), self.bytes).writer();
        if self.bytes >= size_of::<T>() {
            return writer.write(value);
        }
        writer.write_slice(&T::as_bytes(value)[..self.bytes])
    }
}

/// Reads the rest, which must be zeros.
#[cold]
fn ensure_zeros(mut reader: UserSliceReader) -> Result {
    let mut chunk = [0; TAIL_CHUNK];
    while !reader.is_empty() {
        let chunk = &mut chunk[..reader.len().min(TAIL_CHUNK)];
        reader.read_slice(chunk)?;
        if chunk.iter().any(|byte| *byte != 0) {
            return Err(E2BIG);
        }
    }
    Ok(())
}
