// SPDX-License-Identifier: GPL-2.0

//! The operations of a submission, as the program has them.

use slab_heap::{
    Cost,
    nospec, //
};

use crate::{
    denied::Denied,
    handle::Handle,
    session::Reply, //
};

/// Which block an operation is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// The one that a number from the program names.
    Handle(u32),
    /// The one that an earlier operation of the submission allocated; operations are counted from
    /// the submission's first.
    Earlier(usize),
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// [`Session::allocate`](crate::Session::allocate)
    Allocate {
        /// The bytes.
        size: u64,
        /// Their alignment.
        align: u64,
    },
    /// [`Session::free`](crate::Session::free)
    Free(Name),
    /// [`Session::reallocate`](crate::Session::reallocate)
    Reallocate(Name, u64),
    /// Nothing, and nothing is said of it.
    Nothing,
}

/// An operation in the program's words, and the place for what there is to say about it.
pub trait Request {
    /// Returns what is to be done.
    ///
    /// # Errors
    ///
    /// [`Denied::BadOperation`]
    fn operation(&self) -> Result<Operation, Denied>;

    /// Says whether it is an allocation of so many bytes, aligned so: as [`Request::operation`] does, but
    /// quicker.
    #[inline]
    fn allocates(&self, size: u64, align: u64) -> bool {
        self.operation() == Ok(Operation::Allocate { size, align })
    }

    /// Returns the number of the block that is to be freed, if that is all that there is to it: likewise.
    #[inline]
    fn frees(&self) -> Option<u32> {
        match self.operation() {
            Ok(Operation::Free(Name::Handle(bits))) => Some(bits),
            _ => None,
        }
    }

    /// Returns the handle of the block that it allocated, if that is what it did.
    fn allocated(&self) -> Option<Handle>;

    /// Takes the reply to an allocation or a reallocation.
    fn served(&mut self, reply: &Reply);

    /// Takes the handle of a block that was freed, and what that cost.
    fn freed(&mut self, handle: Handle, cost: Cost);

    /// Takes a denial.
    fn denied(&mut self, denied: Denied);
}

/// Returns the handle that is meant by the request behind those that are `done`.
#[inline(always)]
pub(crate) fn named<Q: Request>(done: &[Q], base: usize, name: Name) -> Result<Handle, Denied> {
    match name {
        Name::Handle(bits) => Handle::from_bits(bits).ok_or(Denied::NoSuchBlock),
        Name::Earlier(number) => allocated_by(done, base, number),
    }
}

/// Returns the handle of the block that the request with this number allocated.
#[inline(never)]
pub(crate) fn allocated_by<Q: Request>(
    done: &[Q],
    base: usize,
    number: usize,
) -> Result<Handle, Denied> {
    let place = number.checked_sub(base).filter(|place| *place < done.len());
    // The number is the program's.
    let request = place.and_then(|place| done.get(nospec::clamp(place, done.len())));
    let handle = request.and_then(Request::allocated);
    handle.ok_or(Denied::BadOperation)
}
