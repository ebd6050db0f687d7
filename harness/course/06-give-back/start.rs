// SPDX-License-Identifier: GPL-2.0

//! Exercise 6: the two tiers of exercise 5. No slab returns memory, and every block that is resized moves.
//!
//! ```text
//!  size or alignment above 4096 ────────────────────────────────▶ buddy system ◀─┐
//!  else, the first N of 64 128 256 512 1024 2048 4096                            │ 64 × N bytes,
//!        with size ≤ N and alignment ≤ N ─▶ slab N: a list of free blocks ───────┘ when the list is empty
//! ```

#![cfg_attr(not(MODULE), no_std)]
#![forbid(unsafe_code)]

use slab_student::{
    Allocator,
    Error,
    Layout,
    Memory, //
};

/// The bytes of a block of order 0 of the buddy system. Everything smaller comes from the slabs.
const PAGE: usize = 4096;

/// The number of orders: the largest block has 2³¹ pages.
const ORDERS: usize = 32;

/// The number of slabs.
const SLABS: usize = 7;

/// The number of blocks by which a slab grows.
const SET_SIZE: usize = 64;

/// The end of a list.
const NONE: u64 = u64::MAX;

/// The links of a free block of the buddy system, at its beginning.
struct Links {
    next: u64,
    before: u64,
}

impl From<[u64; 2]> for Links {
    fn from([next, before]: [u64; 2]) -> Self {
        Self { next, before }
    }
}

impl From<Links> for [u64; 2] {
    fn from(links: Links) -> Self {
        [links.next, links.before]
    }
}

/// The buddy system of exercise 4. Its unit is a page, so the order of a free block fits into a note: note 0 of the
/// block's first page is the order plus 1, or 0 if no free block begins there.
struct Buddy {
    /// The first free block of each order.
    first: [u64; ORDERS],
}

/// Returns the order of the block that has room for `bytes` bytes.
fn order_of(bytes: usize) -> usize {
    bytes.div_ceil(PAGE).next_power_of_two().ilog2() as usize
}

impl Buddy {
    fn new(memory: &mut Memory) -> Result<Self, Error> {
        let mut buddy = Self {
            first: [NONE; ORDERS],
        };
        let mut page = 0;
        // The largest block that begins at `page`, is aligned there and lies in the pool, and so on.
        while page < memory.pages() {
            let order = page.trailing_zeros().min((memory.pages() - page).ilog2());
            buddy.push(memory, page * PAGE, order as usize)?;
            page += 1 << order;
        }
        Ok(buddy)
    }

    fn allocate(&mut self, memory: &mut Memory, wanted: usize) -> Result<Option<usize>, Error> {
        let mut orders = wanted..ORDERS;
        let Some(found) = orders.find(|order| self.first[*order] != NONE) else {
            return Ok(None);
        };
        let block = self.first[found] as usize;
        self.remove(memory, block, found)?;
        for order in (wanted..found).rev() {
            // The upper half stays free.
            self.push(memory, block + (PAGE << order), order)?;
        }
        Ok(Some(block))
    }

    fn free(&mut self, memory: &mut Memory, block: usize, order: usize) -> Result<(), Error> {
        let (mut block, mut order) = (block, order);
        while self.is_free(memory, block ^ (PAGE << order), order)? {
            let buddy = block ^ (PAGE << order);
            self.remove(memory, buddy, order)?;
            block = block.min(buddy);
            order += 1;
        }
        self.push(memory, block, order)
    }

    /// Returns whether a free block of this order begins at `block`.
    fn is_free(&self, memory: &Memory, block: usize, order: usize) -> Result<bool, Error> {
        Ok(block < memory.len() && memory.note(block / PAGE, 0)? == order as u64 + 1)
    }

    /// Inserts a free block at the front of its list.
    fn push(&mut self, memory: &mut Memory, block: usize, order: usize) -> Result<(), Error> {
        let next = self.first[order];
        if next != NONE {
            memory.write(next as usize + 8, block as u64)?;
        }
        memory.store(block, Links { next, before: NONE })?;
        self.first[order] = block as u64;
        memory.set_note(block / PAGE, 0, order as u64 + 1)
    }

    /// Removes a free block from its list.
    fn remove(&mut self, memory: &mut Memory, block: usize, order: usize) -> Result<(), Error> {
        let Links { next, before } = memory.load(block)?;
        if before == NONE {
            self.first[order] = next;
        } else {
            memory.write(before as usize, next)?;
        }
        if next != NONE {
            memory.write(next as usize + 8, before)?;
        }
        memory.set_note(block / PAGE, 0, 0)
    }
}

/// Seven slabs over a buddy system.
pub struct Student {
    buddy: Buddy,
    /// The first free block of each slab. A free block begins with the offset of the next one.
    first: [u64; SLABS],
}

/// Returns the bytes that a block for a layout needs, so that it is also aligned.
fn bytes_of(layout: Layout) -> usize {
    layout.size().max(layout.align())
}

/// Returns the number of the slab that serves a layout, or `None` for the buddy system.
fn slab_of(layout: Layout) -> Option<usize> {
    (0..SLABS).find(|slab| bytes_of(layout) <= block_bytes(*slab))
}

/// Returns the bytes of the blocks of a slab.
fn block_bytes(slab: usize) -> usize {
    64 << slab
}

impl Student {
    /// Cuts new memory into blocks of a slab, and returns whether there was any.
    fn grow(&mut self, memory: &mut Memory, slab: usize) -> Result<bool, Error> {
        let order = order_of(SET_SIZE * block_bytes(slab));
        let Some(set) = self.buddy.allocate(memory, order)? else {
            return Ok(false);
        };
        for number in 0..SET_SIZE {
            self.push(memory, set + number * block_bytes(slab), slab)?;
        }
        Ok(true)
    }

    /// Inserts a free block at the front of the list of its slab.
    fn push(&mut self, memory: &mut Memory, block: usize, slab: usize) -> Result<(), Error> {
        memory.write(block, self.first[slab])?;
        self.first[slab] = block as u64;
        Ok(())
    }
}

impl Allocator for Student {
    fn new(memory: &mut Memory) -> Result<Self, Error> {
        Ok(Self {
            buddy: Buddy::new(memory)?,
            first: [NONE; SLABS],
        })
    }

    fn allocate(&mut self, memory: &mut Memory, layout: Layout) -> Result<Option<usize>, Error> {
        let Some(slab) = slab_of(layout) else {
            return self.buddy.allocate(memory, order_of(bytes_of(layout)));
        };
        if self.first[slab] == NONE && !self.grow(memory, slab)? {
            return Ok(None);
        }
        let block = self.first[slab] as usize;
        self.first[slab] = memory.read(block)?;
        Ok(Some(block))
    }

    fn free(&mut self, memory: &mut Memory, block: usize, layout: Layout) -> Result<(), Error> {
        match slab_of(layout) {
            // Exercise: the memory of 64 free blocks stays in the slab.
            Some(slab) => self.push(memory, block, slab),
            None => self.buddy.free(memory, block, order_of(bytes_of(layout))),
        }
    }

    fn resize(
        &mut self,
        memory: &mut Memory,
        block: usize,
        layout: Layout,
        size: usize,
    ) -> Result<bool, Error> {
        // Exercise: a block that is resized always moves.
        let _ = (memory, block, layout, size);
        Ok(false)
    }
}
