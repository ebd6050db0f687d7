// SPDX-License-Identifier: GPL-2.0

//! Traces: what a program asks of an allocator, without the program.
//!
//! A [`Trace`] is made by a [`pattern`] from a seed, read from a file ([`mod@format`]), or recorded
//! from a running kernel ([`ftrace`]). [`shape`] describes one, [`search`] finds the smallest pool
//! that one can be run in. Nothing here allocates for a trace: that is left to whoever replays it.

#![forbid(unsafe_code)]

mod builder;
pub mod format;
pub mod ftrace;
pub mod pattern;
pub mod rng;
pub mod search;
pub mod shape;

pub use builder::Builder;

/// What a block is aligned to when nobody says.
pub const ALIGN: u32 = 8;

/// The largest alignment.
pub const ALIGN_MAX: u32 = 1 << 30;

/// The most operations, and so the most blocks.
pub const OPS_MAX: usize = 1 << 30;

/// A block of a trace. Each has a number of its own, in the order in which they are allocated.
pub type Id = u32;

/// What is done with a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It is allocated.
    Alloc {
        /// Its bytes, at least 1.
        bytes: u32,
        /// A power of two.
        align: u32,
    },
    /// It is given another size.
    Realloc {
        /// Its bytes from then on, at least 1.
        bytes: u32,
    },
    /// It is freed.
    Free,
}

/// A step of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Op {
    /// The block.
    pub id: Id,
    /// The CPU on which it was done, or is meant to be done.
    pub cpu: u16,
    /// What is done with it.
    pub kind: Kind,
}

/// A trace.
///
/// # Invariants
///
/// Blocks are numbered in the order of their allocation, without gaps. Each is allocated once, and
/// resized and freed only while it is out. Sizes are at least 1, alignments powers of two up to
/// [`ALIGN_MAX`], and there are at most [`OPS_MAX`] operations. Name and source are a line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// What it is called.
    pub name: String,
    /// Where it comes from.
    pub source: String,
    ops: Vec<Op>,
    blocks: usize,
    peak_bytes: u64,
}

impl Trace {
    /// Says where it comes from. Control characters become spaces.
    #[must_use]
    pub fn with_source(self, source: &str) -> Self {
        Self {
            source: builder::line(source),
            ..self
        }
    }

    /// Returns what is done, in order. Blocks may be left out at the end.
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// Returns how many blocks are allocated in all.
    pub fn blocks(&self) -> usize {
        self.blocks
    }

    /// Returns the most bytes that are out at once, as asked for.
    pub fn peak_bytes(&self) -> u64 {
        self.peak_bytes
    }

    /// Returns the largest alignment, 1 where nothing is allocated.
    pub fn align_max(&self) -> u32 {
        let align = |op: &Op| match op.kind {
            Kind::Alloc { align, .. } => align,
            Kind::Realloc { .. } | Kind::Free => 1,
        };
        self.ops.iter().map(align).max().unwrap_or(1)
    }

    /// Returns the most bytes that are out at once when each block has what `usable` says for its
    /// size and alignment.
    pub fn peak_with(&self, usable: impl Fn(u32, u32) -> u64) -> u64 {
        let mut held = vec![(0, 0); self.blocks];
        let (mut bytes, mut peak) = (0, 0);
        for op in &self.ops {
            let (had, align) = held[op.id as usize];
            let has = match op.kind {
                Kind::Alloc { bytes, align } => (usable(bytes, align), align),
                Kind::Realloc { bytes } => (usable(bytes, align), align),
                Kind::Free => (0, align),
            };
            held[op.id as usize] = has;
            bytes = bytes - had + has.0;
            peak = peak.max(bytes);
        }
        peak
    }
}
