// SPDX-License-Identifier: GPL-2.0

//! SUBMIT: many operations in one call.
//!
//! They are copied in a few at a time. These are done, and copied out, or undone where they cannot
//! be: `slab_session` has the reasons. Between one part and the next no lock is held, so the scheduler
//! gets in (x86-64 is preemptible in Linux 7.3, whatever the configuration), and a signal is
//! looked for.
//!
//! A FREE cannot be undone, so the array must be writable before the first operation of a lot is done.
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
    Operation,
    Request, //
    SessionError,
};

use super::{
    OpenFile,
    Session,
    error,
    expect, //
};
use crate::{
    argument::Exchange,
    uapi::*, //
};

/// Operations that are copied together. They lie in two pages at most, however they are aligned.
const LOT: usize = 64;

const _: () = assert!(LOT * size_of::<slablab_operation>() <= PAGE_SIZE);

unsafe extern "C" {
    /// Returns 0 if a word of the program's memory can be written, and does not change it.
    fn slablab_expect_writable(word: *mut u32) -> c_int;
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
        let exchange = Exchange::begin_into(&mut submit, argument, bytes)?;
        expect(submit.flags == 0)?;
        expect((1..=SLABLAB_OPERATIONS_MAX).contains(&submit.count))?;
        submit.done = 0;
        submit.error = 0;
        // Who cannot be told how far it came does not begin.
        exchange.announce(&submit)?;
        // On the heap: it is too large for a small stack.
        let mut lot = KBox::<[slablab_operation; LOT]>::new_uninit(GFP_KERNEL)?;
        let mut array = Array {
            address: usize::try_from(submit.operations).map_err(|_| EFAULT)?,
            count: submit.count as usize,
            writable_end: 0,
        };
        let mut done = 0;
        let ended = self.lots(&mut array, &mut lot, &mut done);
        if ended == Err(EINTR) && done == 0 {
            return Err(ERESTARTSYS);
        }
        submit.done = done as u32;
        submit.error = ended.map_or_else(|error| -error.to_errno() as u32, |()| 0);
        exchange.reply(&submit)
    }

    /// Does operations, lot by lot, and counts them in `done`.
    fn lots(
        &self,
        array: &mut Array,
        room: &mut MaybeUninit<[slablab_operation; LOT]>,
        done: &mut usize,
    ) -> Result {
        while *done < array.count {
            let base = *done;
            let lot = array.read(base, room)?;
            let session = match self.bound.as_ref() {
                Some(bound) => &bound.session,
                None => match self.session_for_first(&lot[0]) {
                    Ok(session) => session,
                    Err(denied) => {
                        lot[0].on_error(denied);
                        array.write_cost(base, &lot[0])?;
                        return Err(error(denied));
                    }
                },
            };
            while *done < base + lot.len() {
                if current!().signal_pending() {
                    return Err(EINTR);
                }
                let first = *done - base;
                let mut part = session.submit(lot, base, first);
                let part = part.run();
                let (end, denied) = (part.end(), part.error());
                array.write(*done, &part.requests()[first..end])?;
                if denied.is_some() {
                    array.write_cost(base + end, &part.requests()[end])?;
                }
                part.commit();
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
    fn session_for_first(&self, first: &slablab_operation) -> Result<&Session, SessionError> {
        match first.operation()? {
            Operation::Allocate { size, align } => self.session_for(size, align),
            Operation::Nothing => self.session_for(1, 1),
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
        room: &'r mut MaybeUninit<[slablab_operation; LOT]>,
    ) -> Result<&'r mut [slablab_operation]> {
        let count = LOT.min(self.count - base);
        let mut reader = self.slice(base, count)?.reader();
        let first = room.as_mut_ptr().cast::<slablab_operation>();
        // SAFETY: There is room for `LOT` operations, and `count` is at most that; bytes that may
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
        let lot = unsafe { slice::from_raw_parts_mut(first, count) };
        self.expect_writable(base, count)?;
        // Before the first one there is none that it could be about.
        if base > 0 {
            for operation in &mut *lot {
                self.resolve(base, operation)?;
            }
        }
        Ok(lot)
    }

    /// Returns [`EFAULT`] unless `count` operations from number `base` on can be written.
    fn expect_writable(&mut self, base: usize, count: usize) -> Result {
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
                slablab_expect_writable(UserPtr::from_addr(word).as_mut_ptr().cast())
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
