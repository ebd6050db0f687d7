// SPDX-License-Identifier: GPL-2.0

//! A buddy system (Knuth, The Art of Computer Programming 1, 2.5).
//!
//! Every block has 2ᵏ units of 64 bytes and begins at a multiple of its length. A block of order k is cut into two
//! *buddies* of order k - 1. The offsets of two buddies differ in one bit, so each finds the other.
//!
//! ```text
//!  order 2  │               0               │        buddy of 64 at order 0:  64 ^ 64 = 0
//!  order 1  │       0       │      128      │        buddy of 128 at order 1: 128 ^ 128 = 0
//!  order 0  │   0   │  64   │  128  │  192  │
//! ```

#![cfg_attr(not(MODULE), no_std)]
#![forbid(unsafe_code)]

use slab_student::{
    Allocator,
    Error,
    Layout,
    Memory, //
};

/// The bytes of a block of order 0. A page has 64 of them, and 64 bytes of notes: one byte for each.
const UNIT: usize = 64;

/// The number of orders: the largest block has 2³¹ units.
const ORDERS: usize = 32;

/// The end of a list.
const NONE: u64 = u64::MAX;

/// The links of a free block, at its beginning.
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
pub struct Student {
    /// The first free block of each order.
    first: [u64; ORDERS],
}

/// Returns the order of the block that serves a layout.
fn order_of(layout: Layout) -> usize {
    let units = layout.size().max(layout.align()).div_ceil(UNIT);
    units.next_power_of_two().ilog2() as usize
}

/// Returns the page, the number of the note, and the bit in the note of the state of the unit at `block`.
fn place(block: usize) -> (usize, usize, usize) {
    let unit = block % 4096 / UNIT;
    (block / 4096, unit / 8, unit % 8 * 8)
}

/// Returns the order of the free block that begins at `block`, if one does.
fn free_order(memory: &Memory, block: usize) -> Result<Option<usize>, Error> {
    let (page, note, bit) = place(block);
    let state = memory.note(page, note)? >> bit & 0xff;
    Ok((state as usize).checked_sub(1))
}

/// Records the order of the free block that begins at `block`, or that no free block does.
fn set_free_order(memory: &mut Memory, block: usize, order: Option<usize>) -> Result<(), Error> {
    let (page, note, bit) = place(block);
    let others = memory.note(page, note)? & !(0xff << bit);
    let state = order.map_or(0, |order| order as u64 + 1);
    memory.set_note(page, note, others | state << bit)
}

impl Student {
    /// Inserts a free block at the front of its list.
    fn push(&mut self, memory: &mut Memory, block: usize, order: usize) -> Result<(), Error> {
        let next = self.first[order];
        if next != NONE {
            let links: Links = memory.load(next as usize)?;
            memory.store(next as usize, Links { before: block as u64, ..links })?;
        }
        memory.store(block, Links { next, before: NONE })?;
        self.first[order] = block as u64;
        set_free_order(memory, block, Some(order))
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
        set_free_order(memory, block, None)
    }
}

impl Allocator for Student {
    fn new(memory: &mut Memory) -> Result<Self, Error> {
        let mut student = Self { first: [NONE; ORDERS] };
        let mut block = 0;
        // The largest block that begins at `block`, is aligned there and lies in the pool, and so on.
        while block + UNIT <= memory.len() {
            let rest = (memory.len() - block) / UNIT;
            let aligned = (block / UNIT).trailing_zeros();
            let order = aligned.min(rest.ilog2()) as usize;
            student.push(memory, block, order)?;
            block += UNIT << order;
        }
        Ok(student)
    }

    fn allocate(&mut self, memory: &mut Memory, layout: Layout) -> Result<Option<usize>, Error> {
        let wanted = order_of(layout);
        let mut orders = wanted..ORDERS;
        let Some(found) = orders.find(|order| self.first[*order] != NONE) else {
            return Ok(None);
        };
        let block = self.first[found] as usize;
        self.remove(memory, block, found)?;
        for order in (wanted..found).rev() {
            // The upper half stays free.
            self.push(memory, block + (UNIT << order), order)?;
        }
        Ok(Some(block))
    }

    fn free(&mut self, memory: &mut Memory, block: usize, layout: Layout) -> Result<(), Error> {
        let (mut block, mut order) = (block, order_of(layout));
        loop {
            let buddy = block ^ UNIT << order;
            let is_whole = buddy + (UNIT << order) <= memory.len();
            if !is_whole || free_order(memory, buddy)? != Some(order) {
                return self.push(memory, block, order);
            }
            self.remove(memory, buddy, order)?;
            block = block.min(buddy);
            order += 1;
        }
    }

    fn check(&mut self, memory: &mut Memory) -> Result<(), Error> {
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
