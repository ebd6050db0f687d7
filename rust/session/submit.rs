// SPDX-License-Identifier: GPL-2.0

//! Submissions: many operations in one call.
//!
//! A submission is executed in segments. After each segment the caller copies the replies to the
//! program and commits. If the copy fails, the segment's allocations are rolled back with
//! [`Session::revoke`], so the program knows all of its blocks. Frees cannot be rolled back.
//!
//! ```text
//! submit ─▶ Segment ─ run ─▶ Completed ─ commit ─▶ next segment
//!                                      └ drop of the segment ─▶ its allocations are rolled back
//! ```

// Lock order: as in session.rs. A batch holds the session's lock for at most `BATCH_OPS`
// operations, with preemption disabled by the engine. It takes no other lock and does not sleep.

use core::ops::Deref;

use slab_heap::{
    Engine,
    lock::Lock, //
};

use crate::{
    batch::{
        BATCH_OPS,
        Batch,
        Next, //
    },
    error::SessionError,
    realloc::PendingRealloc,
    request::{
        Operation,
        Request,
        resolve, //
    },
    session::{
        Session,
        validate, //
    },
    state::SessionState,
    storage::Storage,
};

impl<R, L, S> Session<R, L, S>
where
    R: Deref<Target: Engine>,
    L: Lock<SessionState<S>>,
    S: Storage,
{
    /// Returns the next segment of a submission. [`Segment::run`] executes it.
    ///
    /// `requests` are the operations of the submission from number `base` on, and the first `first` of
    /// them are done. The segment ends after the last of `requests`, at the first operation that fails,
    /// or before a reallocation. A reallocation is a segment of its own.
    #[inline]
    pub fn submit<'s, 'q, Q: Request>(
        &'s self,
        requests: &'q mut [Q],
        base: usize,
        first: usize,
    ) -> Segment<'s, 'q, Q, R, L, S> {
        Segment {
            session: self,
            requests,
            base,
            first,
            end: first,
            error: None,
            realloc: None,
        }
    }
}

/// A segment of a submission. Dropping it rolls back what is executed and not committed.
#[must_use = "`Segment::run` executes the operations"]
pub struct Segment<'s, 'q, Q, R, L, S>
where
    Q: Request,
    R: Deref<Target: Engine>,
    L: Lock<SessionState<S>>,
    S: Storage,
{
    session: &'s Session<R, L, S>,
    requests: &'q mut [Q],
    base: usize,
    first: usize,
    /// The index of the first request that is not done.
    end: usize,
    /// The error of that request, if it failed.
    error: Option<SessionError>,
    /// The reallocation, if the segment is one.
    realloc: Option<PendingRealloc<'s, R, L, S>>,
}

