// SPDX-License-Identifier: GPL-2.0

//! Submissions: many operations in one call.
//!
//! A submission is done in parts. A part is done first and counts once its guard is published, as a
//! single operation does: in between the program can be told, and where that fails the part's
//! blocks are given back, so that there is never one that the program does not know of. What is
//! freed cannot be had back, so a free is done at once.

// The engine is called with the session's lock held, for a few operations at a time: to take back, and
// for what it has at once, neither of which sleeps, and both are bounded. What it does not have at once,
// it is asked for without the lock. An engine that is not quick is always called without.

use core::{
    ops::Deref,
    ptr::NonNull, //
};

use slab_heap::{
    Cost,
    Engine,
    lock::Lock, //
};

use crate::{
    denied::Denied,
    guard::Pending,
    handle::Handle,
    ledger::{
        Full,
        Ledger,
        Record, //
    },
    session::{
        Reply,
        Session,
        validate_within,
        zero, //
    },
    storage::Storage,
};

/// Operations between two moments when the lock is free.
const GROUP: usize = 8;

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
    /// [`Session::allocate`]
    Allocate {
        /// The bytes.
        size: u64,
        /// Their alignment.
        align: u64,
    },
    /// [`Session::free`]
    Free(Name),
    /// [`Session::reallocate`]
    Reallocate(Name, u64),
}

/// An operation in the program's words, and the place for what there is to say about it.
pub trait Request {
    /// Returns what is to be done.
    ///
    /// # Errors
    ///
    /// [`Denied::BadOperation`]
    fn operation(&self) -> Result<Operation, Denied>;

    /// Returns the handle of the block that it allocated, if that is what it did.
    fn allocated(&self) -> Option<Handle>;

    /// Takes the reply to an allocation or a reallocation.
    fn served(&mut self, reply: &Reply);

    /// Takes the handle of a block that was freed, and what that cost.
    fn freed(&mut self, handle: Handle, cost: Cost);

    /// Takes a denial.
    fn denied(&mut self, denied: Denied);
}

/// Why a group of operations ended.
enum Stop {
    /// All are done.
    Done,
    /// The next one is a part of its own.
    Alone,
    /// The next one is to be done without the lock.
    Unlocked,
    /// The next one needs a larger table, or more than the quota.
    Full(Full),
    /// The next one is denied.
    Denied(Denied),
}

/// Blocks that were allocated while the lock was held: they are to be zeroed without it.
struct Fresh {
    /// The first `count` of them, each with its usable bytes, or 0 if it was freed again.
    blocks: [(NonNull<u8>, usize); GROUP],
    count: usize,
}

impl Fresh {
    #[inline]
    const fn new() -> Self {
        Self {
            blocks: [(NonNull::dangling(), 0); GROUP],
            count: 0,
        }
    }

    /// Notes a block with its usable bytes.
    #[inline]
    fn push(&mut self, start: NonNull<u8>, charge: usize) {
        if let Some(place) = self.blocks.get_mut(self.count) {
            *place = (start, charge);
            self.count += 1;
        }
    }

    /// Zeroes the blocks.
    ///
    /// # Safety
    ///
    /// They are out and nobody else can reach them.
    #[inline(never)]
    unsafe fn zero(&self) {
        for (start, charge) in self.blocks.iter().take(self.count) {
            // SAFETY: By this function's contract; the block has that many usable bytes.
            unsafe { zero(*start, *charge) };
        }
    }

    /// Forgets a block that was freed again.
    #[inline]
    fn forget(&mut self, start: NonNull<u8>) {
        for (block, charge) in self.blocks.iter_mut().take(self.count) {
            if *block == start {
                *charge = 0;
            }
        }
    }
}

impl<R, L, S> Session<R, L, S>
where
    R: Deref<Target: Engine>,
    L: Lock<Ledger<S::Chunk>>,
    S: Storage,
{
    /// Does the next part of a submission.
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
        let mut part = Part {
            session: self,
            requests,
            base,
            first,
            end: first,
            denied: None,
            moved: None,
        };
        part.run();
        part
    }
}

