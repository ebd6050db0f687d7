// SPDX-License-Identifier: GPL-2.0

//! The arguments of ioctls.
//!
//! An [`IoctlArg`] is the argument of one call. The whole argument is read once, and the reply overwrites it.
//! The program chooses the length of the argument, within the rules at the head of `slablab.h`.

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

/// The number of bytes that [`ensure_zeros`] reads at once.
const TAIL_CHUNK: usize = 64;

/// The argument of an ioctl in the program's memory, which the reply overwrites.
pub(crate) struct IoctlArg {
    address: usize,
    bytes: usize,
}

impl IoctlArg {
    /// Reads the argument of `bytes` bytes at `address`.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] when the argument is shorter than the first version of the structure, [`E2BIG`] when
    /// it is longer than the structure and does not end in zeros, [`EFAULT`].
    pub(crate) fn read<T: Argument>(address: usize, bytes: usize) -> Result<(T, Self)> {
        let mut value = T::default();
        let arg = Self::read_into(&mut value, address, bytes)?;
        Ok((value, arg))
    }

    /// Reads the argument into `value`, which must be all zeros: an argument that is shorter than `T` does not
    /// change the rest of `value`.
    ///
    /// # Errors
    ///
    /// The errors of [`IoctlArg::read`].
    #[inline]
    pub(crate) fn read_into<T: Argument>(
        value: &mut T,
        address: usize,
        bytes: usize,
    ) -> Result<Self> {
        let arg = Self { address, bytes };
        if bytes == size_of::<T>() {
            // This call does the work of `UserSliceReader::read` in place and with a constant size, for which
            // the kernel does not check the bounds of the copy.
            //
            // SAFETY: `_copy_from_user` checks the user address, and requires `bytes` bytes that are valid for
            // writes: `bytes` is the size of `value`. Any bytes are a valid `T` (`FromBytes`).
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

    /// Writes the reply over the argument, at most as many bytes as the argument has. If the argument has the
    /// size of `T`, only the bytes from `OUTPUT_START` on are written.
    ///
    /// # Errors
    ///
    /// [`EFAULT`].
    #[inline]
    pub(crate) fn reply<T: Argument>(self, value: &T) -> Result {
        if self.bytes == size_of::<T>() {
            const { assert!(T::OUTPUT_START < size_of::<T>()) };
            // This call does the work of `UserSliceWriter::write` with a constant size, as in `read_into`.
            //
            // SAFETY: `_copy_to_user` checks the user address, and requires initialised bytes: `value` has
            // `size_of::<T>() - OUTPUT_START` bytes from `OUTPUT_START` on, which are initialised (`AsBytes`).
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

    /// Writes a preliminary reply, before an action that cannot be undone; a second reply may follow.
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

/// Reads the rest of an argument.
///
/// # Errors
///
/// [`E2BIG`] when a byte is not zero, [`EFAULT`].
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
