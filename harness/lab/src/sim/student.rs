// SPDX-License-Identifier: GPL-2.0

//! The engine `student` of this process.
//!
//! The allocator is in a crate that a learner changes. This crate must not be compiled again for each change, so it does
//! not depend on that one: the program registers a function that constructs the engine.

use std::{
    alloc::Layout,
    ptr::NonNull,
    sync::OnceLock, //
};

use slab_heap::{
    Block, Cost, Engine, Offset, Refusal,
    engine::{
        BadFree,
        Capabilities,
        Interfaces, //
    },
};

/// A function that constructs an engine without regions.
pub type Constructor = fn() -> Box<dyn Engine + Send>;

static CONSTRUCTOR: OnceLock<Constructor> = OnceLock::new();

/// Registers the function that constructs the engine `student`. Later calls have no effect.
pub fn register(constructor: Constructor) {
    let _ = CONSTRUCTOR.set(constructor);
}

/// The engine that the program registered.
pub(super) struct RegisteredEngine(Box<dyn Engine + Send>);

impl RegisteredEngine {
    /// Constructs the engine without regions, if the program registered one.
    pub(super) fn new() -> Option<Self> {
        CONSTRUCTOR.get().map(|constructor| Self(constructor()))
    }
}

// SAFETY: `Engine` requires that live blocks are aligned, disjoint and untouched: the registered engine promises that,
// and this type only forwards the calls.
unsafe impl Engine for RegisteredEngine {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    fn usable_size(&self, layout: Layout) -> usize {
        self.0.usable_size(layout)
    }

    fn capacity(&self) -> usize {
        self.0.capacity()
    }

    fn offset(&self, byte: NonNull<u8>) -> Option<Offset> {
        self.0.offset(byte)
    }

    fn allocate(&self, layout: Layout, cost: &mut Cost) -> Result<Block, Refusal> {
        self.0.allocate(layout, cost)
    }

    unsafe fn free(&self, block: Block, layout: Layout, cost: &mut Cost) -> Result<(), BadFree> {
        // SAFETY: The contract of this function is that of the called one.
        unsafe { self.0.free(block, layout, cost) }
    }

    fn fits_in_place(&self, layout: Layout, new: Layout) -> bool {
        self.0.fits_in_place(layout, new)
    }

    unsafe fn resize(&self, block: Block, layout: Layout, new: Layout, cost: &mut Cost) -> bool {
        // SAFETY: The contract of this function is that of the called one.
        unsafe { self.0.resize(block, layout, new, cost) }
    }

    fn interfaces(&self) -> Interfaces<'_> {
        self.0.interfaces()
    }
}
