// SPDX-License-Identifier: GPL-2.0

//! The contract between an engine and the layers above it.
//!
//! An engine only allocates, frees and resizes blocks. Handles, quotas and zeroing belong to the layer above.
//! An engine is shared between callers and has its own locks. An engine that has a pool never allocates
//! memory for itself. It uses the tables of its regions, and an engine with magazines may request more metadata from its
//! platform ([`PerCpu::metadata`](crate::per_cpu::PerCpu::metadata)).
//!
//! The layers above call the methods of [`Engine`] for each request. The other interfaces of an engine are
//! separate traits, which [`Engine::interfaces`] returns. An adapter around an engine, such as debug mode,
//! implements the traits whose behaviour it changes, and returns the engine's implementations of the other
//! traits:
//!
//! ```text
//! Interfaces { check: Some(self), ..self.engine.interfaces() }
//! ```

use core::{
    alloc::Layout,
    ptr::NonNull, //
};

pub use crate::block::{
    BadFree,
    Block,
    Refusal, //
};
use crate::{
    check::Check,
    cost::Cost,
    fail::FailGrowth,
    map::Map,
    region::{
        Offset,
        RegionError, //
    },
    stats::Statistics,
    violation::Supervise, //
};

/// The properties of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// A page that lies entirely in a block may be mapped by programs.
    pub mmap: bool,
    /// [`Engine::free`] does not sleep and takes a bounded time, so it may be called with a spinlock held (see the
    /// context of [`Engine`]). Sessions call the `try_` methods of such engines with their lock held.
    pub quick: bool,
    /// The number of bytes at the start of a free block that the engine writes while the block is free: 0 for
    /// an engine whose metadata lies outside the pool, 8 for an engine that links free blocks through their
    /// first word.
    ///
    /// A free block is an object of a slab or a block of whole pages. Coalesced pages may have such bytes at
    /// the start of each page. An engine that writes to other places in free memory declares [`usize::MAX`],
    /// for example if it writes footers or leaves the nodes of coalesced blocks inside a page.
    pub free_block_bytes: usize,
    /// The alignment in bytes, relative to the start of the region, of each free block to which the engine
    /// writes, a power of two. 1 if the alignment is unknown.
    pub free_block_align: usize,
}

/// The interfaces of an engine besides allocation. An interface that the engine does not have is `None`.
#[derive(Clone, Copy)]
pub struct Interfaces<'e> {
    /// Statistics.
    pub statistics: &'e dyn Statistics,
    /// Regions. Only an engine that has a pool has this interface, and only its blocks have offsets.
    pub add_region: Option<&'e dyn AddRegion>,
    /// Checks of the metadata.
    pub check: Option<&'e dyn Check>,
    /// A map of the use of each page.
    pub map: Option<&'e dyn Map>,
    /// The return of cached memory.
    pub shrink: Option<&'e dyn Shrink>,
    /// Fault injection into the growth of slabs.
    pub fail_growth: Option<&'e dyn FailGrowth>,
    /// The first rule that a checked allocator broke.
    pub supervise: Option<&'e dyn Supervise>,
}

/// The result of [`Engine::try_allocate_fast`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allocated {
    /// The block.
    pub block: Block,
    /// The offset of the block, as [`Engine::offset`] returns it.
    pub offset: Option<Offset>,
    /// The cost of the allocation.
    pub cost: Cost,
}

/// An engine that has a pool.
pub trait AddRegion {
    /// Returns the number of bytes of metadata that a region of `bytes` bytes needs.
    fn table_bytes(&self, bytes: usize) -> usize {
        let _ = bytes;
        0
    }

    /// Adds the `bytes` bytes at `start` to the pool and returns the region's number.
    ///
    /// If `start` is aligned to `bytes` rounded up to a power of two, the same requests return the same offsets at
    /// any address. Otherwise large alignments may be refused.
    ///
    /// # Errors
    ///
    /// The rule that the range breaks. The pool is then unchanged.
    ///
    /// # Safety
    ///
    /// - The range is valid for reads and writes, and nobody else uses it, until the engine is dropped.
    /// - The `table_bytes(bytes)` bytes at `table` are also valid and used by nobody else until the engine is
    ///   dropped. These bytes are zero, aligned to 8, and not in the pool.
    /// - The provenance of each of the two pointers covers its whole range.
    unsafe fn add_region(
        &self,
        start: NonNull<u8>,
        bytes: usize,
        table: NonNull<u8>,
    ) -> Result<u16, RegionError>;
}

/// An engine that caches free memory.
pub trait Shrink {
    /// Frees cached memory, so that every request can use it. Returns the number of freed bytes.
    fn shrink(&self) -> usize;
}

