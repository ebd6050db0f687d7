// SPDX-License-Identifier: GPL-2.0

//! A trace that is being made.

use crate::{
    ALIGN_MAX,
    Id,
    Kind,
    OPS_MAX,
    Op,
    Trace, //
};

/// A trace that is being made.
///
/// Whoever makes one from what somebody else wrote looks at that first: a wrong call panics.
#[derive(Debug, Default)]
pub struct Builder {
    ops: Vec<Op>,
    /// The bytes of each block, 0 when it is not out.
    sizes: Vec<u32>,
    cpu: u16,
    live_bytes: u64,
    peak_bytes: u64,
}

impl Builder {
    /// Begins an empty trace.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says on which CPU everything is done from now on.
    pub fn on_cpu(&mut self, cpu: u16) {
        self.cpu = cpu;
    }

    /// Allocates a block.
    ///
    /// # Panics
    ///
    /// When `bytes` is 0 or `align` is no power of two up to [`ALIGN_MAX`].
    pub fn alloc(&mut self, bytes: u32, align: u32) -> Id {
        assert!(bytes > 0 && align.is_power_of_two() && align <= ALIGN_MAX);
        let id = self.sizes.len() as Id;
        self.sizes.push(0);
        self.push(id, Kind::Alloc { bytes, align }, bytes);
        id
    }

    /// Gives a block another size.
    ///
    /// # Panics
    ///
    /// When it is not out, or `bytes` is 0.
    pub fn realloc(&mut self, id: Id, bytes: u32) {
        assert!(bytes > 0 && self.bytes(id) > 0, "block {id} is not out");
        self.push(id, Kind::Realloc { bytes }, bytes);
    }

    /// Frees a block.
    ///
    /// # Panics
    ///
    /// When it is not out.
    pub fn free(&mut self, id: Id) {
        assert!(self.bytes(id) > 0, "block {id} is not out");
        self.push(id, Kind::Free, 0);
    }

    /// Frees every block that is still out, the first one first.
    pub fn free_rest(&mut self) {
        for id in 0..self.sizes.len() as Id {
            if self.bytes(id) > 0 {
                self.free(id);
            }
        }
    }

    /// Returns the bytes of a block, 0 when it is not out.
    pub fn bytes(&self, id: Id) -> u32 {
        self.sizes[id as usize]
    }

    /// Returns how many operations there are.
    pub fn operations(&self) -> usize {
        self.ops.len()
    }

    /// Ends the trace. Control characters in its name and source become spaces.
    pub fn finish(self, name: &str, source: &str) -> Trace {
        // INVARIANT: `alloc` numbers blocks and looks at sizes and alignments, `realloc` and `free`
        // look whether a block is out, and `push` counts.
        Trace {
            name: line(name),
            source: line(source),
            blocks: self.sizes.len(),
            ops: self.ops,
            peak_bytes: self.peak_bytes,
        }
    }

    fn push(&mut self, id: Id, kind: Kind, bytes: u32) {
        assert!(self.ops.len() < OPS_MAX, "a trace is too long");
        let cpu = self.cpu;
        self.ops.push(Op { id, cpu, kind });
        let old = std::mem::replace(&mut self.sizes[id as usize], bytes);
        // Fewer than 2^30 blocks of less than 2^32 bytes.
        self.live_bytes = self.live_bytes - u64::from(old) + u64::from(bytes);
        self.peak_bytes = self.peak_bytes.max(self.live_bytes);
    }
}

/// Returns text as one line.
pub(crate) fn line(text: &str) -> String {
    let spaced = |c: char| if c.is_control() { ' ' } else { c };
    text.chars()
        .map(spaced)
        .collect::<String>()
        .trim()
        .to_owned()
}
