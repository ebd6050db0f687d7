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
    mem::ManuallyDrop,
    ops::Deref, //
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
    request::Reply,
    session::{
        Session,
        validate, //
    },
    state::SessionState,
    storage::Storage,
};

impl<R, L, S> Session<R, L, S>
where
    R: Deref<Target: Engine>,
    L: Lock<SessionState<S>>,
    S: Storage,
{
    /// Changes the size of a block, in place if the engine can, else by allocating, copying and
    /// freeing.
    ///
    /// The contents are preserved up to the smaller size, and added bytes are zero. Until
    /// [`PendingRealloc::commit`] the old block is unchanged, and all operations on its handle fail
    /// with [`SessionError::Pinned`].
    ///
    /// # Errors
    ///
    /// Those of [`Session::allocate`] and [`Session::free`]. The session is then unchanged.
    pub fn reallocate(
        &self,
        handle: Handle,
        size: u64,
    ) -> Result<PendingRealloc<'_, R, L, S>, SessionError> {
        let request = || Event::request(EventKind::Reallocate, handle.to_bits(), size);
        let old = self.state.with(|state| {
            let begun = state.begin_move(handle);
            begun.map_err(|error| state.report_error(request, error))
        })?;
        // SAFETY: `begin_move` put the entry of `old` into the state `Moving`, for this call.
        let pending = unsafe { self.prepare_realloc(handle, old, size) };
        pending.map_err(|error| {
            self.state.with(|state| {
                state.end_move(handle, &old, false);
                state.report_error(request, error)
            })
        })
    }

    /// Does the first phase of a reallocation.
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
    ) -> Result<PendingRealloc<'_, R, L, S>, SessionError> {
        let layout = validate(&*self.engine, size, old.layout.align() as u64)?;
        let size = layout.size();
        let charge = self.engine.usable(layout);
        // Until the commit the larger of the two charges counts, so that a rollback cannot exceed the
        // quota.
        let added_charge = charge.saturating_sub(old.charge);
        self.state.with(|state| state.charge(added_charge))?;

        let mut cost = Cost::default();
        let (block, in_place) = if self.engine.keeps(old.layout, layout) {
            // `commit` calls `resize`: a rollback could not allocate a released tail again.
            cost = Cost::new(Path::InPlace);
            (old.block, true)
        // SAFETY: `resize` requires a live block, its current layout, no other user of the block,
        // and the same alignment. The table contains the block with this layout, and nothing else
        // reaches it, by this function's contract. `layout` was made with the alignment of
        // `old.layout`.
        } else if unsafe { self.engine.resize(old.block, old.layout, layout, &mut cost) } {
            (old.block, true)
        } else {
            let allocated = if self.state.with(SessionState::should_fail) {
                Err(Refusal::Injected)
            } else {
                self.engine.allocate(layout, &mut cost)
            };
            match allocated {
                Ok(block) => (block, false),
                Err(refusal) => {
                    // The refused request returned cached memory to the heap, and some of it may lie
                    // behind the block.
                    //
                    // SAFETY: As for the call of `resize` above.
                    let resized = refusal != Refusal::Injected
                        && unsafe { self.engine.resize(old.block, old.layout, layout, &mut cost) };
                    if !resized {
                        self.state.with(|state| state.uncharge(added_charge));
                        return Err(SessionError::from_engine(refusal, &cost));
                    }
                    (old.block, true)
                }
            }
        };
        let new = Allocation {
            block,
            layout,
            charge,
        };
        let preserved = size.min(old.layout.size());
        let copied = if in_place {
            Ok(())
        } else {
            // SAFETY: `copy_in_pieces` requires two different live blocks of `preserved` bytes that
            // nothing else accesses. The engine just allocated the new block of `size` bytes. The
            // old block has `old.layout.size()` bytes, is live, and nothing else reaches it, by
            // this function's contract.
            unsafe { copy_in_pieces::<S>(old.block.start, block.start, preserved) }
        };
        // In place, the bytes beyond the new size stay: a rollback needs them.
        let end = if in_place { size } else { charge };
        // SAFETY: `add` requires a result inside the block or at its end: `preserved` is at most
        // `size`, and the block has at least `size` bytes.
        let added = unsafe { block.start.add(preserved) };
        // SAFETY: `zero_in_pieces` requires that the range is inside a live block: `end` is at most
        // `charge`, the usable size for `layout`. Nothing else accesses the block: it is new, or is
        // the old block, to which this function's contract applies.
        let zeroed = copied.and_then(|()| unsafe { zero_in_pieces::<S>(added, end - preserved) });
        match zeroed {
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
                unsafe { self.roll_back_realloc(&old, &new) };
                Err(error)
            }
        }
    }

    /// Frees the new block of a reallocation, or restores the size of a block that was resized in
    /// place, and uncharges the difference.
    ///
    /// # Safety
    ///
    /// `old` and `new` satisfy the invariants of [`PendingRealloc`], and the caller does not use `new`
    /// afterwards.
    unsafe fn roll_back_realloc(&self, old: &Allocation, new: &Allocation) {
        if new.block != old.block {
            // SAFETY: `release` requires a live block, its layout, and no other user: the engine
            // allocated the new block with `new.layout`, and no handle names it.
            unsafe { self.release(new) };
        } else if !self.engine.keeps(old.layout, new.layout) {
            // SAFETY: `resize` was called in the first phase, so the layout of the block is
            // `new.layout`. Nothing else reaches a block in the state `Moving`.
            unsafe { self.resize(old.block, new.layout, old.layout) };
        }
        let added_charge = new.charge.saturating_sub(old.charge);
        self.state.with(|state| state.uncharge(added_charge));
    }

    /// Resizes a block in place, which the engine can.
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

