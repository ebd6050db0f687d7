// SPDX-License-Identifier: GPL-2.0

//! Pins: guards of blocks whose bytes are copied or mapped.

use core::{
    mem::ManuallyDrop,
    ptr::NonNull, //
};

use slab_heap::{
    PAGE_BYTES,
    lock::Lock, //
};

use crate::{error::SessionError, handle::Handle, session::Session, state::Platform};

impl<P: Platform> Session<P> {
    /// Pins a block, so that it is neither freed nor reallocated. O(1).
    ///
    /// # Errors
    ///
    /// [`SessionError::NoSuchBlock`], and [`SessionError::Pinned`] during a reallocation of the block.
    pub fn pin(&self, handle: Handle) -> Result<Pinned<'_, P>, SessionError> {
        let allocation = self.state.with(|state| state.blocks.entry(handle)?.pin())?;
        // INVARIANT: The block is pinned, and `allocation` is its allocation.
        Ok(Pinned {
            session: self,
            handle,
            start: allocation.block.start,
            size: allocation.layout.size(),
            usable: allocation.charge,
        })
    }

    /// Adds a pin to a block that has a [leaked](Pinned::leak) pin.
    pub fn pin_again(&self, handle: Handle) {
        // `pin` succeeds, because a pinned block is live and not being reallocated.
        let _pinned = (self.state).with(|state| state.blocks.entry(handle)?.pin());
    }

    /// Removes a [leaked](Pinned::leak) pin, or a pin of [`Session::pin_again`].
    ///
    /// # Safety
    ///
    /// The block has a leaked pin or a pin of [`Session::pin_again`], and nothing relies on this pin any more.
    pub unsafe fn unpin(&self, handle: Handle) {
        self.state.with(|state| {
            if let Ok(entry) = state.blocks.entry(handle) {
                entry.unpin();
            }
        });
    }
}

/// A pin of a block.
///
/// # Invariants
///
/// The block that `handle` names is pinned, begins at `start` and has `usable` usable bytes. The program
/// requested `size` bytes, with `size <= usable`.
#[must_use = "dropping the guard removes the pin"]
pub struct Pinned<'s, P: Platform> {
    session: &'s Session<P>,
    handle: Handle,
    start: NonNull<u8>,
    size: usize,
    usable: usize,
}

impl<P: Platform> Pinned<'_, P> {
    /// Returns the address of byte `byte` of the block, and the number of bytes from there to the
    /// end of the requested size.
    ///
    /// The bytes are valid for reads and writes while `self` lives. Other pins of the block may
    /// write to them at the same time.
    ///
    /// # Errors
    ///
    /// [`SessionError::OutOfBlock`] if `byte` is not below the requested size.
    pub fn bytes_from(&self, byte: usize) -> Result<(NonNull<u8>, usize), SessionError> {
        if byte >= self.size {
            return Err(SessionError::OutOfBlock);
        }
        // SAFETY: `add` requires that the result is inside the same allocation: `byte` is below `size`,
        // and by the type invariant the block has at least `size` bytes and is pinned, so it is live.
        Ok((unsafe { self.start.add(byte) }, self.size - byte))
    }

    /// Returns the address of `count` pages of the block from page `first` on, to be mapped by a
    /// program. Zeroes the bytes of the last page beyond the requested size.
    ///
    /// The pages contain no byte of another block, and are valid while `self` lives, or while the
    /// [leaked](Pinned::leak) pin lasts.
    ///
    /// # Errors
    ///
    /// [`SessionError::NotPages`] for a block that does not begin at a page boundary or shares its last
    /// page with other blocks, and [`SessionError::OutOfBlock`].
    pub fn pages(&self, first: usize, count: usize) -> Result<NonNull<u8>, SessionError> {
        let bytes = self
            .size
            .checked_next_multiple_of(PAGE_BYTES)
            .filter(|bytes| *bytes <= self.usable)
            .ok_or(SessionError::NotPages)?;
        if self.start.addr().get() % PAGE_BYTES != 0 {
            return Err(SessionError::NotPages);
        }
        let end = first.checked_add(count).ok_or(SessionError::OutOfBlock)?;
        if end > bytes / PAGE_BYTES {
            return Err(SessionError::OutOfBlock);
        }
        // The lock serialises concurrent calls of this function, which zero the same bytes.
        self.session.state.with(|_| {
            for byte in self.size..bytes {
                // SAFETY: `add` requires that the result is inside the same allocation: `byte` is below
                // `bytes`, which is at most `usable`, and the block is live, by the type invariant.
                let byte = unsafe { self.start.add(byte) };
                // The write is volatile, since a program that mapped the page may write to the page at the
                // same time.
                //
                // SAFETY: `write_volatile` requires a byte that is valid for writes: the byte is inside
                // the live block. No other code of the kernel accesses it: `bytes_from` ends at `size`,
                // and the lock excludes other calls of this function.
                unsafe { byte.write_volatile(0) };
            }
        });
        // SAFETY: `add` requires a result inside the same allocation or at its end: `first` is at most
        // `bytes / PAGE_BYTES` by the check of `end`, and `bytes` is at most `usable`.
        Ok(unsafe { self.start.add(first * PAGE_BYTES) })
    }

    /// Leaves the block pinned until [`Session::unpin`], or until the session ends.
    pub fn leak(self) {
        let _ = ManuallyDrop::new(self);
    }
}

impl<P: Platform> Drop for Pinned<'_, P> {
    fn drop(&mut self) {
        // SAFETY: `unpin` requires a pin on which nothing relies any more: by the type invariant this guard has a
        // pin. The addresses that the guard returned are valid only until this drop.
        unsafe { self.session.unpin(self.handle) };
    }
}
