// SPDX-License-Identifier: GPL-2.0

//! Submissions: many operations in one call.
//!
//! A submission is done in parts. When a part is done the program is told, and where that fails the
//! part's allocations are revoked ([`Session::revoke`]), so that there is never a block that the
//! program does not know of. What is freed cannot be had back.

// The session's lock is held for a few operations at a time; what is done under it, session.rs says.
// Where the engine has blocks at hand, so is the CPU: nothing else is locked, nor does anything sleep.

use core::{
    alloc::Layout,
    ops::Deref, //
};

use slab_heap::{
    Cost,
    Engine,
    errand::{
        AtHand,
        Errand, //
    },
    lock::Lock, //
};

use crate::{
    denied::Denied,
    entry::Record,
    guard::Pending,
    handle::Handle,
    ledger::{
        AT_ONCE_BYTES,
        Ledger, //
    },
    session::{
        Reply,
        Session,
        validate,
        zero_words, //
    },
    storage::Storage,
};

/// Operations between two moments when the lock is free and the scheduler gets in.
const GROUP: usize = 64;

/// The bytes that they zero, before those of the last: up to [`AT_ONCE_BYTES`].
const GROUP_BYTES: usize = 32 * AT_ONCE_BYTES;

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
    /// Nothing, and nothing is said of it.
    Nothing,
}

/// An operation in the program's words, and the place for what there is to say about it.
pub trait Request {
    /// Returns what is to be done.
    ///
    /// # Errors
    ///
    /// [`Denied::BadOperation`]
    fn operation(&self) -> Result<Operation, Denied>;

    /// Says whether it is an allocation of so many bytes, aligned so: as [`Request::operation`] does, but
    /// quicker.
    #[inline]
    fn allocates(&self, size: u64, align: u64) -> bool {
        self.operation() == Ok(Operation::Allocate { size, align })
    }

    /// Returns the number of the block that is to be freed, if that is all that there is to it: likewise.
    #[inline]
    fn frees(&self) -> Option<u32> {
        match self.operation() {
            Ok(Operation::Free(Name::Handle(bits))) => Some(bits),
            _ => None,
        }
    }

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
    /// The next one is denied.
    Denied(Denied),
    /// The next one is denied, and that is written down.
    Noted(Denied),
}

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

/// A part of a submission, which the program does not know of yet.
#[must_use = "a part that is not published is undone"]
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

impl<'s, Q, R, L, S> Part<'s, '_, Q, R, L, S>
where
    Q: Request,
    R: Deref<Target: Engine>,
    L: Lock<Ledger<S>>,
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

    /// Does the part, where it is: to return one that is done would be to copy it.
    #[inline]
    pub fn run(&mut self) {
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

    /// Makes it count.
    #[inline]
    pub fn publish(mut self) {
        if let Some(moved) = self.moved.take() {
            moved.publish();
        }
        // There is nothing to undo any more.
        self.end = self.first;
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

/// Operations that are done together.
struct Group<'a, Q, S: Storage> {
    ledger: &'a mut Ledger<S>,
    requests: &'a mut [Q],
    base: usize,
    /// The number of the first request that is not done.
    end: &'a mut usize,
}

impl<Q: Request, S: Storage> Errand for Group<'_, Q, S> {
    type Outcome = Stop;

    #[inline(always)]
    fn run(self, engine: &impl AtHand) -> Stop {
        let Self {
            ledger,
            requests,
            base,
            end,
        } = self;
        let (mut done, mut bytes) = (*end, GROUP_BYTES);
        let stop = loop {
            let Some((earlier, rest)) = requests.split_at_mut_checked(done) else {
                break Stop::Done;
            };
            let [request, ..] = &mut *rest else {
                break Stop::Done;
            };
            let more = match request.operation() {
                Ok(Operation::Allocate { size, align }) => {
                    if bytes < AT_ONCE_BYTES {
                        break Stop::Done;
                    }
                    allocate_at_hand(ledger, engine, rest, size, align, &mut bytes)
                }
                Ok(Operation::Free(Name::Handle(_))) => free_at_hand(ledger, engine, rest),
                Ok(Operation::Free(Name::Earlier(number))) => {
                    let named = allocated_by(earlier, base, number).map(Handle::to_bits);
                    usize::from(named.is_ok_and(|number| free(ledger, engine, number, request)))
                }
                Ok(Operation::Reallocate(..)) => break Stop::Alone,
                Ok(Operation::Nothing) => 1,
                Err(_) => 0,
            };
            if more == 0 {
                // Nothing at hand, or nothing that can be done: it will be said why.
                break Stop::Unlocked;
            }
            done += more;
        };
        *end = done;
        stop
    }
}

