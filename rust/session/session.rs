// SPDX-License-Identifier: GPL-2.0

//! Sessions: allocate, free and revoke, and the event log.
//!
//! A program must know all of its blocks. If a reply cannot be copied to the program, the operation
//! is rolled back: [`Session::revoke`] frees a block by its handle. A reallocation has two phases,
//! since its rollback needs the old block: [`Session::reallocate`] does the work and returns a
//! guard, and [`PendingRealloc::commit`](crate::PendingRealloc::commit) replaces the block.
//! Dropping the guard rolls back.

// Locks: the session's lock is a spinlock. No other lock is taken while it is held.
//
// With the session's lock held, the session calls only a quick engine, and only `usable_size`,
// `try_allocate_fast` and `try_free_fast`. These calls neither sleep nor take a lock, and cost less than
// dropping and retaking the session's lock. Blocks of at most `LOCKED_BYTES` bytes are zeroed under the
// lock for the same reason. All other calls of an engine are made without the session's lock, and so are
// all calls of a session that logs events or injects faults.
//
// A block that the table does not contain, before `commit` or after `remove`, belongs to the call that
// allocates or frees it.

use core::alloc::Layout;

use slab_heap::{
    Block,
    Cost,
    Engine,
    Refusal,
    engine::Allocated,
    lock::Lock, //
};

use crate::{
    entry::Allocation,
    error::SessionError,
    events::{
        Event,
        EventBatch,
        EventId,
        EventKind,
        EventReadError, //
    },
    handle::Handle,
    memory::{
        zero,
        zero_in_pieces, //
    },
    operation::Reply,
    reservation::ReserveError,
    state::{
        Platform,
        QuickWork,
        SessionState,
        SessionStats, //
    },
    table::PreparedChunk,
};

/// The largest request in bytes that is served with the session's lock held. Quick engines
/// round no such request up beyond this limit, so that at most as many bytes are zeroed.
pub(crate) const LOCKED_BYTES: usize = 4096;

/// The [`Event::handle`] of a number that does not fit into 32 bits.
const NO_HANDLE: u32 = u32::MAX;

/// The blocks of one open file, with their handles and quota.
///
/// # Invariants
///
/// Each entry of the table in the state `Idle`, `Pinned` or `Moving` contains a live block of `engine`, with the
/// layout that the block was allocated with or last resized to. No other entry contains the block. By the
/// contract of [`Platform`], `engine` always points to the same engine.
pub struct Session<P: Platform> {
    pub(crate) engine: P::Engine,
    pub(crate) state: P::Lock,
    platform: P,
    /// The engine is dropped with the session, so `drop` need not free the blocks.
    owns_engine: bool,
}

impl<P: Platform> Session<P> {
    /// Creates a session on `engine`. `state` is the state of a session without blocks.
    ///
    /// With `owns_engine`, the engine is dropped with the session, and the session does not free its
    /// blocks at its end.
    pub fn new(engine: P::Engine, state: P::Lock, platform: P, owns_engine: bool) -> Self {
        // INVARIANT: The table has no entries.
        Self {
            engine,
            state,
            platform,
            owns_engine,
        }
    }

    /// Returns the pointer to the engine.
    pub fn engine(&self) -> &P::Engine {
        &self.engine
    }

    /// Returns the statistics of the session.
    pub fn stats(&self) -> SessionStats {
        self.state.with(|state| state.stats())
    }

    /// Allocates `size` zeroed bytes aligned to `align`.
    ///
    /// If the reply cannot be delivered, the caller passes the handle to [`Session::revoke`].
    ///
    /// # Errors
    ///
    /// [`SessionError::SizeZero`], [`SessionError::BadAlign`], a quota, [`SessionError::NoTable`],
    /// [`SessionError::Interrupted`], or the engine's refusal. The session is then unchanged.
    #[inline(always)]
    pub fn allocate(&self, size: u64, align: u64) -> Result<Reply, SessionError> {
        match self.with_lock(LockedAllocation { size, align }) {
            Some(reply) => Ok(reply),
            None => self.allocate_unlocked(size, align),
        }
    }

    /// Does work with the session's lock held. Returns `None` if all operations have to be executed
    /// without the lock, since the engine is not quick, or the session logs events or injects faults.
    #[inline(always)]
    pub(crate) fn with_lock<W: LockedWork>(&self, work: W) -> Option<W::Output> {
        let session = self;
        P::with_quick(&self.engine, WithLock { session, work })?
    }

