// SPDX-License-Identifier: GPL-2.0

//! The interface between an engine with magazines and the heap that the engine's lock protects.
//!
//! [`MagazineEngine`](crate::magazines::MagazineEngine), with its magazines and per-CPU caches, works with every
//! heap that implements [`BackingHeap`]: [`hybrid::Heap`](crate::hybrid::Heap) and
//! [`extent::Heap`](crate::extent::Heap). A heap works with offsets, has no per-CPU data, and never accesses a byte
//! of the pool.
//!
//! For the heap, a block in a magazine is *allocated*, like a live block.

use core::{
    alloc::Layout,
    ptr::NonNull, //
};

use crate::{
    PAGE_BYTES,
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
    /// The bytes of the largest free block, or of a free run that is almost as long as the longest one.
    pub largest_free_bytes: usize,
}

/// The number of blocks in magazines, by [`MagazineKind::number`].
pub type CachedBlocks = [usize; MAGAZINE_KINDS];

/// Further memory for the metadata of a heap: piece `number`, of `bytes` bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The number of the piece. The numbers of a heap begin with 0.
    pub number: usize,
    /// The length of the piece.
    pub bytes: usize,
}

/// A heap that an engine protects by its lock.
///
/// # Safety
///
/// - [`BackingHeap::allocate`] and [`BackingHeap::allocate_fallback`] return blocks that have at least the
///   layout's size and, in memory, the layout's alignment. Each block lies in an added region and shares no
///   byte with another allocated block.
/// - [`BackingHeap::class`] returns a kind whose number is below the number of classes,
///   `BackingHeap::CLASS_BYTES.len()`.
/// - [`BackingHeap::kind`] returns a kind whose blocks have at least the layout's size and alignment.
/// - [`BackingHeap::begins_block`] returns `true` only where a block of the kind begins.
/// - [`BackingHeap::REGION_PAGES_MAX`] is at most 2²⁰, and [`BackingHeap::metadata_bytes`] is a multiple of 8.
/// - [`BackingHeap::add_region`] returns a descriptor for each page. Only shared references to descriptors
///   exist.
pub unsafe trait BackingHeap: Send {
    /// A page descriptor. Any CPU may read a descriptor without the lock.
    type Desc: Sync;

    /// The largest number of pages of a region.
    const REGION_PAGES_MAX: usize;

    /// Whether a large block may lie anywhere in a region, so that a few small blocks beside it divide the rest. The
    /// engine then flushes magazines before a request for a large block.
    const LARGE_BLOCKS_LIE_ANYWHERE: bool;

    /// Returns the bytes of metadata of a region of so many pages.
    fn metadata_bytes(pages: usize) -> usize;

    /// The bytes of a block of each size class, none of which is 0. The number of a class is the number of its kind of
    /// magazine.
    const CLASS_BYTES: &'static [u16];

    /// Returns the kind of magazine that serves a layout by a size class, if there is one.
    fn class(layout: &Layout) -> Option<MagazineKind>;

    /// Returns the kind of magazine that serves a layout with whole pages, if there is one.
    fn whole_pages(layout: &Layout) -> Option<MagazineKind>;

    /// Returns the kind of magazine that serves a layout, if there is one.
    #[inline]
    fn kind(layout: &Layout) -> Option<MagazineKind> {
        Self::class(layout).or_else(|| Self::whole_pages(layout))
    }

    /// Adds a region of `pages` pages at `address`, and returns its page descriptors.
    ///
    /// # Safety
    ///
    /// - `region` is below [`REGIONS_MAX`](crate::region::REGIONS_MAX), and no region has this number yet.
    /// - `address` is the address of the first page, and `pages` is at most
    ///   [`BackingHeap::REGION_PAGES_MAX`].
    /// - `metadata` points to `metadata_bytes(pages)` bytes, which are zero and aligned to 8. While the
    ///   heap exists, only the heap and readers of the descriptors access these bytes.
    unsafe fn add_region(
        &mut self,
        region: usize,
        address: usize,
        pages: usize,
        metadata: NonNull<u8>,
    ) -> NonNull<Self::Desc>;

    /// Returns whether a block of this kind begins at byte `byte` of a region, in the page of `desc`:
    ///
    /// - for the kind of a size class, a block of the class. A heap with slabs need not notice that the object is free;
    /// - for a kind of whole pages, an allocated block of exactly this number of pages.
    ///
    /// The caller need not hold the lock if the block is allocated and nobody else can free it meanwhile.
    fn begins_block(desc: &Self::Desc, byte: usize, kind: MagazineKind) -> bool;

