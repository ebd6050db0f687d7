// SPDX-License-Identifier: GPL-2.0

//! The interface of a peer.

use std::{
    alloc::Layout,
    ptr::NonNull, //
};

/// The constant facts about a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The name in tables and on the command line.
    pub name: &'static str,
    /// The crate, or the project.
    pub package: &'static str,
    /// The version. A test compares it with Cargo.lock.
    pub version: &'static str,
    /// The kind of allocator, as a fragment of a sentence.
    pub description: &'static str,
    /// The size of the metadata outside of the pool, in bytes.
    pub metadata_bytes: usize,
    /// The largest alignment in bytes, or `None` if every alignment is possible.
    pub align_max: Option<usize>,
    /// A function that the allocator lacks, as the rest of a sentence that begins with "It cannot".
    pub cannot: Option<&'static str>,
}

/// An allocator that manages one range of memory, the pool.
///
/// The caller has the lock, so that each method has exclusive access.
///
/// # Safety
///
/// As long as the pool is valid:
///
/// - the memory of a block lies in the pool, is aligned to `layout.align()`, has at least `layout.size()` bytes, and
///   shares no byte with another block, from the call that allocates the block to the call that frees it;
/// - the allocator does not access the memory of a block between these two calls, except that
///   [`Peer::reallocate`] copies the contents.
pub unsafe trait Peer: Send {
    /// Returns the facts about the allocator.
    fn facts() -> Facts
    where
        Self: Sized;

    /// Constructs the allocator in a pool. Returns `None` if the allocator refuses the pool.
    ///
    /// # Safety
    ///
    /// The pool is valid for reads and writes, and nobody else accesses it, until the allocator is dropped. The
    /// provenance of the pointer covers the whole pool.
    unsafe fn new(pool: NonNull<[u8]>) -> Option<Self>
    where
        Self: Sized;

    /// Allocates a block. Returns `None` if the request is refused. The contents of the block are arbitrary.
    ///
    /// # Safety
    ///
    /// The size of the layout is not 0.
    unsafe fn allocate(&mut self, layout: Layout) -> Option<NonNull<u8>>;

    /// Frees a block.
    ///
    /// # Safety
    ///
    /// - The block was allocated by this allocator and not freed since.
    /// - `layout` is the layout of the allocation of the block, or of its last resize.
    /// - Nobody uses the block any more.
    unsafe fn free(&mut self, block: NonNull<u8>, layout: Layout);

    /// Changes the size of a block in place, and returns whether that was possible. If not, nothing has changed.
    ///
    /// # Safety
    ///
    /// The requirements of [`Peer::free`], except that the block is used again after the call. `new_bytes` is not 0,
    /// and the new layout is valid.
    unsafe fn resize_in_place(
        &mut self,
        block: NonNull<u8>,
        layout: Layout,
        new_bytes: usize,
    ) -> bool {
        let _ = (block, layout, new_bytes);
        false
    }

    /// Changes the size of a block, which may move. Returns `None` if the request is refused. The block has then not
    /// changed.
    ///
    /// # Safety
    ///
    /// The requirements of [`Peer::resize_in_place`].
    unsafe fn reallocate(
        &mut self,
        block: NonNull<u8>,
        layout: Layout,
        new_bytes: usize,
    ) -> Option<NonNull<u8>> {
        // SAFETY: Both functions have the same contract.
        if unsafe { self.resize_in_place(block, layout, new_bytes) } {
            return Some(block);
        }
        // SAFETY: Both functions have the same contract, and the block has not changed.
        unsafe { reallocate_by_copy(self, block, layout, new_bytes) }
    }

    /// Returns the number of usable bytes of a block, or `None` if the layout does not determine this number.
    fn usable_bytes(layout: Layout) -> Option<usize>
    where
        Self: Sized,
    {
        let _ = layout;
        None
    }
}

/// Reallocates a block: allocates a new block, copies the contents and frees the old block.
///
/// # Safety
///
/// The requirements of [`Peer::reallocate`].
#[inline]
pub unsafe fn reallocate_by_copy<P: Peer + ?Sized>(
    peer: &mut P,
    block: NonNull<u8>,
    layout: Layout,
    new_bytes: usize,
) -> Option<NonNull<u8>> {
    // SAFETY: The caller guarantees that the new layout is valid.
    let new_layout = unsafe { Layout::from_size_align_unchecked(new_bytes, layout.align()) };
    // SAFETY: `allocate` requires a size that is not 0, which the caller guarantees.
    let new = unsafe { peer.allocate(new_layout) }?;
    // SAFETY: The old block has `layout.size()` bytes and the new one `new_bytes`. Both are live, so they do not
    // overlap.
    unsafe { block.copy_to_nonoverlapping(new, layout.size().min(new_bytes)) };
    // SAFETY: The caller guarantees that the block is live with this layout. It is not used after the copy.
    unsafe { peer.free(block, layout) };
    Some(new)
}

/// A function that constructs an allocator in a pool, with the requirements of [`Peer::new`].
type Constructor = unsafe fn(NonNull<[u8]>) -> Option<Box<dyn Peer>>;

/// A type of peers: the functions of [`Peer`] that need no allocator.
#[derive(Clone, Copy, Debug)]
pub struct PeerKind {
    facts: fn() -> Facts,
    usable_bytes: fn(Layout) -> Option<usize>,
    new: Constructor,
}

impl PeerKind {
    /// Returns the kind of a type.
    #[must_use]
    pub const fn of<P: Peer + 'static>() -> Self {
        /// Constructs an allocator in a box.
        ///
        /// # Safety
        ///
        /// The requirements of [`Peer::new`].
        unsafe fn boxed<P: Peer + 'static>(pool: NonNull<[u8]>) -> Option<Box<dyn Peer>> {
            // SAFETY: Both functions have the same contract.
            Some(Box::new(unsafe { P::new(pool) }?))
        }
        Self {
            facts: P::facts,
            usable_bytes: P::usable_bytes,
            new: boxed::<P>,
        }
    }

    /// Returns the facts about the allocator.
    #[must_use]
    pub fn facts(&self) -> Facts {
        (self.facts)()
    }

    /// Returns the number of usable bytes of a block, or `None` if the layout does not determine this number.
    #[must_use]
    pub fn usable_bytes(&self, layout: Layout) -> Option<usize> {
        (self.usable_bytes)(layout)
    }

    /// Returns whether [`PeerKind::usable_bytes`] returns a number.
    #[must_use]
    pub fn knows_usable_bytes(&self) -> bool {
        self.usable_bytes(Layout::new::<u64>()).is_some()
    }

    /// Constructs the allocator in a pool. Returns `None` if the allocator refuses the pool.
    ///
    /// # Safety
    ///
    /// The requirements of [`Peer::new`].
    #[must_use]
    pub unsafe fn construct(&self, pool: NonNull<[u8]>) -> Option<Box<dyn Peer>> {
        // SAFETY: Both functions have the same contract.
        unsafe { (self.new)(pool) }
    }
}