/// A reallocation between its two phases. Dropping it rolls back.
///
/// # Invariants
///
/// - The entry of `handle` contains `old`, and is in the state `Moving` for this guard.
/// - `new` is `old` with another layout, which the block serves in place, or a new block that no handle
///   names.
/// - The larger of the two charges is charged to the quota.
#[must_use = "dropping the guard rolls the reallocation back"]
pub struct PendingRealloc<'s, R, L, S>
where
    R: Deref<Target: Engine>,
    L: Lock<SessionState<S>>,
    S: Storage,
{
    session: &'s Session<R, L, S>,
    handle: Handle,
    cost: Cost,
    /// The allocation after the commit.
    new: Allocation,
    /// The allocation before the commit. Often it has the same block.
    old: Allocation,
}

impl<R, L, S> PendingRealloc<'_, R, L, S>
where
    R: Deref<Target: Engine>,
    L: Lock<SessionState<S>>,
    S: Storage,
{
    /// Returns the reply for the program.
    pub fn reply(&self) -> Reply {
        Reply::new(self.handle, &self.new, self.cost)
    }

    /// Commits the reallocation: the handle names the new block, and the old block or tail is freed.
    pub fn commit(self) {
        let me = ManuallyDrop::new(self);
        let (session, handle, old, new) = (me.session, me.handle, &me.old, &me.new);
        let log = |state: &mut SessionState<S>| {
            state.log_event(|| Event::served(EventKind::Reallocate, handle, new, me.cost));
        };
        // Another call may allocate a released tail at once. The event of a shrink is therefore logged
        // before the release, so that blocks at the same offset do not overlap in the log.
        let shrinks = new.block == old.block && new.charge < old.charge;
        if shrinks {
            session.state.with(log);
        }
        if session.engine.keeps(old.layout, new.layout) {
            // SAFETY: The block is live with the layout `old.layout`, nothing else reaches it in
            // the state `Moving`, and both layouts have the same alignment, by the type invariants.
            unsafe { session.resize(old.block, old.layout, new.layout) };
        }
        session.state.with(|state| {
            state.uncharge(old.charge.saturating_sub(new.charge));
            state.end_move(handle, new, true);
            if !shrinks {
                log(state);
            }
        });
        if new.block != old.block {
            // SAFETY: The old block is live with the layout `old.layout`, by the type invariants.
            // Its entry names the new block now, so nothing reaches the old one.
            unsafe { session.release(old) };
        }
    }
}

impl<R, L, S> Drop for PendingRealloc<'_, R, L, S>
where
    R: Deref<Target: Engine>,
    L: Lock<SessionState<S>>,
    S: Storage,
{
    /// Rolls the reallocation back.
    fn drop(&mut self) {
        let (session, handle, old, new) = (self.session, self.handle, &self.old, &self.new);
        // SAFETY: `old` and `new` satisfy the type invariants, and `new` is only read below.
        unsafe { session.roll_back_realloc(old, new) };
        session.state.with(|state| {
            state.end_move(handle, old, false);
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