/// An allocator that the layers above can use.
///
/// # Context
///
/// | method | takes the engine's lock | interrupts other CPUs | may sleep |
/// |---|---|---|---|
/// | [`usable_size`](Engine::usable_size), [`fits_in_place`](Engine::fits_in_place) | no | no | no |
/// | [`try_allocate_fast`](Engine::try_allocate_fast), [`try_free_fast`](Engine::try_free_fast) | no | no | no |
/// | [`free`](Engine::free) | yes | no | unless the engine is [quick](Capabilities::quick) |
/// | [`capacity`](Engine::capacity), [`offset`](Engine::offset), [`resize`](Engine::resize) | yes | no | yes |
/// | [`allocate`](Engine::allocate) | yes | if CPUs cache blocks, and memory is short or the budget of magazines is used up | yes |
/// | the methods of [`Interfaces`] | yes | check and shrink, if CPUs cache blocks | yes |
///
/// Engines are called from process context with interrupts enabled. A method that does not sleep may be called with
/// a spinlock held, unless some CPU takes that spinlock with interrupts disabled. Otherwise three CPUs could wait for
/// each other: one holds the spinlock and waits for the engine's lock, one holds the engine's lock and waits for an
/// interrupt handler on the third, and the third waits for the spinlock with interrupts disabled. An engine may do less
/// than the table allows.
///
/// `docs/extending.md` describes how to add an engine.
///
/// # Safety
///
/// As long as the memory that was passed to [`AddRegion::add_region`] is valid:
///
/// - the memory of a block is valid for reads and writes of `usable_size(layout)` bytes, is aligned to
///   `layout.align()` and shares no byte with another block, from the call that allocates the block to the
///   call that frees it;
/// - the engine does not access the memory of a block between these two calls.
pub unsafe trait Engine: Sync {
    /// Returns the engine's capabilities.
    fn capabilities(&self) -> Capabilities;

    /// Returns the number of usable bytes of a block of this layout, which is at least `layout.size()`.
    fn usable_size(&self, layout: Layout) -> usize;

    /// Returns an upper bound on the number of bytes that can be live at the same time.
    fn capacity(&self) -> usize;

    /// Returns the offset of a byte of the pool. Returns `None` if the engine has no pool or the address is
    /// outside of the pool.
    fn offset(&self, byte: NonNull<u8>) -> Option<Offset>;

    /// Allocates a block. The contents of the block are arbitrary.
    ///
    /// A request of 0 bytes is served like a request of 1 byte.
    ///
    /// # Errors
    ///
    /// The cause of the refusal. No block has changed, but cached memory may have been freed. `cost` contains
    /// the fragmentation index if the cause is [`Refusal::Fragmented`]. Otherwise `cost` has no meaning.
    fn allocate(&self, layout: Layout, cost: &mut Cost) -> Result<Block, Refusal>;

    /// Allocates a block if the allocation needs neither a lock nor sleep. Otherwise returns `None`, which
    /// does not count as a request. The caller then calls [`Engine::allocate`].
    #[inline(always)]
    fn try_allocate_fast(&self, layout: Layout) -> Option<Allocated> {
        let _ = layout;
        None
    }

    /// Frees a block if the free needs neither a lock nor sleep, and returns the cost. Otherwise changes
    /// nothing and returns `None`. The caller then calls [`Engine::free`].
    ///
    /// # Safety
    ///
    /// The contract of [`Engine::free`].
    #[inline(always)]
    unsafe fn try_free_fast(&self, block: Block, layout: Layout) -> Option<Cost> {
        let _ = (block, layout);
        None
    }

    /// Frees a block. An engine that is [quick](Capabilities::quick) frees a block in a bounded time.
    ///
    /// # Errors
    ///
    /// The rule that the free breaks, if the engine checks this rule.
    ///
    /// # Safety
    ///
    /// - `block` was allocated by this engine and not freed since.
    /// - `layout` is the layout of the allocation of the block, or of its last resize.
    /// - Nobody uses the block any more.
    unsafe fn free(&self, block: Block, layout: Layout, cost: &mut Cost) -> Result<(), BadFree>;

    /// Returns whether a block of `layout` can be resized in place to `new` in every state of the pool. `new`
    /// has the same alignment as `layout`.
    fn fits_in_place(&self, layout: Layout, new: Layout) -> bool;

    /// Resizes a block in place to the layout `new`, and returns whether that was possible. The contents up
    /// to the smaller size are kept. If the resize was not possible, no block has changed, but cached memory
    /// may have been freed.
    ///
    /// The resize is always possible if [`Engine::fits_in_place`] returns `true`.
    ///
    /// # Safety
    ///
    /// - `block` was allocated by this engine and not freed since.
    /// - `layout` is the layout of the allocation of the block, or of its last resize.
    /// - `new` has the same alignment as `layout`.
    /// - Nobody uses the block during the call.
    unsafe fn resize(&self, block: Block, layout: Layout, new: Layout, cost: &mut Cost) -> bool;

    /// Returns the interfaces of the engine besides allocation.
    fn interfaces(&self) -> Interfaces<'_>;
}
