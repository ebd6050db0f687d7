// SPDX-License-Identifier: GPL-2.0

//! Magazines (Bonwick and Adams, 2001) in front of the slabs of exercise 3.
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
//!
//! Each CPU has a magazine for each small class. An object in a magazine is allocated for its slab, and free for the
//! program:
//!
//! ```text
//!  CPU 0   │ object │ object │ object │ …        refill: HALF objects from slabs, if the magazine is empty
//!  CPU 1   │ object │ …                          flush:  HALF objects to slabs, if the magazine is full
//! ```

#![cfg_attr(not(MODULE), no_std)]
#![forbid(unsafe_code)]

use slab_student::{
    Allocator,
    CPUS,
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

/// The classes with magazines: objects of 16, 32, … 256 bytes.
const CACHED: usize = 5;

/// The objects of a full magazine.
const SLOTS: usize = 8;

/// The objects that a refill or a flush moves. New objects lie side by side, so HALF objects of the smallest class are a
/// cache line.
const HALF: usize = 4;

/// A stack of objects of one class, for one CPU.
#[derive(Clone, Copy)]
struct Magazine {
    count: usize,
    objects: [u32; SLOTS],
}

impl Magazine {
    const EMPTY: Self = Self {
        count: 0,
        objects: [0; SLOTS],
    };

    fn push(&mut self, object: usize) {
        self.objects[self.count] = object as u32;
        self.count += 1;
    }

    fn pop(&mut self) -> Option<usize> {
        self.count = self.count.checked_sub(1)?;
        Some(self.objects[self.count] as usize)
    }
}

/// An allocator with slabs and magazines.
pub struct Student {
    /// The first slab of each class that has both allocated and free objects.
    partial: [u64; CLASSES],
    magazines: [[Magazine; CACHED]; CPUS],
}

/// Returns the class that serves a layout, or `None` if it takes whole pages.
fn class_of(layout: Layout) -> Option<usize> {
    let bytes = layout
        .size()
        .max(layout.align())
        .next_power_of_two()
        .max(16);
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
        free = if memory.note(page, KIND)? == FREE {
            free + 1
        } else {
            0
        };
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

impl Student {
    /// Inserts a slab at the front of the list of its class.
    fn push(&mut self, memory: &mut Memory, slab: usize, class: usize) -> Result<(), Error> {
        let next = self.partial[class];
        if next != NONE {
            memory.set_note(next as usize, BEFORE, slab as u64)?;
        }
        memory.set_note(slab, NEXT, next)?;
        memory.set_note(slab, BEFORE, NONE)?;
        self.partial[class] = slab as u64;
        Ok(())
    }

    /// Removes a slab from the list of its class.
    fn remove(&mut self, memory: &mut Memory, slab: usize, class: usize) -> Result<(), Error> {
        let (next, before) = (memory.note(slab, NEXT)?, memory.note(slab, BEFORE)?);
        if before == NONE {
            self.partial[class] = next;
        } else {
            memory.set_note(before as usize, NEXT, next)?;
        }
        if next != NONE {
            memory.set_note(next as usize, BEFORE, before)?;
        }
        Ok(())
    }

    /// Returns a slab of a class with a free object: a partial one, or else a new one.
    fn slab(&mut self, memory: &mut Memory, class: usize) -> Result<Option<usize>, Error> {
        if self.partial[class] != NONE {
            return Ok(Some(self.partial[class] as usize));
        }
        let Some(slab) = find_pages(memory, 1, PAGE)? else {
            return Ok(None);
        };
        memory.set_note(slab, KIND, SLAB + class as u64)?;
        memory.set_note(slab, USED, 0)?;
        for word in 0..4 {
            memory.set_note(slab, BITMAP + word, 0)?;
        }
        self.push(memory, slab, class)?;
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
        for word in 0..4 {
            let bits = memory.note(slab, BITMAP + word)?;
            let object = word * 64 + bits.trailing_ones() as usize;
            if bits == u64::MAX || object as u64 >= objects(class) {
                continue;
            }
            memory.set_note(slab, BITMAP + word, bits | bits + 1)?;
            let used = memory.note(slab, USED)? + 1;
            memory.set_note(slab, USED, used)?;
            if used == objects(class) {
                self.remove(memory, slab, class)?;
            }
            return Ok(Some(slab * PAGE + object * object_bytes(class)));
        }
        Err(memory.broken("a partial slab has no free object", slab * PAGE))
    }

    fn free_object(
        &mut self,
        memory: &mut Memory,
        block: usize,
        class: usize,
    ) -> Result<(), Error> {
        let (slab, object) = (block / PAGE, block % PAGE / object_bytes(class));
        let note = BITMAP + object / 64;
        let bits = memory.note(slab, note)?;
        if bits >> (object % 64) & 1 == 0 {
            return Err(memory.broken("an object is freed that its slab counts as free", block));
        }
        memory.set_note(slab, note, bits & !(1 << (object % 64)))?;
        let used = memory.note(slab, USED)? - 1;
        memory.set_note(slab, USED, used)?;
        if used + 1 == objects(class) {
            self.push(memory, slab, class)?;
        }
        if used == 0 {
            self.remove(memory, slab, class)?;
            memory.set_note(slab, KIND, FREE)?;
        }
        Ok(())
    }

    /// Checks the list of a class: each slab has a free object, and names the one before.
    fn check_list(&self, memory: &Memory, class: usize) -> Result<(), Error> {
        let (mut slab, mut before) = (self.partial[class], NONE);
        while slab != NONE {
            let page = slab as usize;
            if memory.note(page, BEFORE)? != before {
                return Err(memory.broken("a slab does not name the one before", page * PAGE));
            }
            if memory.note(page, USED)? >= objects(class) {
                return Err(memory.broken("a full slab is in the list of its class", page * PAGE));
            }
            (before, slab) = (slab, memory.note(page, NEXT)?);
        }
        Ok(())
    }

    /// Moves up to `count` objects from a magazine to their slabs.
    fn flush(
        &mut self,
        memory: &mut Memory,
        (cpu, class): (usize, usize),
        count: usize,
    ) -> Result<(), Error> {
        for _ in 0..count {
            let Some(object) = self.magazines[cpu][class].pop() else {
                break;
            };
            self.free_object(memory, object, class)?;
        }
        Ok(())
    }

    /// Allocates from the magazine of the CPU, which is refilled if it is empty.
    fn allocate_cached(
        &mut self,
        memory: &mut Memory,
        class: usize,
    ) -> Result<Option<usize>, Error> {
        let cpu = memory.cpu();
        if self.magazines[cpu][class].count == 0 {
            for _ in 0..HALF {
                let Some(object) = self.allocate_object(memory, class)? else {
                    break;
                };
                self.magazines[cpu][class].push(object);
            }
        }
        Ok(self.magazines[cpu][class].pop())
    }

    /// Allocates from a magazine, a slab, or free pages.
    fn try_allocate(
        &mut self,
        memory: &mut Memory,
        layout: Layout,
    ) -> Result<Option<usize>, Error> {
        match class_of(layout) {
            Some(class) if class < CACHED => return self.allocate_cached(memory, class),
            Some(class) => return self.allocate_object(memory, class),
            None => {}
        }
        let count = layout.size().div_ceil(PAGE);
        let Some(first) = find_pages(memory, count, layout.align())? else {
            return Ok(None);
        };
        set_kind(memory, first, count, LARGE)?;
        Ok(Some(first * PAGE))
    }
}

impl Allocator for Student {
    fn new(_memory: &mut Memory) -> Result<Self, Error> {
        Ok(Self {
            partial: [NONE; CLASSES],
            magazines: [[Magazine::EMPTY; CACHED]; CPUS],
        })
    }

    fn allocate(&mut self, memory: &mut Memory, layout: Layout) -> Result<Option<usize>, Error> {
        if let Some(block) = self.try_allocate(memory, layout)? {
            return Ok(Some(block));
        }
        // The magazines of all CPUs may have the memory.
        for cpu in 0..CPUS {
            for class in 0..CACHED {
                self.flush(memory, (cpu, class), SLOTS)?;
            }
        }
        self.try_allocate(memory, layout)
    }

    fn free(&mut self, memory: &mut Memory, block: usize, layout: Layout) -> Result<(), Error> {
        match class_of(layout) {
            Some(class) if class < CACHED => {
                let cpu = memory.cpu();
                if self.magazines[cpu][class].count == SLOTS {
                    self.flush(memory, (cpu, class), HALF)?;
                }
                self.magazines[cpu][class].push(block);
                return Ok(());
            }
            Some(class) => return self.free_object(memory, block, class),
            None => {}
        }
        set_kind(memory, block / PAGE, layout.size().div_ceil(PAGE), FREE)
    }

    fn check(&mut self, memory: &mut Memory) -> Result<(), Error> {
        for slab in 0..memory.pages() {
            if memory.note(slab, KIND)? >= SLAB {
                let mut bits = 0;
                for word in 0..4 {
                    bits += u64::from(memory.note(slab, BITMAP + word)?.count_ones());
                }
                if bits != memory.note(slab, USED)? {
                    return Err(memory.broken("the counter and the bitmap disagree", slab * PAGE));
                }
            }
        }
        (0..CLASSES).try_for_each(|class| self.check_list(memory, class))
    }
}
