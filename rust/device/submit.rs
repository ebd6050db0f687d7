// SPDX-License-Identifier: GPL-2.0

//! SUBMIT: many operations in one call.
//!
//! Operations are processed in chunks. For each chunk:
//!
//! ```text
//! read the chunk → check that it is writable → execute a segment
//!                                                  │           ▲
//!                                                  ▼           │ next segment
//!                                             write the results → commit, or roll back on a fault
//! ```
//!
//! The crate `slab_session` explains segments. Between two segments signals are checked, and no lock is held, so
//! the scheduler can preempt the task (x86-64 and arm64 are always preemptible in Linux 7.3).
//!
//! A FREE cannot be rolled back, so the whole chunk must be writable before its first operation runs. The
//! check adds 0 atomically to one word of each page of the array, so that a concurrent store of another
//! thread to an operation that has not run yet is not lost.

use core::{
    mem::{
        MaybeUninit,
        offset_of, //
    },
    slice, //
};

use kernel::{
    current,
    error::to_result,
    page::PAGE_SIZE,
    prelude::*,
    transmute::AsBytes,
    uaccess::{
        UserPtr,
        UserSlice, //
    }, //
};
use slab_session::{
    EncodedOperation,
    Operation,
    SessionError, //
};

use super::{
    OpenFile,
    Session,
    ensure,
    error, //
};
use crate::{
    argument::IoctlArg,
    uapi::*, //
};

/// The number of operations in a chunk. A chunk spans at most two pages, whatever its alignment.
const CHUNK: usize = 64;

const _: () = assert!(CHUNK * size_of::<slablab_operation>() <= PAGE_SIZE);

unsafe extern "C" {
    /// Returns 0 if the word in the program's memory is writable; does not change the word.
    fn slablab_ensure_writable(word: *mut u32) -> c_int;
}

/// The array of operations in the program's memory.
struct Array {
    address: usize,
    count: usize,
    /// The end of the pages that were found writable.
    writable_end: usize,
}

impl OpenFile {
    /// Runs operations until one is refused, and replies with the number of completed operations.
    pub(super) fn submit(&self, argument: usize, bytes: usize) -> Result {
        let mut submit = slablab_submit::default();
        let arg = IoctlArg::read_into(&mut submit, argument, bytes)?;
        ensure(submit.flags == 0)?;
        ensure((1..=SLABLAB_OPERATIONS_MAX).contains(&submit.count))?;
        submit.done = 0;
        submit.error = 0;
        // The reply is written before the first operation, so that a bad address of the argument changes nothing.
        arg.write_early(&submit)?;
        // The chunk is boxed, because it is too large for the stack.
        let mut chunk = KBox::<[slablab_operation; CHUNK]>::new_uninit(GFP_KERNEL)?;
        let mut array = Array {
            address: usize::try_from(submit.operations).map_err(|_| EFAULT)?,
            count: submit.count as usize,
            writable_end: 0,
        };
        let mut done = 0;
        let ended = self.run_chunks(&mut array, &mut chunk, &mut done);
        if ended == Err(EINTR) && done == 0 {
            return Err(ERESTARTSYS);
        }
        submit.done = done as u32;
        submit.error = ended.map_or_else(|error| -error.to_errno() as u32, |()| 0);
        arg.reply(&submit)
    }

    /// Runs operations chunk by chunk, and counts the completed ones in `done`.
    fn run_chunks(
        &self,
        array: &mut Array,
        room: &mut MaybeUninit<[slablab_operation; CHUNK]>,
        done: &mut usize,
    ) -> Result {
        while *done < array.count {
            let base = *done;
            let chunk = array.read(base, room)?;
            let session = match self.bound.as_ref() {
                Some(bound) => &bound.session,
                None => match self.get_or_bind_for(&chunk[0]) {
                    Ok(session) => session,
                    Err(denied) => {
                        chunk[0].on_error(denied);
                        array.write_cost(base, &chunk[0])?;
                        return Err(error(denied));
                    }
                },
            };
            while *done < base + chunk.len() {
                if current!().signal_pending() {
                    return Err(EINTR);
                }
                let first = *done - base;
                let mut segment = session.segment(chunk, base, first);
                segment.execute();
                array.write(*done, segment.done())?;
                let end = *done + segment.done().len();
                let failed = match segment.failed() {
                    Some((operation, denied)) => {
                        array.write_cost(end, operation)?;
                        Err(error(denied))
                    }
                    None => Ok(()),
                };
                segment.commit();
                *done = end;
                failed?;
            }
        }
        Ok(())
    }

    /// Returns the session for a submission that begins with `first`. Binds a default session if there is
    /// none and the operation is valid and refers to no block.
    #[cold]
    fn get_or_bind_for(&self, first: &slablab_operation) -> Result<&Session, SessionError> {
        match first.decode()? {
            Operation::Allocate { size, align } => self.get_or_bind(size, align),
            Operation::Nothing => self.get_or_bind(1, 1),
            Operation::Free(_) | Operation::Reallocate(..) => self.session(),
        }
    }
}

