// SPDX-License-Identifier: GPL-2.0

//! Sessions.
//!
//! What was done may turn out to be impossible to tell the program, and is then undone, so that
//! there is never a block that it does not know of. An allocation is revoked by its handle. That of
//! a reallocation is harder to have back, so it comes in two halves: the first does the work and
//! returns a guard with the reply, the second makes it count; a guard that is dropped instead
//! undoes the work.

// Lock order: the session's lock, then the engine's. An engine that is quick is asked for what it
// has at once, and given back to, with the session's held: neither sleeps, and it is cheaper than to
// let go of the lock and take it again. For the same reason a small block is zeroed under it
// ([`Ledger::at_once_bytes`]). For all else an engine is called without, and so it is for all that
// is written down. A block on its way from the books to the engine, or back, belongs to the call
// that moves it.

use core::{
    alloc::Layout,
    ops::Deref,
    ptr::NonNull, //
};

use slab_heap::{
    Block,
    Cost,
    Engine,
    Offset,
    Path,
    Refusal,
    lock::Lock, //
};

use crate::{
    denied::Denied,
    entry::Record,
    events::{
        Event,
        Kind,
        Ticket, //
    },
    guard::{
        Pending,
        Pinned, //
    },
    handle::Handle,
    ledger::{
        Full,
        Ledger,
        Tally, //
    },
    storage::Storage,
    table::Linked,
};

/// Bytes of a word.
const WORD: usize = size_of::<u64>();

/// The most bytes that are zeroed word by word.
const SMALL: usize = 64;

/// The most bytes that are zeroed or copied between two looks for a fatal signal: 16 MiB.
pub const PIECE: usize = 16 << 20;

/// What a program is told of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The block's name.
    pub handle: Handle,
    /// Where it is, if the engine has a pool.
    pub offset: Option<Offset>,
    /// The bytes that the engine set aside for it.
    pub usable: usize,
    /// How it was served.
    pub cost: Cost,
}

impl Reply {
    /// Tells of the block in `record`.
    #[inline(always)]
    pub(super) fn new(handle: Handle, record: &Record, cost: Cost) -> Self {
        Self {
            handle,
            offset: record.block.offset,
            usable: record.charge,
            cost,
        }
    }
}

/// The blocks of one program, their names, and what it may have.
///
/// `R` leads to the engine, `L` is the lock around the books, `S` the source of their tables.
pub struct Session<R, L, S>
where
    R: Deref<Target: Engine>,
    L: Lock<Ledger<S>>,
    S: Storage,
{
    pub(super) engine: R,
    pub(super) ledger: L,
    storage: S,
    /// The engine ends with the session, so there is nobody to give blocks back to.
    owns_engine: bool,
}

