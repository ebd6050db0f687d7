// SPDX-License-Identifier: GPL-2.0

//! First fit that resizes in place.
//!
//! ```text
//!  shrink  │ block      ┆ tail │        the tail becomes free
//!  grow    │ block      │ free block ┆ rest │        the block takes a part of the free block behind it
//! ```

use slab_student::{
    Error,
    Layout,
    Memory, //
};

use super::first_fit::{
    FirstFit,
    Header,
    NONE,
    Part,
    Place, //
};
use crate::defect::{
    Active,
    Defect, //
};

/// A first-fit allocator that resizes in place.
pub struct Resizing {
    defect: Active,
    pub(super) list: FirstFit,
}

impl Resizing {
    /// Creates the allocator of an empty pool.
    ///
    /// # Errors
    ///
    /// The error of an access.
    pub fn new(memory: &mut Memory, defect: Active) -> Result<Self, Error> {
        Ok(Self {
            defect,
            list: FirstFit::new(memory, defect)?,
        })
    }

    /// See [`slab_student::Allocator::resize`].
    pub(super) fn resize(
        &mut self,
        memory: &mut Memory,
        block: usize,
        layout: Layout,
        size: usize,
    ) -> Result<bool, Error> {
        let old = Part {
            begin: block,
            bytes: self.list.rounded(layout.size()),
        };
        let bytes = self.list.rounded(size);
        if bytes == old.bytes {
            return Ok(true);
        }
        let place = self.list.place(memory, block)?;
        if bytes > old.bytes {
            return self.grow(memory, place, old, bytes - old.bytes);
        }
        if self.defect.is(Defect::ShrinkForgetsTail) {
            return Ok(true);
        }
        let kept = if self.defect.is(Defect::AlignmentLostByShrink) {
            size
        } else {
            bytes
        };
        let tail = Part {
            begin: block + kept,
            bytes: old.bytes - kept,
        };
        self.list.insert(memory, place, tail)?;
        Ok(true)
    }

    /// Adds `more` bytes of the free block behind a block to the block, if there is one and it is long enough.
    fn grow(
        &mut self,
        memory: &mut Memory,
        place: Place,
        block: Part,
        more: usize,
    ) -> Result<bool, Error> {
        let Place { before, next } = place;
        let is_behind = if self.defect.is(Defect::GrowsOverLiveBlock) {
            next != NONE
        } else {
            next == block.end()
        };
        if !is_behind {
            return Ok(false);
        }
        let header: Header = memory.load(next)?;
        if header.bytes < more {
            return Ok(false);
        }
        if self.defect.is(Defect::GrowLeavesMemoryFree) {
            return Ok(true);
        }
        let bytes = header.bytes - more;
        if bytes == 0 || self.defect.is(Defect::GrowLosesRest) {
            self.list.link(memory, before, header.next)?;
        } else {
            let rest = next + more;
            memory.store(rest, Header { bytes, ..header })?;
            self.list.link(memory, before, rest)?;
        }
        Ok(true)
    }
}