/// Allocates what the first of `requests` asks for, and those behind it that ask for the same, as long
/// as there is a place for it and the engine has it at hand, and all of it is no more than `bytes`
/// bytes; returns how many these are, and takes them off `bytes`.
#[inline(never)]
fn allocate_at_hand<Q: Request, S: Storage, A: AtHand>(
    ledger: &mut Ledger<S>,
    engine: &A,
    requests: &mut [Q],
    size: u64,
    align: u64,
    bytes: &mut usize,
) -> usize {
    // What cannot be is denied where nothing is at hand.
    if size.wrapping_sub(1) >= AT_ONCE_BYTES as u64 || align > AT_ONCE_BYTES as u64 {
        return 0;
    }
    let Ok(layout) = Layout::from_size_align(size as usize, align as usize) else {
        return 0;
    };
    let Some(class) = engine.size(layout) else {
        return 0;
    };
    let (usable, known) = (engine.usable(class), engine.known(class));
    let mut room = ledger.room(usable, *bytes);
    for request in requests {
        if !request.allocates(size, align) {
            break;
        }
        let Some(vacancy) = room.vacancy() else {
            break;
        };
        let Some((block, cost)) = engine.allocate(class, layout) else {
            break;
        };
        // SAFETY: The block is new, and `usable` is its size; as all at hand it is in words.
        unsafe { zero_words(block.start, usable) };
        let record = Record {
            block,
            layout,
            charge: usable,
        };
        let handle = vacancy.insert(record, known);
        request.served(&Reply::new(handle, &record, cost));
    }
    let done = room.taken();
    *bytes = bytes.wrapping_sub(done.wrapping_mul(usable));
    done
}

/// Frees what the first of `requests` names, and those behind it, as long as that is all that is asked
/// for and the engine has room for it at hand; returns how many these are.
#[inline(never)]
fn free_at_hand<Q: Request, S: Storage>(
    ledger: &mut Ledger<S>,
    engine: &impl AtHand,
    requests: &mut [Q],
) -> usize {
    let mut done = 0;
    for request in requests {
        match request.frees() {
            Some(number) if free(ledger, engine, number, request) => done += 1,
            _ => break,
        }
    }
    done
}

/// Frees a block for a request, if it is there and the engine has room for it at hand.
#[inline(always)]
fn free<Q: Request, S: Storage>(
    ledger: &mut Ledger<S>,
    engine: &impl AtHand,
    number: u32,
    request: &mut Q,
) -> bool {
    let freed = ledger.try_take(number, |entry| {
        let Record { block, layout, .. } = entry.record;
        // SAFETY: The block is in the books with that layout, and leaves them if it is released;
        // nobody uses it. What is known of it came with it, and a move makes it unknown.
        let cost = unsafe { engine.release(block, layout, entry.known) }?;
        Some((entry.handle, cost))
    });
    let Ok(Some((handle, cost))) = freed else {
        return false;
    };
    request.freed(handle, cost);
    true
}

/// Returns the handle that is meant by the request behind those that are `done`.
#[inline(always)]
fn named<Q: Request>(done: &[Q], base: usize, name: Name) -> Result<Handle, Denied> {
    match name {
        Name::Handle(bits) => Handle::from_bits(bits).ok_or(Denied::NoSuchBlock),
        Name::Earlier(number) => allocated_by(done, base, number),
    }
}

/// Returns the handle of the block that the request with this number allocated.
#[inline(never)]
fn allocated_by<Q: Request>(done: &[Q], base: usize, number: usize) -> Result<Handle, Denied> {
    let request = number.checked_sub(base).and_then(|place| done.get(place));
    let handle = request.and_then(Request::allocated);
    handle.ok_or(Denied::BadOperation)
}
