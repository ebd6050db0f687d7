// SPDX-License-Identifier: GPL-2.0

//! Submissions: many operations in one call.
//!
//! A submission is executed in segments. After each segment the caller copies the replies to the
//! program and commits. If the copy fails, the segment's allocations are rolled back with
//! [`Session::revoke`], so the program knows all of its blocks. Frees cannot be rolled back.
//!
//! ```text
//! submit ─▶ Segment ─ commit ─▶ next segment
//!                   └ drop ───▶ its allocations are rolled back
//! ```
//!
//! A segment executes several operations under one hold of the session's lock, by the functions that
//! single calls use. The first operation that these cannot execute ends the hold, and is executed
//! without the lock, as in a single call.

// Locks: as in session.rs. One lock hold executes at most `HOLD_OPERATIONS` operations and zeroes at
// most `HOLD_BYTES` bytes. Between two holds the lock is free and the scheduler can run.

use crate::{
    error::SessionError,
    operation::{
        EncodedOperation,
        Operation,
        resolve, //
    },
    realloc::PendingRealloc,
    session::{
        LOCKED_BYTES,
        Locked,
        Session, //
    },
    state::Platform,
};

/// The largest number of operations under one lock hold.
const HOLD_OPERATIONS: usize = 64;

/// The largest number of bytes that are zeroed under one lock hold.
const HOLD_BYTES: usize = 32 * LOCKED_BYTES;

impl<P: Platform> Session<P> {
    /// Executes the next segment of a submission.
    ///
    /// `operations` are the operations of the submission from number `base` on, and the first `first` of
    /// them are done. The segment ends after the last of `operations`, at the first operation that fails,
    /// or before a reallocation. A reallocation is a segment of its own.
    #[inline]
    pub fn submit<'a, O: EncodedOperation>(
        &'a self,
        operations: &'a mut [O],
        base: usize,
        first: usize,
    ) -> Segment<'a, P, O> {
        let mut segment = Segment {
            session: self,
            operations,
            base,
            first,
            end: first,
            error: None,
            realloc: None,
        };
        if let Err(error) = segment.run() {
            segment.operations[segment.end].on_error(error);
            segment.error = Some(error);
        }
        segment
    }
}

/// A segment of a submission that is executed, but not committed. Dropping it rolls it back.
#[must_use = "a segment that is not committed is rolled back"]
pub struct Segment<'a, P: Platform, O: EncodedOperation> {
    session: &'a Session<P>,
    operations: &'a mut [O],
    base: usize,
    /// The index of the first operation of the segment.
    first: usize,
    /// The index of the first operation that is not done.
    end: usize,
    /// The error of that operation, if it failed.
    error: Option<SessionError>,
    /// The reallocation, if the segment is one.
    realloc: Option<PendingRealloc<'a, P>>,
}

impl<P: Platform, O: EncodedOperation> Segment<'_, P, O> {
    /// Returns the operations of the segment that are done, with their replies.
    #[inline]
    pub fn done(&self) -> &[O] {
        &self.operations[self.first..self.end]
    }

    /// Returns the operation that ended the submission, and its error.
    #[inline]
    pub fn failed(&self) -> Option<(&O, SessionError)> {
        Some((self.operations.get(self.end)?, self.error?))
    }

    /// Commits the segment.
    #[inline]
    pub fn commit(mut self) {
        if let Some(realloc) = self.realloc.take() {
            realloc.commit();
        }
        // The drop of `self` rolls back the operations from `first` on: none.
        self.first = self.end;
    }

    /// Executes operations until the segment ends. The error of the last one is reported.
    fn run(&mut self) -> Result<(), SessionError> {
        while self.end < self.operations.len() {
            if self.run_locked() {
                continue;
            }
            let operation = self.operations[self.end].decode();
            let is_realloc = matches!(operation, Ok(Operation::Reallocate(..)));
            if is_realloc && self.end > self.first {
                break;
            }
            self.run_unlocked(operation)?;
            if is_realloc {
                break;
            }
        }
        Ok(())
    }

    /// Executes the next operations under one hold of the session's lock. Returns `false` if the next
    /// operation needs [`Segment::run_unlocked`].
    #[inline(never)]
    fn run_locked(&mut self) -> bool {
        let (base, mut end) = (self.base, self.end);
        let hold_end = self.operations.len().min(end + HOLD_OPERATIONS);
        let operations = &mut self.operations[..hold_end];
        let held = self.session.with_lock(|locked| {
            let mut bytes = 0;
            // The rest of `HOLD_BYTES` suffices for any block that is allocated under the lock.
            while bytes <= HOLD_BYTES - LOCKED_BYTES
                && let Some((done, [encoded, ..])) = operations.split_at_mut_checked(end)
            {
                bytes += execute_locked(locked, done, base, encoded)?;
                end += 1;
            }
            Some(())
        });
        self.end = end;
        held.is_some()
    }

    /// Executes the next operation, which is `operation`, without the session's lock. An error is
    /// reported.
    #[inline(never)]
    fn run_unlocked(
        &mut self,
        operation: Result<Operation, SessionError>,
    ) -> Result<(), SessionError> {
        let session = self.session;
        let report = |error| session.report_error(|| operation.into(), error);
        // A submission may consist of many large operations, so each one checks for a fatal signal.
        if P::interrupted() {
            return Err(report(SessionError::Interrupted));
        }
        let (done, rest) = self.operations.split_at_mut(self.end);
        let encoded = &mut rest[0];
        match operation.map_err(report)? {
            Operation::Allocate { size, align } => {
                encoded.on_served(&session.allocate_unlocked(size, align)?);
            }
            Operation::Free(block) => {
                let handle = resolve(done, self.base, block).map_err(report)?;
                encoded.on_freed(handle, session.free_unlocked(handle)?);
            }
            Operation::Reallocate(block, size) => {
                let handle = resolve(done, self.base, block).map_err(report)?;
                let pending = session.reallocate(handle, size)?;
                encoded.on_served(&pending.reply());
                self.realloc = Some(pending);
            }
            Operation::Nothing => {}
        }
        self.end += 1;
        Ok(())
    }
}

/// Executes an operation with the session's lock held. `done` are the operations before it, from number
/// `base` on. Returns the number of bytes that were zeroed, or `None` after changing nothing if
/// [`Segment::run_unlocked`] has to execute the operation.
#[inline(always)]
fn execute_locked<P: Platform, O: EncodedOperation>(
    locked: &mut Locked<'_, P>,
    done: &[O],
    base: usize,
    encoded: &mut O,
) -> Option<usize> {
    match encoded.decode().ok()? {
        Operation::Allocate { size, align } => {
            let reply = locked.allocate(size, align)?;
            encoded.on_served(&reply);
            Some(reply.usable)
        }
        Operation::Free(block) => {
            let handle = resolve(done, base, block).ok()?;
            encoded.on_freed(handle, locked.free(handle)?);
            Some(0)
        }
        Operation::Reallocate(..) => None,
        Operation::Nothing => Some(0),
    }
}

impl<P: Platform, O: EncodedOperation> Drop for Segment<'_, P, O> {
    /// Rolls the segment back. The drop of `realloc` rolls a reallocation back.
    #[inline]
    fn drop(&mut self) {
        for handle in self.done().iter().filter_map(EncodedOperation::allocated) {
            self.session.revoke(handle);
        }
    }
}
