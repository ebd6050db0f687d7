// SPDX-License-Identifier: GPL-2.0

//! Reallocation in two phases: do the work, then commit or roll back.
//!
//! ```text
//! reallocate ─▶ PendingRealloc ─ commit ─▶ the handle names the new block
//!                              └ drop ───▶ the handle names the old block
//! ```
//!
//! Between the phases the entry is in the state `Moving`: the block is neither freed, pinned nor
//! reallocated by another call. A block that shrinks in place releases its tail only at the commit,
//! since a rollback could not allocate the tail again.

use core::{
    alloc::Layout,
    mem::ManuallyDrop, //
};

use slab_heap::{
    Block,
    Cost,
    Engine,
    Path,
    Refusal,
    lock::Lock, //
};

use crate::{
    entry::Allocation,
    error::SessionError,
    events::{
        Event,
        EventKind,
        EventOutcome, //
    },
    handle::Handle,
    memory::{
        copy_in_pieces,
        zero_in_pieces, //
    },
    operation::Reply,
    session::{
        Session,
        validate, //
    },
    state::{
        Platform,
        SessionState, //
    },
};

impl<P: Platform> Session<P> {
    /// Changes the size of a block, in place if the engine can, else by allocating, copying and
    /// freeing.
    ///
    /// The contents are preserved up to the smaller size, and added bytes are zero. Until
    /// [`PendingRealloc::commit`] the old block is unchanged, and all operations on its handle fail
    /// with [`SessionError::Pinned`].
    ///
    /// # Errors
    ///
    /// The errors of [`Session::allocate`] and [`Session::free`]. An error leaves the session unchanged.
    pub fn reallocate(
        &self,
        handle: Handle,
        size: u64,
    ) -> Result<PendingRealloc<'_, P>, SessionError> {
        let request = || Event::request(EventKind::Reallocate, handle.to_bits(), size);
        let old = self.state.with(|state| {
            let entry = state.blocks.entry(handle);
            let begun = entry.and_then(|entry| entry.begin_move());
            begun.map_err(|error| state.report_error(request, error))
        })?;
        // SAFETY: `begin_move` put the entry of `old` into the state `Moving`, for this call.
        let pending = unsafe { self.prepare_realloc(handle, old, size) };
        pending.map_err(|(error, allocation)| {
            self.state.with(|state| {
                state.end_move(handle, &allocation, false);
                state.report_error(request, error)
            })
        })
    }

    /// Executes the first phase of a reallocation.
    ///
    /// # Errors
    ///
    /// The cause, and the allocation that the handle has to name.
    ///
    /// # Safety
    ///
    /// The entry of `handle` contains `old`, and is in the state `Moving` for the caller: nothing else
    /// reaches the block until the caller calls `end_move`.
    unsafe fn prepare_realloc(
        &self,
        handle: Handle,
        old: Allocation,
        size: u64,
    ) -> Result<PendingRealloc<'_, P>, (SessionError, Allocation)> {
        let unchanged = |error| (error, old);
        let layout = validate(&*self.engine, size, old.layout.align() as u64).map_err(unchanged)?;
        let charge = self.engine.usable_size(layout);
        // Until the commit the larger of the two charges counts, so that a rollback cannot exceed the
        // quota.
        let added_charge = charge.saturating_sub(old.charge);
        let charged = self.state.with(|state| state.blocks.charge(added_charge));
        charged.map_err(unchanged)?;

        let mut cost = Cost::default();
        // SAFETY: `find_block` requires a live block with this layout that nothing else reaches, and a
        // new layout of the same alignment: the table contains the block, this function's contract
        // excludes others, and `layout` was made with the alignment of `old.layout`.
        let found = unsafe { self.find_block(&old, layout, &mut cost) };
        let block = found.map_err(|refusal| {
            self.state.with(|state| state.blocks.uncharge(added_charge));
            unchanged(SessionError::from_engine(refusal, &cost))
        })?;
        let new = Allocation {
            block,
            offset: self.engine.offset(block.start),
            layout,
            charge,
        };
        // SAFETY: `fill_block` requires the two allocations of a pending reallocation. The block is the
        // old one, or was just allocated with `layout`; this function's contract covers `old`.
        match unsafe { Self::fill_block(&old, &new) } {
            // INVARIANT: The entry is in the state `Moving` by this function's contract. The new
            // block is the old one, which serves `layout`, or was just allocated with `layout`. The
            // difference of the charges was charged above.
            Ok(()) => Ok(PendingRealloc {
                session: self,
                handle,
                cost,
                new,
                old,
            }),
            Err(error) => {
                // SAFETY: The two allocations are those of a pending reallocation, which is not
                // committed.
                let allocation = unsafe { self.roll_back_realloc(&old, &new) };
                Err((error, allocation))
            }
        }
    }

    /// Returns a block for `layout`: the old one, resized in place if necessary, or a new one. A block
    /// that shrinks in place is resized by the commit.
    ///
    /// # Safety
    ///
    /// - `old.block` is a live block of the engine with the layout `old.layout`, and nothing else uses it.
    /// - `layout` has the alignment of `old.layout`.
    unsafe fn find_block(
        &self,
        old: &Allocation,
        layout: Layout,
        cost: &mut Cost,
    ) -> Result<Block, Refusal> {
        if self.engine.fits_in_place(old.layout, layout) {
            *cost = Cost::new(Path::InPlace);
            return Ok(old.block);
        }
        // SAFETY: `resize` requires a live block, its current layout, no other user of the block, and the
        // same alignment. The contract of this function has the same clauses.
        let resize =
            |cost: &mut Cost| unsafe { (self.engine).resize(old.block, old.layout, layout, cost) };
        if resize(cost) {
            return Ok(old.block);
        }
        if self.state.with(|state| state.fault_interval.should_fail()) {
            return Err(Refusal::Injected);
        }
        self.engine.allocate(layout, cost).or_else(|refusal| {
            // The refused request returned cached memory to the heap. A part of this memory may follow the block,
            // so that the block can grow in place now.
            let resized = refusal != Refusal::Injected && resize(cost);
            if resized { Ok(old.block) } else { Err(refusal) }
        })
    }

    /// Copies the preserved contents to a new block, and zeroes the bytes that a reallocation adds.
    ///
    /// # Safety
    ///
    /// `old` and `new` satisfy the invariants of [`PendingRealloc`], and nothing else uses their blocks.
    unsafe fn fill_block(old: &Allocation, new: &Allocation) -> Result<(), SessionError> {
        let (start, size) = (new.block.start, new.layout.size());
        let preserved = size.min(old.layout.size());
        let mut end = size;
        if new.block != old.block {
            // SAFETY: `copy_in_pieces` requires two different live blocks of `preserved` bytes that
            // nothing else accesses. By this function's contract both blocks are live, with at least
            // the sizes of their layouts, and nothing else uses them.
            unsafe { copy_in_pieces::<P>(old.block.start, start, preserved) }?;
            // A block that is reallocated in place keeps its bytes beyond the new size, which a rollback needs.
            end = new.charge;
        }
        // SAFETY: `add` requires a result inside the block or at its end: `preserved` is at most
        // `size`, and the block has at least `size` bytes.
        let added = unsafe { start.add(preserved) };
        // SAFETY: `zero_in_pieces` requires that the range is inside a live block: `end` is at most
        // `charge`, the usable size for `new.layout`. Nothing else accesses the block, by this
        // function's contract.
        unsafe { zero_in_pieces::<P>(added, end - preserved) }
    }

    /// Frees the new block of a reallocation, or restores the size of a block that was resized in
    /// place, and uncharges the difference. Returns the allocation that the handle has to name.
    ///
    /// That is `old`, unless the engine cannot restore the size. Only the engine `student` can refuse that, because its
    /// allocator may refuse any resize. The block then keeps its new size, as the allocator knows it.
    ///
    /// # Safety
    ///
    /// `old` and `new` satisfy the invariants of [`PendingRealloc`], and the caller does not use `new`
    /// afterwards.
    unsafe fn roll_back_realloc(&self, old: &Allocation, new: &Allocation) -> Allocation {
        let mut allocation = *old;
        if new.block != old.block {
            // SAFETY: `Engine::free` requires a live block, its layout, and no other user: the engine
            // allocated the new block with `new.layout`, and no handle names it.
            unsafe { self.free_in_engine(new.block, new.layout) };
        } else if !self.engine.fits_in_place(old.layout, new.layout) {
            let mut cost = Cost::default();
            // SAFETY: `Engine::resize` requires a live block, its current layout, no other user of the block, and the
            // same alignment. `resize` was called in the first phase, so the layout of the block is `new.layout`, and
            // both layouts have the same alignment, by the contract. Nothing else reaches a block in the state
            // `Moving`.
            let resize =
                |cost| unsafe { self.engine.resize(old.block, new.layout, old.layout, cost) };
            if !resize(&mut cost) {
                allocation = *new;
            }
        }
        let unused_charge = old.charge.max(new.charge) - allocation.charge;
        let uncharge = |state: &mut SessionState<P>| state.blocks.uncharge(unused_charge);
        self.state.with(uncharge);
        allocation
    }

    /// Resizes a block in place. The engine must be able to serve `new` in place.
    ///
    /// # Safety
    ///
    /// - `block` is a live block of the engine with the layout `layout`.
    /// - Nothing else uses the block.
    /// - `new` has the alignment of `layout`.
    unsafe fn resize(&self, block: Block, layout: Layout, new: Layout) {
        // SAFETY: `Engine::resize` requires a live block, its current layout, no other user of the
        // block, and the same alignment. The contract of this function has the same clauses.
        let resized = unsafe { self.engine.resize(block, layout, new, &mut Cost::default()) };
        debug_assert!(resized, "the engine cannot resize a block in place");
    }
}