    /// Allocates a block without the session's lock: the engine may sleep. Reports an error.
    #[cold]
    #[inline(never)]
    pub(crate) fn allocate_unlocked(&self, size: u64, align: u64) -> Result<Reply, SessionError> {
        let served = validate(&*self.engine, size, align).and_then(|layout| {
            let charge = self.engine.usable_size(layout);
            let handle = self.reserve(charge)?;
            let result = self.allocate_zeroed(layout, charge);
            self.state.with(|state| match &result {
                Ok((allocation, cost)) => state.commit(handle, allocation, *cost),
                Err(_) => state.blocks.abort(handle, charge),
            });
            result.map(|(allocation, cost)| Reply::new(handle, &allocation, cost))
        });
        served.map_err(|error| self.report_error(|| Event::allocation(size, align), error))
    }

    /// Allocates a block of `charge` usable bytes from the engine, and zeroes it.
    fn allocate_zeroed(
        &self,
        layout: Layout,
        charge: usize,
    ) -> Result<(Allocation, Cost), SessionError> {
        let mut cost = Cost::default();
        let allocated = self.engine.allocate(layout, &mut cost);
        let block = allocated.map_err(|refusal| SessionError::from_engine(refusal, &cost))?;
        let allocation = Allocation {
            block,
            offset: self.engine.offset(block.start),
            layout,
            charge,
        };
        // SAFETY: `zero_in_pieces` requires that the range is inside a live block, and that nothing
        // else accesses it: the engine just allocated the block with `usable_size(layout)` bytes, and a
        // reserved handle names no block.
        if let Err(error) = unsafe { zero_in_pieces::<P>(block.start, charge) } {
            // SAFETY: `Engine::free` requires a live block, its layout, and no other user: the engine just
            // allocated the block with this layout, and a reserved handle names no block.
            unsafe { self.free_in_engine(allocation.block, allocation.layout) };
            return Err(error);
        }
        Ok((allocation, cost))
    }

    /// Reserves a handle, and grows the table if it is full.
    fn reserve(&self, charge: usize) -> Result<Handle, SessionError> {
        loop {
            let need = match self.state.with(|state| state.reserve(charge)) {
                Ok(handle) => return Ok(handle),
                Err(ReserveError::Refused(error)) => return Err(error),
                Err(ReserveError::NeedChunk(need)) => need,
            };
            let Some(chunk) = self.platform.chunk(need.entries) else {
                // Another caller may have added a chunk or released an entry meanwhile.
                let retried = self.state.with(|state| state.reserve(charge));
                return retried.map_err(|error| match error {
                    ReserveError::Refused(error) => error,
                    ReserveError::NeedChunk(_) => SessionError::NoTable,
                });
            };
            let chunk = PreparedChunk::new(chunk, need.first);
            // If another caller added a chunk meanwhile, this chunk is dropped here, without the lock.
            let _surplus = self.state.with(|state| state.blocks.grow(chunk));
        }
    }

    /// Rolls back an allocation whose reply could not be delivered. A pinned block is not freed: the program may
    /// have guessed its handle and pinned the block.
    #[cold]
    pub fn revoke(&self, handle: Handle) {
        if let Ok((allocation, event)) = self.state.with(|state| state.revoke(handle)) {
            // SAFETY: `release_and_finish` requires a live block, its layout, and no other user. The table
            // contained the block with its layout, by the type invariant, and `revoke` removed the block, which
            // it does only for a block without pins.
            unsafe { self.release_and_finish(&allocation, event) };
        }
    }

    /// Frees a block.
    ///
    /// # Errors
    ///
    /// [`SessionError::NoSuchBlock`] and [`SessionError::Pinned`].
    #[inline(always)]
    pub fn free(&self, handle: Handle) -> Result<Cost, SessionError> {
        match self.with_lock(LockedFree(handle)) {
            Some(cost) => Ok(cost),
            None => self.free_unlocked(handle),
        }
    }

    /// Frees a block without the session's lock, and logs the free or its error.
    #[cold]
    #[inline(never)]
    pub(crate) fn free_unlocked(&self, handle: Handle) -> Result<Cost, SessionError> {
        let (allocation, event) = self.state.with(|state| state.remove(handle))?;
        // SAFETY: `release_and_finish` requires a live block, its layout, and no other user. The table contained
        // the block with its layout, by the type invariant, and `remove` removed the block, which it does only
        // for a block without pins.
        Ok(unsafe { self.release_and_finish(&allocation, event) })
    }

    /// Frees a removed block, and sets the cost of its event.
    ///
    /// # Safety
    ///
    /// The contract of [`Session::free_in_engine`] holds.
    unsafe fn release_and_finish(&self, allocation: &Allocation, event: Option<EventId>) -> Cost {
        // SAFETY: The contract of this function is that of `free_in_engine`.
        let cost = unsafe { self.free_in_engine(allocation.block, allocation.layout) };
        if let Some(event) = event {
            self.state.with(|state| state.log.finish(event, cost));
        }
        cost
    }

