// SPDX-License-Identifier: GPL-2.0

//! The platform of a session: memory, the event context, and pending fatal signals.

use core::ops::DerefMut;

use crate::{
    events::{
        Event,
        EventContext, //
    },
    slot::Slot,
};

/// The services that a session needs from its platform.
///
/// # Safety
///
/// - Each dereference of a chunk yields the same slots, as many as were requested, and nothing else
///   accesses them.
/// - A pointer derived from `deref_mut` of a chunk stays valid while the chunk is moved, until the chunk
///   is dropped or dereferenced again. A `Box` does not satisfy this, since moving a `Box` asserts
///   unique access.
/// - Each dereference of a ring yields the same events.
pub unsafe trait Storage {
    /// An owned array of slots of the handle table.
    type Chunk: DerefMut<Target = [Slot]> + Send;

    /// Returns a chunk of `entries` vacant slots, or `None` if there is no memory for it.
    fn chunk(&self, entries: usize) -> Option<Self::Chunk>;

    /// An owned array of events.
    type Ring: DerefMut<Target = [Event]> + Send;

    /// Returns the time, CPU and thread of the call. The session calls it with its lock held, so the
    /// implementation must not sleep.
    fn event_context() -> EventContext;

    /// Returns whether a fatal signal is pending, so that long work is abandoned.
    fn interrupted() -> bool;
}
