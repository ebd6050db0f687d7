// SPDX-License-Identifier: GPL-2.0

//! Slots: entries with the link that queues the vacant ones.

use core::ptr::NonNull;

use crate::entry::Entry;

/// A link to the next vacant slot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link(pub(crate) Option<NonNull<Slot>>);

impl Link {
    /// The link of the last slot in the queue.
    pub(crate) const END: Self = Self(None);
}

// SAFETY: `Send` requires that moving a link to another thread causes no data race. A link alone gives
// no access: only the table that owns the slots dereferences it, through `&mut` of the table.
unsafe impl Send for Link {}

/// An entry and its link: one cache line of 64 bytes. Its contents are private to the crate, so a
/// platform can allocate slots but not use them.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub struct Slot {
    pub(crate) entry: Entry,
    pub(crate) next: Link,
}

const _: () = assert!(size_of::<Slot>() == 64);

impl Slot {
    /// A slot of a new chunk.
    pub const VACANT: Self = Self {
        entry: Entry::VACANT,
        next: Link::END,
    };
}
