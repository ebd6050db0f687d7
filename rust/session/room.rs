// SPDX-License-Identifier: GPL-2.0

//! Room for blocks: places in the [`Table`], within the [`Limits`].

use slab_heap::errand::Known;

use crate::{
    entry::{
        Entry,
        Record,
        State, //
    },
    handle::Handle,
    pins::Pins,
    storage::Storage,
    table::{
        self,
        Table, //
    },
};

/// What a session may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Usable bytes of all blocks together.
    pub bytes: usize,
    /// Blocks.
    pub handles: u32,
}

/// The place for one more block. While it is not taken nothing has changed.
pub(crate) struct Vacancy<'l> {
    place: table::Vacancy<'l>,
    left: &'l mut Limits,
    /// What is left when it is taken.
    then: Limits,
}

impl<'l> Vacancy<'l> {
    /// Returns the place for a block that counts for `charge` bytes, if there is one.
    #[inline(always)]
    pub(crate) fn new<S: Storage>(
        table: &'l mut Table<S>,
        left: &'l mut Limits,
        charge: usize,
    ) -> Option<Self> {
        Some(Self {
            then: Limits {
                bytes: left.bytes.checked_sub(charge)?,
                handles: left.handles.checked_sub(1)?,
            },
            place: table.vacancy()?,
            left,
        })
    }

    /// Puts a block there, and returns the handle that names it from now on.
    #[inline(always)]
    pub(crate) fn insert(self, record: Record) -> Handle {
        let entry = self.fill(State::Live { pins: Pins::NONE });
        entry.record = record;
        entry.handle
    }

    /// Counts the entry as one that is not vacant.
    #[inline(always)]
    pub(crate) fn fill(self, state: State) -> &'l mut Entry {
        // INVARIANT: Both are done here.
        *self.left = self.then;
        let entry = self.place.take();
        entry.state = state;
        entry.known = None;
        entry
    }
}

/// Room for several blocks that count for the same. What is taken of it is counted in the end.
///
/// # Invariants
///
/// `left` is as it was when there was room for `most`, which it has.
pub(crate) struct Room<'l, S: Storage> {
    table: &'l mut Table<S>,
    left: &'l mut Limits,
    charge: usize,
    most: u32,
    /// How many more there may be.
    more: u32,
}

impl<'l, S: Storage> Room<'l, S> {
    /// Returns the room for blocks that count for `charge` bytes each, and for `bytes` together at
    /// most.
    #[inline(always)]
    pub(crate) fn new(
        table: &'l mut Table<S>,
        left: &'l mut Limits,
        charge: usize,
        bytes: usize,
    ) -> Self {
        let most = left.bytes.min(bytes).checked_div(charge).unwrap_or(0);
        let most = most.min(left.handles as usize) as u32;
        // INVARIANT: Both were looked at here.
        Self {
            table,
            left,
            charge,
            most,
            more: most,
        }
    }

    /// Returns how many blocks were put there.
    #[inline(always)]
    pub(crate) fn taken(&self) -> usize {
        self.most.wrapping_sub(self.more) as usize
    }

    /// Returns the place for one more, if there is one.
    #[inline(always)]
    pub(crate) fn vacancy(&mut self) -> Option<Seat<'_>> {
        let more = self.more.checked_sub(1)?;
        Some(Seat {
            place: self.table.vacancy()?,
            more: &mut self.more,
            then: more,
        })
    }
}

impl<S: Storage> Drop for Room<'_, S> {
    #[inline(always)]
    fn drop(&mut self) {
        // By the type invariant there was room for so many.
        let taken = self.taken();
        self.left.handles = self.left.handles.wrapping_sub(taken as u32);
        let bytes = self.charge.wrapping_mul(taken);
        self.left.bytes = self.left.bytes.wrapping_sub(bytes);
    }
}

/// A place of a [`Room`]. While it is not taken nothing has changed.
pub(crate) struct Seat<'r> {
    place: table::Vacancy<'r>,
    more: &'r mut u32,
    then: u32,
}

impl Seat<'_> {
    /// Puts a block there of which that is known, and returns the handle that names it from now on.
    #[inline(always)]
    pub(crate) fn insert(self, record: Record, known: Known) -> Handle {
        *self.more = self.then;
        let entry = self.place.take();
        entry.state = State::Live { pins: Pins::NONE };
        entry.known = Some(known);
        entry.record = record;
        entry.handle
    }
}