impl<'s, 'q, Q, R, L, S> Segment<'s, 'q, Q, R, L, S>
where
    Q: Request,
    R: Deref<Target: Engine>,
    L: Lock<SessionState<S>>,
    S: Storage,
{
    /// Executes the segment. The result borrows the segment, since returning the segment by value would
    /// copy it.
    #[inline]
    pub fn run(&mut self) -> Completed<'_, 's, 'q, Q, R, L, S> {
        self.run_to_end();
        Completed { segment: self }
    }

    /// Executes operations until the segment ends.
    #[inline]
    fn run_to_end(&mut self) {
        let mut try_batch = true;
        let error = loop {
            if self.end >= self.requests.len() {
                return;
            }
            // If the engine has no CPU-local cache, the slow path executes all remaining operations.
            let batch = if try_batch { self.run_batch() } else { None };
            try_batch = batch.is_some();
            let next = match batch {
                None | Some(Next::SlowPath) => self.run_one(),
                Some(next) => next,
            };
            match next {
                Next::Continue | Next::SlowPath => {}
                Next::Reallocate if self.end == self.first => match self.reallocate() {
                    Ok(()) => return,
                    Err(error) => break error,
                },
                Next::Reallocate => return,
                Next::Failed(error) => break self.report_error(error),
                Next::FailedAndReported(error) => break error,
            }
        };
        self.requests[self.end].on_error(error);
        self.error = Some(error);
    }

    /// Executes the next operations on the fast path. Returns `None` if the engine has no CPU-local
    /// cache, or the session does not allocate under its lock.
    #[inline(never)]
    fn run_batch(&mut self) -> Option<Next> {
        let batch_end = self.requests.len().min(self.end + BATCH_OPS);
        let (session, base, end) = (self.session, self.base, &mut self.end);
        let requests = &mut *self.requests;
        session.state.with(|state| {
            if state.locked_alloc_max() == 0 {
                return None;
            }
            let batch = Batch {
                state,
                requests: requests.get_mut(..batch_end).unwrap_or_default(),
                base,
                end,
            };
            session.engine.at_hand(batch)
        })
    }

    /// Executes one allocation or free without the session's lock: the engine may sleep.
    #[inline(never)]
    fn run_one(&mut self) -> Next {
        match self.try_run_one() {
            Ok(next) => next,
            Err(error) => Next::Failed(error),
        }
    }

    /// Executes one operation as [`Segment::run_one`] does, with an unreported error in `Err`.
    fn try_run_one(&mut self) -> Result<Next, SessionError> {
        // A submission may consist of many large operations, so each one checks for a fatal signal.
        if S::interrupted() {
            return Err(SessionError::Interrupted);
        }
        let session = self.session;
        match self.requests[self.end].operation()? {
            Operation::Allocate { size, align } => {
                let reply = session.allocate_unlocked(validate(&*session.engine, size, align)?)?;
                self.requests[self.end].on_served(&reply);
            }
            Operation::Free(block) => {
                let handle = resolve(&self.requests[..self.end], self.base, block)?;
                match session.free_unlocked(handle) {
                    Ok(cost) => self.requests[self.end].on_freed(handle, cost),
                    Err(error) => return Ok(Next::FailedAndReported(error)),
                }
            }
            Operation::Reallocate(..) => return Ok(Next::Reallocate),
            Operation::Nothing => {}
        }
        self.end += 1;
        Ok(Next::Continue)
    }

    /// Executes the reallocation that the segment consists of. The error is reported.
    fn reallocate(&mut self) -> Result<(), SessionError> {
        let Operation::Reallocate(block, size) = self.requests[self.end].operation()? else {
            return Err(SessionError::BadOperation);
        };
        let handle = resolve(&self.requests[..self.end], self.base, block);
        let handle = handle.map_err(|error| self.report_error(error))?;
        let pending = self.session.reallocate(handle, size)?;
        self.requests[self.end].on_served(&pending.reply());
        self.realloc = Some(pending);
        self.end += 1;
        Ok(())
    }

    /// Logs and counts the error of the next operation.
    fn report_error(&self, error: SessionError) -> SessionError {
        let request = &self.requests[self.end];
        self.session
            .report_error(|| request.operation().into(), error)
    }

    /// Revokes the allocations of the segment.
    #[cold]
    fn roll_back(&mut self) {
        let done = &self.requests[self.first..self.end];
        for handle in done.iter().filter_map(Request::allocated) {
            self.session.revoke(handle);
        }
    }
}

impl<Q, R, L, S> Drop for Segment<'_, '_, Q, R, L, S>
where
    Q: Request,
    R: Deref<Target: Engine>,
    L: Lock<SessionState<S>>,
    S: Storage,
{
    #[inline]
    fn drop(&mut self) {
        // The drop of `realloc` rolls a reallocation back.
        if self.end > self.first && self.realloc.is_none() {
            self.roll_back();
        }
    }
}

/// A segment that is executed, but not committed.
#[must_use = "a segment that is not committed is rolled back"]
pub struct Completed<'p, 's, 'q, Q, R, L, S>
where
    Q: Request,
    R: Deref<Target: Engine>,
    L: Lock<SessionState<S>>,
    S: Storage,
{
    segment: &'p mut Segment<'s, 'q, Q, R, L, S>,
}

impl<Q, R, L, S> Completed<'_, '_, '_, Q, R, L, S>
where
    Q: Request,
    R: Deref<Target: Engine>,
    L: Lock<SessionState<S>>,
    S: Storage,
{
    /// Returns the index of the first request that is not done.
    #[inline]
    pub fn end(&self) -> usize {
        self.segment.end
    }

    /// Returns the error that ended the submission.
    #[inline]
    pub fn error(&self) -> Option<SessionError> {
        self.segment.error
    }

    /// Returns the requests. Those that are done contain their replies, and a failed one its error.
    #[inline]
    pub fn requests(&self) -> &[Q] {
        self.segment.requests
    }

    /// Commits the segment.
    #[inline]
    pub fn commit(self) {
        if let Some(realloc) = self.segment.realloc.take() {
            realloc.commit();
        }
        // An empty range of requests makes the drop of the segment roll back nothing.
        self.segment.end = self.segment.first;
    }
}
