// SPDX-License-Identifier: GPL-2.0

//! SUBMIT: many operations in one call.
//!
//! They are copied in a few at a time. These are done, and copied out, or undone where they cannot
//! be: `slab_session` has the reasons. Between one part and the next no lock is held, so the scheduler
//! gets in (x86-64 is preemptible in Linux 7.3, whatever the configuration), and a signal is
//! looked for.
//!
//! A FREE cannot be undone, so the array must be writable before the first operation of a chunk is done.
//! To find that out, 0 is added to a word of each page of the array, atomically: what another thread
//! stores in an operation that is not done yet stays there.

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
    Denied,
    Operation,
    Request, //
};

use super::{
    OpenFile,
    Session,
    ensure, //
    error,
};
use crate::{
    argument::IoctlArg,
    uapi::*, //
};

/// Operations that are copied together. They lie in two pages at most, however they are aligned.
const CHUNK: usize = 64;

const _: () = assert!(CHUNK * size_of::<slablab_operation>() <= PAGE_SIZE);

unsafe extern "C" {
    /// Returns 0 if a word of the program's memory can be written, and does not change it.
    fn slablab_ensure_writable(word: *mut u32) -> c_int;
}

/// The array of operations in the program.
struct Array {
    address: usize,
    count: usize,
    /// The end of the pages from the array's first on that can be written.
    writable_end: usize,
}

impl OpenFile {
    /// Does operations until one is not served, and tells how many that were.
    pub(super) fn submit(&self, argument: usize, bytes: usize) -> Result {
        let mut submit = slablab_submit::default();
        let arg = IoctlArg::read_into(&mut submit, argument, bytes)?;
        ensure(submit.flags == 0)?;
        ensure((1..=SLABLAB_OPERATIONS_MAX).contains(&submit.count))?;
        submit.done = 0;
        submit.error = 0;
        // Who cannot be told how far it came does not begin.
        arg.write_early(&submit)?;
        // On the heap: it is too large for a small stack.
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

    /// Does operations, chunk by chunk, and counts them in `done`.
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
                        chunk[0].denied(denied);
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
                let mut part = session.submit(chunk, base, first);
                let part = part.run();
                let (end, denied) = (part.end(), part.denied());
                array.write(*done, &part.requests()[first..end])?;
                if denied.is_some() {
                    array.write_cost(base + end, &part.requests()[end])?;
                }
                part.publish();
                *done = base + end;
                if let Some(denied) = denied {
                    return Err(error(denied));
                }
            }
        }
        Ok(())
    }

    /// Returns the session for a submission that begins with `first`, which begins one if it is
    /// about no block and not a bad one.
    #[cold]
    fn get_or_bind_for(&self, first: &slablab_operation) -> Result<&Session, Denied> {
        match first.operation()? {
            Operation::Allocate { size, align } => self.get_or_bind(size, align),
            Operation::Nothing => self.get_or_bind(1, 1),
            Operation::Free(_) | Operation::Reallocate(..) => self.session(),
        }
    }
}

impl Array {
    /// Returns the address of the operation with this number.
    #[inline]
    fn at(&self, number: usize) -> Result<usize> {
        // `number` is at most the array's length, so the product is small.
        let skip = number * size_of::<slablab_operation>();
        self.address.checked_add(skip).ok_or(EFAULT)
    }

    /// Returns the memory of `count` operations from the one with this number on.
    #[inline]
    fn slice(&self, number: usize, count: usize) -> Result<UserSlice> {
        let bytes = count * size_of::<slablab_operation>();
        Ok(UserSlice::new(UserPtr::from_addr(self.at(number)?), bytes))
    }

    /// Reads the operations from number `base` on, as many as there is room for, if they can be
    /// written.
    fn read<'r>(
        &mut self,
        base: usize,
        room: &'r mut MaybeUninit<[slablab_operation; CHUNK]>,
    ) -> Result<&'r mut [slablab_operation]> {
        let count = CHUNK.min(self.count - base);
        let mut reader = self.slice(base, count)?.reader();
        let first = room.as_mut_ptr().cast::<slablab_operation>();
        // SAFETY: There is room for `CHUNK` operations, and `count` is at most that; bytes that may
        // be uninitialised are all that is asked of it.
        let bytes = unsafe {
            slice::from_raw_parts_mut(
                first.cast::<MaybeUninit<u8>>(),
                count * size_of::<slablab_operation>(),
            )
        };
        reader.read_raw(bytes)?;
        // SAFETY: Read just above, and an operation whatever they are (`FromBytes`); borrowed for
        // as long as the room is.
        let chunk = unsafe { slice::from_raw_parts_mut(first, count) };
        self.ensure_writable(base, count)?;
        // Before the first one there is none that it could be about.
        if base > 0 {
            for operation in &mut *chunk {
                self.resolve(base, operation)?;
            }
        }
        Ok(chunk)
    }

    /// Returns [`EFAULT`] unless `count` operations from number `base` on can be written.
    fn ensure_writable(&mut self, base: usize, count: usize) -> Result {
        let end = self.at(base + count)?;
        let first = self.at(base)?.max(self.writable_end);
        if first >= end {
            return Ok(());
        }
        let mut word = first & !(size_of::<u32>() - 1);
        // User memory ends below the largest page, so this does not overflow.
        self.writable_end = end.next_multiple_of(PAGE_SIZE);
        while word < end {
            // SAFETY: The function takes any address that is aligned, and no lock is held.
            to_result(unsafe {
                slablab_ensure_writable(UserPtr::from_addr(word).as_mut_ptr().cast())
            })?;
            word = (word | (PAGE_SIZE - 1)) + 1;
        }
        Ok(())
    }

    /// Writes operations that were done, from the one with this number on.
    fn write(&self, number: usize, operations: &[slablab_operation]) -> Result {
        let mut writer = self.slice(number, operations.len())?.writer();
        writer.write_slice(AsBytes::as_bytes(operations))
    }

    /// Writes the cost of the operation with this number, which was not done: all else of it is the
    /// program's.
    #[cold]
    fn write_cost(&self, number: usize, operation: &slablab_operation) -> Result {
        let skip = offset_of!(slablab_operation, cost);
        let cost = &AsBytes::as_bytes(operation)[skip..];
        let start = self.at(number)?.checked_add(skip).ok_or(EFAULT)?;
        let mut writer = UserSlice::new(UserPtr::from_addr(start), cost.len()).writer();
        writer.write_slice(cost)
    }

    /// Puts the handle into an operation that is about the block of one before number `base`.
    ///
    /// That one was read before and written when it was done. What the program has made of it since,
    /// and sends now, is one more number that names a block of its own or nothing.
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
