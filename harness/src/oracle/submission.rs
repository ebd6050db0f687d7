// SPDX-License-Identifier: GPL-2.0

//! Many operations in one call, each checked as if it had been alone.

use super::{
    Block,
    Client,
    Complaint,
    figures::figure,
    shadow::Place, //
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

/// What is wished for. A block is in one wish of a call at most.
#[derive(Debug)]
pub(crate) enum Wish {
    /// A new block.
    Alloc { size: u64, align: u64 },
    /// Another size.
    Realloc { block: Block, size: u64 },
    /// The block's end.
    Free(Block),
}

/// What came of a wish.
#[derive(Debug)]
pub(crate) struct Reply {
    /// The block, if there is one now: what was freed is gone, what was refused is as before.
    pub(crate) block: Option<Block>,
    /// Why it was refused, if it was.
    pub(crate) refusal: Option<Cause>,
    /// Where the block is, or 2⁶⁴ − 1.
    pub(crate) offset: u64,
    /// The bytes that it has.
    pub(crate) usable: u64,
    /// How it was served, and what that cost.
    pub(crate) cost: slablab_cost,
}

/// What came of a call.
#[derive(Debug)]
pub(crate) struct Submitted {
    /// What came of the wishes, one by one; only the last one can have been refused.
    pub(crate) replies: Vec<Reply>,
    /// The wishes behind one that was refused.
    pub(crate) rest: Vec<Wish>,
}

/// A complaint about one of several wishes.
#[derive(Debug)]
pub(crate) struct Fault {
    /// The wish, counted from 0.
    pub(crate) index: usize,
    /// What is wrong.
    pub(crate) complaint: Complaint,
}

impl Wish {
    /// Returns the operation that is asked for.
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
    /// Does what is wished for in one call, up to the first wish that is refused.
    ///
    /// No other thread may free blocks of this oracle meanwhile: what it freed could be in a block
    /// here before it is known to be free.
    pub(crate) fn submit(&mut self, wishes: Vec<Wish>) -> Result<Submitted, Fault> {
        if wishes.is_empty() {
            let (replies, rest) = Default::default();
            return Ok(Submitted { replies, rest });
        }
        for (index, wish) in wishes.iter().enumerate() {
            let (block, end) = match wish {
                Wish::Alloc { .. } => continue,
                // What is kept is looked at when it has been kept.
                Wish::Realloc { block, size } => (block, block.size().min(*size)),
                Wish::Free(block) => (block, 0),
            };
            let result = self.verify_range(block, end..block.size());
            result.map_err(|complaint| Fault { index, complaint })?;
        }
        let mut operations: Vec<_> = wishes.iter().map(Wish::operation).collect();
        let failed = |index, errno| Fault {
            index,
            complaint: Complaint::Failed {
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
        let mut wishes = wishes.into_iter();
        for (index, (operation, wish)) in operations.iter().zip(wishes.by_ref()).enumerate() {
            let reply = if index < done {
                self.done(wish, operation)
            } else {
                self.denied(wish, errno, operation.cost)
            };
            replies.push(reply.map_err(|complaint| Fault { index, complaint })?);
            if index == done {
                break;
            }
        }
        let rest = wishes.collect();
        Ok(Submitted { replies, rest })
    }

    /// Checks what was done.
    fn done(&mut self, wish: Wish, told: &slablab_operation) -> Result<Reply, Complaint> {
        let (offset, usable) = (told.offset, told.bytes);
        let block = match wish {
            Wish::Alloc { size, align } => {
                let place = Place {
                    handle: told.handle,
                    offset,
                    usable,
                    size,
                    align,
                };
                Some(self.admitted(place, told.cost)?)
            }
            Wish::Realloc { mut block, size } => {
                let old = block.place;
                same_handle(old.handle, told.handle)?;
                block.place = Place {
                    offset,
                    usable,
                    size,
                    ..old
                };
                {
                    let mut books = self.oracle.books();
                    books.shadow.remove(&old);
                    books.shadow.note(old.handle, offset, usable, told.cost);
                    books.tally.reallocations += 1;
                }
                self.readmitted(&block, old.size)?;
                Some(block)
            }
            Wish::Free(block) => {
                same_handle(block.handle(), told.handle)?;
                let mut books = self.oracle.books();
                books.shadow.remove(&block.place);
                books.tally.frees += 1;
                None
            }
        };
        let is_out = block.is_some();
        Ok(Reply {
            block,
            refusal: None,
            offset: if is_out { offset } else { uapi::NO_OFFSET },
            usable: if is_out { usable } else { 0 },
            cost: told.cost,
        })
    }

    /// Checks a refusal.
    fn denied(&mut self, wish: Wish, errno: Errno, cost: slablab_cost) -> Result<Reply, Complaint> {
        let refused = Refused { errno, cost };
        let block = match wish {
            Wish::Alloc { .. } => None,
            Wish::Realloc { block, .. } => Some(block),
            Wish::Free(_) => {
                return Err(Complaint::Failed {
                    call: "a free in SUBMIT",
                    errno,
                });
            }
        };
        let refusal = Some(self.oracle.refused("SUBMIT", &refused)?);
        if let Some(block) = &block {
            self.verify(block, block.size())?;
        }
        Ok(Reply {
            offset: block.as_ref().map_or(uapi::NO_OFFSET, Block::offset),
            usable: block.as_ref().map_or(0, |block| block.place.usable),
            block,
            refusal,
            cost,
        })
    }
}

/// Says whether an operation kept its block's handle.
fn same_handle(expected: u32, found: u32) -> Result<(), Complaint> {
    figure("the handle in SUBMIT", expected.into(), found.into())
}
