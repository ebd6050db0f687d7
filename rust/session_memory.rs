// SPDX-License-Identifier: GPL-2.0

//! The memory of sessions' tables and of their events.
//!
//! A program decides how many entries there are, so all tables together have a budget, and stay
//! within it also when a program frees its blocks and keeps its file open. So have all rings of
//! events.

use core::{
    alloc::Layout,
    marker::PhantomData,
    ops::{
        Deref,
        DerefMut, //
    },
    slice, //
};

use kernel::{
    bindings,
    cpu::CpuId,
    current,
    prelude::*,
    sync::Arc, //
};
use slab_session::{
    Event,
    Moment,
    PIECE,
    Slot,
    Storage, //
};

use crate::{
    budget::{
        Budget,
        Lease, //
    },
    signals, //
    vmalloc::VmallocMemory,
};

/// Where tables come from: vmalloc, up to a budget of bytes.
pub(crate) struct SessionMemory {
    budget: Arc<Budget>,
}

/// An array of a length that a program chose: a part of a table, or a ring of events.
///
/// # Invariants
///
/// `memory` holds `len` values, and is used for nothing else.
pub(crate) struct SessionArray<T> {
    memory: VmallocMemory,
    len: usize,
    _lease: Lease,
    _values: PhantomData<T>,
}

impl<T: Copy> SessionArray<T> {
    /// Makes an array of `len` times `value`, for which there is a lease.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`], [`EINVAL`] for none at all, and [`EINTR`] when a fatal signal came.
    pub(crate) fn new(len: usize, value: T, lease: Lease) -> Result<Self> {
        let memory = VmallocMemory::new(Layout::array::<T>(len).map_err(|_| EINVAL)?.size())?;
        let first = memory.start().cast::<T>();
        let part = (PIECE / size_of::<T>().max(1)).max(1);
        for place in 0..len {
            if place % part == 0 && signals::is_fatal_pending() {
                return Err(EINTR);
            }
            // SAFETY: The memory has room for so many values, and begins at a page.
            unsafe { first.add(place).write(value) };
        }
        // INVARIANT: All were written just above.
        Ok(Self {
            memory,
            len,
            _lease: lease,
            _values: PhantomData,
        })
    }
}

/// A ring of events, and what it takes of a second budget.
pub(crate) struct Ring {
    events: SessionArray<Event>,
    _rest: Option<Lease>,
}

impl Ring {
    /// Makes a ring of `len` events, for which there are leases.
    ///
    /// # Errors
    ///
    /// As for [`SessionArray::new`].
    pub(crate) fn new(len: usize, lease: Lease, rest: Option<Lease>) -> Result<Self> {
        Ok(Self {
            events: SessionArray::new(len, Event::VACANT, lease)?,
            _rest: rest,
        })
    }

    /// Returns the bytes that the kernel takes for a ring of `len` events.
    pub(crate) fn charge(len: usize) -> usize {
        VmallocMemory::charge(len.saturating_mul(size_of::<Event>()))
    }
}

impl Deref for Ring {
    type Target = [Event];

    #[inline]
    fn deref(&self) -> &[Event] {
        &self.events
    }
}

impl DerefMut for Ring {
    #[inline]
    fn deref_mut(&mut self) -> &mut [Event] {
        &mut self.events
    }
}

impl SessionMemory {
    /// Charges tables to `budget`.
    pub(crate) fn new(budget: Arc<Budget>) -> Self {
        Self { budget }
    }

    /// Returns the bytes that the kernel takes for a part of `entries` entries.
    pub(crate) fn charge(entries: usize) -> usize {
        VmallocMemory::charge(entries.saturating_mul(size_of::<Slot>()))
    }
}

// SAFETY: A chunk has memory of its own, which it gives to nobody else, and a length that never
// changes. A ring is one.
unsafe impl Storage for SessionMemory {
    type Chunk = SessionArray<Slot>;
    type Ring = Ring;

    fn chunk(&self, entries: usize) -> Option<Self::Chunk> {
        let lease = Lease::new(&self.budget, Self::charge(entries))?;
        SessionArray::new(entries, Slot::VACANT, lease).ok()
    }

    fn moment() -> Moment {
        // SAFETY: The clock may be read anywhere but in an NMI.
        let time_ns = unsafe { bindings::ktime_get() } as u64;
        Moment {
            time_ns,
            // In the initial pid namespace: who reads the event may be in another one.
            thread: current!().pid() as u32,
            cpu: CpuId::current().as_u32() as u16,
        }
    }

    fn interrupted() -> bool {
        signals::is_fatal_pending()
    }
}

impl<T> Deref for SessionArray<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        let first = self.memory.start().cast::<T>();
        // SAFETY: By the type invariant; borrowed for as long as the chunk is.
        unsafe { slice::from_raw_parts(first.as_ptr(), self.len) }
    }
}

impl<T> DerefMut for SessionArray<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        let first = self.memory.start().cast::<T>();
        // SAFETY: By the type invariant; borrowed alone for as long as the chunk is.
        unsafe { slice::from_raw_parts_mut(first.as_ptr(), self.len) }
    }
}
