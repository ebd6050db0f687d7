// SPDX-License-Identifier: GPL-2.0

//! The builder of a trace, which establishes the invariants of [`Trace`].

use crate::{
    ALIGN_MAX,
    Id,
    Kind,
    OPS_MAX,
    Op,
    Trace, //
};

/// Builds a [`Trace`] operation by operation.
///
/// A wrong call panics, so a parser must validate its input before it calls the builder.
#[derive(Debug, Default)]
pub struct Builder {
    ops: Vec<Op>,
    /// The size of each block in bytes; 0 when the block is not live.
    sizes: Vec<u32>,
    cpu: u16,
    live_bytes: u64,
    peak_bytes: u64,
}

impl Builder {
    /// Creates a builder of an empty trace.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the CPU of all following operations.
    pub fn on_cpu(&mut self, cpu: u16) {
        self.cpu = cpu;
    }

    /// Allocates a block.
    ///
    /// # Panics
    ///
    /// Panics when `bytes` is 0, when `align` is not a power of two up to [`ALIGN_MAX`], or when the
    /// trace has [`OPS_MAX`] operations.
    pub fn alloc(&mut self, bytes: u32, align: u32) -> Id {
        assert!(bytes > 0 && align.is_power_of_two() && align <= ALIGN_MAX);
        let id = self.sizes.len() as Id;
        self.sizes.push(0);
        self.push(id, Kind::Alloc { bytes, align }, bytes);
        id
    }

    /// Changes the size of a live block.
    ///
    /// # Panics
    ///
    /// Panics when the block is not live, when `bytes` is 0, or when the trace has [`OPS_MAX`]
    /// operations.
    pub fn realloc(&mut self, id: Id, bytes: u32) {
        assert!(bytes > 0, "the new size of block {id} is 0");
        assert!(self.bytes(id) > 0, "block {id} is not live");
        self.push(id, Kind::Realloc { bytes }, bytes);
    }

    /// Frees a block.
    ///
    /// # Panics
    ///
    /// Panics when the block is not live, or when the trace has [`OPS_MAX`] operations.
    pub fn free(&mut self, id: Id) {
        assert!(self.bytes(id) > 0, "block {id} is not live");
        self.push(id, Kind::Free, 0);
    }

    /// Frees every live block, in the order of the allocations.
    pub fn free_rest(&mut self) {
        for id in 0..self.sizes.len() as Id {
            if self.bytes(id) > 0 {
                self.free(id);
            }
        }
    }

    /// Returns the size of a block in bytes, or 0 when the block is not live.
    pub fn bytes(&self, id: Id) -> u32 {
        self.sizes[id as usize]
    }

    /// Returns the number of operations so far.
    pub fn operations(&self) -> usize {
        self.ops.len()
    }

    /// Returns the trace. Control characters in its name and source become spaces.
    pub fn finish(self, name: &str, source: &str) -> Trace {
        // INVARIANT: `alloc` numbers the blocks and checks sizes and alignments, `realloc` and
        // `free` check that the block is live, `push` limits the number of operations, and `line`
        // removes line breaks from name and source.
        Trace {
            name: line(name),
            source: line(source),
            blocks: self.sizes.len(),
            ops: self.ops,
            peak_bytes: self.peak_bytes,
        }
    }

    fn push(&mut self, id: Id, kind: Kind, bytes: u32) {
        assert!(
            self.ops.len() < OPS_MAX,
            "the trace already has {OPS_MAX} operations"
        );
        let cpu = self.cpu;
        self.ops.push(Op { id, cpu, kind });
        let old = std::mem::replace(&mut self.sizes[id as usize], bytes);
        // No overflow: fewer than 2^30 blocks of less than 2^32 bytes each.
        self.live_bytes = self.live_bytes - u64::from(old) + u64::from(bytes);
        self.peak_bytes = self.peak_bytes.max(self.live_bytes);
    }
}

/// Returns `text` as one line: control characters become spaces.
pub(crate) fn line(text: &str) -> String {
    let spaced = |c: char| if c.is_control() { ' ' } else { c };
    text.chars()
        .map(spaced)
        .collect::<String>()
        .trim()
        .to_owned()
}
