// SPDX-License-Identifier: GPL-2.0

//! Operations that are under way: what is not published yet, and what is pinned.

use core::{
    mem::ManuallyDrop,
    ops::Deref,
    ptr::NonNull, //
};

use slab_heap::{
    Cost,
    Engine,
    class::PAGE_BYTES,
    lock::Lock, //
};

use crate::{
    denied::Denied,
    entry::Record,
    events::{
        Event,
        Kind,
        Outcome, //
    },
    handle::Handle,
    ledger::Ledger,
    session::{
        Reply,
        Session, //
    },
    storage::Storage,
};

/// A reallocation that is done, but does not count yet.
#[must_use = "a reallocation that is not published is undone"]
pub struct Pending<'s, R, L, S>
where
    R: Deref<Target: Engine>,
    L: Lock<Ledger<S>>,
    S: Storage,
{
    session: &'s Session<R, L, S>,
    handle: Handle,
    cost: Cost,
    /// What the handle will name.
    new: Record,
    /// What it named before; often the same block.
    old: Record,
}

impl<'s, R, L, S> Pending<'s, R, L, S>
where
    R: Deref<Target: Engine>,
    L: Lock<Ledger<S>>,
    S: Storage,
{
    /// Guards a reallocation.
    pub(super) fn new(
        session: &'s Session<R, L, S>,
        handle: Handle,
        old: Record,
        new: Record,
        cost: Cost,
    ) -> Self {
        Self {
            session,
            handle,
            cost,
            new,
            old,
        }
    }

    /// Returns what the program is to be told.
    pub fn reply(&self) -> Reply {
        Reply::new(self.handle, &self.new, self.cost)
    }

    /// Makes it count.
    pub fn publish(self) {
        // There is nothing to undo any more.
        let me = ManuallyDrop::new(self);
        let (session, handle, old, new) = (me.session, me.handle, &me.old, &me.new);
        let note = |ledger: &mut Ledger<S>| {
            ledger.note(|| Event::done(Kind::Reallocate, handle, new, me.cost));
        };
        // What a block loses may be another's at once, so this is written down before.
        let loses = new.block == old.block && new.charge < old.charge;
        if loses {
            session.ledger.with(note);
        }
        if session.engine.keeps(old.layout, new.layout) {
            session.resize(old.block, old.layout, new.layout);
        }
        session.ledger.with(|ledger| {
            ledger.discharge(old.charge.saturating_sub(new.charge));
            ledger.end_move(handle, new, true);
            if !loses {
                note(ledger);
            }
        });
        if new.block != old.block {
            session.release(old);
        }
    }
}

impl<R, L, S> Drop for Pending<'_, R, L, S>
where
    R: Deref<Target: Engine>,
    L: Lock<Ledger<S>>,
    S: Storage,
{
    /// Makes it not have happened.
    fn drop(&mut self) {
        let (session, handle, old, new) = (self.session, self.handle, &self.old, &self.new);
        session.undo_change(old, new);
        session.ledger.with(|ledger| {
            ledger.end_move(handle, old, false);
            let asked =
                || Event::about(Kind::Reallocate, handle.to_bits(), new.layout.size() as u64);
            ledger.note(|| asked().with(Outcome::Undone));
        });
    }
}

/// A block that stays where it is.
#[must_use = "the pin is taken back when this is dropped"]
pub struct Pinned<'s, R, L, S>
where
    R: Deref<Target: Engine>,
    L: Lock<Ledger<S>>,
    S: Storage,
{
    session: &'s Session<R, L, S>,
    handle: Handle,
    start: NonNull<u8>,
    size: usize,
    usable: usize,
}

impl<'s, R, L, S> Pinned<'s, R, L, S>
where
    R: Deref<Target: Engine>,
    L: Lock<Ledger<S>>,
    S: Storage,
{
    /// Guards the block of a handle that was pinned.
    pub(super) fn new(session: &'s Session<R, L, S>, handle: Handle, record: &Record) -> Self {
        Self {
            session,
            handle,
            start: record.block.start,
            size: record.layout.size(),
            usable: record.charge,
        }
    }

    /// Returns the address of byte `byte` of the block, and how many bytes there are from it on.
    ///
    /// They are valid for reads and writes while `self` lives. Others may have pinned the block
    /// too and write to it at the same time.
    ///
    /// # Errors
    ///
    /// [`Denied::OutOfBlock`] when the block has no such byte.
    pub fn bytes_from(&self, byte: usize) -> Result<(NonNull<u8>, usize), Denied> {
        if byte >= self.size {
            return Err(Denied::OutOfBlock);
        }
        // SAFETY: The block has more than `byte` bytes, and stays while it is pinned.
        Ok((unsafe { self.start.add(byte) }, self.size - byte))
    }

    /// Returns the address of page `first` of the block, of which there are `count` from it on, to be
    /// shown to a program.
    ///
    /// The pages are the block's alone. What of its last one lies behind its size is zeroed. They are
    /// valid as [`Pinned::bytes_from`] says, and for as long as the pin is [kept](Pinned::keep).
    ///
    /// # Errors
    ///
    /// [`Denied::NotPages`] for a block that does not begin at a page, or whose last page it shares,
    /// [`Denied::OutOfBlock`].
    pub fn pages(&self, first: usize, count: usize) -> Result<NonNull<u8>, Denied> {
        let bytes = self
            .size
            .checked_next_multiple_of(PAGE_BYTES)
            .filter(|bytes| *bytes <= self.usable)
            .ok_or(Denied::NotPages)?;
        if self.start.addr().get() % PAGE_BYTES != 0 {
            return Err(Denied::NotPages);
        }
        let end = first.checked_add(count).ok_or(Denied::OutOfBlock)?;
        if end > bytes / PAGE_BYTES {
            return Err(Denied::OutOfBlock);
        }
        // Locked, as another call of this function may be at it too.
        self.session.ledger.with(|_| {
            for byte in self.size..bytes {
                // Volatile, as a program that was shown the page may write to it meanwhile.
                //
                // SAFETY: The block has `usable` bytes, and stays while it is pinned.
                unsafe { self.start.add(byte).write_volatile(0) };
            }
        });
        // SAFETY: Page `first` lies in the block or just behind it, as was looked at above.
        Ok(unsafe { self.start.add(first * PAGE_BYTES) })
    }

    /// Keeps the block pinned until [`Session::unpin`], or the session's end.
    pub fn keep(self) {
        // The pin is the caller's to take back.
        let _ = ManuallyDrop::new(self);
    }
}

impl<R, L, S> Drop for Pinned<'_, R, L, S>
where
    R: Deref<Target: Engine>,
    L: Lock<Ledger<S>>,
    S: Storage,
{
    fn drop(&mut self) {
        self.session.ledger.with(|ledger| ledger.unpin(self.handle));
    }
}
