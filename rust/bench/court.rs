// SPDX-License-Identifier: GPL-2.0

//! A subject, and what threads that measure it together hand each other.

use kernel::{
    new_spinlock,
    prelude::*, //
};
use slab_heap::lock::Lock;

use super::{
    slots::{
        Shelf,
        Slots, //
    },
    subject::Subject, //
};
use crate::lock::BoxedSpinLock;

// Lock order: a shelf's spinlock, then nothing; a shelf is only moved under it.

/// Shelves of a court: one is filled while the other is emptied.
const SHELVES: usize = 2;

/// A subject, and shelves of its blocks.
pub(super) struct Court<S: Subject> {
    /// In a place of its own: an engine is too large to be moved about on the stack.
    subject: KBox<S>,
    shelves: [BoxedSpinLock<Option<Shelf<S::Block>>>; SHELVES],
}

impl<S: Subject> Court<S> {
    /// Makes a court with `slots` slots on each shelf.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(super) fn new(subject: KBox<S>, slots: usize) -> Result<Self> {
        let shelf = || {
            let (shelf, _) = Slots::new(&*subject, slots)?.shelve();
            BoxedSpinLock::new(new_spinlock!(Some(shelf), "slablab_bench_shelf"))
        };
        let shelves = [shelf()?, shelf()?];
        Ok(Self { subject, shelves })
    }

    /// Returns the subject.
    pub(super) fn subject(&self) -> &S {
        &self.subject
    }

    /// Takes the slots from a shelf, if they are there. Rounds take turns.
    pub(super) fn take(&self, round: usize) -> Option<Slots<'_, S>> {
        let shelf = self.shelves[round % SHELVES].with(Option::take)?;
        Some(Slots::adopt(&self.subject, shelf))
    }

    /// Puts slots back where they were taken from.
    pub(super) fn put(&self, round: usize, shelf: Shelf<S::Block>) {
        self.shelves[round % SHELVES].with(|place| *place = Some(shelf));
    }
}

impl<S: Subject> Drop for Court<S> {
    fn drop(&mut self) {
        for round in 0..SHELVES {
            // What a thread that failed has left there is freed with the slots.
            drop(self.take(round));
        }
    }
}
