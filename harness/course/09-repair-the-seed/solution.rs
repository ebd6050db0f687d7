// SPDX-License-Identifier: GPL-2.0

//! The seed without its weaknesses: slabs of one page over a buddy system of pages.
//!
//! All data is in the notes of the pages, so no free memory is read or written:
//!
//! ```text
//!  note   0                1                2      3         4 … 7
//!         first page of    slab:            next   before    slab:
//!         a free block:    its allocated    in the list of   bitmap, 1 is an
//!         order + 1        objects          the page         allocated object
//! ```
//!
//! A page is in at most one list: that of the free blocks of its order, or that of the slabs of its class that have a
//! free object.

#![cfg_attr(not(MODULE), no_std)]
#![forbid(unsafe_code)]

use core::ops::Range;

use slab_student::{
    Allocator,
    Error,
    Layout,
    Memory, //
};

const PAGE: usize = 4096;

/// The number of orders: the largest block has 2³¹ pages.
const ORDERS: usize = 32;

/// The bytes of the objects of each class: four classes to a doubling, or else the largest objects of which as many
/// fit into a page.
const OBJECT_BYTES: [usize; 22] = [
    16, 32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 672, 816, 1024,
    1360, 2048,
];

/// The numbers of the notes.
const ORDER: usize = 0;
const USED: usize = 1;
const NEXT: usize = 2;
const BEFORE: usize = 3;
const BITMAP: usize = 4;

/// The end of a list.
const NONE: u64 = u64::MAX;

/// Slabs over a buddy system.
pub struct Student {
    /// The first page of each list: free blocks by their order, then slabs by their class.
    first: [u64; ORDERS + OBJECT_BYTES.len()],
}

/// Returns the class that serves a layout, or `None` if it takes whole pages.
fn class_of(layout: Layout) -> Option<usize> {
    let fits = |bytes: &usize| layout.size() <= *bytes && bytes % layout.align() == 0;
    OBJECT_BYTES.iter().position(fits)
}

/// Returns the number of objects of a slab.
fn objects(class: usize) -> usize {
    PAGE / OBJECT_BYTES[class]
}

/// Returns the order of the free block that begins at a page, if one does.
fn free_order(memory: &Memory, page: usize) -> Result<Option<usize>, Error> {
    if page >= memory.pages() {
        return Ok(None);
    }
    Ok((memory.note(page, ORDER)? as usize).checked_sub(1))
}

/// The lists.
impl Student {
    /// Inserts a page at the front of a list.
    fn push(&mut self, memory: &mut Memory, page: usize, list: usize) -> Result<(), Error> {
        let next = self.first[list];
        if next != NONE {
            memory.set_note(next as usize, BEFORE, page as u64)?;
        }
        memory.set_note(page, NEXT, next)?;
        memory.set_note(page, BEFORE, NONE)?;
        self.first[list] = page as u64;
        Ok(())
    }

    /// Removes a page from its list.
    fn remove(&mut self, memory: &mut Memory, page: usize, list: usize) -> Result<(), Error> {
        let (next, before) = (memory.note(page, NEXT)?, memory.note(page, BEFORE)?);
        if before == NONE {
            self.first[list] = next;
        } else {
            memory.set_note(before as usize, NEXT, next)?;
        }
        if next != NONE {
            memory.set_note(next as usize, BEFORE, before)?;
        }
        Ok(())
    }
}

/// The buddy system.
impl Student {
    /// Removes a free block from its list, so that it can be used.
    fn take(&mut self, memory: &mut Memory, page: usize, order: usize) -> Result<(), Error> {
        memory.set_note(page, ORDER, 0)?;
        self.remove(memory, page, order)
    }

    /// Allocates `count` pages at a multiple of `align` bytes.
    fn allocate_pages(
        &mut self,
        memory: &mut Memory,
        count: usize,
        align: usize,
    ) -> Result<Option<usize>, Error> {
        let units = count.max(align / PAGE).next_power_of_two();
        let mut orders = units.ilog2() as usize..ORDERS;
        let Some(order) = orders.find(|order| self.first[*order] != NONE) else {
            return Ok(None);
        };
        let page = self.first[order] as usize;
        self.take(memory, page, order)?;
        // The block needs no more than its pages. The others stay free.
        self.free_pages(memory, page + count..page + (1 << order))?;
        Ok(Some(page))
    }

    /// Frees pages: the largest block that begins at the first one and is aligned there, and so on.
    fn free_pages(&mut self, memory: &mut Memory, pages: Range<usize>) -> Result<(), Error> {
        let mut page = pages.start;
        while page < pages.end {
            let order = page.trailing_zeros().min((pages.end - page).ilog2());
            self.free_block(memory, page, order as usize)?;
            page += 1 << order;
        }
        Ok(())
    }

