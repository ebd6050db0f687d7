// SPDX-License-Identifier: GPL-2.0

//! The types of a session in the kernel, and the memory of its handle table and events.
//!
//! Programs choose the number of entries, so the tables of all sessions share a budget. A table does not shrink
//! when its blocks are freed, so the budget also limits a program that frees its blocks and leaves its file
//! open. The event rings of all sessions share budgets, too.

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
    EventContext,
    HandleEntry,
    PIECE,
    Platform,
    QuickWork,
    SessionState, //
};

use crate::{
    budget::{
        Budget,
        Lease, //
    },
    lock::BoxedSpinLock,
    pool::PoolRef,
    signals,
    vmalloc::VmallocMemory, //
};

/// A session in the kernel.
pub(crate) type Session = slab_session::Session<KernelPlatform>;

/// The platform of a session in the kernel: it allocates chunks of handle tables, up to a budget of bytes.
pub(crate) struct KernelPlatform {
    budget: Arc<Budget>,
}

/// An array whose length a program chose: a chunk of a handle table, or a ring of events.
///
/// # Invariants
///
/// `memory` holds `len` initialised values of `T`, and this value owns it.
pub(crate) struct SessionArray<T> {
    memory: VmallocMemory,
    len: usize,
    _lease: Lease,
    _values: PhantomData<T>,
}

impl<T: Copy> SessionArray<T> {
    /// Allocates an array of `len` copies of `value`. `lease` is the caller's reservation for the array.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`], [`EINVAL`] for a length of 0, [`EINTR`] for a pending fatal signal.
    pub(crate) fn new(len: usize, value: T, lease: Lease) -> Result<Self> {
        let memory = VmallocMemory::new(Layout::array::<T>(len).map_err(|_| EINVAL)?.size())?;
        let first = memory.start().cast::<T>();
        let part = (PIECE / size_of::<T>().max(1)).max(1);
        for place in 0..len {
            if place % part == 0 && signals::is_fatal_pending() {
                return Err(EINTR);
            }
            // SAFETY: `add` and `write` require that the value is in the memory, which is valid for writes and
            // aligned for `T`: `place` is less than `len`, and the memory has the size of `len` values, is new and
            // page-aligned.
            unsafe { first.add(place).write(value) };
        }
        // INVARIANT: The loop wrote all `len` values.
        Ok(Self {
            memory,
            len,
            _lease: lease,
            _values: PhantomData,
        })
    }
}

/// A ring of events, and its lease from the budget of large rings, if any.
pub(crate) struct Ring {
    events: SessionArray<Event>,
    _rest: Option<Lease>,
}

impl Ring {
    /// Allocates a ring of `len` events. `lease` and `rest` are the caller's reservations for the ring.
    ///
    /// # Errors
    ///
    /// The errors of [`SessionArray::new`].
    pub(crate) fn new(len: usize, lease: Lease, rest: Option<Lease>) -> Result<Self> {
        Ok(Self {
            events: SessionArray::new(len, Event::VACANT, lease)?,
            _rest: rest,
        })
    }

    /// Returns the bytes that the kernel allocates for a ring of `len` events.
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

impl KernelPlatform {
    /// Creates a platform that charges handle tables to `budget`.
    pub(crate) fn new(budget: Arc<Budget>) -> Self {
        Self { budget }
    }

    /// Returns the bytes that the kernel allocates for a chunk of `entries` entries.
    pub(crate) fn charge(entries: usize) -> usize {
        VmallocMemory::charge(entries.saturating_mul(size_of::<HandleEntry>()))
    }
}

// SAFETY:
// - A `PoolRef` derefs to the engine of its pool, and neither the pool nor the engine is ever replaced.
// - A `BoxedSpinLock` cannot be cloned, and each session is created with a new state.
// - `AnyEngine::with_quick` passes the engine that the variant contains, to which the variant forwards all calls,
//   and which is never replaced.
// - A `SessionArray` owns its memory, which nothing else changes, and derefs to all `len` entries in it.
unsafe impl Platform for KernelPlatform {
    type Engine = PoolRef;
    type Lock = BoxedSpinLock<SessionState<Self>>;
    type Chunk = SessionArray<HandleEntry>;
    type Ring = Ring;

    #[inline(always)]
    fn with_quick<W: QuickWork>(engine: &PoolRef, work: W) -> Option<W::Output> {
        engine.with_quick(work)
    }

    fn chunk(&self, entries: usize) -> Option<Self::Chunk> {
        let lease = Lease::new(&self.budget, Self::charge(entries))?;
        SessionArray::new(entries, HandleEntry::VACANT, lease).ok()
    }

    fn event_context() -> EventContext {
        // SAFETY: `ktime_get` may be called in any context but an NMI.
        let time_ns = unsafe { bindings::ktime_get() } as u64;
        EventContext {
            time_ns,
            // `pid` returns the number in the initial pid namespace. A reader of the event may be in another
            // namespace than the thread.
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
        // SAFETY: By the type invariant the memory holds `len` initialised values. The borrow of `self` excludes
        // changes while the slice lives.
        unsafe { slice::from_raw_parts(first.as_ptr(), self.len) }
    }
}

impl<T> DerefMut for SessionArray<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        let first = self.memory.start().cast::<T>();
        // SAFETY: By the type invariant the memory holds `len` initialised values, and this value owns them. The
        // exclusive borrow of `self` excludes other accesses while the slice lives.
        unsafe { slice::from_raw_parts_mut(first.as_ptr(), self.len) }
    }
}
