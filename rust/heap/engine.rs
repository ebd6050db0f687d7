// SPDX-License-Identifier: GPL-2.0

//! The contract between an engine and the layers above it.
//!
//! An engine allocates and frees blocks, and does nothing else: handles, quotas and zeroing belong to the
//! layer above. An engine is shared between callers and has its own locks. An engine that has a pool never
//! allocates memory for itself.
//!
//! The layers above call [`Engine`] for each request. The optional parts of an engine are separate traits, which
//! [`Engine::interfaces`] returns. An adapter in front of an
//! engine, as debug mode, implements the ones that it changes and passes the others on:
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
    /// context of [`Engine`]). The sessions of `sim` call the `try_` methods of such engines with their lock held; the
    /// sessions of the module do so only with the engine that `rust/session_platform.rs` selects.
    pub quick: bool,
    /// The number of bytes at the start of a free block that the engine writes while the block is free: 0
    /// for an engine whose metadata lies outside the pool, 8 for one whose free lists go through the first
    /// word.
    ///
    /// A free block is an object of a slab, or whole pages; pages that were coalesced may have such bytes at
    /// the start of each page. An engine that writes free memory anywhere else says [`usize::MAX`]: one that
    /// writes footers, or leaves the nodes of coalesced blocks inside a page.
    pub free_block_bytes: usize,
    /// Each free block to which the engine writes begins at a multiple of this many bytes from the start of its
    /// region. 1 if nothing is known.
    pub free_block_align: usize,
}

/// The parts of an engine beside allocation. Those that an engine does not have are `None`.
#[derive(Clone, Copy)]
pub struct Interfaces<'e> {
    /// Statistics.
    pub statistics: &'e dyn Statistics,
    /// Regions, of an engine that has a pool: its blocks have offsets.
    pub add_region: Option<&'e dyn AddRegion>,
    /// Checks of the metadata.
    pub check: Option<&'e dyn Check>,
    /// The use of each page.
    pub map: Option<&'e dyn Map>,
    /// Cached memory that can be returned.
    pub shrink: Option<&'e dyn Shrink>,
    /// Injected failures of growth.
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
    /// Returns the bytes of metadata that a region of `bytes` bytes needs.
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
    /// The rule that the range breaks; the pool is then as before.
    ///
    /// # Safety
    ///
    /// - The range is valid for reads and writes, and used by nobody else, until the engine is dropped.
    /// - The same is true of the `table_bytes(bytes)` bytes at `table`, which are zero and aligned to 8;
    ///   they are not in the pool.
    /// - The provenance of either pointer covers its whole range.
    unsafe fn add_region(
        &self,
        start: NonNull<u8>,
        bytes: usize,
        table: NonNull<u8>,
    ) -> Result<u16, RegionError>;
}

/// An engine that caches free memory.
pub trait Shrink {
    /// Frees cached memory, so that every request can use it. Returns its size in bytes.
    fn shrink(&self) -> usize;
}

/// An allocator that the layers above can drive.
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
/// `docs/extending.md` says how to add an engine.
///
/// # Safety
///
/// For as long as the memory given to [`AddRegion::add_region`] is there:
///
/// - the memory of a block is valid for reads and writes of `usable_size(layout)` bytes, is aligned to
///   `layout.align()` and shares no byte with another block, from the call that allocates it to the
///   call that frees it;
/// - the engine does not touch the memory of such a block.
pub unsafe trait Engine: Sync {
    /// Returns the engine's capabilities.
    fn capabilities(&self) -> Capabilities;

    /// Returns the bytes that a block of this layout will have, at least `layout.size()`.
    fn usable_size(&self, layout: Layout) -> usize;

    /// Returns a bound on the bytes that can be live at once.
    fn capacity(&self) -> usize;

    /// Returns the offset of a byte of the pool. `None` for an engine without a pool, and for an address
    /// outside of the pool.
    fn offset(&self, byte: NonNull<u8>) -> Option<Offset>;

    /// Allocates a block; its contents are arbitrary.
    ///
    /// A request of 0 bytes is served like one of 1 byte.
    ///
    /// # Errors
    ///
    /// The cause of the refusal. No block has changed, but cached memory may have moved. `cost` has the
    /// fragmentation index if the cause is [`Refusal::Fragmented`], and no meaning else.
    fn allocate(&self, layout: Layout, cost: &mut Cost) -> Result<Block, Refusal>;

    /// Allocates a block if that needs neither a lock nor sleep. After `None`, which counts as no request, the
    /// caller calls [`Engine::allocate`].
    #[inline(always)]
    fn try_allocate_fast(&self, layout: Layout) -> Option<Allocated> {
        let _ = layout;
        None
    }

    /// Frees a block if that needs neither a lock nor sleep, and returns the cost. After `None`, which has
    /// changed nothing, the caller calls [`Engine::free`].
    ///
    /// # Safety
    ///
    /// As for [`Engine::free`].
    #[inline(always)]
    unsafe fn try_free_fast(&self, block: Block, layout: Layout) -> Option<Cost> {
        let _ = (block, layout);
        None
    }

    /// Frees a block. An engine that is [quick](Capabilities::quick) does so in a bounded time.
    ///
    /// # Errors
    ///
    /// The rule that the free breaks, as far as the engine checks.
    ///
    /// # Safety
    ///
    /// - `block` was allocated by this engine and not freed since.
    /// - `layout` is the one that it was allocated with, or that it was last resized to.
    /// - Nobody uses the block any more.
    unsafe fn free(&self, block: Block, layout: Layout, cost: &mut Cost) -> Result<(), BadFree>;

    /// Returns whether a block of `layout` serves `new`, which has the same alignment, in place in every state of the
    /// pool.
    fn fits_in_place(&self, layout: Layout, new: Layout) -> bool;

    /// Makes a block serve `new` in place, and returns whether that was possible. If not, no block has changed, but
    /// cached memory may have moved. The contents up to the smaller size are kept.
    ///
    /// It is always possible where [`Engine::fits_in_place`] returns `true`.
    ///
    /// # Safety
    ///
    /// As for [`Engine::free`], with `layout` for the block as it is; `new` has the same
    /// alignment.
    unsafe fn resize(&self, block: Block, layout: Layout, new: Layout, cost: &mut Cost) -> bool;

    /// Returns the parts of the engine beside allocation.
    fn interfaces(&self) -> Interfaces<'_>;
}
