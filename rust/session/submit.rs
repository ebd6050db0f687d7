// SPDX-License-Identifier: GPL-2.0

//! Submissions: many operations in one call.
//!
//! A submission is done in parts. When a part is done the program is told, and where that fails the
//! part's allocations are revoked ([`Session::revoke`]), so that there is never a block that the
//! program does not know of. What is freed cannot be had back.

// The session's lock is held for a few operations at a time; what is done under it, session.rs says.
// Where the engine has blocks at hand, so is the CPU: nothing else is locked, nor does anything sleep.

use core::ops::Deref;

use slab_heap::{
    Engine,
    lock::Lock, //
};

use crate::{
    denied::Denied,
    group::{
        GROUP,
        Group,
        Stop, //
    },
    guard::Pending,
    ledger::Ledger,
    request::{
        Operation,
        Request,
        named, //
    },
    session::{
        Session,
        validate, //
    },
    storage::Storage,
};

impl<R, L, S> Session<R, L, S>
where
    R: Deref<Target: Engine>,
    L: Lock<Ledger<S>>,
    S: Storage,
{
    /// Begins the next part of a submission, which [`Part::run`] does.
    ///
    /// `requests` are operations of the submission from the one with number `base` on, the first
    /// `first` of which are done. A part ends at the latest with them, and with the first one that
    /// is denied; before it there is what there is of those in front of it. A reallocation is a
    /// part of its own.
    #[inline]
    pub fn submit<'s, 'q, Q: Request>(
        &'s self,
        requests: &'q mut [Q],
        base: usize,
        first: usize,
    ) -> Part<'s, 'q, Q, R, L, S> {
        Part {
            session: self,
            requests,
            base,
            first,
            end: first,
            denied: None,
            moved: None,
        }
    }
}

/// A part of a submission. What is done of it and not published is undone when this is dropped.
#[must_use = "nothing is done before `Part::run`"]
pub struct Part<'s, 'q, Q, R, L, S>
where
    Q: Request,
    R: Deref<Target: Engine>,
    L: Lock<Ledger<S>>,
    S: Storage,
{
    session: &'s Session<R, L, S>,
    requests: &'q mut [Q],
    base: usize,
    first: usize,
    /// The number of the first request that is not done.
    end: usize,
    /// Why that is not done.
    denied: Option<Denied>,
    /// The reallocation, if the part is one.
    moved: Option<Pending<'s, R, L, S>>,
}

