// SPDX-License-Identifier: GPL-2.0

//! The interface through which workloads allocate and free.

use std::{
    ops::Range,
    sync::atomic::Ordering, //
};

use super::{
    Oracle, Violation,
    block_model::BlockInfo,
    figures::figure,
    fill_pattern::{
        self,
        FillPattern, //
    },
    journal::Journal,
};
use crate::{
    device::Errno,
    uapi::{
        Cause,
        slablab_cost, //
    },
};

/// The maximum number of bytes in a read or write.
const CHUNK: usize = 64 << 10;

/// A live block.
#[derive(Debug)]
#[must_use = "a block that is forgotten is never freed"]
pub struct ClientBlock {
    pub(super) place: BlockInfo,
    content: FillPattern,
}

impl ClientBlock {
    /// Returns the handle.
    pub fn handle(&self) -> u32 {
        self.place.handle
    }

    /// Returns the requested bytes.
    pub fn size(&self) -> u64 {
        self.place.size
    }

    /// Returns the usable bytes, which are at least the requested bytes.
    pub fn usable_size(&self) -> u64 {
        self.place.usable
    }

    /// Returns the offset in the pool; for an engine without a pool, 2⁶⁴ − 1.
    pub fn offset(&self) -> u64 {
        self.place.offset
    }
}

/// A client of the oracle, for one thread.
pub struct Client<'o> {
    pub(super) oracle: &'o Oracle<'o>,
    buffer: Vec<u8>,
}

impl<'o> Client<'o> {
    /// Returns a client of `oracle`.
    pub(super) fn new(oracle: &'o Oracle<'o>) -> Self {
        Self {
            oracle,
            buffer: vec![0; CHUNK],
        }
    }

    /// Returns the oracle.
    pub fn oracle(&self) -> &'o Oracle<'o> {
        self.oracle
    }

    /// Returns the number of accesses that the allocator of the engine `student` has made to its memory.
    pub fn accesses(&self) -> Result<u64, Violation> {
        match self.oracle.target.violation() {
            Ok(reply) => Ok(reply.accesses),
            Err(errno) => Err(Violation::Failed {
                call: "VIOLATION",
                errno,
            }),
        }
    }

    /// Allocates a block, or returns the cause of the refusal.
    pub fn alloc(
        &mut self,
        size: u64,
        align: u64,
    ) -> Result<Result<ClientBlock, Cause>, Violation> {
        self.oracle.note(|journal| journal.alloc(size, align));
        let reply = match self.oracle.target.alloc(size, align) {
            Ok(reply) => reply,
            Err(refused) => {
                let cause = self.oracle.refused("ALLOC", &refused)?;
                self.oracle.note(Journal::refused);
                self.oracle.check_request()?;
                return Ok(Err(cause));
            }
        };
        let place = BlockInfo {
            handle: reply.handle,
            offset: reply.offset,
            usable: reply.usable,
            size,
            align,
        };
        self.oracle.note(|journal| journal.placed(&place));
        self.oracle.check_request()?;
        self.track_new(place, reply.cost).map(Ok)
    }

    /// Adds a new block to the model, checks that its bytes are zero, and fills it with its pattern.
    pub(super) fn track_new(
        &mut self,
        place: BlockInfo,
        cost: slablab_cost,
    ) -> Result<ClientBlock, Violation> {
        let content = {
            let mut books = self.oracle.books();
            books
                .model
                .note(place.handle, place.offset, place.usable, cost);
            books.model.admit(&place)?;
            books.tally.allocations += 1;
            books.next_id += 1;
            FillPattern::new(self.oracle.seed, books.next_id)
        };
        let block = ClientBlock { place, content };
        self.verify_zero(&block, 0)?;
        self.fill(&block, 0)?;
        Ok(block)
    }

    /// Checks that a block still has its pattern, and frees the block.
    pub fn free(&mut self, block: ClientBlock) -> Result<(), Violation> {
        self.verify(&block, block.size())?;
        {
            // The block is removed before the call, because another thread may get its memory before the call
            // returns.
            let mut books = self.oracle.books();
            books.model.remove(&block.place);
            books.tally.frees += 1;
        }
        let handle = block.handle();
        self.oracle.note(|journal| journal.free(handle));
        let freed = self.oracle.target.free(handle);
        freed.map_err(|errno| Violation::Failed {
            call: "FREE",
            errno,
        })?;
        self.oracle.check_last_call()?;
        self.oracle.note(Journal::done);
        self.oracle.check_request()
    }

