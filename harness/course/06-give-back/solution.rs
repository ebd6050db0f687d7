// SPDX-License-Identifier: GPL-2.0

//! Seven slabs over a buddy system. A slab returns memory, and blocks are resized in place.
//!
//! ```text
//!  size or alignment above 4096 ────────────────────────────────▶ buddy system ◀─┐
//!  else, the first N of 64 128 256 512 1024 2048 4096                            │ 64 × N bytes,
//!        with size ≤ N and alignment ≤ N ─▶ slab N: a list of free blocks ───────┘ when the list is empty
//! ```
//!
//! A *set* is the memory of 64 blocks, with which a slab grows. Each set has a list of its free blocks, and each slab
//! has a list of its sets with free blocks. The notes of the first page of a set have the two lists:
//!
//! ```text
//!  note   0        1            2             3           4
//!         0        allocated    first free    next        set before
//!                  blocks       block         set         this one
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

/// The notes of the first page of a set.
const USED: usize = 1;
const FIRST: usize = 2;
const NEXT: usize = 3;
const BEFORE: usize = 4;

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

    /// Resizes an allocated block from an order to another one, and returns whether that was possible.
    fn resize(
        &mut self,
        memory: &mut Memory,
        block: usize,
        old: usize,
        new: usize,
    ) -> Result<bool, Error> {
        // A block that grows takes all the buddies on its way up, or none.
        for order in old..new {
            let buddy = block ^ (PAGE << order);
            if buddy < block || !self.is_free(memory, buddy, order)? {
                return Ok(false);
            }
        }
        for order in old..new {
            self.remove(memory, block + (PAGE << order), order)?;
        }
        // A block that shrinks is split. The upper halves are free.
        for order in (new..old).rev() {
            self.push(memory, block + (PAGE << order), order)?;
        }
        Ok(true)
    }
}

/// Seven slabs over a buddy system.
pub struct Student {
    buddy: Buddy,
    /// The first page of the first set of each slab that has a free block.
    first: [u64; SLABS],
    /// The first page of the empty set of each slab. It is kept, so that a slab does not grow and shrink in turn.
    empty: [u64; SLABS],
}

/// Returns the bytes that a block for a layout needs, so that it is also aligned.
fn bytes_of(layout: Layout) -> usize {
    layout.size().max(layout.align())
}

/// Returns the number of the slab that serves blocks of `bytes` bytes, or `None` for the buddy system.
fn slab_of(bytes: usize) -> Option<usize> {
    (0..SLABS).find(|slab| bytes <= block_bytes(*slab))
}

/// Returns the bytes of the blocks of a slab.
fn block_bytes(slab: usize) -> usize {
    64 << slab
}

/// Returns the order of the sets of a slab.
fn set_order(slab: usize) -> usize {
    order_of(SET_SIZE * block_bytes(slab))
}

impl Student {
    /// Allocates from the buddy system. Before it has no room, all empty sets are returned to it.
    fn take(&mut self, memory: &mut Memory, order: usize) -> Result<Option<usize>, Error> {
        if let Some(block) = self.buddy.allocate(memory, order)? {
            return Ok(Some(block));
        }
        for slab in 0..SLABS {
            if self.empty[slab] != NONE {
                self.return_set(memory, self.empty[slab] as usize, slab)?;
                self.empty[slab] = NONE;
            }
        }
        self.buddy.allocate(memory, order)
    }

    /// Returns the memory of an empty set to the buddy system.
    fn return_set(&mut self, memory: &mut Memory, set: usize, slab: usize) -> Result<(), Error> {
        self.remove_set(memory, set, slab)?;
        self.buddy.free(memory, set * PAGE, set_order(slab))
    }

    /// Cuts new memory into the blocks of a set, and returns whether there was any.
    fn grow(&mut self, memory: &mut Memory, slab: usize) -> Result<bool, Error> {
        let Some(start) = self.take(memory, set_order(slab))? else {
            return Ok(false);
        };
        let mut next = NONE;
        for number in (0..SET_SIZE).rev() {
            let block = start + number * block_bytes(slab);
            memory.write(block, next)?;
            next = block as u64;
        }
        memory.set_note(start / PAGE, USED, 0)?;
        memory.set_note(start / PAGE, FIRST, next)?;
        self.push_set(memory, start / PAGE, slab)?;
        Ok(true)
    }

