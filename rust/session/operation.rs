// SPDX-License-Identifier: GPL-2.0

//! The operations of a submission and the replies to them.

use slab_heap::{
    Cost,
    Offset,
    nospec, //
};

use crate::{
    entry::Allocation,
    error::SessionError,
    handle::Handle, //
};

/// The reply to an allocation or a reallocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The handle of the block.
    pub handle: Handle,
    /// The offset of the block, if the engine has a pool.
    pub offset: Option<Offset>,
    /// The usable size of the block in bytes.
    pub usable: usize,
    /// The path that served the request, and its cost.
    pub cost: Cost,
}

impl Reply {
    /// Returns the reply for an allocation.
    #[inline(always)]
    pub(crate) fn new(handle: Handle, allocation: &Allocation, cost: Cost) -> Self {
        Self {
            handle,
            offset: allocation.offset,
            usable: allocation.charge,
            cost,
        }
    }
}

/// A reference from an operation to a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockRef {
    /// The block with this handle number. The program chose the number, so it may name no block.
    Handle(u32),
    /// The block that an earlier operation of the submission allocated. Operations are numbered from
    /// the first one of the submission.
    Earlier(u32),
}

/// An operation of a submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Allocates a block, as [`Session::allocate`](crate::Session::allocate) does.
    Allocate {
        /// The size in bytes.
        size: u64,
        /// The alignment in bytes.
        align: u64,
    },
    /// Frees a block, as [`Session::free`](crate::Session::free) does.
    Free(BlockRef),
    /// Changes the size of a block in bytes, as [`Session::reallocate`](crate::Session::reallocate)
    /// does.
    Reallocate(BlockRef, u64),
    /// Does nothing and has no reply.
    Nothing,
}

/// An operation in the encoding of the program, with space for its result.
pub trait EncodedOperation {
    /// Decodes the operation.
    ///
    /// # Errors
    ///
    /// [`SessionError::BadOperation`]
    fn decode(&self) -> Result<Operation, SessionError>;

    /// Returns the handle of the block that this operation allocated.
    fn allocated(&self) -> Option<Handle>;

    /// Stores the reply to an allocation or a reallocation.
    fn on_served(&mut self, reply: &Reply);

    /// Stores the handle of the freed block and the cost of the free.
    fn on_freed(&mut self, handle: Handle, cost: Cost);

    /// Stores the error.
    fn on_error(&mut self, error: SessionError);
}

/// Returns the handle that `block` refers to. `done` contains the operations before the current operation, from
/// number `base` on.
#[inline(always)]
pub(crate) fn resolve<O: EncodedOperation>(
    done: &[O],
    base: usize,
    block: BlockRef,
) -> Result<Handle, SessionError> {
    match block {
        BlockRef::Handle(bits) => Handle::from_bits(bits).ok_or(SessionError::NoSuchBlock),
        BlockRef::Earlier(number) => resolve_earlier(done, base, number),
    }
}

/// Returns the handle of the block that operation `number` allocated.
// This function is not inlined, so that the loop over the operations needs fewer registers.
#[cold]
#[inline(never)]
fn resolve_earlier<O: EncodedOperation>(
    done: &[O],
    base: usize,
    number: u32,
) -> Result<Handle, SessionError> {
    let number = number as usize;
    let index = number.checked_sub(base).filter(|index| *index < done.len());
    // The program chose the number, so a mispredicted bounds check must not read out of bounds.
    let earlier = index.and_then(|index| done.get(nospec::clamp(index, done.len())));
    let handle = earlier.and_then(EncodedOperation::allocated);
    handle.ok_or(SessionError::BadOperation)
}
