// SPDX-License-Identifier: GPL-2.0

//! A buddy system (Knuth, The Art of Computer Programming 1, 2.5).
//!
//! A block of order k has 2ᵏ units of 64 bytes, begins at a multiple of its length, and is cut into two *buddies* of
//! order k - 1. The offsets of two buddies differ in one bit. The notes of a page have a byte for each unit: 1 + k if a
//! free block of order k begins there, else 0. A free block begins with its links.

use slab_student::{
    Error,
    Layout,
    Memory, //
};

use crate::defect::{
    Active,
    Defect, //
};

/// The bytes of a block of order 0. A page has 64 of them, and 64 bytes of notes: one byte for each.
const UNIT: usize = 64;

/// The number of orders: the largest block has 2²⁶ units.
const ORDERS: usize = 27;

/// The end of a list.
const NONE: u64 = u64::MAX;

/// The links of a free block.
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

/// A buddy system.
pub struct Buddy {
    defect: Active,
    /// The order of the largest blocks.
    top: usize,
    /// The first free block of each order.
    first: [u64; ORDERS],
}

/// Returns the order of the block that serves a layout.
fn order_of(layout: Layout) -> usize {
    let units = layout.size().max(layout.align()).div_ceil(UNIT);
    units.next_power_of_two().ilog2() as usize
}

/// Returns the bytes of a block of an order.
fn bytes_of(order: usize) -> usize {
    UNIT << order
}

/// Returns the page, the number of the note, and the bit in the note of the state of the unit at `block`.
fn state_of(block: usize) -> (usize, usize, usize) {
    let unit = block % slab_heap::PAGE_BYTES / UNIT;
    (block / slab_heap::PAGE_BYTES, unit / 8, unit % 8 * 8)
}

/// Returns the order of the free block that begins at `block`, if one does.
fn free_order(memory: &Memory, block: usize) -> Result<Option<usize>, Error> {
    let (page, note, bit) = state_of(block);
    let state = memory.note(page, note)? >> bit & 0xff;
    Ok((state as usize).checked_sub(1))
}

/// Records the order of the free block that begins at `block`, or that no free block does.
fn set_free_order(memory: &mut Memory, block: usize, order: Option<usize>) -> Result<(), Error> {
    let (page, note, bit) = state_of(block);
    let others = memory.note(page, note)? & !(0xff << bit);
    let state = order.map_or(0, |order| order as u64 + 1);
    memory.set_note(page, note, others | state << bit)
}

impl Buddy {
    /// Creates the allocator of an empty pool.
    ///
    /// # Errors
    ///
    /// The error of an access.
    pub fn new(memory: &mut Memory, defect: Active) -> Result<Self, Error> {
        let units = memory.len() / UNIT;
        let mut buddy = Self {
            defect,
            top: units.ilog2() as usize,
            first: [NONE; ORDERS],
        };
        if defect.is(Defect::PoolRoundedUp) {
            buddy.top = units.next_power_of_two().ilog2() as usize;
            buddy.push(memory, 0, buddy.top)?;
            return Ok(buddy);
        }
        let mut block = 0;
        // The largest block that begins at `block`, is aligned there and lies in the pool, and so on.
        while block < memory.len() {
            let rest = (memory.len() - block) / UNIT;
            let aligned = (block / UNIT).trailing_zeros();
            let order = aligned.min(rest.ilog2()) as usize;
            buddy.push(memory, block, order)?;
            block += bytes_of(order);
        }
        Ok(buddy)
    }

    /// Inserts a free block at the front of its list.
    fn push(&mut self, memory: &mut Memory, block: usize, order: usize) -> Result<(), Error> {
        let next = self.first[order];
        if next != NONE {
            let links: Links = memory.load(next as usize)?;
            let before = block as u64;
            memory.store(next as usize, Links { before, ..links })?;
        }
        let before = NONE;
        memory.store(block, Links { next, before })?;
        self.first[order] = block as u64;
        set_free_order(memory, block, Some(order))
    }

    /// Removes a free block from its list.
    fn remove(&mut self, memory: &mut Memory, block: usize, order: usize) -> Result<(), Error> {
        let Links { next, before } = memory.load(block)?;
        if before == NONE {
            self.first[order] = next;
        } else {
            let links: Links = memory.load(before as usize)?;
            memory.store(before as usize, Links { next, ..links })?;
        }
        let is_inside = before != NONE && next != NONE;
        if next != NONE && !(is_inside && self.defect.is(Defect::StaleBackLink)) {
            let links: Links = memory.load(next as usize)?;
            memory.store(next as usize, Links { before, ..links })?;
        }
        set_free_order(memory, block, None)
    }

    /// See [`slab_student::Allocator::allocate`].
    pub(super) fn allocate(
        &mut self,
        memory: &mut Memory,
        layout: Layout,
    ) -> Result<Option<usize>, Error> {
        let wanted = order_of(layout);
        let mut orders = wanted..ORDERS;
        let Some(found) = orders.find(|order| self.first[*order] != NONE) else {
            return Ok(None);
        };
        let block = self.first[found] as usize;
        self.remove(memory, block, found)?;
        let last = if self.defect.is(Defect::SplitLosesHalf) {
            wanted + 1
        } else {
            wanted
        };
        for order in (last..found).rev() {
            // The upper half stays free.
            self.push(memory, block + bytes_of(order), order)?;
        }
        Ok(Some(block))
    }

    /// See [`slab_student::Allocator::free`].
    pub(super) fn free(
        &mut self,
        memory: &mut Memory,
        block: usize,
        layout: Layout,
    ) -> Result<(), Error> {
        let (mut block, mut order) = (block, order_of(layout));
        loop {
            let buddy = if self.defect.is(Defect::BuddyIsNextBlock) {
                block + bytes_of(order)
            } else {
                block ^ bytes_of(order)
            };
            let top = if self.defect.is(Defect::LargestNeverMerges) {
                self.top - 1
            } else {
                self.top
            };
            let is_whole = buddy + bytes_of(order) <= memory.len();
            if order >= top || !is_whole {
                break;
            }
            let found = free_order(memory, buddy)?;
            let is_free = if self.defect.is(Defect::BuddyOfOtherOrder) {
                found.is_some()
            } else {
                found == Some(order)
            };
            if !is_free {
                break;
            }
            self.remove(memory, buddy, order)?;
            block = block.min(buddy);
            order += 1;
        }
        self.push(memory, block, order)
    }

    /// See [`slab_student::Allocator::check`].
    pub(super) fn check(&mut self, memory: &mut Memory) -> Result<(), Error> {
        for order in 0..ORDERS {
            let (mut block, mut before) = (self.first[order], NONE);
            while block != NONE {
                let at = block as usize;
                let links: Links = memory.load(at)?;
                if links.before != before {
                    return Err(memory.broken("a free block does not name the one before", at));
                }
                if free_order(memory, at)? != Some(order) {
                    return Err(memory.broken("a free block is in the list of another order", at));
                }
                (before, block) = (block, links.next);
            }
        }
        Ok(())
    }
}