    /// Frees a block, and merges it with its buddy as often as that is free.
    fn free_block(&mut self, memory: &mut Memory, page: usize, order: usize) -> Result<(), Error> {
        let (mut page, mut order) = (page, order);
        while free_order(memory, page ^ (1 << order))? == Some(order) {
            let buddy = page ^ (1 << order);
            self.take(memory, buddy, order)?;
            page = page.min(buddy);
            order += 1;
        }
        memory.set_note(page, ORDER, order as u64 + 1)?;
        self.push(memory, page, order)
    }

    /// Resizes a block from `old` to `new` pages, and returns whether that was possible.
    fn resize_pages(
        &mut self,
        memory: &mut Memory,
        first: usize,
        old: usize,
        new: usize,
    ) -> Result<bool, Error> {
        // The free blocks behind the block must reach far enough before one of them is taken.
        let mut end = first + old;
        while end < first + new {
            let Some(order) = free_order(memory, end)? else {
                return Ok(false);
            };
            end += 1 << order;
        }
        let mut page = first + old;
        while page < end {
            let order = free_order(memory, page)?.unwrap_or(0);
            self.take(memory, page, order)?;
            page += 1 << order;
        }
        self.free_pages(memory, first + new..end)?;
        Ok(true)
    }
}

/// The slabs.
impl Student {
    /// Returns a slab of a class with a free object: the first one of the list, or else a new one.
    fn slab(&mut self, memory: &mut Memory, class: usize) -> Result<Option<usize>, Error> {
        let first = self.first[ORDERS + class];
        if first != NONE {
            return Ok(Some(first as usize));
        }
        let Some(slab) = self.allocate_pages(memory, 1, PAGE)? else {
            return Ok(None);
        };
        memory.set_note(slab, USED, 0)?;
        for word in 0..4 {
            memory.set_note(slab, BITMAP + word, 0)?;
        }
        self.push(memory, slab, ORDERS + class)?;
        Ok(Some(slab))
    }

    fn allocate_object(
        &mut self,
        memory: &mut Memory,
        class: usize,
    ) -> Result<Option<usize>, Error> {
        let Some(slab) = self.slab(memory, class)? else {
            return Ok(None);
        };
        let (mut word, mut bits) = (0, memory.note(slab, BITMAP)?);
        while bits == u64::MAX {
            word += 1;
            bits = memory.note(slab, BITMAP + word)?;
        }
        let object = word * 64 + bits.trailing_ones() as usize;
        memory.set_note(slab, BITMAP + word, bits | (bits + 1))?;
        let used = memory.note(slab, USED)? + 1;
        memory.set_note(slab, USED, used)?;
        if used as usize == objects(class) {
            self.remove(memory, slab, ORDERS + class)?;
        }
        Ok(Some(slab * PAGE + object * OBJECT_BYTES[class]))
    }

    fn free_object(
        &mut self,
        memory: &mut Memory,
        block: usize,
        class: usize,
    ) -> Result<(), Error> {
        let (slab, object) = (block / PAGE, block % PAGE / OBJECT_BYTES[class]);
        let note = BITMAP + object / 64;
        let bits = memory.note(slab, note)?;
        memory.set_note(slab, note, bits & !(1 << (object % 64)))?;
        let used = memory.note(slab, USED)?;
        memory.set_note(slab, USED, used - 1)?;
        if used as usize == objects(class) {
            self.push(memory, slab, ORDERS + class)?;
        }
        if used == 1 {
            self.remove(memory, slab, ORDERS + class)?;
            self.free_pages(memory, slab..slab + 1)?;
        }
        Ok(())
    }
}

impl Allocator for Student {
    fn new(memory: &mut Memory) -> Result<Self, Error> {
        let mut student = Self {
            first: [NONE; ORDERS + OBJECT_BYTES.len()],
        };
        student.free_pages(memory, 0..memory.pages())?;
        Ok(student)
    }

    fn allocate(&mut self, memory: &mut Memory, layout: Layout) -> Result<Option<usize>, Error> {
        if let Some(class) = class_of(layout) {
            return self.allocate_object(memory, class);
        }
        let count = layout.size().div_ceil(PAGE);
        let page = self.allocate_pages(memory, count, layout.align())?;
        Ok(page.map(|page| page * PAGE))
    }

    fn free(&mut self, memory: &mut Memory, block: usize, layout: Layout) -> Result<(), Error> {
        if let Some(class) = class_of(layout) {
            return self.free_object(memory, block, class);
        }
        let (page, count) = (block / PAGE, layout.size().div_ceil(PAGE));
        self.free_pages(memory, page..page + count)
    }

    fn resize(
        &mut self,
        memory: &mut Memory,
        block: usize,
        layout: Layout,
        size: usize,
    ) -> Result<bool, Error> {
        let Ok(new) = Layout::from_size_align(size, layout.align()) else {
            return Ok(false);
        };
        match (class_of(layout), class_of(new)) {
            (None, None) => {
                let (old, new) = (layout.size().div_ceil(PAGE), size.div_ceil(PAGE));
                self.resize_pages(memory, block / PAGE, old, new)
            }
            (before, after) => Ok(before == after),
        }
    }
}