    /// Changes the size of a block, or returns the cause of the refusal. A refusal must leave the block
    /// unchanged.
    pub fn realloc(
        &mut self,
        block: &mut ClientBlock,
        size: u64,
    ) -> Result<Result<(), Cause>, Violation> {
        let old = block.place;
        self.oracle.books().model.remove(&old);
        (self.oracle).note(|journal| journal.realloc(old.handle, size));
        let result = match self.oracle.target.realloc(old.handle, size) {
            Ok(reply) => {
                self.oracle.check_last_call()?;
                block.place = BlockInfo {
                    handle: reply.handle,
                    offset: reply.offset,
                    usable: reply.usable,
                    size,
                    ..old
                };
                let mut books = self.oracle.books();
                books
                    .model
                    .note(reply.handle, reply.offset, reply.usable, reply.cost);
                books.tally.reallocations += 1;
                self.oracle.note(|journal| journal.placed(&block.place));
                Ok(())
            }
            Err(refused) => {
                let cause = self.oracle.refused("REALLOC", &refused)?;
                self.oracle.note(Journal::refused);
                Err(cause)
            }
        };
        figure(
            "the handle after REALLOC",
            old.handle.into(),
            block.handle().into(),
        )?;
        self.oracle.check_request()?;
        self.track_resized(block, old.size)?;
        Ok(result)
    }

    /// Adds a reallocated block to the model again, checks that the kept bytes have the pattern and that the
    /// added bytes are zero, and fills the added bytes.
    pub(super) fn track_resized(
        &mut self,
        block: &ClientBlock,
        old_size: u64,
    ) -> Result<(), Violation> {
        self.oracle.books().model.admit(&block.place)?;
        let kept = old_size.min(block.size());
        self.verify(block, kept)?;
        if kept < block.size() {
            self.verify_zero(block, kept)?;
            self.fill(block, kept)?;
        }
        Ok(())
    }

    /// Compares the first `end` bytes of a block with its pattern.
    pub fn verify(&mut self, block: &ClientBlock, end: u64) -> Result<(), Violation> {
        self.verify_range(block, 0..end)
    }

    /// Compares a range of bytes of a block with its pattern.
    pub(super) fn verify_range(
        &mut self,
        block: &ClientBlock,
        range: Range<u64>,
    ) -> Result<(), Violation> {
        self.scan(block, range, |first, bytes| {
            block
                .content
                .compare(first, bytes)
                .map(|difference| Violation::Corrupt {
                    handle: block.handle(),
                    byte: first + difference.index as u64,
                    expected: difference.expected,
                    found: difference.found,
                })
        })
    }

    /// Checks that the bytes of a block from `first` on are zero.
    fn verify_zero(&mut self, block: &ClientBlock, first: u64) -> Result<(), Violation> {
        self.scan(block, first..block.size(), |first, bytes| {
            fill_pattern::nonzero(bytes).map(|difference| Violation::NotZero {
                handle: block.handle(),
                byte: first + difference.index as u64,
                found: difference.found,
            })
        })
    }

    /// Reads a range of a block in pieces, and calls `look` with each piece and the position of its first
    /// byte.
    fn scan(
        &mut self,
        block: &ClientBlock,
        range: Range<u64>,
        look: impl Fn(u64, &[u8]) -> Option<Violation>,
    ) -> Result<(), Violation> {
        let Self { oracle, buffer } = self;
        let handle = block.handle();
        for (first, count) in pieces(&range) {
            let bytes = &mut buffer[..count];
            let moved = oracle.target.read(handle, first as u32, bytes);
            all_moved("pread", handle, first, count, moved)?;
            if let Some(violation) = look(first, bytes) {
                return Err(violation);
            }
        }
        oracle
            .checked_bytes
            .fetch_add(range.end - range.start, Ordering::Relaxed);
        Ok(())
    }

    /// Writes the pattern to the bytes of a block from `first` on.
    fn fill(&mut self, block: &ClientBlock, first: u64) -> Result<(), Violation> {
        let Self { oracle, buffer } = self;
        let handle = block.handle();
        for (first, count) in pieces(&(first..block.size())) {
            let bytes = &mut buffer[..count];
            block.content.fill(first, bytes);
            let moved = oracle.target.write(handle, first as u32, bytes);
            all_moved("pwrite", handle, first, count, moved)?;
        }
        Ok(())
    }
}

/// Cuts a range of bytes into pieces of at most [`CHUNK`].
fn pieces(range: &Range<u64>) -> impl Iterator<Item = (u64, usize)> + use<> {
    let end = range.end;
    range
        .clone()
        .step_by(CHUNK)
        .map(move |first| (first, (end - first).min(CHUNK as u64) as usize))
}

/// Checks that a transfer inside a block moved all of its bytes.
fn all_moved(
    call: &'static str,
    handle: u32,
    byte: u64,
    expected: usize,
    moved: Result<usize, Errno>,
) -> Result<(), Violation> {
    match moved {
        Ok(moved) if moved == expected => Ok(()),
        Ok(moved) => Err(Violation::Short {
            call,
            handle,
            byte,
            expected,
            moved,
        }),
        Err(errno) => Err(Violation::Failed { call, errno }),
    }
}