impl<R, L, S> Session<R, L, S>
where
    R: Deref<Target: Engine>,
    L: Lock<Ledger<S>>,
    S: Storage,
{
    /// Begins a session on `engine` with the empty books in `ledger`.
    ///
    /// With `owns_engine` blocks are not given back at the end: the engine ends too.
    ///
    /// # Safety
    ///
    /// `engine` always derefs to the same engine.
    pub unsafe fn new(engine: R, ledger: L, storage: S, owns_engine: bool) -> Self {
        let quick = engine.capabilities().quick;
        ledger.with(|ledger| ledger.set_quick(quick));
        Self {
            engine,
            ledger,
            storage,
            owns_engine,
        }
    }

    /// Returns what leads to the engine.
    pub fn engine(&self) -> &R {
        &self.engine
    }

    /// Returns what the session has and has done.
    pub fn tally(&self) -> Tally {
        self.ledger.with(|ledger| ledger.tally())
    }

    /// Allocates `size` bytes of zeros.
    ///
    /// Who cannot tell the program of it gives the block to [`Session::revoke`].
    ///
    /// # Errors
    ///
    /// [`Denied::SizeZero`], [`Denied::BadAlign`], a quota, [`Denied::NoTable`],
    /// [`Denied::Interrupted`], or what the engine says. Nothing has changed then.
    #[inline(always)]
    pub fn allocate(&self, size: u64, align: u64) -> Result<Reply, Denied> {
        let served = match validate(&*self.engine, size, align) {
            Ok(layout) => match self
                .ledger
                .with(|ledger| self.serve_at_once(ledger, layout))
            {
                Some(reply) => Ok(reply),
                None => self.serve(layout),
            },
            Err(denied) => Err(denied),
        };
        match served {
            Ok(reply) => Ok(reply),
            Err(denied) => Err(self.denied(move || Event::allocation(size, align), denied)),
        }
    }

    /// Allocates a block if there is a place for it and the engine has it at once, with the
    /// session's lock held.
    #[inline(always)]
    fn serve_at_once(&self, ledger: &mut Ledger<S>, layout: Layout) -> Option<Reply> {
        let charge = self.engine.usable(layout);
        if charge > ledger.at_once_bytes() {
            return None;
        }
        let vacancy = ledger.vacancy(charge)?;
        let (block, cost) = self.engine.allocate_at_once(layout)?;
        // SAFETY: The block is new, and `charge` is its usable size.
        unsafe { zero(block.start, charge) };
        let record = Record {
            block,
            layout,
            charge,
        };
        Some(Reply::new(vacancy.insert(record), &record, cost))
    }

    /// Allocates a block without the session's lock, and does not count a refusal.
    #[cold]
    #[inline(never)]
    pub(super) fn serve(&self, layout: Layout) -> Result<Reply, Denied> {
        let charge = self.engine.usable(layout);
        let handle = self.reserve(charge)?;
        let mut cost = Cost::default();
        let block = match self.engine.allocate(layout, &mut cost) {
            Ok(block) => block,
            Err(refusal) => {
                self.ledger.with(|ledger| ledger.cancel(handle, charge));
                return Err(Denied::by_engine(refusal, &cost));
            }
        };
        let record = Record {
            block,
            layout,
            charge,
        };
        // SAFETY: The block is new, and `charge` is its usable size.
        if let Err(denied) = unsafe { zero_in_pieces::<S>(block.start, charge) } {
            self.release(&record);
            self.ledger.with(|ledger| ledger.cancel(handle, charge));
            return Err(denied);
        }
        self.ledger
            .with(|ledger| ledger.fill(handle, &record, cost));
        Ok(Reply::new(handle, &record, cost))
    }

    /// Has requests refused as [`Refusal::Injected`] from now on: every `every`-th for which the
    /// engine is to hand out a block, and the one that is the `growth`-th growth
    /// ([`Engine::fail_growth`]); none where that is 0.
    ///
    /// For a session whose engine is nobody else's: all who have it see its growth fail.
    pub fn fail(&self, every: u64, growth: u64) {
        self.ledger.with(|ledger| ledger.fail(every));
        self.engine.fail_growth(growth);
    }

    /// Takes back a block that the program could not be told of, unless it uses it already: a
    /// program may guess a handle.
    #[cold]
    pub fn revoke(&self, handle: Handle) {
        if let Ok((record, ticket)) = self.ledger.with(|ledger| ledger.revoke(handle)) {
            self.release_gone(&record, ticket);
        }
    }

    /// Frees a block.
    ///
    /// # Errors
    ///
    /// [`Denied::NoSuchBlock`] and [`Denied::Pinned`].
    #[inline(always)]
    pub fn free(&self, handle: Handle) -> Result<Cost, Denied> {
        let freed = self.ledger.with(|ledger| {
            let at_once = ledger.at_once_bytes() > 0;
            at_once.then(|| self.free_at_once(ledger, handle))
        });
        match freed {
            Some(freed) => freed,
            None => self.free_unlocked(handle),
        }
    }

    /// Frees a block without the session's lock. Whatever comes of it is written down.
    #[cold]
    #[inline(never)]
    pub(super) fn free_unlocked(&self, handle: Handle) -> Result<Cost, Denied> {
        let (record, ticket) = self.ledger.with(|ledger| ledger.remove(handle))?;
        Ok(self.release_gone(&record, ticket))
    }

    /// Gives a block that left the books back to the engine, and finishes the event of that.
    #[inline(always)]
    fn release_gone(&self, record: &Record, ticket: Option<Ticket>) -> Cost {
        let cost = self.release(record);
        if let Some(ticket) = ticket {
            self.ledger.with(|ledger| ledger.finish(ticket, cost));
        }
        cost
    }

    /// Frees a block of an engine that is quick, with the session's lock held.
    #[inline(always)]
    fn free_at_once(&self, ledger: &mut Ledger<S>, handle: Handle) -> Result<Cost, Denied> {
        ledger.take_with(handle, |record| {
            // SAFETY: As in `release`.
            match unsafe { self.engine.release_at_once(record.block, record.layout) } {
                Some(cost) => cost,
                None => self.release(record),
            }
        })
    }

    /// Changes a block's size, and its place if that must be.
    ///
    /// The first bytes are kept, what is added is zeros. The block is as before until the reply is
    /// published, and out of everybody's reach.
    ///
    /// # Errors
    ///
    /// As for [`Session::allocate`] and [`Session::free`]. Nothing has changed then.
    pub fn reallocate(&self, handle: Handle, size: u64) -> Result<Pending<'_, R, L, S>, Denied> {
        let asked = || Event::about(Kind::Reallocate, handle.to_bits(), size);
        let old = self.ledger.with(|ledger| {
            let begun = ledger.begin_move(handle);
            begun.map_err(|denied| ledger.denied(asked, denied))
        })?;
        self.change(handle, old, size).map_err(|denied| {
            self.ledger.with(|ledger| {
                ledger.end_move(handle, &old, false);
                ledger.denied(asked, denied)
            })
        })
    }

    /// Does the work of [`Session::reallocate`] on a block that nobody else can reach.
    fn change(
        &self,
        handle: Handle,
        old: Record,
        size: u64,
    ) -> Result<Pending<'_, R, L, S>, Denied> {
        let layout = validate(&*self.engine, size, old.layout.align() as u64)?;
        let size = layout.size();
        let charge = self.engine.usable(layout);
        // While a block moves it counts for the larger of both.
        let more = charge.saturating_sub(old.charge);
        self.ledger.with(|ledger| ledger.charge(more))?;

        let mut cost = Cost::default();
        let (block, in_place) = if self.engine.keeps(old.layout, layout) {
            // The engine is told when the reply was delivered: what is given back then could not
            // be had again.
            cost = Cost::new(Path::InPlace);
            (old.block, true)
        // SAFETY: The block is out, as the books say, with that layout, and nobody else can reach
        // it while it is being moved.
        } else if unsafe { self.engine.resize(old.block, old.layout, layout, &mut cost) } {
            (old.block, true)
        } else {
            let obtained = if self.ledger.with(Ledger::fails) {
                Err(Refusal::Injected)
            } else {
                self.engine.allocate(layout, &mut cost)
            };
            let block = obtained.map_err(|refusal| {
                self.ledger.with(|ledger| ledger.discharge(more));
                Denied::by_engine(refusal, &cost)
            })?;
            (block, false)
        };
        let new = Record {
            block,
            layout,
            charge,
        };
        let kept = size.min(old.layout.size());
        let copied = if in_place {
            Ok(())
        } else {
            // SAFETY: Both blocks are out and have at least `kept` bytes, so they share none; this
            // call is the only one that can reach them.
            unsafe { copy_in_pieces::<S>(old.block.start, block.start, kept) }
        };
        // Where the block stays, what it loses is not touched: it may yet have it back.
        let end = if in_place { size } else { charge };
        // SAFETY: The block is out; `charge` is its usable size, and `kept` no more than it.
        let added = unsafe { block.start.add(kept) };
        // SAFETY: As above; this call is the only one that can reach the block.
        let filled = copied.and_then(|()| unsafe { zero_in_pieces::<S>(added, end - kept) });
        match filled {
            Ok(()) => Ok(Pending::new(self, handle, old, new, cost)),
            Err(denied) => {
                self.undo_change(&old, &new);
                Err(denied)
            }
        }
    }

    /// Frees what [`Session::change`] allocated for a block, and has the block be as large as before.
    pub(super) fn undo_change(&self, old: &Record, new: &Record) {
        if new.block != old.block {
            self.release(new);
        } else if !self.engine.keeps(old.layout, new.layout) {
            self.resize(old.block, new.layout, old.layout);
        }
        let more = new.charge.saturating_sub(old.charge);
        self.ledger.with(|ledger| ledger.discharge(more));
    }

    /// Pins a block, so that its bytes stay where they are.
    ///
    /// # Errors
    ///
    /// [`Denied::NoSuchBlock`], and [`Denied::Pinned`] while it is being moved.
    pub fn pin(&self, handle: Handle) -> Result<Pinned<'_, R, L, S>, Denied> {
        let record = self.ledger.with(|ledger| ledger.pin(handle))?;
        Ok(Pinned::new(self, handle, &record))
    }

    /// Pins a block once more, of which a pin was [kept](Pinned::keep).
    pub fn pin_again(&self, handle: Handle) {
        self.ledger.with(|ledger| ledger.pin_again(handle));
    }

    /// Takes back a pin that was [kept](Pinned::keep), or that is of [`Session::pin_again`].
    pub fn unpin(&self, handle: Handle) {
        self.ledger.with(|ledger| ledger.unpin(handle));
    }

    /// Tells the engine that a block that is being moved has another size, which it keeps.
    pub(super) fn resize(&self, block: Block, layout: Layout, new: Layout) {
        // SAFETY: As in `change`: nobody else can reach a block that is being moved.
        let resized = unsafe { self.engine.resize(block, layout, new, &mut Cost::default()) };
        debug_assert!(resized, "the engine does not keep what it said");
    }

    /// Reserves a handle, with a larger table if need be.
    fn reserve(&self, charge: usize) -> Result<Handle, Denied> {
        loop {
            match self.ledger.with(|ledger| ledger.reserve(charge)) {
                Ok(handle) => return Ok(handle),
                Err(full) => self.make_room(full)?,
            }
        }
    }

    /// Gets a larger table, if it is that what is missing.
    #[cold]
    fn make_room(&self, full: Full) -> Result<(), Denied> {
        match full {
            Full::Denied(denied) => Err(denied),
            Full::Table { first, entries } => {
                let chunk = self.storage.chunk(entries).ok_or(Denied::NoTable)?;
                let chunk = Linked::new(chunk, first).ok_or(Denied::NoTable)?;
                // Where another caller was faster, the chunk is dropped here, unlocked.
                let _surplus = self.ledger.with(|ledger| ledger.grow(chunk));
                Ok(())
            }
        }
    }

    /// Gives a block that left the books back to the engine.
    #[cold]
    pub(super) fn release(&self, record: &Record) -> Cost {
        let mut cost = Cost::default();
        // SAFETY: The record was taken out of the books, or never got in, so this is the only call
        // that has it; the layout in it is the one to release it with.
        let released = unsafe { self.engine.release(record.block, record.layout, &mut cost) };
        debug_assert_eq!(released, Ok(()), "the books and the engine disagree");
        cost
    }
}

