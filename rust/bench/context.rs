// SPDX-License-Identifier: GPL-2.0

//! A allocator, and what threads that measure it together hand each other.

use kernel::{
    new_spinlock,
    prelude::*, //
};
use slab_heap::lock::Lock;

use super::{
    allocator::Allocator, //
    slots::{
        HandoverBuffer,
        Slots, //
    },
};
use crate::lock::BoxedSpinLock;

// Lock order: a buffer's spinlock, then nothing; a buffer is only moved under it.

/// Shelves of a context: one is filled while the other is emptied.
const BUFFERS: usize = 2;

/// A allocator, and buffers of its blocks.
pub(super) struct BenchContext<A: Allocator> {
    /// In a place of its own: an engine is too large to be moved about on the stack.
    allocator: KBox<A>,
    buffers: [BoxedSpinLock<Option<HandoverBuffer<A::Block>>>; BUFFERS],
}

impl<A: Allocator> BenchContext<A> {
    /// Makes a context with `slots` slots on each buffer.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(super) fn new(allocator: KBox<A>, slots: usize) -> Result<Self> {
        let buffer = || {
            let (buffer, _) = Slots::new(&*allocator, slots)?.into_buffer();
            BoxedSpinLock::new(new_spinlock!(Some(buffer), "slablab_bench_buffer"))
        };
        let buffers = [buffer()?, buffer()?];
        Ok(Self { allocator, buffers })
    }

    /// Returns the allocator.
    pub(super) fn allocator(&self) -> &A {
        &self.allocator
    }

    /// Takes the slots from a buffer, if they are there. Rounds take turns.
    pub(super) fn take_buffer(&self, round: usize) -> Option<Slots<'_, A>> {
        let buffer = self.buffers[round % BUFFERS].with(Option::take)?;
        Some(Slots::from_buffer(&self.allocator, buffer))
    }

    /// Puts slots back where they were taken from.
    pub(super) fn put_buffer(&self, round: usize, buffer: HandoverBuffer<A::Block>) {
        self.buffers[round % BUFFERS].with(|place| *place = Some(buffer));
    }
}

impl<A: Allocator> Drop for BenchContext<A> {
    fn drop(&mut self) {
        for round in 0..BUFFERS {
            // What a thread that failed has left there is freed with the slots.
            drop(self.take_buffer(round));
        }
    }
}
