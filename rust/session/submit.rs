// SPDX-License-Identifier: GPL-2.0

//! Submissions: many operations in one call.
//!
//! A submission is executed in segments. After each segment the caller copies the replies to the
//! program and commits. If the copy fails, the segment's allocations are rolled back with
//! [`Session::revoke`], so the program knows all of its blocks. Frees cannot be rolled back.
//!
//! ```text
//! segment ─ execute ─┬─ commit ─▶ next segment
//!                    └─ drop ───▶ its allocations are rolled back
//! ```
//!
//! A segment executes several operations under one hold of the session's lock, with the functions that single
//! calls use. The first operation that these functions cannot execute ends the hold, and is executed without the
//! lock, as in a single call.

// Locks: the rules of session.rs apply. One lock hold executes at most `HOLD_OPERATIONS` operations, which zero
// at most `LOCKED_BYTES` bytes each: 256 KiB together. Between two holds the lock is free and the scheduler can
// run.

use slab_heap::Engine;

use crate::{
    error::SessionError,
    operation::{
        EncodedOperation,
        Operation,
        resolve, //
    },
    realloc::PendingRealloc,
    session::{
        Locked,
        LockedWork,
        Session, //
    },
    state::Platform,
};

/// The largest number of operations under one lock hold.
const HOLD_OPERATIONS: usize = 64;

impl<P: Platform> Session<P> {
    /// Returns the next segment of a submission, which [`Segment::execute`] executes.
    ///
    /// `operations` contains the operations of the submission from number `base` on, of which the first `first`
    /// are done. The segment ends after the last of `operations`, at the first operation that fails, or before a
    /// reallocation. A reallocation is a segment of its own.
    #[inline]
    pub fn segment<'a, O: EncodedOperation>(
        &'a self,
        operations: &'a mut [O],
        base: usize,
        first: usize,
    ) -> Segment<'a, P, O> {
        Segment {
            session: self,
            operations,
            base,
            first,
            end: first,
            error: None,
            realloc: None,
        }
    }
}

/// A segment of a submission that is not committed. Dropping it rolls it back.
#[must_use = "a segment that is not committed is rolled back"]
pub struct Segment<'a, P: Platform, O: EncodedOperation> {
    session: &'a Session<P>,
    operations: &'a mut [O],
    base: usize,
    /// The index of the first operation of the segment.
    first: usize,
    /// The index of the first operation that is not done.
    end: usize,
    /// The error of the operation at `end`, if it failed.
    error: Option<SessionError>,
    /// The reallocation, if the segment is one.
    realloc: Option<PendingRealloc<'a, P>>,
}

impl<P: Platform, O: EncodedOperation> Segment<'_, P, O> {
    /// Executes operations until the segment ends, and stores the error of the last operation.
    // This function is separate from `Session::segment`, which would make the compiler copy the executed segment.
    #[inline]
    pub fn execute(&mut self) {
        if let Err(error) = self.run() {
            self.operations[self.end].on_error(error);
            self.error = Some(error);
        }
    }

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
        // The drop of `self` rolls back the operations from `first` to `end`, so it rolls back no operation.
        self.first = self.end;
    }

    /// Executes operations until the segment ends. The error of the last operation is reported.
    fn run(&mut self) -> Result<(), SessionError> {
        while self.end < self.operations.len() {
            let hold_end = self.operations.len().min(self.end + HOLD_OPERATIONS);
            let operations = &mut self.operations[..hold_end];
            self.end = run_locked(self.session, operations, self.base, self.end);
            if self.end == hold_end {
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

    /// Executes the next operation, which is `operation`, without the session's lock. An error is
    /// reported.
    #[inline(never)]
    fn run_unlocked(
        &mut self,
        operation: Result<Operation, SessionError>,
    ) -> Result<(), SessionError> {
        let session = self.session;
        let report = |error| session.report_error(|| operation.into(), error);
        // A submission may consist of many large operations, so each operation checks for a fatal signal.
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

/// Executes the operations from index `end` on under one hold of the session's lock. Returns the index of the
/// first operation that is not done, which [`Segment::run_unlocked`] has to execute. `operations` begins with
/// operation number `base`.
#[inline(never)]
fn run_locked<P: Platform, O: EncodedOperation>(
    session: &Session<P>,
    operations: &mut [O],
    base: usize,
    mut end: usize,
) -> usize {
    session.with_lock(LockedOperations {
        operations,
        base,
        end: &mut end,
    });
    end
}

/// Operations with the session's lock held: see [`run_locked`].
struct LockedOperations<'o, O> {
    operations: &'o mut [O],
    base: usize,
    end: &'o mut usize,
}

impl<O: EncodedOperation> LockedWork for LockedOperations<'_, O> {
    type Output = ();

    #[inline(always)]
    fn run<P: Platform, E: Engine>(self, locked: &mut Locked<'_, P, E>) -> Option<()> {
        while let Some((done, [encoded, ..])) = self.operations.split_at_mut_checked(*self.end) {
            execute_locked(locked, done, self.base, encoded)?;
            *self.end += 1;
        }
        Some(())
    }
}

/// Executes an operation with the session's lock held. `done` contains the operations before this operation,
/// from number `base` on. Returns `None` and changes nothing if [`Segment::run_unlocked`] has to execute the
/// operation.
#[inline(always)]
fn execute_locked<P: Platform, E: Engine, O: EncodedOperation>(
    locked: &mut Locked<'_, P, E>,
    done: &[O],
    base: usize,
    encoded: &mut O,
) -> Option<()> {
    match encoded.decode().ok()? {
        Operation::Allocate { size, align } => {
            encoded.on_served(&locked.allocate(size, align)?);
        }
        Operation::Free(block) => {
            let handle = resolve(done, base, block).ok()?;
            encoded.on_freed(handle, locked.free(handle)?);
        }
        Operation::Reallocate(..) => return None,
        Operation::Nothing => {}
    }
    Some(())
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