impl<R, L, S> Drop for Session<R, L, S>
where
    R: Deref<Target: Engine>,
    L: Lock<Ledger<S>>,
    S: Storage,
{
    /// Frees every block, in pieces: the lock is held for a bounded time only.
    ///
    /// Nobody has a pending operation any more: it borrows the session. Pins that were
    /// [kept](Pinned::keep) and are still there end here.
    fn drop(&mut self) {
        if self.owns_engine {
            return;
        }
        let mut cursor = 0;
        while let Some(record) = self.ledger.with(|ledger| ledger.next_record(&mut cursor)) {
            if let Some(record) = record {
                self.release(&record);
            }
        }
    }
}

/// Makes a layout of what a program asks for, if `engine` may be asked for it.
///
/// # Errors
///
/// [`Denied::SizeZero`], [`Denied::BadAlign`], and [`Refusal::TooBig`] for more than the pool.
#[inline(always)]
pub fn validate(engine: &(impl Engine + ?Sized), size: u64, align: u64) -> Result<Layout, Denied> {
    let capacity = engine.capacity();
    if size == 0 {
        return Err(Denied::SizeZero);
    }
    let align = usize::try_from(align).map_err(|_| Denied::BadAlign)?;
    if !align.is_power_of_two() || align > capacity {
        return Err(Denied::BadAlign);
    }
    let too_big = Denied::Refused(Refusal::TooBig);
    let size = usize::try_from(size).map_err(|_| too_big)?;
    if size > capacity {
        return Err(too_big);
    }
    Layout::from_size_align(size, align).map_err(|_| too_big)
}