impl Array {
    /// Returns the address of an operation.
    #[inline]
    fn at(&self, number: usize) -> Result<usize> {
        // `number` is at most the array's length, so the product does not overflow.
        let skip = number * size_of::<slablab_operation>();
        self.address.checked_add(skip).ok_or(EFAULT)
    }

    /// Returns the memory of `count` operations from number `number` on.
    #[inline]
    fn slice(&self, number: usize, count: usize) -> Result<UserSlice> {
        let bytes = count * size_of::<slablab_operation>();
        Ok(UserSlice::new(UserPtr::from_addr(self.at(number)?), bytes))
    }

    /// Reads the next chunk, from number `base` on, and checks that it is writable.
    fn read<'r>(
        &mut self,
        base: usize,
        room: &'r mut MaybeUninit<[slablab_operation; CHUNK]>,
    ) -> Result<&'r mut [slablab_operation]> {
        let count = CHUNK.min(self.count - base);
        let mut reader = self.slice(base, count)?.reader();
        let first = room.as_mut_ptr().cast::<slablab_operation>();
        // SAFETY: `from_raw_parts_mut` requires bytes that are valid and exclusive: the array has `CHUNK`
        // operations, `count` is at most `CHUNK`, and `room` is borrowed exclusively. The bytes may be
        // uninitialised, which `MaybeUninit` permits.
        let bytes = unsafe {
            slice::from_raw_parts_mut(
                first.cast::<MaybeUninit<u8>>(),
                count * size_of::<slablab_operation>(),
            )
        };
        reader.read_raw(bytes)?;
        // SAFETY: `from_raw_parts_mut` requires `count` initialised operations that are exclusive: `read_raw`
        // initialised their bytes, any bytes are a valid operation (`FromBytes`), and the slice borrows `room`.
        let chunk = unsafe { slice::from_raw_parts_mut(first, count) };
        self.ensure_writable(base, count)?;
        // Operations of the first chunk can refer to operations of the same chunk only.
        if base > 0 {
            for operation in &mut *chunk {
                self.resolve(base, operation)?;
            }
        }
        Ok(chunk)
    }

    /// Returns [`EFAULT`] unless `count` operations from number `base` on are writable.
    fn ensure_writable(&mut self, base: usize, count: usize) -> Result {
        let end = self.at(base + count)?;
        let first = self.at(base)?.max(self.writable_end);
        if first >= end {
            return Ok(());
        }
        let mut word = first & !(size_of::<u32>() - 1);
        // The sum does not overflow, because `read` has copied the operations from user addresses, which end far
        // below `usize::MAX`.
        self.writable_end = end.next_multiple_of(PAGE_SIZE);
        while word < end {
            // SAFETY: The function accepts any aligned user address: `word` is a multiple of four. The function
            // may sleep, and no lock is held.
            to_result(unsafe {
                slablab_ensure_writable(UserPtr::from_addr(word).as_mut_ptr().cast())
            })?;
            word = (word | (PAGE_SIZE - 1)) + 1;
        }
        Ok(())
    }

    /// Writes completed operations, from number `number` on.
    fn write(&self, number: usize, operations: &[slablab_operation]) -> Result {
        let mut writer = self.slice(number, operations.len())?.writer();
        writer.write_slice(AsBytes::as_bytes(operations))
    }

    /// Writes the cost of the operation `number`, which was refused. The other fields stay as the
    /// program wrote them.
    #[cold]
    fn write_cost(&self, number: usize, operation: &slablab_operation) -> Result {
        let skip = offset_of!(slablab_operation, cost);
        let cost = &AsBytes::as_bytes(operation)[skip..];
        let start = self.at(number)?.checked_add(skip).ok_or(EFAULT)?;
        let mut writer = UserSlice::new(UserPtr::from_addr(start), cost.len()).writer();
        writer.write_slice(cost)
    }

    /// Resolves a reference of an operation to the result of an operation before number `base`.
    ///
    /// The referenced operation is read from the program's memory, where its result was written. The
    /// program may have changed it since, which is harmless: the handle is validated like any other.
    #[inline]
    fn resolve(&self, base: usize, operation: &mut slablab_operation) -> Result {
        let is_named = u32::from(operation.kind) != SLABLAB_OP_ALLOC
            && u32::from(operation.flags) == SLABLAB_OP_EARLIER;
        if !is_named || operation.handle as usize >= base {
            return Ok(());
        }
        let mut reader = self.slice(operation.handle as usize, 1)?.reader();
        let earlier = reader.read::<slablab_operation>()?;
        if earlier.allocated().is_some() {
            operation.handle = earlier.handle;
            operation.flags = 0;
        }
        Ok(())
    }
}