/// A reallocation between its two phases. Dropping the guard rolls the reallocation back.
///
/// # Invariants
///
/// - The entry of `handle` contains `old`, and is in the state `Moving` for this guard.
/// - `new` is `old` with another layout, which the block serves in place, or a new block that no handle
///   names.
/// - The larger of the two charges is charged to the quota.
#[must_use = "dropping the guard rolls the reallocation back"]
pub struct PendingRealloc<'s, P: Platform> {
    session: &'s Session<P>,
    handle: Handle,
    cost: Cost,
    /// The allocation after the commit.
    new: Allocation,
    /// The allocation before the commit. Often `old` and `new` have the same block.
    old: Allocation,
}

impl<P: Platform> PendingRealloc<'_, P> {
    /// Returns the reply for the program.
    pub fn reply(&self) -> Reply {
        Reply::new(self.handle, &self.new, self.cost)
    }

    /// Commits the reallocation: the handle names the new block, and the old block or tail is freed.
    pub fn commit(self) {
        let me = ManuallyDrop::new(self);
        let (session, handle, old, new) = (me.session, me.handle, &me.old, &me.new);
        let log = |state: &mut SessionState<P>| {
            state.log_event(|| Event::served(EventKind::Reallocate, handle, new, me.cost));
        };
        // Another call may allocate a released tail at once. The event of a shrink is therefore logged
        // before the release, so that blocks at the same offset do not overlap in the log.
        let shrinks = new.block == old.block && new.charge < old.charge;
        if shrinks {
            session.state.with(log);
        }
        if session.engine.fits_in_place(old.layout, new.layout) {
            // SAFETY: The block is live with the layout `old.layout`, nothing else reaches it in
            // the state `Moving`, and both layouts have the same alignment, by the type invariants.
            unsafe { session.resize(old.block, old.layout, new.layout) };
        }
        session.state.with(|state| {
            state.blocks.uncharge(old.charge.saturating_sub(new.charge));
            state.end_move(handle, new, true);
            if !shrinks {
                log(state);
            }
        });
        if new.block != old.block {
            // SAFETY: The old block is live with the layout `old.layout`, by the type invariants.
            // Its entry now contains the new block, so nothing reaches the old block.
            unsafe { session.free_in_engine(old.block, old.layout) };
        }
    }
}

impl<P: Platform> Drop for PendingRealloc<'_, P> {
    /// Rolls the reallocation back.
    fn drop(&mut self) {
        let (session, handle, old, new) = (self.session, self.handle, &self.old, &self.new);
        // SAFETY: `old` and `new` satisfy the type invariants, and `new` is only read below.
        let allocation = unsafe { session.roll_back_realloc(old, new) };
        session.state.with(|state| {
            state.end_move(handle, &allocation, false);
            let request = || {
                Event::request(
                    EventKind::Reallocate,
                    handle.to_bits(),
                    new.layout.size() as u64,
                )
            };
            state.log_event(|| request().with_outcome(EventOutcome::RolledBack));
        });
    }
}
