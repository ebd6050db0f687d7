// SPDX-License-Identifier: GPL-2.0

//! The heap behind the lock of an engine with magazines.
//!
//! Magazines, per-CPU caches and the engine in front of them are written once, for every heap that
//! implements [`LockedHeap`]. A heap works with offsets, knows no CPUs, and never touches a byte of the pool.

use core::{
    alloc::Layout,
    ptr::NonNull, //
};

use crate::{
    check::{
        Broken,
        Progress,
        Walk, //
    },
    cost::Cost,
    engine::{
        BadFree,
        Refusal, //
    },
    map::{
        Extent,
        Mapped,
        NoMap, //
    },
    region::Offset,
    size_class::{
        MAGAZINE_KINDS,
        MagazineKind, //
    },
    stats::Visitor,
};

/// The blocks and bytes of a heap. A block in a magazine is live.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeapTotals {
    /// Live blocks.
    pub live_blocks: usize,
    /// The usable bytes of the live blocks.
    pub live_bytes: usize,
    /// The bytes of all regions.
    pub pool_bytes: usize,
}

/// The number of blocks in magazines, by [`MagazineKind::number`].
pub type CachedBlocks = [usize; MAGAZINE_KINDS];

/// A heap that an engine protects by its lock.
///
/// A block in a magazine is live for the heap.
///
/// # Safety
///
/// [`LockedHeap::allocate`] and [`LockedHeap::allocate_fallback`] return blocks of at least the layout's size,
/// with its alignment in memory, which lie in an added region and share no byte with another live block.
pub unsafe trait LockedHeap: Send {
    /// A page descriptor. Any CPU may read it without the lock.
    type Desc: Sync;

    /// The bytes of metadata for a page.
    const METADATA_PER_PAGE: usize;

    /// The largest number of pages of a region.
    const REGION_PAGES_MAX: usize;

    /// Adds a region of `pages` pages at `address`, and returns its page descriptors.
    ///
    /// # Safety
    ///
    /// `metadata` points to `pages * METADATA_PER_PAGE` bytes, which are zero and aligned to 8, and which
    /// nobody else accesses as long as the heap exists, except for readers of the descriptors.
    unsafe fn add_region(
        &mut self,
        region: usize,
        address: usize,
        pages: usize,
        metadata: NonNull<u8>,
    ) -> NonNull<Self::Desc>;

    /// Returns whether a block of this kind, live or free, begins at byte `byte` of a region, in the page of
    /// `desc`. The caller need not hold the lock if the block is live and nobody else can free it meanwhile.
    fn begins_block(desc: &Self::Desc, byte: usize, kind: MagazineKind) -> bool;

    /// Returns the usable bytes of a block of this layout.
    fn usable_size(layout: Layout) -> usize;

    /// Allocates the block that the caller asks for, and up to `blocks.len() - 1` more to refill a magazine;
    /// returns how many. The cost is that of the first block.
    ///
    /// # Errors
    ///
    /// The cause for which there is no first block. Cached memory may have been returned to the heap.
    fn allocate(
        &mut self,
        layout: Layout,
        blocks: &mut [Offset],
        cost: &mut Cost,
    ) -> Result<usize, Refusal>;

    /// Allocates a block by ways that cost time or memory, after [`LockedHeap::allocate`] refused. If more free
    /// blocks could help, all magazines were flushed before.
    fn allocate_fallback(&mut self, layout: Layout, cost: &mut Cost) -> Option<Offset>;

    /// Returns whether [`LockedHeap::allocate`] would have to enlarge the memory for small blocks.
    fn would_grow(&self, layout: Layout) -> bool;

    /// Frees a block.
    ///
    /// # Errors
    ///
    /// The rule that the free breaks. Nothing is changed then.
    fn free(&mut self, block: Offset, layout: Layout, cost: &mut Cost) -> Result<(), BadFree>;

    /// Frees the first of `blocks`, which were in a magazine of this kind, and those after it that can be freed
    /// with it; returns how many.
    ///
    /// # Errors
    ///
    /// The rule that the free of the first block breaks: the block was freed twice while it was in a magazine.
    /// Nothing is changed then.
    fn free_cached(&mut self, blocks: &[Offset], kind: MagazineKind) -> Result<usize, BadFree>;

    /// Returns whether a block of `layout` serves `new` in place, whatever else is allocated.
    fn fits_in_place(layout: Layout, new: Layout) -> bool;

    /// Resizes a block in place, and returns whether that was possible.
    fn resize(&mut self, block: Offset, layout: Layout, new: Layout, cost: &mut Cost) -> bool;

    /// Returns cached memory to the largest free blocks, and returns its bytes.
    fn shrink(&mut self) -> usize;

    /// Returns the bytes that are in no block and no slab. O(1).
    fn free_bytes(&self) -> usize;
}

/// A heap whose state can be examined.
pub trait InspectHeap: LockedHeap {
    /// Returns a number that changes with every change other than an allocation, a free or a resize.
    fn epoch(&self) -> u64;

    /// Returns the blocks and bytes of the heap.
    fn totals(&self) -> HeapTotals;

    /// Passes the statistics of classes and orders to a visitor. Blocks in magazines do not count as live.
    fn visit(&self, cached: &CachedBlocks, visitor: &mut dyn Visitor);

    /// Executes the next step of a check.
    ///
    /// # Errors
    ///
    /// The first broken rule.
    fn check(&mut self, walk: &mut Walk) -> Result<Progress, Broken>;

    /// Returns whether a live block of this kind begins at an offset, counting blocks in magazines as live.
    fn is_live(&mut self, block: Offset, kind: MagazineKind) -> bool;

    /// Writes the next part of the map of a region: see [`Map`](crate::map::Map).
    ///
    /// # Errors
    ///
    /// [`NoMap`].
    fn map(&mut self, region: usize, page: u32, out: &mut [Extent]) -> Result<Mapped, NoMap>;
}