    /// Inserts a set at the front of the list of its slab.
    fn push_set(&mut self, memory: &mut Memory, set: usize, slab: usize) -> Result<(), Error> {
        let next = self.first[slab];
        if next != NONE {
            memory.set_note(next as usize, BEFORE, set as u64)?;
        }
        memory.set_note(set, NEXT, next)?;
        memory.set_note(set, BEFORE, NONE)?;
        self.first[slab] = set as u64;
        Ok(())
    }

    /// Removes a set from the list of its slab.
    fn remove_set(&mut self, memory: &mut Memory, set: usize, slab: usize) -> Result<(), Error> {
        let (next, before) = (memory.note(set, NEXT)?, memory.note(set, BEFORE)?);
        if before == NONE {
            self.first[slab] = next;
        } else {
            memory.set_note(before as usize, NEXT, next)?;
        }
        if next != NONE {
            memory.set_note(next as usize, BEFORE, before)?;
        }
        Ok(())
    }

    /// Frees a block of a slab.
    fn free_block(&mut self, memory: &mut Memory, block: usize, slab: usize) -> Result<(), Error> {
        // A set is a block of the buddy system, so it begins at a multiple of its length.
        let set = (block / PAGE) >> set_order(slab) << set_order(slab);
        let next = memory.note(set, FIRST)?;
        memory.write(block, next)?;
        memory.set_note(set, FIRST, block as u64)?;
        let used = memory.note(set, USED)? - 1;
        memory.set_note(set, USED, used)?;
        if next == NONE {
            self.push_set(memory, set, slab)?;
        }
        if used > 0 {
            return Ok(());
        }
        if self.empty[slab] != NONE {
            return self.return_set(memory, set, slab);
        }
        self.empty[slab] = set as u64;
        Ok(())
    }
}

impl Allocator for Student {
    fn new(memory: &mut Memory) -> Result<Self, Error> {
        Ok(Self {
            buddy: Buddy::new(memory)?,
            first: [NONE; SLABS],
            empty: [NONE; SLABS],
        })
    }

    fn allocate(&mut self, memory: &mut Memory, layout: Layout) -> Result<Option<usize>, Error> {
        let Some(slab) = slab_of(bytes_of(layout)) else {
            return self.take(memory, order_of(bytes_of(layout)));
        };
        if self.first[slab] == NONE && !self.grow(memory, slab)? {
            return Ok(None);
        }
        let set = self.first[slab] as usize;
        let block = memory.note(set, FIRST)?;
        let next = memory.read(block as usize)?;
        memory.set_note(set, FIRST, next)?;
        let used = memory.note(set, USED)?;
        memory.set_note(set, USED, used + 1)?;
        if self.empty[slab] == set as u64 {
            self.empty[slab] = NONE;
        }
        if next == NONE {
            self.remove_set(memory, set, slab)?;
        }
        Ok(Some(block as usize))
    }

    fn free(&mut self, memory: &mut Memory, block: usize, layout: Layout) -> Result<(), Error> {
        match slab_of(bytes_of(layout)) {
            Some(slab) => self.free_block(memory, block, slab),
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
        let (old, new) = (bytes_of(layout), size.max(layout.align()));
        match (slab_of(old), slab_of(new)) {
            (None, None) => self
                .buddy
                .resize(memory, block, order_of(old), order_of(new)),
            (before, after) => Ok(before == after),
        }
    }

    fn check(&mut self, memory: &mut Memory) -> Result<(), Error> {
        for slab in 0..SLABS {
            let mut set = self.first[slab];
            while set != NONE {
                let start = set as usize * PAGE;
                let (mut block, mut free) = (memory.note(set as usize, FIRST)?, 0);
                while block != NONE {
                    free += 1;
                    block = memory.read(block as usize)?;
                }
                if memory.note(set as usize, USED)? + free != SET_SIZE as u64 {
                    return Err(memory.broken("a set has lost blocks, or has counted wrong", start));
                }
                set = memory.note(set as usize, NEXT)?;
            }
        }
        Ok(())
    }
}
