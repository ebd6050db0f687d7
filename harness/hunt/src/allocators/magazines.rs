// SPDX-License-Identifier: GPL-2.0

//! Magazines in front of slabs (Bonwick and Adams, Magazines and Vmem, 2001).
//!
//! A freed object is put into the magazine of its class, and the next request of the class takes it from there. A full
//! magazine is flushed to the heap down to half. If the heap cannot serve a request, all magazines are flushed, and the
//! heap is asked again.

use slab_student::{
    Error,
    GRANULE,
    Layout,
    Memory, //
};

use super::slabs::{
    CLASSES,
    Slabs,
    object_bytes, //
};
use crate::defect::{
    Active,
    Defect, //
};

/// The number of blocks in a full magazine.
const DEPTH: usize = 8;

/// The free blocks of a class.
#[derive(Clone, Copy)]
struct Magazine {
    blocks: [u32; DEPTH],
    count: usize,
}

/// Slabs with a magazine for each class.
pub struct Magazines {
    defect: Active,
    heap: Slabs,
    magazines: [Magazine; CLASSES],
}

impl Magazines {
    /// Creates the allocator of an empty pool.
    pub fn new(defect: Active) -> Self {
        let magazine = Magazine {
            blocks: [0; DEPTH],
            count: 0,
        };
        Self {
            defect,
            heap: Slabs::new(defect),
            magazines: [magazine; CLASSES],
        }
    }

    /// Frees a block in the heap.
    fn free_to_heap(
        &mut self,
        memory: &mut Memory,
        class: usize,
        index: usize,
    ) -> Result<(), Error> {
        let block = self.magazines[class].blocks[index] as usize;
        // The heap knows the class of the block from its page, so that the alignment does not matter.
        let layout = Layout::from_size_align(object_bytes(class), GRANULE);
        let layout = layout.map_err(|_| memory.broken("a class has no layout", block))?;
        self.heap.free(memory, block, layout)
    }

    /// Flushes the full magazine of a class down to half.
    fn flush_half(&mut self, memory: &mut Memory, class: usize) -> Result<(), Error> {
        let kept = DEPTH / 2;
        let first = if self.defect.is(Defect::FlushLosesBlock) {
            kept + 1
        } else {
            kept
        };
        for index in first..DEPTH {
            self.free_to_heap(memory, class, index)?;
        }
        self.magazines[class].count = kept;
        Ok(())
    }

    /// Flushes all magazines, and returns whether there was a block in one.
    fn flush_all(&mut self, memory: &mut Memory) -> Result<bool, Error> {
        let mut flushed = false;
        for class in 0..CLASSES {
            for index in 0..self.magazines[class].count {
                self.free_to_heap(memory, class, index)?;
                flushed = true;
            }
            if !self.defect.is(Defect::StaleMagazine) {
                self.magazines[class].count = 0;
            }
        }
        Ok(flushed)
    }

    /// Takes the last block of a magazine.
    fn pop(&mut self, class: usize) -> Option<usize> {
        let magazine = &mut self.magazines[class];
        let index = magazine.count.checked_sub(1)?;
        if index > 0 || !self.defect.is(Defect::LastBlockStaysInMagazine) {
            magazine.count = index;
        }
        Some(magazine.blocks[index] as usize)
    }

    /// See [`slab_student::Allocator::allocate`].
    pub(super) fn allocate(
        &mut self,
        memory: &mut Memory,
        layout: Layout,
    ) -> Result<Option<usize>, Error> {
        let class = self.heap.class_of(layout);
        if let Some(block) = class.and_then(|class| self.pop(class)) {
            return Ok(Some(block));
        }
        let block = self.heap.allocate(memory, layout)?;
        let gives_up = class.is_none() && self.defect.is(Defect::MagazinesNotFlushed);
        if block.is_some() || gives_up || !self.flush_all(memory)? {
            return Ok(block);
        }
        self.heap.allocate(memory, layout)
    }

    /// See [`slab_student::Allocator::free`].
    pub(super) fn free(
        &mut self,
        memory: &mut Memory,
        block: usize,
        layout: Layout,
    ) -> Result<(), Error> {
        let Some(mut class) = self.heap.class_at(memory, block)? else {
            return self.heap.free(memory, block, layout);
        };
        let is_filled = layout.size() == object_bytes(class);
        if is_filled && class + 1 < CLASSES && self.defect.is(Defect::MagazineOfNextClass) {
            class += 1;
        }
        if self.magazines[class].count == DEPTH {
            self.flush_half(memory, class)?;
        }
        let magazine = &mut self.magazines[class];
        magazine.blocks[magazine.count] = block as u32;
        magazine.count += 1;
        Ok(())
    }

    /// See [`slab_student::Allocator::resize`].
    pub(super) fn resize(
        &mut self,
        memory: &mut Memory,
        block: usize,
        layout: Layout,
        size: usize,
    ) -> Result<bool, Error> {
        self.heap.resize(memory, block, layout, size)
    }

    /// See [`slab_student::Allocator::check`].
    pub(super) fn check(&mut self, memory: &mut Memory) -> Result<(), Error> {
        for (class, magazine) in self.magazines.iter().enumerate() {
            for block in &magazine.blocks[..magazine.count] {
                let block = *block as usize;
                if !self.heap.is_allocated(memory, block, class)? {
                    let sentence = "a block in a magazine is free in the heap, or of another class";
                    return Err(memory.broken(sentence, block));
                }
            }
        }
        self.heap.check(memory)
    }
}
