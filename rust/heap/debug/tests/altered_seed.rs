// SPDX-License-Identifier: GPL-2.0

//! The seed with changes that a test chooses.

use std::boxed::Box;

use super::*;
use crate::{
    Refusal,
    engine::{
        Capabilities,
        Interfaces, //
    },
    testing::HostSeed,
};

/// The seed with three changes: each free overwrites the first `written` bytes of the block, `free_block_bytes` is
/// `declared`, and the next allocation first calls `before_allocation`.
pub(super) struct AlteredSeed {
    engine: HostSeed,
    written: usize,
    declared: usize,
    before_allocation: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl AlteredSeed {
    /// Returns an engine whose allocations are those of the seed. `written` is at least 8, because the seed writes a
    /// link into each free block.
    pub(super) fn new(written: usize, declared: usize) -> Self {
        Self {
            engine: HostSeed::empty(),
            written,
            declared,
            before_allocation: Mutex::default(),
        }
    }

    /// Calls `function` during the next allocation, before the seed allocates the block.
    pub(super) fn before_next_allocation(&self, function: impl FnOnce() + Send + 'static) {
        *self.before_allocation.lock().unwrap() = Some(Box::new(function));
    }
}

// SAFETY: All methods call the methods of the seed, which meets the contract. The additional write is to a
// block that its owner has freed.
unsafe impl Engine for AlteredSeed {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            free_block_bytes: self.declared,
            ..self.engine.capabilities()
        }
    }

    fn usable_size(&self, layout: Layout) -> usize {
        self.engine.usable_size(layout)
    }

    fn capacity(&self) -> usize {
        self.engine.capacity()
    }

    fn offset(&self, byte: NonNull<u8>) -> Option<crate::Offset> {
        self.engine.offset(byte)
    }

    fn allocate(&self, layout: Layout, cost: &mut Cost) -> Result<Block, Refusal> {
        let function = self.before_allocation.lock().unwrap().take();
        if let Some(function) = function {
            function();
        }
        self.engine.allocate(layout, cost)
    }

    unsafe fn free(&self, block: Block, layout: Layout, cost: &mut Cost) -> Result<(), BadFree> {
        scribble(block.start, 8, self.written - 8);
        // SAFETY: The contract of this function is the contract of the same method of the seed.
        unsafe { self.engine.free(block, layout, cost) }
    }

    fn fits_in_place(&self, layout: Layout, new: Layout) -> bool {
        self.engine.fits_in_place(layout, new)
    }

    unsafe fn resize(&self, block: Block, layout: Layout, new: Layout, cost: &mut Cost) -> bool {
        // SAFETY: The contract of this function is the contract of the same method of the seed.
        unsafe { self.engine.resize(block, layout, new, cost) }
    }

    fn interfaces(&self) -> Interfaces<'_> {
        self.engine.interfaces()
    }
}

/// Returns the engine in debug mode, with a pool.
pub(super) fn guarded(engine: AlteredSeed, memory: &HostMemory) -> Guarded<AlteredSeed> {
    let guard = DebugMode::new(engine, Mutex::default(), Played);
    memory.lend(&guard).unwrap();
    guard
}
