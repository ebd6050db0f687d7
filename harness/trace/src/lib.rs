// SPDX-License-Identifier: GPL-2.0

//! Traces: the sequence of allocation requests of a program.
//!
//! A [`Trace`] is made by a [`pattern`] from a seed, read from a file ([`mod@format`]), or recorded
//! from a running kernel ([`ftrace`]). The [`museum`] has the patterns that show bugs of other allocators. [`shape`] computes statistics of a trace, and [`search`] finds
//! the smallest pool in which a trace can be replayed. The replay itself belongs to the callers.

#![forbid(unsafe_code)]

mod builder;
pub mod format;
pub mod ftrace;
pub mod museum;
pub mod pattern;
pub mod rng;
pub mod search;
pub mod shape;

pub use builder::Builder;

/// The default alignment of a block, in bytes.
pub const ALIGN: u32 = 8;

/// The largest alignment, in bytes.
pub const ALIGN_MAX: u32 = 1 << 30;

/// The maximum number of operations in a trace, and therefore of blocks.
pub const OPS_MAX: usize = 1 << 30;

/// The number of a block in a trace. Blocks are numbered in the order of their allocation.
pub type Id = u32;

/// The kind of an operation, with its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Allocates a block.
    Alloc {
        /// The size in bytes, at least 1.
        bytes: u32,
        /// The alignment in bytes, a power of two.
        align: u32,
    },
    /// Changes the size of a live block.
    Realloc {
        /// The new size in bytes, at least 1.
        bytes: u32,
    },
    /// Frees a live block.
    Free,
}

/// An operation of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Op {
    /// The block.
    pub id: Id,
    /// The CPU that ran the operation, or that shall run it.
    pub cpu: u16,
    /// The kind of the operation.
    pub kind: Kind,
}

/// A trace.
///
/// # Invariants
///
/// - Blocks are numbered in the order of their allocation, without gaps.
/// - Each block is allocated once, and is resized and freed only while it is live.
/// - Sizes are at least 1; alignments are powers of two up to [`ALIGN_MAX`].
/// - There are at most [`OPS_MAX`] operations.
/// - Name and source are one line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The name.
    pub name: String,
    /// The command or tool that made the trace.
    pub source: String,
    ops: Vec<Op>,
    blocks: usize,
    peak_bytes: u64,
}

impl Trace {
    /// Replaces the source. Control characters become spaces.
    #[must_use]
    pub fn with_source(self, source: &str) -> Self {
        Self {
            source: builder::line(source),
            ..self
        }
    }

    /// Returns the operations in order. Blocks may still be live after the last one.
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// Returns the number of blocks that the trace allocates.
    pub fn blocks(&self) -> usize {
        self.blocks
    }

    /// Returns the peak of live bytes, with the sizes as requested.
    pub fn peak_bytes(&self) -> u64 {
        self.peak_bytes
    }

    /// Returns the largest alignment, or 1 when the trace allocates no block.
    pub fn align_max(&self) -> u32 {
        let align = |op: &Op| match op.kind {
            Kind::Alloc { align, .. } => align,
            Kind::Realloc { .. } | Kind::Free => 1,
        };
        self.ops.iter().map(align).max().unwrap_or(1)
    }

    /// Returns the peak of live bytes when each block takes `usable(size, alignment)` bytes.
    pub fn peak_with(&self, usable: impl Fn(u32, u32) -> u64) -> u64 {
        let mut live = vec![(0, 0); self.blocks];
        let (mut bytes, mut peak) = (0, 0);
        for op in &self.ops {
            let (old, align) = live[op.id as usize];
            let new = match op.kind {
                Kind::Alloc { bytes, align } => (usable(bytes, align), align),
                Kind::Realloc { bytes } => (usable(bytes, align), align),
                Kind::Free => (0, align),
            };
            live[op.id as usize] = new;
            bytes = bytes - old + new.0;
            peak = peak.max(bytes);
        }
        peak
    }
}
