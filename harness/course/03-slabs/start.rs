// SPDX-License-Identifier: GPL-2.0

//! Exercise 3: size classes and slabs.
//!
//! A request of up to 2048 bytes gets an object of the smallest class that fits. A slab is a page that is cut into
//! objects of one class. The notes of the page say what it is, and have a bit for each object:
//!
//! ```text
//!  note   0                1               2      3        4 … 7
//!         kind of page     allocated       next   before   bitmap: 1 is an allocated object
//!                          objects         partial slab
//! ```
//!
//! A larger request gets whole pages, the first run that is long enough.

#![cfg_attr(not(MODULE), no_std)]
#![forbid(unsafe_code)]

use slab_student::{
    Allocator,
    Error,
    Layout,
    Memory, //
};

const PAGE: usize = 4096;

/// The classes have objects of 16, 32, … 2048 bytes.
const CLASSES: usize = 8;

/// The kinds of pages, in note 0. A slab of class `n` has the kind `SLAB + n`.
const FREE: u64 = 0;
const LARGE: u64 = 1;
const SLAB: u64 = 2;

/// The numbers of the notes.
const KIND: usize = 0;
const USED: usize = 1;
const NEXT: usize = 2;
const BEFORE: usize = 3;
const BITMAP: usize = 4;

/// The end of a list of slabs.
const NONE: u64 = u64::MAX;

/// An allocator with slabs.
pub struct Student {
    /// The first slab of each class that has both allocated and free objects.
    partial: [u64; CLASSES],
}

/// Returns the class that serves a layout, or `None` if it takes whole pages.
fn class_of(layout: Layout) -> Option<usize> {
    let bytes = layout.size().max(layout.align()).next_power_of_two().max(16);
    (bytes <= 2048).then(|| bytes.ilog2() as usize - 4)
}

/// Returns the bytes of the objects of a class.
fn object_bytes(class: usize) -> usize {
    16 << class
}

/// Returns the number of objects of a slab.
fn objects(class: usize) -> u64 {
    (PAGE / object_bytes(class)) as u64
}

/// Returns the first of `count` free pages in a row that begin at a multiple of `align` bytes.
fn find_pages(memory: &Memory, count: usize, align: usize) -> Result<Option<usize>, Error> {
    let mut free = 0;
    for page in 0..memory.pages() {
        free = if memory.note(page, KIND)? == FREE { free + 1 } else { 0 };
        if free >= count && (page + 1 - count) * PAGE % align == 0 {
            return Ok(Some(page + 1 - count));
        }
    }
    Ok(None)
}

/// Sets the kind of `count` pages.
fn set_kind(memory: &mut Memory, first: usize, count: usize, kind: u64) -> Result<(), Error> {
    (first..first + count).try_for_each(|page| memory.set_note(page, KIND, kind))
}

impl Allocator for Student {
    fn new(_memory: &mut Memory) -> Result<Self, Error> {
        Ok(Self {
            partial: [NONE; CLASSES],
        })
    }

    fn allocate(&mut self, memory: &mut Memory, layout: Layout) -> Result<Option<usize>, Error> {
        if class_of(layout).is_some() {
            // Exercise: requests of up to 2048 bytes get an object of a slab.
            return Ok(None);
        }
        let count = layout.size().div_ceil(PAGE);
        let Some(first) = find_pages(memory, count, layout.align())? else {
            return Ok(None);
        };
        set_kind(memory, first, count, LARGE)?;
        Ok(Some(first * PAGE))
    }

    fn free(&mut self, memory: &mut Memory, block: usize, layout: Layout) -> Result<(), Error> {
        if class_of(layout).is_some() {
            // Exercise: the object is free again.
            return Ok(());
        }
        set_kind(memory, block / PAGE, layout.size().div_ceil(PAGE), FREE)
    }
}