    /// Returns the usable bytes of a block of this layout.
    fn usable_size(layout: Layout) -> usize;

    /// Returns the usable bytes of a block of this kind, which is not 0. O(1).
    #[inline]
    fn block_bytes(kind: MagazineKind) -> usize {
        match kind.pages() {
            Some(pages) => pages * PAGE_BYTES,
            // Classes that do not exist have no magazine.
            None => Self::CLASS_BYTES
                .get(kind.number())
                .map_or(1, |bytes| usize::from(*bytes)),
        }
    }

    /// Allocates the requested block, and up to `blocks.len() - 1` more blocks to refill a magazine. Returns
    /// the number of allocated blocks, which is at least 1.
    ///
    /// `blocks` has at least one element. [`BackingHeap::cost`] is the cost of the first block.
    ///
    /// # Errors
    ///
    /// The cause for which no block was allocated. Cached memory may have been freed.
    fn allocate(&mut self, layout: Layout, blocks: &mut [Offset]) -> Result<usize, Refusal>;

    /// Allocates a block by fallbacks that cost time or memory, after [`BackingHeap::allocate`] refused the
    /// request. If more free blocks could have helped, the caller has flushed the magazines of all CPUs that
    /// it could reach.
    fn allocate_fallback(&mut self, layout: Layout) -> Option<Offset>;

    /// Returns whether [`BackingHeap::allocate`] would need a new slab.
    fn would_grow(&self, layout: Layout) -> bool;

    /// Returns whether [`BackingHeap::allocate`] would need more metadata for a new slab. The engine then adds the next
    /// piece and tries again or, if there is no memory, uses the fallbacks.
    #[inline(always)]
    fn lacks_memory(&self, _layout: Layout) -> bool {
        false
    }

    /// Returns an upper bound of the bytes of all pieces of a pool of so many pages.
    fn pieces_bytes_max(_pages: usize) -> usize {
        0
    }

    /// Returns the piece that would be added next, if the heap uses one more.
    fn next_piece(&self) -> Option<Piece> {
        None
    }

    /// Adds a piece of memory for metadata, unless it was added before.
    ///
    /// # Safety
    ///
    /// `memory` points to the bytes of the piece. If the piece is the next one, they are zero and aligned to 8, and only
    /// the heap accesses them while it exists.
    unsafe fn add_piece(&mut self, _piece: Piece, _memory: NonNull<u8>) {}

    /// Frees a block.
    ///
    /// # Errors
    ///
    /// The rule that the free breaks. Nothing is changed then.
    fn free(&mut self, block: Offset, layout: Layout) -> Result<(), BadFree>;

    /// Frees the first of `blocks`, and the following blocks that can be freed together with the first one.
    /// Returns the number of freed blocks, which is at least 1. All blocks were in a magazine of this kind.
    ///
    /// # Errors
    ///
    /// The rule that the free of the first block breaks, usually because the block was freed twice. Nothing is
    /// changed then.
    fn free_flushed(&mut self, blocks: &[Offset], kind: MagazineKind) -> Result<usize, BadFree>;

    /// Returns whether a block of `layout` can be resized to `new` in place in every state of the pool.
    fn fits_in_place(layout: Layout, new: Layout) -> bool;

    /// Resizes a block in place, and returns whether that was possible.
    fn resize(&mut self, block: Offset, layout: Layout, new: Layout) -> bool;

    /// Returns the cost of the last call of `allocate`, `free` or `resize`, or of `allocate_fallback` if it returned a
    /// block. The engine overwrites the cost when a magazine serves the request.
    fn cost(&mut self) -> &mut Cost;

    /// Frees cached memory, so that every request can use it. Returns the number of freed bytes.
    fn shrink(&mut self) -> usize;

    /// Returns the number of free bytes: those in no allocated block and, in a heap with slabs, in no slab. O(1).
    fn free_bytes(&self) -> usize;
}

/// A heap whose state can be examined.
pub trait InspectHeap: BackingHeap {
    /// Returns a number that changes when cached memory is freed.
    ///
    /// The number need not change for allocations, frees, resizes and new regions, because the engine counts
    /// these itself.
    fn epoch(&self) -> u64;

    /// Returns the blocks and bytes of the heap.
    fn totals(&self) -> HeapTotals;

    /// Passes the statistics of classes and orders to a visitor. `cached` contains the numbers of blocks in
    /// magazines, which do not count as used.
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