    /// Frees a block that no handle names.
    ///
    /// # Safety
    ///
    /// - `block` is a live block of the engine, and `layout` the layout that it was allocated with or
    ///   last resized to.
    /// - Nothing uses the block any more: it was removed from the table, or never inserted.
    #[cold]
    pub(crate) unsafe fn free_in_engine(&self, block: Block, layout: Layout) -> Cost {
        let mut cost = Cost::default();
        // SAFETY: `Engine::free` requires a live block of this engine, its current layout, and that
        // nothing uses the block any more. The contract of this function has the same three clauses.
        let released = unsafe { self.engine.free(block, layout, &mut cost) };
        debug_assert_eq!(released, Ok(()), "the engine rejects a block of the table");
        cost
    }

    /// Configures fault injection: every `interval`-th request for a block, and the `growth`-th growth of the
    /// engine ([`FailGrowth`](slab_heap::fail::FailGrowth)), are refused as [`Refusal::Injected`]. The value 0
    /// disables either.
    ///
    /// The failed growth affects all sessions that share the engine, so `growth` is meant for a session
    /// with a private engine.
    pub fn inject_faults(&self, interval: u64, growth: u64) {
        self.state.with(|state| state.fault_interval.set(interval));
        if let Some(engine) = self.engine.interfaces().fail_growth {
            engine.fail_growth(growth);
        }
    }

    /// Starts the event log with `ring`. Returns `ring` if the log is on already or `ring` is empty.
    pub fn begin_events(&self, ring: P::Ring) -> Option<P::Ring> {
        self.state.with(|state| state.log.begin(ring))
    }

    /// Stops the event log and returns its ring, or `None` if the log is off.
    pub fn end_events(&self) -> Option<P::Ring> {
        self.state.with(|state| state.log.end())
    }

    /// Copies events from `number` on into `buffer`, in O(`buffer.len()`) with the session's lock held.
    ///
    /// # Errors
    ///
    /// [`EventReadError`]
    pub fn events(&self, number: u64, buffer: &mut [Event]) -> Result<EventBatch, EventReadError> {
        self.state.with(|state| state.log.read(number, buffer))
    }

    /// Returns the handle with the number `bits`, which a program passed. An invalid number is
    /// logged as a failed operation of this kind and size.
    ///
    /// # Errors
    ///
    /// [`SessionError::NoSuchBlock`]
    #[inline(always)]
    pub fn parse_handle(
        &self,
        bits: u64,
        kind: EventKind,
        size: u64,
    ) -> Result<Handle, SessionError> {
        let number = u32::try_from(bits).unwrap_or(NO_HANDLE);
        match Handle::from_bits(number) {
            Some(handle) => Ok(handle),
            // `move` passes the values in registers. Passing them by address would spill them to the stack also
            // on the path without an error.
            None => Err(self.report_error(
                move || Event::request(kind, number, size),
                SessionError::NoSuchBlock,
            )),
        }
    }

    /// Logs a failed operation, and counts it if it was a request for memory that was refused.
    #[cold]
    #[inline(never)]
    pub(crate) fn report_error(
        &self,
        request: impl FnOnce() -> Event,
        error: SessionError,
    ) -> SessionError {
        self.state.with(|state| state.report_error(request, error))
    }
}

/// Work with the session's lock held.
pub(crate) trait LockedWork {
    /// The result.
    type Output;

    /// Does the work. Returns `None` if the session has to do the work without its lock.
    fn run<P: Platform, E: Engine>(self, locked: &mut Locked<'_, P, E>) -> Option<Self::Output>;
}

/// Takes the lock of a session for some work on its engine.
struct WithLock<'s, P: Platform, W> {
    session: &'s Session<P>,
    work: W,
}

impl<P: Platform, W: LockedWork> QuickWork for WithLock<'_, P, W> {
    type Output = Option<W::Output>;

    #[inline(always)]
    fn run<E: Engine>(self, engine: &E) -> Option<W::Output> {
        self.session.state.with(|state| {
            if !state.is_plain() {
                return None;
            }
            // INVARIANT: This is the state of the session, and its engine by the contract of `Platform`.
            self.work.run(&mut Locked { engine, state })
        })
    }
}

/// An allocation with the session's lock held.
struct LockedAllocation {
    size: u64,
    align: u64,
}

impl LockedWork for LockedAllocation {
    type Output = Reply;

    #[inline(always)]
    fn run<P: Platform, E: Engine>(self, locked: &mut Locked<'_, P, E>) -> Option<Reply> {
        locked.allocate(self.size, self.align)
    }
}

/// A free with the session's lock held.
struct LockedFree(Handle);

