// SPDX-License-Identifier: GPL-2.0

//! The memory of a session's table.

use core::ops::DerefMut;

use crate::ledger::Entry;

/// Where chunks come from.
///
/// # Safety
///
/// A chunk always derefs to the same entries, wherever it is moved to, which nobody else has.
pub unsafe trait Storage {
    /// An owned array of entries.
    type Chunk: DerefMut<Target = [Entry]> + Send;

    /// Returns `entries` vacant entries, or `None` if there is no memory for them.
    fn chunk(&self, entries: usize) -> Option<Self::Chunk>;
}
