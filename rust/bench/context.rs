// SPDX-License-Identifier: GPL-2.0

//! An allocator, and the buffers through which one thread passes blocks to another.

use kernel::{
    new_spinlock,
    prelude::*, //
};
use slab_heap::lock::Lock;

use super::{
    allocator::Allocator,
    slots::{
        HandoverBuffer,
        Slots, //
    }, //
};
use crate::lock::BoxedSpinLock;

// Lock order: no lock is taken under a buffer's spinlock, under which only the buffer is moved.

/// The number of buffers of a context: one thread fills a buffer while the other thread empties the other buffer.
const BUFFERS: usize = 2;

/// An allocator, and buffers of its blocks.
pub(super) struct BenchContext<A: Allocator> {
    /// The allocator, boxed because an engine is too large for the stack.
    allocator: KBox<A>,
    buffers: [BoxedSpinLock<Option<HandoverBuffer<A::Block>>>; BUFFERS],
}

impl<A: Allocator> BenchContext<A> {
    /// Creates a context whose buffers have `slots` slots each.
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

    /// Takes the buffer of a round out of the context, or returns `None` if a thread has taken it. Rounds
    /// alternate between the buffers.
    pub(super) fn take_buffer(&self, round: usize) -> Option<Slots<'_, A>> {
        let buffer = self.buffers[round % BUFFERS].with(Option::take)?;
        Some(Slots::from_buffer(&self.allocator, buffer))
    }

    /// Puts the buffer of a round back.
    pub(super) fn put_buffer(&self, round: usize, buffer: HandoverBuffer<A::Block>) {
        self.buffers[round % BUFFERS].with(|place| *place = Some(buffer));
    }
}

impl<A: Allocator> Drop for BenchContext<A> {
    fn drop(&mut self) {
        for round in 0..BUFFERS {
            // Frees the blocks that a thread left in the buffer when it failed.
            drop(self.take_buffer(round));
        }
    }
}
