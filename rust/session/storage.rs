// SPDX-License-Identifier: GPL-2.0

//! What the platform brings for a session: memory, the time, and whether the caller is to stop.

use core::ops::DerefMut;

use crate::{
    events::{
        Event,
        Moment, //
    },
    table::Slot,
};

/// Where the memory of tables and of events comes from.
///
/// # Safety
///
/// A chunk always derefs to the same entries, as many as were asked for, which nobody else has. A
/// pointer to them that came of `deref_mut` stays good wherever the chunk is moved to, until it is
/// dropped or derefs again; so it is no `Box`. A ring, too, always derefs to the same events.
pub unsafe trait Storage {
    /// An owned array of entries.
    type Chunk: DerefMut<Target = [Slot]> + Send;

    /// Returns `entries` vacant entries, or `None` if there is no memory for them.
    fn chunk(&self, entries: usize) -> Option<Self::Chunk>;

    /// An owned array of events.
    type Ring: DerefMut<Target = [Event]> + Send;

    /// Returns when and where this is called, and by whom. Locks are held.
    fn moment() -> Moment;

    /// Says whether the calling program is about to end, so that what takes long is to be given up.
    fn interrupted() -> bool;
}
