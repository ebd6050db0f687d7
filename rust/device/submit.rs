// SPDX-License-Identifier: GPL-2.0

//! SUBMIT: many operations in one call.
//!
//! They are copied in a few at a time. These are done, and copied out, or undone where they cannot
//! be: `slab_session` has the reasons. Between one lot and the next no lock is held, so the scheduler
//! gets in (x86-64 is preemptible in Linux 7.3, whatever the configuration), and a signal is
//! looked for.

use core::{
    mem::MaybeUninit,
    slice, //
};

use kernel::{
    current,
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

/// The array of operations in the program.
struct Array {
    address: usize,
    count: usize,
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
        let array = Array {
            address: usize::try_from(submit.operations).map_err(|_| EFAULT)?,
            count: submit.count as usize,
        };
        let mut done = 0;
        let ended = self.lots(&array, &mut lot, &mut done);
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
        array: &Array,
        room: &mut MaybeUninit<[slablab_operation; LOT]>,
        done: &mut usize,
    ) -> Result {
        while *done < array.count {
            if current!().signal_pending() {
                return Err(EINTR);
            }
            let base = *done;
            let lot = array.read(base, room)?;
            let session = match self.bound.as_ref() {
                Some(bound) => &bound.session,
                None => match self.session_for_first(&lot[0]) {
                    Ok(session) => session,
                    Err(denied) => {
                        lot[0].denied(denied);
                        array.write(base, &lot[..1])?;
                        return Err(error(denied));
                    }
                },
            };
            while *done < base + lot.len() {
                let first = *done - base;
                let mut part = session.submit(lot, base, first);
                let part = part.run();
                let (end, denied) = (part.end(), part.denied());
                let told = end + usize::from(denied.is_some());
                array.write(*done, &part.requests()[first..told])?;
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
    fn session_for_first(&self, first: &slablab_operation) -> Result<&Session, Denied> {
        match first.operation()? {
            Operation::Allocate { size, align } => self.session_for(size, align),
            Operation::Nothing => self.session_for(1, 1),
            Operation::Free(_) | Operation::Reallocate(..) => self.session(),
        }
    }
}

impl Array {
    /// Returns the memory of `count` operations from the one with this number on.
    #[inline]
    fn slice(&self, number: usize, count: usize) -> Result<UserSlice> {
        // `number` is at most the array's length, so the product is small.
        let skip = number * size_of::<slablab_operation>();
        let address = self.address.checked_add(skip).ok_or(EFAULT)?;
        let bytes = count * size_of::<slablab_operation>();
        Ok(UserSlice::new(UserPtr::from_addr(address), bytes))
    }

    /// Reads the operations from number `base` on, as many as there is room for, if they can be
    /// written back.
    fn read<'r>(
        &self,
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
        // One begins in the first of two pages, the other ends in the last.
        self.write(base, &lot[..1])?;
        self.write(base + count - 1, &lot[count - 1..])?;
        // Before the first one there is none that it could be about.
        if base > 0 {
            for operation in &mut *lot {
                self.resolve(base, operation)?;
            }
        }
        Ok(lot)
    }

    /// Writes operations back from the one with this number on.
    fn write(&self, number: usize, operations: &[slablab_operation]) -> Result {
        let mut writer = self.slice(number, operations.len())?.writer();
        writer.write_slice(AsBytes::as_bytes(operations))
    }

    /// Puts the handle into an operation that is about the block of one before number `base`.
    ///
    /// That one was read before and written back. What the program has made of it since, and sends
    /// now, is one more number that names a block of its own or nothing.
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
