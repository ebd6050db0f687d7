// SPDX-License-Identifier: GPL-2.0

//! The engine `student` of this process.
//!
//! The allocator is in a crate that a learner changes. This crate must not be compiled again for each change, so it does
//! not depend on that one: the program registers a function that constructs the engine.

use std::{
    alloc::Layout,
    hash::{
        DefaultHasher,
        Hash,
        Hasher, //
    },
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
    violation::{
        Supervise,
        Violation, //
    },
};

/// A function that constructs an engine without regions.
pub type Constructor = fn() -> Box<dyn Engine + Send>;

static CONSTRUCTOR: OnceLock<Constructor> = OnceLock::new();

/// The engine that takes the place of the registered one, if any.
static SUBSTITUTE: OnceLock<Constructor> = OnceLock::new();

/// Registers the function that constructs the engine `student`. Later calls have no effect.
pub fn register(constructor: Constructor) {
    let _ = CONSTRUCTOR.set(constructor);
}

/// The hash of the file from which the registered engine was built.
static SOURCE: OnceLock<u64> = OnceLock::new();

/// Registers the hash of the file from which the engine was built. Later calls have no effect.
pub fn register_source(hash: u64) {
    let _ = SOURCE.set(hash);
}

/// Returns whether the registered engine was built from another text than `source`. It is `false` if that is unknown.
#[must_use]
pub fn is_outdated(source: &[u8]) -> bool {
    (SOURCE.get()).is_some_and(|built| *built != source_hash(source))
}

/// Returns the hash of a file, as the build script of the program computes it.
#[must_use]
pub fn source_hash(source: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    source.hash(&mut hasher);
    hasher.finish()
}

/// The size of the allocator's type, in bytes.
static TYPE_BYTES: OnceLock<usize> = OnceLock::new();

/// Registers the size of the allocator's type. Later calls have no effect.
pub fn register_type_bytes(bytes: usize) {
    let _ = TYPE_BYTES.set(bytes);
}

/// Returns the size of the allocator's type in bytes, if it is registered.
#[must_use]
pub fn type_bytes() -> Option<usize> {
    TYPE_BYTES.get().copied()
}

/// Makes the engine `student` of this process another engine than the registered one. Later calls have no effect.
///
/// The allocator of the substitute is not in the learner's file, so violations have no line.
pub fn substitute(constructor: Constructor) {
    let _ = SUBSTITUTE.set(constructor);
}

/// The engine that the program registered, or its substitute.
pub(super) struct RegisteredEngine {
    engine: Box<dyn Engine + Send>,
    /// Whether the lines of violations are those of the learner's file.
    has_lines: bool,
}

impl RegisteredEngine {
    /// Constructs the engine without regions, if the program registered one.
    pub(super) fn new() -> Option<Self> {
        match SUBSTITUTE.get() {
            Some(constructor) => Some(Self::of(*constructor)),
            None => CONSTRUCTOR.get().map(|constructor| Self {
                engine: constructor(),
                has_lines: true,
            }),
        }
    }

    /// Constructs an engine that is not the registered one, without regions.
    pub(super) fn of(constructor: Constructor) -> Self {
        Self {
            engine: constructor(),
            has_lines: false,
        }
    }
}

impl Supervise for RegisteredEngine {
    fn violation(&self) -> Option<Violation> {
        let violation = self.engine.interfaces().supervise?.violation()?;
        let line = if self.has_lines { violation.line } else { 0 };
        Some(Violation { line, ..violation })
    }

    fn accesses(&self) -> u64 {
        let engine = self.engine.interfaces().supervise;
        engine.map_or(0, |engine| engine.accesses())
    }

    fn free_byte(&self, offset: u64) -> Option<u8> {
        self.engine.interfaces().supervise?.free_byte(offset)
    }

    fn stray_write(&self, offset: u64, byte: u8) -> bool {
        let engine = self.engine.interfaces().supervise;
        engine.is_some_and(|engine| engine.stray_write(offset, byte))
    }
}

// SAFETY: `Engine` requires that live blocks are aligned, disjoint and untouched: the registered engine promises that,
// and this type only forwards the calls.
unsafe impl Engine for RegisteredEngine {
    fn capabilities(&self) -> Capabilities {
        self.engine.capabilities()
    }

    fn usable_size(&self, layout: Layout) -> usize {
        self.engine.usable_size(layout)
    }

    fn capacity(&self) -> usize {
        self.engine.capacity()
    }

    fn offset(&self, byte: NonNull<u8>) -> Option<Offset> {
        self.engine.offset(byte)
    }

    fn allocate(&self, layout: Layout, cost: &mut Cost) -> Result<Block, Refusal> {
        self.engine.allocate(layout, cost)
    }

    unsafe fn free(&self, block: Block, layout: Layout, cost: &mut Cost) -> Result<(), BadFree> {
        // SAFETY: The contract of this function is that of the called one.
        unsafe { self.engine.free(block, layout, cost) }
    }

    fn fits_in_place(&self, layout: Layout, new: Layout) -> bool {
        self.engine.fits_in_place(layout, new)
    }

    unsafe fn resize(&self, block: Block, layout: Layout, new: Layout, cost: &mut Cost) -> bool {
        // SAFETY: The contract of this function is that of the called one.
        unsafe { self.engine.resize(block, layout, new, cost) }
    }

    fn interfaces(&self) -> Interfaces<'_> {
        let interfaces = self.engine.interfaces();
        let supervise = interfaces.supervise.is_some();
        Interfaces {
            supervise: supervise.then_some(self),
            ..interfaces
        }
    }
}
