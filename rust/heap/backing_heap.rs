// SPDX-License-Identifier: GPL-2.0

//! The interface of the heap that an engine with magazines protects by its lock.
//!
//! [`MagazineEngine`](crate::hybrid::MagazineEngine), with its magazines and per-CPU caches, works with every heap
//! that implements [`BackingHeap`]; [`hybrid::Heap`](crate::hybrid::Heap) is the first. A heap works with offsets,
//! knows no CPUs, and never touches a byte of the pool.
//!
//! For the heap a block is *allocated* while it is live or in a magazine.

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

/// The blocks and bytes of a heap. The blocks in magazines are allocated.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeapTotals {
    /// Allocated blocks.
    pub allocated_blocks: usize,
    /// The usable bytes of these blocks.
    pub allocated_bytes: usize,
    /// The bytes of all regions.
    pub pool_bytes: usize,
}

/// The number of blocks in magazines, by [`MagazineKind::number`].
pub type CachedBlocks = [usize; MAGAZINE_KINDS];

/// A heap that an engine protects by its lock.
///
/// # Safety
///
/// [`BackingHeap::allocate`] and [`BackingHeap::allocate_fallback`] return blocks of at least the layout's size,
/// with its alignment in memory, which lie in an added region and share no byte with another allocated block.
/// [`BackingHeap::begins_block`] returns `true` only where a block of the kind begins. `REGION_PAGES_MAX` is at most
/// 2²⁰. [`BackingHeap::add_region`] returns a descriptor for each page, to which only
/// shared references exist.
pub unsafe trait BackingHeap: Send {
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
    /// - `region` is below [`REGIONS_MAX`](crate::region::REGIONS_MAX), and no region has this number yet.
    /// - `address` is that of the first page, and `pages` at most [`BackingHeap::REGION_PAGES_MAX`].
    /// - `metadata` points to `pages * METADATA_PER_PAGE` bytes, which are zero and aligned to 8, and which
    ///   nobody else accesses as long as the heap exists, except for readers of the descriptors.
    unsafe fn add_region(
        &mut self,
        region: usize,
        address: usize,
        pages: usize,
        metadata: NonNull<u8>,
    ) -> NonNull<Self::Desc>;

    /// Returns whether a block of this kind begins at byte `byte` of a region, in the page of `desc`:
    ///
    /// - for the kind of a size class, an object of the class, allocated or free;
    /// - for a kind of whole pages, an allocated block of exactly so many pages.
    ///
    /// The caller need not hold the lock if the block is allocated and nobody else can free it meanwhile.
    fn begins_block(desc: &Self::Desc, byte: usize, kind: MagazineKind) -> bool;

    /// Returns the usable bytes of a block of this layout.
    fn usable_size(layout: Layout) -> usize;

    /// Allocates the block that the caller asks for, and up to `blocks.len() - 1` more to refill a magazine;
    /// returns how many, at least 1. `blocks` has at least one element. [`BackingHeap::cost`] is that of the first block.
    ///
    /// # Errors
    ///
    /// The cause for which there is no first block. Cached slabs may have been freed.
    fn allocate(&mut self, layout: Layout, blocks: &mut [Offset]) -> Result<usize, Refusal>;

    /// Allocates a block by ways that cost time or memory, after [`BackingHeap::allocate`] refused. If more free
    /// blocks could help, the magazines of all CPUs that could be reached were flushed before.
    fn allocate_fallback(&mut self, layout: Layout) -> Option<Offset>;

    /// Returns whether [`BackingHeap::allocate`] would need a new slab.
    fn would_grow(&self, layout: Layout) -> bool;

    /// Frees a block.
    ///
    /// # Errors
    ///
    /// The rule that the free breaks. Nothing is changed then.
    fn free(&mut self, block: Offset, layout: Layout) -> Result<(), BadFree>;

    /// Frees the first of `blocks`, which were in a magazine of this kind, and those after it that can be freed
    /// with it; returns how many, at least 1.
    ///
    /// # Errors
    ///
    /// The rule that the free of the first block breaks, usually because the block was freed twice. Nothing is
    /// changed then.
    fn free_flushed(&mut self, blocks: &[Offset], kind: MagazineKind) -> Result<usize, BadFree>;

    /// Returns whether a block of `layout` serves `new` in place in every state of the pool.
    fn fits_in_place(layout: Layout, new: Layout) -> bool;

    /// Resizes a block in place, and returns whether that was possible.
    fn resize(&mut self, block: Offset, layout: Layout, new: Layout) -> bool;

    /// Returns the cost of the last call of `allocate`, `free` or `resize`, or of `allocate_fallback` if it returned a
    /// block. The engine overwrites the cost when a magazine serves the request.
    fn cost(&mut self) -> &mut Cost;

    /// Frees cached memory, so that every request can use it. Returns its size in bytes.
    fn shrink(&mut self) -> usize;

    /// Returns the bytes of the free pages, which are in no allocated block and no slab. O(1).
    fn free_bytes(&self) -> usize;
}

/// A heap whose state can be examined.
pub trait InspectHeap: BackingHeap {
    /// Returns a number that changes when cached memory is freed.
    ///
    /// The engine counts the changes that it makes itself: allocations, frees, resizes and new regions.
    fn epoch(&self) -> u64;

    /// Returns the blocks and bytes of the heap.
    fn totals(&self) -> HeapTotals;

    /// Passes the statistics of classes and orders to a visitor. `cached` are the blocks in magazines, which do not
    /// count as used.
    fn visit(&self, cached: &CachedBlocks, visitor: &mut dyn Visitor);

    /// Executes the next step of a check.
    ///
    /// # Errors
    ///
    /// The first broken rule.
    fn check(&mut self, walk: &mut Walk) -> Result<Progress, Broken>;

    /// Returns whether an allocated block of this kind begins at an offset.
    fn is_allocated(&mut self, block: Offset, kind: MagazineKind) -> bool;

    /// Writes the next part of the map of a region: see [`Map`](crate::map::Map).
    ///
    /// # Errors
    ///
    /// [`NoMap`].
    fn map(&mut self, region: usize, page: u32, out: &mut [Extent]) -> Result<Mapped, NoMap>;
}
