// SPDX-License-Identifier: GPL-2.0

//! SUBMIT, where every operation is checked like a single call.

use super::{
    Client,
    ClientBlock,
    Violation,
    block_model::BlockInfo,
    figures::figure, //
};
use crate::{
    device::Errno,
    target::Refused,
    uapi::{
        self,
        Cause,
        slablab_cost,
        slablab_operation, //
    },
};

/// An operation of a SUBMIT. A block occurs in at most one operation of a call.
#[derive(Debug)]
pub enum CheckedOperation {
    /// A new block.
    Alloc {
        /// The requested bytes.
        size: u64,
        /// The alignment in bytes.
        align: u64,
    },
    /// A new size.
    Realloc {
        /// The block.
        block: ClientBlock,
        /// The requested bytes.
        size: u64,
    },
    /// A free.
    Free(ClientBlock),
}

/// The reply to an operation.
#[derive(Debug)]
pub struct CheckedReply {
    /// The block after the operation; `None` after a free or a refused allocation.
    pub block: Option<ClientBlock>,
    /// The cause of a refusal.
    pub refusal: Option<Cause>,
    /// The block's offset, or 2⁶⁴ − 1.
    pub offset: u64,
    /// The block's usable bytes.
    pub usable: u64,
    /// The path and its cost.
    pub cost: slablab_cost,
}

/// The result of a call.
#[derive(Debug)]
pub struct Submitted {
    /// The replies in order; only the last one can be a refusal.
    pub replies: Vec<CheckedReply>,
    /// The operations after a refused one, which were not executed.
    pub rest: Vec<CheckedOperation>,
}

/// A violation in the reply to one of several operations.
#[derive(Debug)]
pub struct OperationViolation {
    /// The index of the operation.
    pub index: usize,
    /// The violated rule.
    pub violation: Violation,
}

impl CheckedOperation {
    /// Returns the operation in the ABI's form.
    fn operation(&self) -> slablab_operation {
        let (kind, align_log2, handle, bytes) = match self {
            Self::Alloc { size, align } => {
                (uapi::SLABLAB_OP_ALLOC, align.trailing_zeros(), 0, *size)
            }
            Self::Realloc { block, size } => (uapi::SLABLAB_OP_REALLOC, 0, block.handle(), *size),
            Self::Free(block) => (uapi::SLABLAB_OP_FREE, 0, block.handle(), 0),
        };
        slablab_operation {
            kind: kind as u8,
            align_log2: align_log2 as u8,
            handle,
            bytes,
            ..Default::default()
        }
    }
}

impl Client<'_> {
    /// Executes operations in one call, up to the first one that is refused.
    ///
    /// No other thread may free blocks of this oracle during the call: the engine could reuse the
    /// memory of such a block before the model of live blocks has removed it.
    pub fn submit(
        &mut self,
        wanted: Vec<CheckedOperation>,
    ) -> Result<Submitted, OperationViolation> {
        if wanted.is_empty() {
            let (replies, rest) = Default::default();
            return Ok(Submitted { replies, rest });
        }
        for (index, operation) in wanted.iter().enumerate() {
            let (block, end) = match operation {
                CheckedOperation::Alloc { .. } => continue,
                // The bytes that remain are verified after the call.
                CheckedOperation::Realloc { block, size } => (block, block.size().min(*size)),
                CheckedOperation::Free(block) => (block, 0),
            };
            let result = self.verify_range(block, end..block.size());
            result.map_err(|violation| OperationViolation { index, violation })?;
        }
        let mut operations: Vec<_> = wanted.iter().map(CheckedOperation::operation).collect();
        let failed = |index, errno| OperationViolation {
            index,
            violation: Violation::Failed {
                call: "SUBMIT",
                errno,
            },
        };
        let answer = self.oracle.target.submit(&mut operations);
        let answer = answer.map_err(|errno| failed(0, errno))?;
        let done = answer.done as usize;
        let errno = Errno::from_raw_os_error(answer.error.max(1) as i32);
        if done > operations.len() || (done < operations.len()) != (answer.error != 0) {
            return Err(failed(done.min(operations.len() - 1), errno));
        }
        let mut replies = Vec::with_capacity(done + 1);
        let mut wanted = wanted.into_iter();
        for (index, (answer, operation)) in operations.iter().zip(wanted.by_ref()).enumerate() {
            let reply = if index < done {
                self.done(operation, answer)
            } else {
                self.denied(operation, errno, answer.cost)
            };
            replies.push(reply.map_err(|violation| OperationViolation { index, violation })?);
            if index == done {
                break;
            }
        }
        let rest = wanted.collect();
        Ok(Submitted { replies, rest })
    }

    /// Checks the answer to an operation that succeeded.
    fn done(
        &mut self,
        operation: CheckedOperation,
        reply: &slablab_operation,
    ) -> Result<CheckedReply, Violation> {
        let (offset, usable) = (reply.offset, reply.bytes);
        let block = match operation {
            CheckedOperation::Alloc { size, align } => {
                let place = BlockInfo {
                    handle: reply.handle,
                    offset,
                    usable,
                    size,
                    align,
                };
                Some(self.track_new(place, reply.cost)?)
            }
            CheckedOperation::Realloc { mut block, size } => {
                let old = block.place;
                same_handle(old.handle, reply.handle)?;
                block.place = BlockInfo {
                    offset,
                    usable,
                    size,
                    ..old
                };
                {
                    let mut books = self.oracle.books();
                    books.model.remove(&old);
                    books.model.note(old.handle, offset, usable, reply.cost);
                    books.tally.reallocations += 1;
                }
                self.track_resized(&block, old.size)?;
                Some(block)
            }
            CheckedOperation::Free(block) => {
                same_handle(block.handle(), reply.handle)?;
                let mut books = self.oracle.books();
                books.model.remove(&block.place);
                books.tally.frees += 1;
                None
            }
        };
        let is_out = block.is_some();
        Ok(CheckedReply {
            block,
            refusal: None,
            offset: if is_out { offset } else { uapi::NO_OFFSET },
            usable: if is_out { usable } else { 0 },
            cost: reply.cost,
        })
    }

    /// Checks a refusal.
    fn denied(
        &mut self,
        operation: CheckedOperation,
        errno: Errno,
        cost: slablab_cost,
    ) -> Result<CheckedReply, Violation> {
        let refused = Refused { errno, cost };
        let block = match operation {
            CheckedOperation::Alloc { .. } => None,
            CheckedOperation::Realloc { block, .. } => Some(block),
            CheckedOperation::Free(_) => {
                return Err(Violation::Failed {
                    call: "FREE in SUBMIT",
                    errno,
                });
            }
        };
        let refusal = Some(self.oracle.refused("SUBMIT", &refused)?);
        if let Some(block) = &block {
            self.verify(block, block.size())?;
        }
        Ok(CheckedReply {
            offset: block.as_ref().map_or(uapi::NO_OFFSET, ClientBlock::offset),
            usable: block.as_ref().map_or(0, |block| block.place.usable),
            block,
            refusal,
            cost,
        })
    }
}

/// Checks that an operation has not changed the handle of its block.
fn same_handle(expected: u32, found: u32) -> Result<(), Violation> {
    figure("the handle after SUBMIT", expected.into(), found.into())
}
