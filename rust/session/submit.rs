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
//! single calls use. The first operation that needs more than that ends the hold and is executed as a
//! single call.

// Lock order: as in session.rs. One lock hold executes at most `HOLD_OPERATIONS` operations and zeroes at
// most `HOLD_BYTES` bytes. Between two holds the lock is free and the scheduler can run.

use slab_heap::lock::Lock;

use crate::{
    error::SessionError,
    realloc::PendingRealloc,
    request::{
        Operation,
        Request,
        resolve, //
    },
    session::{
        LOCKED_BYTES,
        Session,
        validate, //
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
    /// `requests` are the operations of the submission from number `base` on, and the first `first` of
    /// them are done. The segment ends after the last of `requests`, at the first operation that fails,
    /// or before a reallocation. A reallocation is a segment of its own.
    #[inline]
    pub fn submit<'a, Q: Request>(
        &'a self,
        requests: &'a mut [Q],
        base: usize,
        first: usize,
    ) -> Segment<'a, P, Q> {
        let mut segment = Segment {
            session: self,
            requests,
            base,
            first,
            end: first,
            error: None,
            realloc: None,
        };
        if let Err(error) = segment.run() {
            segment.requests[segment.end].on_error(error);
            segment.error = Some(error);
        }
        segment
    }
}

/// A segment of a submission that is executed, but not committed. Dropping it rolls it back.
#[must_use = "a segment that is not committed is rolled back"]
pub struct Segment<'a, P: Platform, Q: Request> {
    session: &'a Session<P>,
    requests: &'a mut [Q],
    base: usize,
    /// The index of the first request of the segment.
    first: usize,
    /// The index of the first request that is not done.
    end: usize,
    /// The error of that request, if it failed.
    error: Option<SessionError>,
    /// The reallocation, if the segment is one.
    realloc: Option<PendingRealloc<'a, P>>,
}

impl<P: Platform, Q: Request> Segment<'_, P, Q> {
    /// Returns the requests of the segment that are done, with their replies.
    #[inline]
    pub fn done(&self) -> &[Q] {
        &self.requests[self.first..self.end]
    }

    /// Returns the request that ended the submission, and its error.
    #[inline]
    pub fn failed(&self) -> Option<(&Q, SessionError)> {
        Some((self.requests.get(self.end)?, self.error?))
    }

    /// Commits the segment.
    #[inline]
    pub fn commit(mut self) {
        if let Some(realloc) = self.realloc.take() {
            realloc.commit();
        }
        // The drop of `self` rolls back the requests from `first` on: none.
        self.first = self.end;
    }

    /// Executes operations until the segment ends. The error of the last one is reported.
    fn run(&mut self) -> Result<(), SessionError> {
        while self.end < self.requests.len() {
            if self.run_locked() {
                continue;
            }
            let operation = self.requests[self.end].operation();
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
        let Self {
            session,
            ref mut requests,
            base,
            ref mut end,
            ..
        } = *self;
        session.state.with(|state| {
            if !session.works_locked(state) {
                return false;
            }
            let mut bytes = 0;
            for _ in 0..HOLD_OPERATIONS {
                let (done, rest) = requests.split_at_mut(*end);
                let Some(request) = rest.first_mut() else {
                    return true;
                };
                match request.operation() {
                    Ok(Operation::Allocate { size, align }) => {
                        // The rest of `HOLD_BYTES` may not suffice for this block.
                        if bytes > HOLD_BYTES - LOCKED_BYTES {
                            return true;
                        }
                        let Ok(layout) = validate(&*session.engine, size, align) else {
                            return false;
                        };
                        let Some(reply) = session.allocate_locked(state, layout) else {
                            return false;
                        };
                        bytes += reply.usable;
                        request.on_served(&reply);
                    }
                    Ok(Operation::Free(block)) => {
                        let Ok(handle) = resolve(done, base, block) else {
                            return false;
                        };
                        let Ok(cost) = session.free_locked(state, handle) else {
                            return false;
                        };
                        request.on_freed(handle, cost);
                    }
                    Ok(Operation::Nothing) => {}
                    Ok(Operation::Reallocate(..)) | Err(_) => return false,
                }
                *end += 1;
            }
            true
        })
    }

    /// Executes the next operation, `operation`, as a single call of the session. An error is reported.
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
        let (done, rest) = self.requests.split_at_mut(self.end);
        let request = &mut rest[0];
        match operation.map_err(report)? {
            Operation::Allocate { size, align } => {
                request.on_served(&session.allocate(size, align)?);
            }
            Operation::Free(block) => {
                let handle = resolve(done, self.base, block).map_err(report)?;
                request.on_freed(handle, session.free(handle)?);
            }
            Operation::Reallocate(block, size) => {
                let handle = resolve(done, self.base, block).map_err(report)?;
                let pending = session.reallocate(handle, size)?;
                request.on_served(&pending.reply());
                self.realloc = Some(pending);
            }
            Operation::Nothing => {}
        }
        self.end += 1;
        Ok(())
    }
}

impl<P: Platform, Q: Request> Drop for Segment<'_, P, Q> {
    /// Rolls the segment back. The drop of `realloc` rolls a reallocation back.
    #[inline]
    fn drop(&mut self) {
        for handle in self.done().iter().filter_map(Request::allocated) {
            self.session.revoke(handle);
        }
    }
}