impl<'s, 'q, Q, R, L, S> Part<'s, 'q, Q, R, L, S>
where
    Q: Request,
    R: Deref<Target: Engine>,
    L: Lock<Ledger<S>>,
    S: Storage,
{
    /// Does the part, where it is: to return one that is done would be to copy it.
    #[inline]
    pub fn run(&mut self) -> Done<'_, 's, 'q, Q, R, L, S> {
        self.run_through();
        Done { part: self }
    }

    /// Does the work of [`Part::run`].
    #[inline]
    fn run_through(&mut self) {
        let mut at_hand = true;
        let denied = loop {
            if self.end >= self.requests.len() {
                return;
            }
            let group = if at_hand { self.group() } else { None };
            at_hand = group.is_some();
            let stop = match group {
                None | Some(Stop::Unlocked) => self.single(),
                Some(stop) => stop,
            };
            match stop {
                Stop::Done | Stop::Unlocked => {}
                Stop::Alone if self.end == self.first => match self.reallocate() {
                    Ok(()) => return,
                    Err(denied) => break denied,
                },
                Stop::Alone => return,
                Stop::Denied(denied) => break self.noted(denied),
                Stop::Noted(denied) => break denied,
            }
        };
        self.requests[self.end].denied(denied);
        self.denied = Some(denied);
    }

    /// Does a few allocations and frees with what the engine has at hand, unless it never has any or
    /// nothing is done so.
    #[inline(never)]
    fn group(&mut self) -> Option<Stop> {
        let group_end = self.requests.len().min(self.end + GROUP);
        let (session, base, end) = (self.session, self.base, &mut self.end);
        let requests = &mut *self.requests;
        session.ledger.with(|ledger| {
            if ledger.at_once_bytes() == 0 {
                return None;
            }
            let group = Group {
                ledger,
                requests: requests.get_mut(..group_end).unwrap_or_default(),
                base,
                end,
            };
            session.engine.at_hand(group)
        })
    }

    /// Does one allocation or free without the session's lock: the engine may sleep.
    #[inline(never)]
    fn single(&mut self) -> Stop {
        match self.try_single() {
            Ok(stop) => stop,
            Err(denied) => Stop::Denied(denied),
        }
    }

    /// Does the work of [`Part::single`].
    fn try_single(&mut self) -> Result<Stop, Denied> {
        // 64 operations may be 64 large ones.
        if S::interrupted() {
            return Err(Denied::Interrupted);
        }
        let session = self.session;
        match self.requests[self.end].operation()? {
            Operation::Allocate { size, align } => {
                let reply = session.serve(validate(&*session.engine, size, align)?)?;
                self.requests[self.end].served(&reply);
            }
            Operation::Free(name) => {
                let handle = named(&self.requests[..self.end], self.base, name)?;
                match session.free_unlocked(handle) {
                    Ok(cost) => self.requests[self.end].freed(handle, cost),
                    Err(denied) => return Ok(Stop::Noted(denied)),
                }
            }
            Operation::Reallocate(..) => return Ok(Stop::Alone),
            Operation::Nothing => {}
        }
        self.end += 1;
        Ok(Stop::Done)
    }

    /// Does the reallocation that the part is.
    fn reallocate(&mut self) -> Result<(), Denied> {
        let Operation::Reallocate(name, size) = self.requests[self.end].operation()? else {
            return Err(Denied::BadOperation);
        };
        let named = named(&self.requests[..self.end], self.base, name);
        let handle = named.map_err(|denied| self.noted(denied))?;
        let pending = self.session.reallocate(handle, size)?;
        self.requests[self.end].served(&pending.reply());
        self.moved = Some(pending);
        self.end += 1;
        Ok(())
    }

    /// Counts and writes down that the next operation is denied.
    fn noted(&self, denied: Denied) -> Denied {
        let request = &self.requests[self.end];
        self.session.denied(|| request.operation().into(), denied)
    }

    /// Takes back what was allocated.
    #[cold]
    fn undo(&mut self) {
        let done = &self.requests[self.first..self.end];
        for handle in done.iter().filter_map(Request::allocated) {
            self.session.revoke(handle);
        }
    }
}

impl<Q, R, L, S> Drop for Part<'_, '_, Q, R, L, S>
where
    Q: Request,
    R: Deref<Target: Engine>,
    L: Lock<Ledger<S>>,
    S: Storage,
{
    #[inline]
    fn drop(&mut self) {
        // A reallocation undoes itself.
        if self.end > self.first && self.moved.is_none() {
            self.undo();
        }
    }
}

/// A part that is done, but that the program does not know of yet.
#[must_use = "a part that is not published is undone"]
pub struct Done<'p, 's, 'q, Q, R, L, S>
where
    Q: Request,
    R: Deref<Target: Engine>,
    L: Lock<Ledger<S>>,
    S: Storage,
{
    part: &'p mut Part<'s, 'q, Q, R, L, S>,
}

impl<Q, R, L, S> Done<'_, '_, '_, Q, R, L, S>
where
    Q: Request,
    R: Deref<Target: Engine>,
    L: Lock<Ledger<S>>,
    S: Storage,
{
    /// Returns the place among the requests of the first one that is not done.
    #[inline]
    pub fn end(&self) -> usize {
        self.part.end
    }

    /// Returns why that is not done, if it never will be.
    #[inline]
    pub fn denied(&self) -> Option<Denied> {
        self.part.denied
    }

    /// Returns the requests, with what there is to say about those that were done, and about the
    /// one that was denied.
    #[inline]
    pub fn requests(&self) -> &[Q] {
        self.part.requests
    }

    /// Makes it count.
    #[inline]
    pub fn publish(self) {
        if let Some(moved) = self.part.moved.take() {
            moved.publish();
        }
        // There is nothing to undo any more.
        self.part.end = self.part.first;
    }
}