/// A part of a submission that is done, but does not count yet.
#[must_use = "a part that is not published is undone"]
pub struct Part<'s, 'q, Q, R, L, S>
where
    Q: Request,
    R: Deref<Target: Engine>,
    L: Lock<Ledger<S::Chunk>>,
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

impl<'s, Q, R, L, S> Part<'s, '_, Q, R, L, S>
where
    Q: Request,
    R: Deref<Target: Engine>,
    L: Lock<Ledger<S::Chunk>>,
    S: Storage,
{
    /// Returns the place among the requests of the first one that is not done.
    #[inline]
    pub fn end(&self) -> usize {
        self.end
    }

    /// Returns why that is not done, if it never will be.
    #[inline]
    pub fn denied(&self) -> Option<Denied> {
        self.denied
    }

    /// Returns the requests, with what there is to say about those that were done, and about the
    /// one that was denied.
    #[inline]
    pub fn requests(&self) -> &[Q] {
        self.requests
    }

    /// Does the part.
    #[inline]
    fn run(&mut self) {
        let quick = self.session.engine.capabilities().quick;
        let denied = loop {
            if self.end >= self.requests.len() {
                return;
            }
            let mut stop = if quick { self.group() } else { self.single() };
            if matches!(stop, Stop::Unlocked) {
                stop = self.single();
            }
            match stop {
                Stop::Done | Stop::Unlocked => {}
                Stop::Alone if self.end == self.first => match self.reallocate() {
                    Ok(()) => return,
                    Err(denied) => break denied,
                },
                Stop::Alone => return,
                Stop::Full(full) => {
                    if let Err(denied) = self.session.make_room(full) {
                        break self.session.counted(denied);
                    }
                }
                Stop::Denied(denied) => break self.session.counted(denied),
            }
        };
        self.requests[self.end].denied(denied);
        self.denied = Some(denied);
    }

    /// Does a few allocations and frees, on an engine that is quick.
    fn group(&mut self) -> Stop {
        let mut fresh = Fresh::new();
        let session = self.session;
        let capacity = session.engine.capacity();
        let stop = session.ledger.with(|ledger| {
            for _ in 0..GROUP {
                if self.end >= self.requests.len() {
                    break;
                }
                let done = match self.requests[self.end].operation() {
                    Ok(Operation::Allocate { size, align }) => {
                        self.allocate(ledger, &mut fresh, capacity, size, align)
                    }
                    Ok(Operation::Free(name)) => self.free(ledger, &mut fresh, name),
                    Ok(Operation::Reallocate(..)) => Err(Stop::Alone),
                    Err(denied) => Err(Stop::Denied(denied)),
                };
                if let Err(stop) = done {
                    return stop;
                }
                self.end += 1;
            }
            Stop::Done
        });
        // SAFETY: The blocks are out and have no names yet: only this call could have freed one, and
        // then it would have been forgotten.
        unsafe { fresh.zero() };
        stop
    }

    /// Allocates a block, with the session's lock held.
    #[inline(always)]
    fn allocate(
        &mut self,
        ledger: &mut Ledger<S::Chunk>,
        fresh: &mut Fresh,
        capacity: usize,
        size: u64,
        align: u64,
    ) -> Result<(), Stop> {
        let engine = &*self.session.engine;
        let layout = validate_within(capacity, size, align).map_err(Stop::Denied)?;
        let charge = engine.usable(layout);
        let mut cost = Cost::default();
        let at_once = || engine.allocate_at_once(layout, &mut cost);
        let (entry, block) = match ledger.reserve_for(charge, at_once) {
            Some(Some(reserved)) => reserved,
            Some(None) => return Err(Stop::Unlocked),
            None => return Err(Stop::Full(ledger.full(charge))),
        };
        let handle = entry.handle();
        entry.fill(Record {
            block,
            layout,
            charge,
        });
        fresh.push(block.start, charge);
        self.requests[self.end].served(&Reply {
            handle,
            offset: block.offset,
            usable: charge,
            cost,
        });
        Ok(())
    }

    /// Frees a block, with the session's lock held.
    #[inline(always)]
    fn free(
        &mut self,
        ledger: &mut Ledger<S::Chunk>,
        fresh: &mut Fresh,
        name: Name,
    ) -> Result<(), Stop> {
        let (handle, own) = self.named(name).map_err(Stop::Denied)?;
        let session = self.session;
        let freed = if own {
            ledger.take_filled(handle).map(|record| {
                ledger.freed();
                fresh.forget(record.block.start);
                session.release(&record)
            })
        } else {
            ledger.take_with(handle, |record| session.release(record))
        };
        let cost = freed.map_err(Stop::Denied)?;
        self.requests[self.end].freed(handle, cost);
        Ok(())
    }

    /// Returns the handle that is meant, and whether it is of a block that this part allocated.
    #[inline]
    fn named(&self, name: Name) -> Result<(Handle, bool), Denied> {
        match name {
            Name::Handle(bits) => match Handle::from_bits(bits) {
                Some(handle) => Ok((handle, false)),
                None => Err(Denied::NoSuchBlock),
            },
            Name::Earlier(number) => {
                let place = number
                    .checked_sub(self.base)
                    .filter(|place| *place < self.end)
                    .ok_or(Denied::BadOperation)?;
                let handle = self.requests[place].allocated();
                Ok((handle.ok_or(Denied::BadOperation)?, place >= self.first))
            }
        }
    }

    /// Does one allocation or free, without the lock.
    #[inline(never)]
    fn single(&mut self) -> Stop {
        let session = self.session;
        match self.requests[self.end].operation() {
            Ok(Operation::Allocate { size, align }) => match session.serve(size, align) {
                Ok(pending) => {
                    self.requests[self.end].served(&pending.reply());
                    pending.fill();
                }
                Err(denied) => return Stop::Denied(denied),
            },
            Ok(Operation::Free(name)) => {
                let taken = self.named(name).and_then(|(handle, own)| {
                    let record = session.ledger.with(|ledger| {
                        if own {
                            let record = ledger.take_filled(handle)?;
                            ledger.freed();
                            Ok(record)
                        } else {
                            ledger.take(handle)
                        }
                    })?;
                    Ok((handle, record))
                });
                match taken {
                    Ok((handle, record)) => {
                        let cost = session.release(&record);
                        self.requests[self.end].freed(handle, cost);
                    }
                    Err(denied) => return Stop::Denied(denied),
                }
            }
            Ok(Operation::Reallocate(..)) => return Stop::Alone,
            Err(denied) => return Stop::Denied(denied),
        }
        self.end += 1;
        Stop::Done
    }

    /// Does the reallocation that the part is.
    fn reallocate(&mut self) -> Result<(), Denied> {
        let Operation::Reallocate(name, size) = self.requests[self.end].operation()? else {
            return Err(Denied::BadOperation);
        };
        let (handle, _) = self.named(name)?;
        let pending = self.session.reallocate(handle, size)?;
        self.requests[self.end].served(&pending.reply());
        self.moved = Some(pending);
        self.end += 1;
        Ok(())
    }

    /// Makes it count.
    #[inline]
    pub fn publish(mut self) {
        if let Some(moved) = self.moved.take() {
            moved.publish();
        } else if self.end > self.first {
            let done = &self.requests[self.first..self.end];
            self.session.ledger.with(|ledger| {
                for handle in done.iter().filter_map(Request::allocated) {
                    ledger.publish_filled(handle);
                }
            });
        }
        // There is nothing to undo any more.
        self.end = self.first;
    }

    /// Gives the blocks back that have no name yet.
    #[cold]
    fn undo(&mut self) {
        for request in &self.requests[self.first..self.end] {
            let Some(handle) = request.allocated() else {
                continue;
            };
            // One that the part freed itself is not there any more.
            if let Ok(record) = self
                .session
                .ledger
                .with(|ledger| ledger.take_filled(handle))
            {
                self.session.release(&record);
            }
        }
    }
}

impl<Q, R, L, S> Drop for Part<'_, '_, Q, R, L, S>
where
    Q: Request,
    R: Deref<Target: Engine>,
    L: Lock<Ledger<S::Chunk>>,
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