/// Zeroes `bytes` bytes of a block.
///
/// # Safety
///
/// From `start` on the block has at least as many usable bytes, and nobody else can reach it.
#[inline(always)]
unsafe fn zero(start: NonNull<u8>, bytes: usize) {
    if (start.addr().get() | bytes) % WORD != 0 {
        // SAFETY: By the function's contract.
        return unsafe { start.write_bytes(0, bytes) };
    }
    // SAFETY: By the function's contract; that they are words was looked at above.
    unsafe { zero_words(start, bytes) };
}

/// Calls `act` with the first byte and the length of one piece after the other of `bytes` bytes.
///
/// # Errors
///
/// [`Denied::Interrupted`], before a piece.
fn in_pieces<S: Storage>(bytes: usize, mut act: impl FnMut(usize, usize)) -> Result<(), Denied> {
    let mut done = 0;
    while done < bytes {
        if S::interrupted() {
            return Err(Denied::Interrupted);
        }
        let piece = PIECE.min(bytes - done);
        act(done, piece);
        done += piece;
    }
    Ok(())
}

/// Zeroes `bytes` bytes of a block, unless a fatal signal comes in between.
///
/// # Safety
///
/// As for [`zero`].
unsafe fn zero_in_pieces<S: Storage>(start: NonNull<u8>, bytes: usize) -> Result<(), Denied> {
    in_pieces::<S>(bytes, |first, piece| {
        // SAFETY: The block has `bytes` bytes from `start` on, and the piece is some of them.
        let start = unsafe { start.add(first) };
        // SAFETY: As above; nobody else can reach the block, by this function's contract.
        unsafe { zero(start, piece) };
    })
}

