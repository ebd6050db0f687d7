// SPDX-License-Identifier: GPL-2.0

//! Sessions.
//!
//! An operation that has to be told to the program before it counts comes in two halves: the
//! first does the work and returns a guard with the reply, the second makes it count. A guard that
//! is dropped instead undoes the work, so a reply that cannot be delivered leaves no trace.

// Lock order: the session's lock, then nothing; a submission (submit.rs) asks the engine for what it has
// at once, and gives back to it, with it held.
// No memory of a block is touched under it. A block on its way from the books to the engine, or
// back, belongs to the call that moves it.

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
    guard::{
        Pending,
        Pinned, //
    },
    handle::Handle,
    ledger::{
        Full,
        Ledger,
        Record,
        Tally, //
    },
    storage::Storage,
};

/// Bytes of a word.
const WORD: usize = size_of::<u64>();

/// The most bytes that are zeroed word by word.
const SMALL: usize = 64;

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

/// The blocks of one program, their names, and what it may have.
///
/// `R` leads to the engine, `L` is the lock around the books, `S` the source of their tables.
pub struct Session<R, L, S>
where
    R: Deref<Target: Engine>,
    L: Lock<Ledger<S::Chunk>>,
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
    L: Lock<Ledger<S::Chunk>>,
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
    /// The block has a name once the reply is published.
    ///
    /// # Errors
    ///
    /// [`Denied::SizeZero`], [`Denied::BadAlign`], a quota, [`Denied::NoTable`], or what the engine
    /// says. Nothing has changed then.
    #[inline(always)]
    pub fn allocate(&self, size: u64, align: u64) -> Result<Pending<'_, R, L, S>, Denied> {
        match self.serve(size, align) {
            Ok(pending) => Ok(pending),
            Err(denied) => Err(self.counted(denied)),
        }
    }

    /// Does the work of [`Session::allocate`], but does not count a refusal.
    #[inline(always)]
    pub(super) fn serve(&self, size: u64, align: u64) -> Result<Pending<'_, R, L, S>, Denied> {
        let layout = validate(&*self.engine, size, align)?;
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
        // SAFETY: The block is new, and `charge` is its usable size.
        unsafe { zero(block.start, charge) };
        let record = Record {
            block,
            layout,
            charge,
        };
        Ok(Pending::allocation(self, handle, record, cost))
    }

    /// Counts a refusal, if this is one.
    #[cold]
    pub(super) fn counted(&self, denied: Denied) -> Denied {
        if let Some(cause) = denied.cause() {
            self.ledger.with(|ledger| ledger.refused(cause));
        }
        denied
    }

    /// Frees a block.
    ///
    /// # Errors
    ///
    /// [`Denied::NoSuchBlock`] and [`Denied::Pinned`].
    #[inline]
    pub fn free(&self, handle: Handle) -> Result<Cost, Denied> {
        let record = self.ledger.with(|ledger| ledger.take(handle))?;
        Ok(self.release(&record))
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
        let old = self.ledger.with(|ledger| ledger.begin_move(handle))?;
        self.change(handle, old, size).map_err(|denied| {
            self.ledger
                .with(|ledger| ledger.end_move(handle, &old, false));
            self.counted(denied)
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
            cost.path = Path::InPlace;
            (old.block, true)
        // SAFETY: The block is out, as the books say, with that layout, and nobody else can reach
        // it while it is being moved.
        } else if unsafe { self.engine.resize(old.block, old.layout, layout, &mut cost) } {
            (old.block, true)
        } else {
            let block = self.engine.allocate(layout, &mut cost).map_err(|refusal| {
                self.ledger.with(|ledger| ledger.discharge(more));
                Denied::by_engine(refusal, &cost)
            })?;
            (block, false)
        };
        let kept = size.min(old.layout.size());
        if !in_place {
            // SAFETY: Both blocks are out and have at least `kept` bytes, so they share none; this
            // call is the only one that can reach them.
            unsafe { block.start.copy_from_nonoverlapping(old.block.start, kept) };
        }
        // Where the block stays, what it loses is not touched: it may yet have it back.
        let end = if in_place { size } else { charge };
        // SAFETY: As above; `charge` is the usable size, and `kept` no more than it.
        let added = unsafe { block.start.add(kept) };
        // SAFETY: As above.
        unsafe { zero(added, end - kept) };
        let new = Record {
            block,
            layout,
            charge,
        };
        Ok(Pending::reallocation(self, handle, old, new, cost))
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

    /// Tells the engine that a block that is being moved has another size, which it keeps.
    pub(super) fn resize(&self, block: Block, layout: Layout, new: Layout) {
        // SAFETY: As in `change`: nobody else can reach a block that is being moved.
        let resized = unsafe { self.engine.resize(block, layout, new, &mut Cost::default()) };
        debug_assert!(resized, "the engine does not keep what it said");
    }

    /// Reserves a handle, with a larger table if need be.
    #[inline]
    fn reserve(&self, charge: usize) -> Result<Handle, Denied> {
        loop {
            let reserved = self.ledger.with(|ledger| match ledger.reserve(charge) {
                Some(entry) => Ok(entry.handle()),
                None => Err(ledger.full(charge)),
            });
            match reserved {
                Ok(handle) => return Ok(handle),
                Err(full) => self.make_room(full)?,
            }
        }
    }

    /// Gets a larger table, if it is that what is missing.
    #[cold]
    pub(super) fn make_room(&self, full: Full) -> Result<(), Denied> {
        match full {
            Full::Quota(denied) => Err(denied),
            Full::Table { first, entries } => {
                let mut chunk = self.storage.chunk(entries).ok_or(Denied::NoTable)?;
                Ledger::link(&mut chunk, first);
                // Where another caller was faster, the chunk is dropped here, unlocked.
                let _surplus = self.ledger.with(|ledger| ledger.grow(chunk));
                Ok(())
            }
        }
    }

    /// Gives a block that left the books back to the engine.
    #[inline]
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
    L: Lock<Ledger<S::Chunk>>,
    S: Storage,
{
    /// Frees every block, in pieces: the lock is held for a bounded time only.
    ///
    /// Nobody has a pin or a pending operation any more: both borrow the session.
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
#[inline]
pub fn validate(engine: &(impl Engine + ?Sized), size: u64, align: u64) -> Result<Layout, Denied> {
    validate_within(engine.capacity(), size, align)
}

/// As [`validate`], for an engine of that capacity.
#[inline]
pub(super) fn validate_within(capacity: usize, size: u64, align: u64) -> Result<Layout, Denied> {
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
#[inline]
pub(super) unsafe fn zero(start: NonNull<u8>, bytes: usize) {
    if bytes > SMALL || (start.addr().get() | bytes) % WORD != 0 {
        // SAFETY: By the function's contract.
        return unsafe { start.write_bytes(0, bytes) };
    }
    let words = start.cast::<u64>();
    for word in 0..bytes / WORD {
        // Volatile only to keep the compiler from calling memset, which for a few words costs more
        // than they do.
        //
        // SAFETY: By the function's contract; the word is aligned, as was looked at above.
        unsafe { words.add(word).write_volatile(0) };
    }
}