impl LockedWork for LockedFree {
    type Output = Cost;

    #[inline(always)]
    fn run<P: Platform, E: Engine>(self, locked: &mut Locked<'_, P, E>) -> Option<Cost> {
        locked.free(self.0)
    }
}

/// The state of a session and its engine, which is quick, with the session's lock held.
///
/// # Invariants
///
/// The invariants of [`Session`] hold for `engine` and `state`.
pub(crate) struct Locked<'s, P: Platform, E> {
    engine: &'s E,
    state: &'s mut SessionState<P>,
}

impl<P: Platform, E: Engine> Locked<'_, P, E> {
    /// Allocates a block. Returns `None` and changes nothing if [`Session::allocate_unlocked`] has to serve or
    /// refuse the request.
    #[inline(always)]
    pub(crate) fn allocate(&mut self, size: u64, align: u64) -> Option<Reply> {
        // `validate` would accept every request within these limits that has a valid layout: no pool is smaller
        // than `LOCKED_BYTES`, and an engine without a pool serves no request.
        if size == 0 || size > LOCKED_BYTES as u64 || align > LOCKED_BYTES as u64 {
            return None;
        }
        let layout = Layout::from_size_align(size as usize, align as usize).ok()?;
        let charge = self.engine.usable_size(layout);
        let reservation = self.state.blocks.reserve(charge).ok()?;
        let Allocated {
            block,
            offset,
            cost,
        } = self.engine.try_allocate_fast(layout)?;
        let allocation = Allocation {
            block,
            offset,
            layout,
            charge,
        };
        // INVARIANT: The engine just allocated the block with this layout.
        let handle = reservation.commit(allocation);
        // The block is zeroed after the commit. Before the commit, the compiler would run out of registers, and an
        // operation of a submission would take 3 instructions more.
        //
        // SAFETY: `zero` requires that the range is inside a live block, and that nothing else accesses it: the
        // engine just allocated the block with `usable_size(layout)` bytes, and nothing finds it by its handle while
        // `self` borrows the table.
        unsafe { zero(block.start, charge) };
        Some(Reply::new(handle, &allocation, cost))
    }

    /// Frees a block. Returns `None` and changes nothing if [`Session::free_unlocked`] has to free the block or
    /// return an error.
    #[inline(always)]
    pub(crate) fn free(&mut self, handle: Handle) -> Option<Cost> {
        let removal = self.state.blocks.removal(handle).ok()?;
        let Allocation { block, layout, .. } = *removal.allocation();
        // SAFETY: `try_free_fast` requires a live block of this engine, its layout, and that nothing uses the
        // block any more. The table contains the block with its layout, by the type invariant. The block has no
        // pins, and is removed below.
        let cost = unsafe { self.engine.try_free_fast(block, layout) }?;
        removal.commit();
        self.state.count_free();
        Some(cost)
    }
}

impl<P: Platform> Drop for Session<P> {
    /// Frees all blocks in O(entries of the table). Each lock hold visits a bounded number of entries.
    ///
    /// No reallocation or pin guard exists any more, since each borrows the session.
    /// [Leaked](crate::Pinned::leak) pins end here.
    fn drop(&mut self) {
        if self.owns_engine {
            return;
        }
        let mut cursor = 0;
        while let Some(allocation) =
            (self.state).with(|state| state.blocks.remove_next(&mut cursor))
        {
            if let Some(allocation) = allocation {
                // SAFETY: `Engine::free` requires a live block, its layout, and no other user. The table
                // contained the block with its layout, by the type invariant, `remove_next` removed it,
                // and no guard borrows the session any more.
                unsafe { self.free_in_engine(allocation.block, allocation.layout) };
            }
        }
    }
}

/// Returns the layout of a request, checked against the limits of `engine`.
///
/// # Errors
///
/// [`SessionError::SizeZero`], [`SessionError::BadAlign`], and [`Refusal::TooBig`] for a size above the
/// capacity of the engine.
#[inline(always)]
pub fn validate(
    engine: &(impl Engine + ?Sized),
    size: u64,
    align: u64,
) -> Result<Layout, SessionError> {
    let capacity = engine.capacity();
    if size == 0 {
        return Err(SessionError::SizeZero);
    }
    let align = usize::try_from(align).map_err(|_| SessionError::BadAlign)?;
    if !align.is_power_of_two() || align > capacity {
        return Err(SessionError::BadAlign);
    }
    let too_big = SessionError::Refused(Refusal::TooBig);
    let size = usize::try_from(size).map_err(|_| too_big)?;
    if size > capacity {
        return Err(too_big);
    }
    Layout::from_size_align(size, align).map_err(|_| too_big)
}