/// Copies `bytes` bytes from one block to another, unless a fatal signal comes in between.
///
/// # Safety
///
/// Both blocks have at least as many usable bytes, share none, and nobody else can reach them.
unsafe fn copy_in_pieces<S: Storage>(
    from: NonNull<u8>,
    to: NonNull<u8>,
    bytes: usize,
) -> Result<(), Denied> {
    in_pieces::<S>(bytes, |first, piece| {
        // SAFETY: The block has `bytes` bytes from `from` on, and the piece is some of them.
        let from = unsafe { from.add(first) };
        // SAFETY: The block has `bytes` bytes from `to` on, and the piece is some of them.
        let to = unsafe { to.add(first) };
        // SAFETY: The blocks share no byte, and nobody else can reach them, by this function's
        // contract.
        unsafe { to.copy_from_nonoverlapping(from, piece) };
    })
}

/// As [`zero`], for words.
///
/// # Safety
///
/// Also, address and number of bytes are multiples of a word's.
#[inline(always)]
pub(super) unsafe fn zero_words(start: NonNull<u8>, bytes: usize) {
    let words = start.cast::<u64>();
    // Volatile only to keep the compiler from calling memset, which for a few words costs more than
    // they do.
    //
    // SAFETY: By the function's contract, for the words that there are.
    let zero = |word| unsafe { words.add(word).write_volatile(0) };
    match bytes {
        // Without counting.
        SMALL => (0..SMALL / WORD).for_each(zero),
        0..SMALL => (0..bytes / WORD).for_each(zero),
        // SAFETY: By the function's contract.
        _ => unsafe { start.write_bytes(0, bytes) },
    }
}
